"""A power switch for durable writes: `atomic.fuse`, used in a forked child that dies for real.

`cut(action, calls)` runs `action` in a child and ends it before durable operation number `calls`
(from 0). Bytes written but not fsynced are torn at that moment, as a disk may tear them. Renaming
a file that was not fsynced is reported at once, wherever the cut.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from archived.storage import atomic

_CUT, _BROKE = 91, 92


class Switch:
    """The fuse. Knows which files' bytes could still be lost."""

    def __init__(self, calls: int) -> None:
        self.calls_left = calls
        self.unsynced: set[Path] = set()
        self.last = ""

    def __call__(self, operation: str, path: Path) -> None:
        gone = {file for file in self.unsynced if not os.path.lexists(file)}
        if gone and self.last == "rename":
            raise AssertionError(f"renamed before they were fsynced: {gone}")
        self.unsynced -= gone
        self.last = operation
        if self.calls_left == 0:
            self.tear()
            os._exit(_CUT)
        self.calls_left -= 1
        if operation == "write":
            self.unsynced.add(path)
        elif operation == "fsync":
            self.unsynced.discard(path)

    def tear(self) -> None:
        for file in self.unsynced:
            if os.path.lexists(file):
                file.chmod(0o600)
                os.truncate(file, file.stat().st_size // 2)


def cut(action: Callable[[], object], calls: int) -> bool:
    """Whether the power went; `False` when `action` ended before that operation came."""
    child = os.fork()
    if child == 0:
        code = _BROKE
        try:
            atomic.fuse = Switch(calls)
            action()
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, _CUT}, f"the child broke ({code}) with {calls} operations allowed"
    return code == _CUT
