"""Opens a small file that somebody named, and never waits: pipes, devices, folders are refused."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def opened(path: Path, largest: int) -> Iterator[BinaryIO]:
    """A file of at most `largest` bytes, until the end of the block. Links are followed.

    Raises `OSError`: EINVAL for what is no file, EFBIG for one that is larger. A file may grow
    while it is read: read `largest` bytes of it at most.
    """
    # With O_NONBLOCK a pipe is opened at once, whether or not somebody writes to it.
    with os.fdopen(os.open(path, _FLAGS), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a file", str(path))
        if status.st_size > largest:
            raise OSError(errno.EFBIG, f"larger than {largest} bytes", str(path))
        yield file
