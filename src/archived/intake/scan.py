"""What is in a hot folder, now. Events are hints; this is the truth.

Names are bytes throughout; nothing is opened here. A folder that cannot be listed is *offline*,
which is never the same as empty.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from archived.intake.rules import OWN_FOLDER, is_own
from archived.intake.settle import Sighting

DEEPEST = 64
"""Folders nested deeper than this are not entered; the folder itself is reported."""

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG})


class FolderOffline(Exception):
    """The hot folder cannot be listed: the share is gone, or rights were taken away."""


class Seen(NamedTuple):
    """One entry that is not a folder, with what `stat` said. `path` is relative to the hot folder.

    With one exception: a folder that cannot be looked into is an entry, and `closed` says why.
    One flat tuple: each sweep makes one of every file that is there, and most are only counted.
    """

    path: bytes
    mode: int
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    at: float
    """When `stat` was asked (monotonic seconds)."""
    closed: str = ""

    @property
    def sighting(self) -> Sighting:
        """What tells whether it changes."""
        return Sighting(self.device, self.inode, self.size, self.mtime_ns, self.ctime_ns, self.at)


def scan(root: Path, *, recursive: bool = True, own: bytes = OWN_FOLDER) -> Iterator[Seen]:
    """Everything below `root` that is not a folder, our answers in `own` apart.

    Raises `FolderOffline`.

    A sub-folder that vanishes while we walk is passed over: the next scan will tell. One that may
    not be read, or lies too deep, is reported as closed: what is in it is neither seen nor gone.
    """
    try:
        yield from _walk(os.fsencode(root), b"", recursive=recursive, own=own, depth=0)
    except OSError as error:
        raise FolderOffline(f"{root}: {error.strerror}") from error


def mount_point(path: Path) -> Path:
    """The deepest folder, `path` itself or one above it, at which another file system begins."""
    path = path.resolve()
    while not path.is_mount() and path != path.parent:
        path = path.parent
    return path


def _walk(root: bytes, below: bytes, *, recursive: bool, own: bytes, depth: int) -> Iterator[Seen]:
    with os.scandir(os.path.join(root, below)) as entries:  # noqa: PTH118 - bytes names
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = below + b"/" + entry.name if below else entry.name
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield _seen(path, status)
        elif recursive and not is_own(path, own):
            yield from _enter(root, path, status, own, depth + 1)


def _enter(
    root: bytes, path: bytes, status: os.stat_result, own: bytes, depth: int
) -> Iterator[Seen]:
    if depth > DEEPEST:
        why = f"it lies more than {DEEPEST} folders deep"
        yield _seen(path, status, why)
        return
    try:
        yield from _walk(root, path, recursive=True, own=own, depth=depth)
    except OSError as error:
        if error.errno in _CLOSED:
            yield _seen(path, status, error.strerror or "")
        elif error.errno not in _GONE:
            raise  # the share is in trouble: nobody may conclude that files were taken away


def _seen(path: bytes, status: os.stat_result, closed: str = "") -> Seen:
    return Seen(
        path, status.st_mode, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns,
        status.st_ctime_ns, time.monotonic(), closed,
    )  # fmt: skip
