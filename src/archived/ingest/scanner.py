"""What is in a hot folder now, and whether a file has stopped changing.

Events of the file system are hints; a scan decides. Names are bytes; nothing is opened here. A
folder that cannot be listed is *offline*, which is never the same as empty. Whether a file has
settled is told from two samples of `stat` and our own monotonic clock, never from the file's
times: a scanner's clock may be wrong, and some clients set times. Any difference starts the settle
time again.
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
from typing import NamedTuple, Protocol

from archived.ingest.file_errors import CONNECTION, MACHINE, sentence
from archived.ingest.ignore_rules import OWN_FOLDER, is_own, is_trial
from archived.message import Message

DEEPEST = 64
"""Folders nested deeper than this are not entered; the folder itself is reported."""

_LONGEST = 4094
"""Bytes of a path that the kernel takes (PATH_MAX), without the slash between and the zero."""
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_EVERYBODYS = MACHINE | CONNECTION
"""Errors that say nothing of the one entry that was asked about."""


class FolderOffline(Exception):
    """The hot folder cannot be listed: the share is gone, or rights were taken away."""


class ScanEntry(NamedTuple):
    """One entry that is not a folder, with what `stat` said. `path` is relative to the hot folder.

    With two exceptions: a folder that cannot be looked into is an entry, and `closed` says why; of
    a file about which `stat` fails only the name is known, and `fault` says why.
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
    fault: str = ""

    @property
    def sighting(self) -> StatSample:
        """What tells whether it changes."""
        return StatSample(self.device, self.inode, self.size, self.mtime_ns, self.ctime_ns, self.at)


def scan(
    root: Path, *, recursive: bool = True, own: bytes = OWN_FOLDER, trials: bool = False
) -> Iterator[ScanEntry]:
    """Everything below `root` that is not a folder, but for our answers in `own` and, unless
    `trials`, the files that a probe of the folder makes for seconds.

    Raises `FolderOffline`.

    What vanishes while we walk is passed over: the next scan will tell. A sub-folder that cannot
    be read, or lies too deep, is reported as closed: what is in it is neither seen nor gone. A
    file that `stat` cannot tell about is reported with its `fault`. An error that concerns the
    folder around it as well is not the file's or the sub-folder's.
    """
    folder = os.fsencode(root)
    walk = _Walk(recursive, own, _LONGEST - len(folder), trials)
    try:
        with _opened(folder) as handle:
            yield from walk.below(handle, b"", 0)
    except OSError as error:
        raise FolderOffline(
            Message("{root}: {why}", root=root, why=error.strerror or error)
        ) from error


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
    trials: bool

    def below(self, handle: int, folder: bytes, depth: int) -> Iterator[ScanEntry]:
        with os.scandir(handle) as entries:
            found = sorted((os.fsencode(entry.name), entry) for entry in entries)
        missing: list[tuple[bytes, os.DirEntry[str]]] = []
        for name, entry in found:
            path = folder + b"/" + name if folder else name
            if not folder and not self.trials and is_trial(name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                missing.append((path, entry))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is about this one entry
                _demand(handle, error)
                yield _untold(path, entry, error)
            else:
                if stat.S_ISDIR(status.st_mode) or len(path) > self.longest:
                    yield from self._told(handle, path, status, depth)
                else:
                    yield _seen(path, status)
        if missing:
            yield from self._still_listed(handle, missing, depth)

    def _still_listed(
        self, handle: int, missing: list[tuple[bytes, os.DirEntry[str]]], depth: int
    ) -> Iterator[ScanEntry]:
        """Names that were listed and could not be found: gone by now, or an odd file's."""
        with os.scandir(handle) as entries:
            listed = {os.fsencode(entry.name) for entry in entries}
        for path, entry in missing:
            name = path.rpartition(b"/")[2]
            if name not in listed:
                continue
            try:
                status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            except Exception as error:  # noqa: BLE001 - as above
                _demand(handle, error)
                yield _untold(path, entry, error)
            else:
                yield from self._told(handle, path, status, depth)

    def _told(
        self, handle: int, path: bytes, status: os.stat_result, depth: int
    ) -> Iterator[ScanEntry]:
        folder = stat.S_ISDIR(status.st_mode)
        if len(path) > self.longest:
            why = os.strerror(errno.ENAMETOOLONG)
            yield _seen(path, status, why) if folder else _seen(path, status, fault=why)
        elif not folder:
            yield _seen(path, status)
        elif self.recursive and not is_own(path, self.own):
            yield from self._enter(handle, path, status, depth + 1)

    def _enter(
        self, above: int, path: bytes, status: os.stat_result, depth: int
    ) -> Iterator[ScanEntry]:
        if depth > DEEPEST:
            yield _seen(path, status, f"it lies more than {DEEPEST} folders deep")
            return
        try:
            with _opened(path.rpartition(b"/")[2], above) as handle:
                yield from self.below(handle, path, depth)
        except FolderOffline:
            raise
        except Exception as error:  # noqa: BLE001 - as above, of a folder
            if isinstance(error, OSError) and error.errno in _GONE:
                return
            _demand(above, error)
            yield _seen(path, status, sentence(error))


def _demand(folder: int, error: Exception) -> None:
    """Raise `error` when it is not about one entry of `folder`: the folder itself cannot be asked.

    Then the share is in trouble, and nobody may conclude that files were taken away.
    """
    if isinstance(error, OSError) and error.errno in _EVERYBODYS:
        raise error
    try:
        os.stat(b".", dir_fd=folder)
    except OSError:
        raise error from None


def _untold(path: bytes, entry: os.DirEntry[str], error: Exception) -> ScanEntry:
    """An entry of which only the name is known; its type is what the listing says, if it does."""
    try:
        folder = entry.is_dir(follow_symlinks=False)
    except OSError:
        folder = False
    why = sentence(error)
    mode = stat.S_IFDIR if folder else stat.S_IFREG
    closed, fault = (why, "") if folder else ("", why)
    return ScanEntry(path, mode, 0, 0, 0, 0, 0, time.monotonic(), closed, fault)


def _seen(path: bytes, status: os.stat_result, closed: str = "", fault: str = "") -> ScanEntry:
    return ScanEntry(
        path,
        status.st_mode,
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        time.monotonic(),
        closed,
        fault,
    )


class FileStatus(Protocol):
    """What of `os.stat_result` is looked at."""

    @property
    def st_dev(self) -> int: ...
    @property
    def st_ino(self) -> int: ...
    @property
    def st_size(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_ctime_ns(self) -> int: ...


SETTLE_SECONDS = 15
"""Seconds that a file must have stayed the same, as [intake] settle_time has it by default:
longer than a scanner pauses between pages. Where nobody can tell whether a file is still open,
as with separate accounts for scanners and service, nothing else tells its end."""


class StatSample(NamedTuple):
    """What `stat` said about a file, and when we asked (monotonic seconds)."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    at: float

    def same_as(self, other: StatSample) -> bool:
        """True when nothing that `stat` can tell has changed."""
        return (self.device, self.inode, self.size, self.mtime_ns, self.ctime_ns) == (
            other.device,
            other.inode,
            other.size,
            other.mtime_ns,
            other.ctime_ns,
        )

    def is_of(self, status: FileStatus) -> bool:
        """True when nothing has changed by what `stat` says now."""
        return (self.device, self.inode, self.size, self.mtime_ns, self.ctime_ns) == (
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )


def unchanged_since(first: StatSample | None, last: StatSample) -> StatSample:
    """The sighting from which on the file has looked the same: `first`, or `last` if it changed."""
    return first if first is not None and first.same_as(last) else last


def has_settled(first: StatSample, last: StatSample, settle_time: float) -> bool:
    """True when a file has looked the same for `settle_time` seconds."""
    return first.same_as(last) and last.at - first.at >= settle_time
