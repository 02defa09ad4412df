"""Processes as /proc shows them: descendants, marked processes, their usage, and their end.

What cannot be read counts as not there, or as nothing used.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import time
from collections.abc import Iterator
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


_EXITING = 0x4
"""`PF_EXITING` of Linux's `sched.h`: it ends, but may still hold its folder and its files."""


def kill_marked(mark: str, seconds: float) -> None:
    """Kill all processes whose environment holds `mark` ("NAME=value") and wait for their end.

    Gives up after `seconds`. A process that replaced its whole environment is not found: see
    `kill_adopted`.
    """
    until = time.monotonic() + seconds
    rounds_without = 0
    while rounds_without < 2 and time.monotonic() < until:  # one inside `execve` shows none
        rounds_without = 0 if _kill_once(mark.encode(), until) else rounds_without + 1


def kill_adopted(seconds: float) -> int:
    """Kill children of this process that it did not start: what steps leave whose fork server died
    is given to us by the kernel (`prctl(2)`, PR_SET_CHILD_SUBREAPER). How many there were.

    They are told by what no process can take off again: a step's may gain no privileges and has
    system call filters, and whatever else this process starts is confined as it is itself. Where
    it is confined as much as a step, nothing is killed. Gives up after `seconds`.
    """
    until, found = time.monotonic() + seconds, 0
    own = _confinement(os.getpid())
    while time.monotonic() < until:
        more = [pid for pid in children_of(os.getpid()) if _exceeds(_confinement(pid), own)]
        if not more:
            return found
        for pid in more:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)  # our child: until we wait for it its number stays
                while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < until:
                    time.sleep(0.002)
                found += 1
    return found


def _confinement(pid: int) -> tuple[int, int]:
    """Whether it may gain no privileges, and its number of system call filters."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    found = dict(_CONFINED.findall(text))
    return int(found.get("NoNewPrivs", 0)), int(found.get("Seccomp_filters", 0))


def _exceeds(that: tuple[int, int], own: tuple[int, int]) -> bool:
    return that[0] > own[0] or that[1] > own[1]


def _kill_once(needle: bytes, until: float) -> bool:
    """Whether there were any, or some could not be looked at."""
    with contextlib.ExitStack() as opened:
        waited_for: list[int] = []
        any_marked = False
        try:
            for process, is_marked in _marked_or_ending(needle):
                opened.callback(os.close, process)
                waited_for.append(process)
                if is_marked:
                    any_marked = True
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(process, signal.SIGKILL)
        except OSError:  # out of open files, say
            any_marked = True
            time.sleep(0.01)
        for process in waited_for:
            end = select.poll()
            end.register(process, select.POLLIN)
            end.poll(1000 * max(0.0, until - time.monotonic()))
    return any_marked


def _marked_or_ending(needle: bytes) -> Iterator[tuple[int, bool]]:
    """Descriptors (`pidfd_open(2)`), each with whether it is a marked one's.

    A process that ends has no environment any more, so that whose it is cannot be told: those of
    this account are all named. Each descriptor is the caller's to close.
    """
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            process = os.pidfd_open(int(entry.name))
            try:
                marked = needle in _environment(entry)
                named = marked or _is_ending(entry)
            except BaseException:
                os.close(process)
                raise
            if named:
                yield process, marked
            else:
                os.close(process)


def _environment(entry: Path) -> bytes:
    """Empty of a process that is ending; Linux answers it in one of two ways."""
    try:
        return (entry / "environ").read_bytes()
    except ProcessLookupError:
        return b""


def _is_ending(entry: Path) -> bool:
    fields = (entry / "stat").read_text().rpartition(")")[2].split()
    return fields[0] != "Z" and bool(int(fields[6]) & _EXITING)


_CONFINED = re.compile(r"^(NoNewPrivs|Seccomp_filters):\s+(\d+)$", re.MULTILINE)
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_RESET_PEAK = "5"
"""What sets `VmHWM` back to what is used now (`proc_pid_clear_refs(5)`)."""


def cpu_of(pid: int) -> float:
    """Seconds of processor time, with those of the children that it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) * _TICK


def peak_of(pid: int) -> int:
    """Bytes that it held in memory at most, since the last `reset_peak`."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def reset_peak(pid: int) -> None:
    """Begin to count anew. Where that is not allowed it is counted from the process's start."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)
