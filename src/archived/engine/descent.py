"""Who was started by whom, as the system tells it in /proc; and how the descendants are killed."""

from __future__ import annotations

import contextlib
import os
import signal
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


def kill_below(root: int) -> int:
    """Kill what descends from a process, itself excepted; how many were alive.

    What ends meanwhile leaves its own children to `root`, so nothing is left only when none was
    found. One that is dead and that `root` has not waited for does not count. Raises `OSError`
    when the system cannot tell.
    """
    found, unseen = 0, [(root, child) for child in children_of(root)]
    while unseen:
        parent, pid = unseen.pop()
        with contextlib.suppress(ProcessLookupError):
            process = os.pidfd_open(pid)
            try:
                # Opened, its number cannot become another's: whose it is can be asked now.
                if _parent(pid) != parent or _is_dead(pid):
                    continue
                unseen += [(pid, child) for child in children_of(pid)]
                signal.pidfd_send_signal(process, signal.SIGKILL)
                found += 1
            finally:
                os.close(process)
    return found


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
