"""Ends processes that were born with a mark in their environment, and waits until they are gone."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_EXITING = 0x4
"""`PF_EXITING` of Linux's `sched.h`: it ends, but may still hold its folder and its files."""


def kill_marked(mark: str, seconds: float) -> None:
    """Kill all processes whose environment holds `mark` ("NAME=value") and wait for their end.

    Gives up after `seconds`. A process that replaced its whole environment is not found; a service
    manager's control group (systemd's `KillMode=`) is what gets those.
    """
    until = time.monotonic() + seconds
    rounds_without = 0
    while rounds_without < 2 and time.monotonic() < until:  # one inside `execve` shows none
        rounds_without = 0 if _kill_once(mark.encode(), until) else rounds_without + 1


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
