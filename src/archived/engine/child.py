"""What a fork server knows of its children: one step's process, and whoever else is its child."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archived.engine.births import Births


@dataclass(eq=False)
class Child:
    """One step's process. `why` is set when we were the ones to kill it."""

    step: str
    pid: int
    watch: int
    reply: int
    output: int
    began: float
    ends: float
    births: Births
    hand: int
    """Where it hands its listener over."""
    asks: int = -1
    """The listener, as soon as it is here; answered by `births`."""
    why: str = ""
    line: bytearray = field(default_factory=bytearray)
    head: bytes = b""
    tail: bytes = b""
    answer: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] | None = None
    """Set once it is dead and waits for its stray descendants to be gone."""
    sweep_until: float = 0.0
    told: float = 0.0

    def kill(self, why: str) -> None:
        """Kill it and its group. Until it is waited for, its pid cannot be another's."""
        if self.end is None:
            self.why = self.why or why
            for send in (os.killpg, os.kill):  # it may not have made its group yet
                with contextlib.suppress(ProcessLookupError):
                    send(self.pid, signal.SIGKILL)


def own_children() -> list[int]:
    """The pids of this process's children, the dead but not yet waited for included.

    Raises `OSError` when the system cannot tell (out of open files, say).
    """
    return children_of(os.getpid())


def children_of(pid: int) -> list[int]:
    """As `own_children`, of any process; of one that is gone, none."""
    try:
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN, one that failed us, or a thread ended
        return [other for other in _processes() if _parent(other) == pid]


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
