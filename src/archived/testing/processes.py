"""Programs of tests: where they are, what runs below them, and waiting for what they do."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class DaemonError(AssertionError):
    """The daemon did not do what was waited for. The text says what, and has the log's end."""


def until(
    condition: Callable[[], Any],
    what: str,
    seconds: float = 60.0,
    else_show: Callable[[], Any] = str,
) -> Any:
    """Poll until `condition` is true; returns what it returned. Raises `DaemonError`.

    Often at first, then ten times a second: who asks all the time takes the time it waits for.
    """
    began = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - began
        if waited > seconds:
            raise DaemonError(f"not within {seconds:g} s: {what} {else_show()}")
        time.sleep(min(0.1, 0.02 + waited / 10))
    return found


def program(name: str) -> str:
    """The command beside this interpreter, or the one on PATH. Raises `DaemonError`."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise DaemonError(f"{name} is not installed here")
    return found


def lives(pid: int) -> bool:
    """Not what only waits for its parent (in a container maybe for ever)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid: int) -> list[int]:
    """The processes that a process started and has not reaped."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


def processes_below(pid: int) -> Iterator[int]:
    """A process's children, theirs, and so on."""
    for child in children_of(pid):
        yield child
        yield from processes_below(child)
