"""Who was started by whom, as the system tells it in /proc."""

from __future__ import annotations

import os
from pathlib import Path


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
