"""A kept worker's side of the line by which its fork server tells it of its further steps.

What is done here between two steps is for an honest stage: nothing of one document is left open,
running or printed into the next one's log by accident. A worker that a document has taken over does
none of it. What holds then is done outside: see `engine/worker/kept.py`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from archived.engine.sandbox import confinement
from archived.engine.sandbox.syscalls import libc
from archived.engine.worker.forkserver_child import BEGUN, DONE, JOB, LAST
from archived.engine.worker.handover import SECRETS_LIMIT

_DESCRIPTORS = 3
_MEMORY_SHARE = 2
"""A worker that has taken more than one in so many of its memory is replaced."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """A further step: its job, where it answers, and the files of its secrets."""

    job: dict[str, Any]
    reply: int
    secrets: Sequence[int]


class KeptConnection:
    """The worker's end. `job` is the first one: what it says of folders and limits is for all."""

    def __init__(self, fd: int, job: Mapping[str, Any]) -> None:
        self._line = socket.socket(fileno=fd)
        self._places = tuple(job["folders"].values())
        self._memory = job["limits"]["memory"]
        self._at_first = confinement.address_space()
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def rest(self, reply: int) -> None:
        """A step has ended and its result is said: let go of all that was its own, and say so."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        libc().fflush(None)  # what a library in C has printed waits in a buffer of its own
        for number in (1, 2):
            os.dup2(self._null, number)
        os.close(reply)
        for clock in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(clock, 0)
        os.chdir("/")
        gc.collect()
        self._line.send(LAST if self._is_used_up() or self._holds_files() else DONE)

    def next(self) -> NextStep:
        """Wait for a further step and take it. Ends the process when there is none any more."""
        said, fds, _, _ = socket.recv_fds(self._line, 16, _DESCRIPTORS + SECRETS_LIMIT)
        if said != JOB or len(fds) < _DESCRIPTORS:
            self._end()
        asked, reply, output, *secrets = fds
        with open(asked, "rb") as file:  # noqa: PTH123 - a descriptor
            job = json.load(file)
        for number in (1, 2):
            os.dup2(output, number)
        os.close(output)
        _wait_for_the_killed()
        limit_processor(job["limits"]["cpu_seconds"])
        return NextStep(job, reply, secrets)

    def begin(self) -> None:
        """Say that the step has begun: from here on it counts as an attempt."""
        self._line.send(BEGUN)

    @staticmethod
    def _end() -> NoReturn:
        os._exit(0)

    def _is_used_up(self) -> bool:
        """What leaks from step to step would be an innocent document's failure in the end."""
        grown = confinement.address_space() - self._at_first
        return self._memory is not None and grown > self._memory // _MEMORY_SHARE

    def _holds_files(self) -> bool:
        """Whether a file of the step's document or folder is still open, or in memory."""
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(entry.readlink()).startswith(self._places):
                    return True
        mapped = Path("/proc/self/maps").read_bytes()
        return any(os.fsencode(place) in mapped for place in self._places)


def limit_processor(seconds: int | None) -> None:
    """Processor time from now on: of this process for one step, and of each program it starts.

    Only what the kernel tells this process. Whoever ignores that is killed from outside.
    """
    if seconds is None:
        return
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    with contextlib.suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(used) + seconds + 1, hard))


def _wait_for_the_killed() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
