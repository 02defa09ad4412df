"""A file on disk as `formats` wants to read it. Never follows a link, never waits for a writer."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from archived.intake.formats import Look, look
from archived.storage.atomic import naming


def look_at(path: Path) -> Look:
    """What a file is and whether it is whole. Raises `OSError` that names it."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return look(_Opened(handle))
    except OSError as error:
        raise naming(error, path) from error
    finally:
        with suppress(OSError):  # it was only read: what a close cannot do costs nothing
            os.close(handle)


class _Opened:
    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.size = os.fstat(handle).st_size

    def at(self, offset: int, length: int) -> bytes:
        if offset >= self.size:
            return b""  # also an offset that no file can have
        return os.pread(self._handle, min(length, self.size - offset), offset)
