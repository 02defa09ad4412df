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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from archived.intake.rules import OWN_FOLDER, is_own
from archived.intake.settle import Sighting

DEEPEST = 64
"""Folders nested deeper than this are not entered; the folder itself is reported."""

_LONGEST = 4094
"""Bytes of a path that the kernel takes (PATH_MAX), without the slash between and the zero."""
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
    folder = os.fsencode(root)
    walk = _Walk(recursive, own, _LONGEST - len(folder))
    try:
        with _opened(folder) as handle:
            yield from walk.below(handle, b"", 0)
    except OSError as error:
        raise FolderOffline(f"{root}: {error.strerror}") from error


def mount_point(path: Path) -> Path:
    """The deepest folder, `path` itself or one above it, at which another file system begins."""
    path = path.resolve()
    while not path.is_mount() and path != path.parent:
        path = path.parent
    return path


@contextmanager
def _opened(name: bytes, above: int | None = None) -> Iterator[int]:
    """A folder, by its name in the one above it: whoever puts a link in the place of either leads
    nobody elsewhere.
    """
    follow = 0 if above is None else os.O_NOFOLLOW
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=above)
    try:
        yield handle
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True)
class _Walk:
    recursive: bool
    own: bytes
    longest: int
    """Bytes of a path below the hot folder that can still be opened by name."""

    def below(self, handle: int, folder: bytes, depth: int) -> Iterator[Seen]:
        with os.scandir(handle) as entries:
            found = sorted((os.fsencode(entry.name), entry) for entry in entries)
        for name, entry in found:
            path = folder + b"/" + name if folder else name
            if len(path) > self.longest:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(status.st_mode):
                yield _seen(path, status)
            elif self.recursive and not is_own(path, self.own):
                yield from self._enter(handle, path, status, depth + 1)

    def _enter(self, above: int, path: bytes, status: os.stat_result, depth: int) -> Iterator[Seen]:
        if depth > DEEPEST:
            yield _seen(path, status, f"it lies more than {DEEPEST} folders deep")
            return
        try:
            with _opened(path.rpartition(b"/")[2], above) as handle:
                yield from self.below(handle, path, depth)
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
