"""What a fork server knows of one of its children: a step's process, or a kept worker."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archived.engine.processes import cpu_of, peak_of, reset_peak
from archived.engine.protocol import DISOBEYED, NOT_BEGUN
from archived.engine.sandbox.seccomp_listener import Listener

NO_STEP = ""
"""The step of a kept worker that has none now."""
JOB, BEGUN, DONE, LAST = b"job", b"begun", b"done", b"last"
"""What is said on the line to a kept worker. It says `LAST` when it should be replaced."""
_BEGIN_SECONDS = 10.0
_RESTING_CPU = 5.0
"""Seconds of processor time that a kept worker may use between two steps."""


@dataclass(eq=False)
class StepProcess:
    """One step's process. `why` is set when we were the ones to kill it.

    A kept worker has a `line`: a socket by which it is told of its further steps, and says when it
    has begun and ended one.
    """

    step: str
    pid: int
    watch: int
    began: float
    ends: float
    listener: Listener
    hand: int
    """Where it hands its listener over."""
    asks: int = -1
    """The listener, as soon as it is here; answered by `listener`."""
    why: str = ""
    end: dict[str, Any] | None = None
    """Set once it is dead and waits for its stray descendants to be gone."""
    sweep_until: float = 0.0
    kept: bool = False
    line: int = -1
    begun: bool = True
    settling: bool = False
    """It has said that its step has ended; what the step left running is being killed."""
    last: bool = False
    """It is to be ended after this step."""
    cpu_seconds: int | None = None
    """Processor time of one step of a kept worker; that of others is limited by the kernel."""
    cpu_before: float = 0.0
    seconds: float = 0.0

    @property
    def resting(self) -> bool:
        """Whether it is a kept worker that has no step, so that nothing of it may go on."""
        return self.settling or self.step == NO_STEP

    def give(self, job: Mapping[str, Any], fds: Sequence[int]) -> bool:
        """Give a kept worker its next step. `False`: it is not there any more."""
        try:
            with socket.socket(fileno=os.dup(self.line)) as line:
                socket.send_fds(line, [JOB], list(fds))
        except OSError:
            return False
        self.step, self.began, self.seconds = job["step"], time.monotonic(), job["seconds"]
        self.ends = self.began + min(self.seconds, _BEGIN_SECONDS)
        self.begun, self.cpu_seconds = False, job["cpu_seconds"]
        self.cpu_before = cpu_of(self.pid)
        reset_peak(self.pid)
        return True

    def hear(self, said: bytes) -> None:
        """What a kept worker says on its line. Anything out of turn ends it."""
        if said == BEGUN and not self.begun and not self.resting:
            self.begun, self.ends = True, self.began + self.seconds
            self.cpu_before = cpu_of(self.pid)  # it has waited for what the former step left
        elif said in (DONE, LAST) and self.begun and not self.resting:
            self.settling, self.last, self.ends = True, said == LAST, math.inf
        else:
            self.kill(DISOBEYED)

    def judge(self, now: float) -> None:
        """Kill it when its time is over, on the clock or of the processor."""
        if now >= self.ends:
            self.kill("timed-out" if self.begun else NOT_BEGUN)
        elif self.kept and cpu_of(self.pid) - self.cpu_before > self._most_cpu:
            self.kill(DISOBEYED if self.resting else "timed-out")

    @property
    def _most_cpu(self) -> float:
        """Seconds that a kept worker may compute: in its step, or while it has none."""
        if self.step == NO_STEP:
            return _RESTING_CPU
        return math.inf if self.cpu_seconds is None or self.settling else self.cpu_seconds

    def rest(self, now: float) -> dict[str, Any]:
        """Its step has ended and it has none now: how the step ended."""
        end = {
            "step": self.step,
            "status": 0,
            "signal": None,
            "strays": 0,
            "usage": {
                "wall": now - self.began,
                "cpu": max(0.0, cpu_of(self.pid) - self.cpu_before),
                "peak_memory": peak_of(self.pid),
            },
            "refused": dict(self.listener.refused),
        }
        self.listener.refused.clear()
        self.step, self.settling, self.ends = NO_STEP, False, math.inf
        self.cpu_before = cpu_of(self.pid)
        return end

    def kill(self, why: str) -> None:
        """Kill it and its group. Until it is waited for, its pid cannot be another's."""
        if self.end is None:
            self.why = self.why or why
            for send in (os.killpg, os.kill):  # it may not have made its group yet
                with contextlib.suppress(ProcessLookupError):
                    send(self.pid, signal.SIGKILL)
