"""Notes what a stage's Python code writes outside its folder.

Loaded into the kit's fork servers as if it were a plug-in; it gives no stages. It sees what
Python does (`sys.addaudithook`), not what libraries in C or other programs do.
"""

from __future__ import annotations

import os
import sys
from typing import Any

NOTES = "written-outside"
"""Name of the list, in the step's temporary folder: one path a line."""

_PATHS = {
    "os.chmod": (0,),
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
    "sqlite3.connect": (0,),
}
"""Audit event -> which of its arguments are paths that change."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_noting = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITES:
            _note(path)
    elif event in _PATHS:
        for index in _PATHS[event]:
            _note(arguments[index])


def _note(path: object) -> None:
    global _noting  # noqa: PLW0603 - writing the note is itself an open
    temporary = os.environ.get("TMPDIR")
    if _noting or temporary is None or not isinstance(path, str | bytes | os.PathLike):
        return
    _noting = True
    try:
        real = os.path.realpath(os.fsdecode(path))
        own = os.path.realpath(os.path.dirname(temporary))  # noqa: PTH120 - a hook stays cheap
        if not real.startswith((own + "/", "/dev/", "/proc/")) and real != own:
            with open(os.path.join(temporary, NOTES), "a") as notes:  # noqa: PTH118, PTH123
                notes.write(real + "\n")
    finally:
        _noting = False


sys.addaudithook(_hook)
