"""Where a durable call stands in the program, by names and text and not by line numbers."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import FrameType

import archived
from archived.storage import atomic

_OURS = str(Path(archived.__file__).parent)


def place_of_call() -> str:
    """Who outside `storage.atomic` asked for it, and the calls within, outermost first.

    `spool.take_in: publish_folder(staged, ...) > fsync_folder(final.parent)`, say.
    """
    calls: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != atomic.__file__:
        frame = frame.f_back
    who = "test"
    while frame is not None:
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        file = frame.f_code.co_filename
        if file == atomic.__file__:
            if not text.startswith("os.fsync(handle") and (not calls or calls[-1] != text):
                calls.append(text)
        elif file.startswith(_OURS):
            who = f"{Path(file).stem}.{frame.f_code.co_name}"
            calls.append(text)
            break
        else:
            calls.append(text.removeprefix("lambda: "))
            break
        frame = frame.f_back
    return f"{who}: {' > '.join(reversed(calls))}"
