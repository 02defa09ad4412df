"""Folders whose content somebody else made: walked and removed, whatever their shape.

A process that was taken over can leave folders nested thousands deep, names longer together than
any path may be, millions of entries, folders of mode 0000, links, pipes. So nothing here recurses,
and nothing is opened by a path: folders are opened by name in an open folder, never through a
link. The number of open descriptors has a limit that does not depend on the tree.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from archived.storage.libc import rename_noreplace

_DEEPEST = 16
"""Open folders while a tree is removed; what lies deeper is moved up into the tree's own root."""
_AT_ONCE = 512
"""Names of folders that are remembered of one listing: a folder may hold millions."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_HOLDS_SOMETHING = frozenset({errno.ENOTEMPTY, errno.EEXIST})


class EntryKind(StrEnum):
    """What an entry is, without following a link."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"
    """A link, a pipe, a socket or a device."""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a tree. `folder` is the descriptor of the folder that holds it; it is closed
    when the walk goes on.
    """

    folder: int
    name: str
    kind: EntryKind
    above: tuple[str, ...]
    """Names of the folders on the way to it, from the root on."""


# Walking ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Level:
    identity: tuple[int, int]
    entries: Iterator[tuple[str, EntryKind]]
    name: str


def walk(root: Path) -> Iterator[TreeEntry]:
    """Everything below `root`, in the order of names; each folder after what it holds.

    One folder is open at a time. The way back up is `..`, which must be the folder that was left.
    Raises `OSError`, ESTALE when a folder was moved meanwhile.
    """
    handle = os.open(root, _FOLDER)
    try:
        way = [_level(handle, "")]
        while True:
            level = way[-1]
            names = tuple(each.name for each in way[1:])
            for name, kind in level.entries:
                if kind is EntryKind.FOLDER:
                    above, handle = handle, os.open(name, _FOLDER, dir_fd=handle)
                    os.close(above)
                    way.append(_level(handle, name))
                    break
                yield TreeEntry(handle, name, kind, names)
            else:
                way.pop()
                if not way:
                    return
                left, handle = handle, os.open("..", _FOLDER, dir_fd=handle)
                os.close(left)
                if _identity(handle) != way[-1].identity:
                    raise OSError(errno.ESTALE, "a folder was moved while it was read", str(root))
                yield TreeEntry(handle, level.name, EntryKind.FOLDER, names[:-1])
    finally:
        os.close(handle)


def _level(handle: int, name: str) -> _Level:
    with os.scandir(handle) as entries:
        found = sorted((entry.name, _kind(entry)) for entry in entries)
    return _Level(_identity(handle), iter(found), name)


def _kind(entry: os.DirEntry[str]) -> EntryKind:
    if entry.is_dir(follow_symlinks=False):
        return EntryKind.FOLDER
    return EntryKind.FILE if entry.is_file(follow_symlinks=False) else EntryKind.OTHER


def _identity(handle: int) -> tuple[int, int]:
    it = os.fstat(handle)
    return it.st_dev, it.st_ino


@contextmanager
def temporary(prefix: str, folder: Path | None = None) -> Iterator[Path]:
    """A new folder for a child to work in, removed afterwards as far as that can be."""
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        yield made
    finally:
        with suppress(OSError):
            remove(made, seconds=30.0)


# Removing --------------------------------------------------------------------------------------


def remove(root: Path, *, seconds: float = float("inf")) -> None:
    """Remove a folder and all below it, read-only or closed or not. Never follows a link, never
    enters a file system that is mounted in it.

    Raises the first `OSError` that something gave which is left over, and `TimeoutError` after
    `seconds`. All else is gone then, as long as no folder holds hundreds (`_AT_ONCE`) that cannot
    be removed.
    """
    above = os.open(root.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.lstat(root.name, dir_fd=above).st_mode):
            os.unlink(root.name, dir_fd=above)
            return
        try:
            os.rmdir(root.name, dir_fd=above)
        except OSError as error:
            if error.errno not in _HOLDS_SOMETHING:
                raise  # EBUSY: something is mounted there, and is not ours to remove
        else:
            return
        handle = _entered(above, root.name)
        try:
            removal = _Removal(handle, time.monotonic() + seconds)
            while removal.a_pass():
                pass
        finally:
            os.close(handle)
        try:
            os.rmdir(root.name, dir_fd=above)
        except OSError as error:
            raise removal.why or error from None
    finally:
        os.close(above)


def _entered(above: int, name: str) -> int:
    """A folder, opened for all that its owner may do. Raises `OSError`."""
    try:
        handle = os.open(name, _FOLDER, dir_fd=above)
    except PermissionError:
        # Its mode forbids that. The descriptor is the folder itself, so no link is followed.
        way = os.open(name, _FOLDER | os.O_PATH, dir_fd=above)
        try:
            os.chmod(f"/proc/self/fd/{way}", 0o700)  # noqa: PTH101 - a descriptor, not a path
            handle = os.open(f"/proc/self/fd/{way}", _FOLDER & ~os.O_NOFOLLOW)
        finally:
            os.close(way)
    if stat.S_IMODE(os.fstat(handle).st_mode) & 0o700 != 0o700:
        with suppress(OSError):
            os.fchmod(handle, 0o700)
    return handle


@dataclass(slots=True)
class _Folder:
    """A folder that is being emptied. `gone`: how many folders in it were removed or moved since it
    was listed; `more`: whether the listing was broken off.
    """

    handle: int
    name: str
    pending: list[str] = field(default_factory=list)
    listed: bool = False
    more: bool = False
    gone: int = 0

    @property
    def done(self) -> bool:
        """Whether another listing could find nothing new."""
        return self.listed and not (self.more and self.gone)


class _Removal:
    def __init__(self, root: int, give_up: float) -> None:
        self._root = root
        self._give_up = give_up
        self._removed = 0
        self.why: OSError | None = None
        """The first reason why something is left."""

    def a_pass(self) -> bool:
        """Go through the tree once; whether that removed or moved anything."""
        before, self.why = self._removed, None
        way = [_Folder(self._root, "")]
        try:
            while way:
                self._go_on(way)
        finally:
            for folder in way[1:]:
                os.close(folder.handle)
        return self._removed > before

    def _go_on(self, way: list[_Folder]) -> None:
        folder = way[-1]
        if folder.pending:
            self._descend(way, folder, folder.pending.pop())
        elif not folder.done:
            self._list(folder)
        else:
            way.pop()
            if way:
                os.close(folder.handle)
                way[-1].gone += self._tried(os.rmdir, folder.name, way[-1].handle)

    def _descend(self, way: list[_Folder], folder: _Folder, name: str) -> None:
        """Enter a folder that is not empty, or move it up when it lies too deep for that."""
        try:
            if len(way) < _DEEPEST:
                way.append(_Folder(_entered(folder.handle, name), name))
                return
            self._open_up(folder.handle, name)
            rename_noreplace(
                os.fsencode(name),
                secrets.token_hex(16).encode(),
                source_folder=folder.handle,
                folder=self._root,
            )
            folder.gone += 1
            self._removed += 1
        except OSError as error:
            self._failed(error)

    @staticmethod
    def _open_up(above: int, name: str) -> None:
        """A folder's own mode must allow that it is moved: its `..` changes."""
        os.close(_entered(above, name))

    def _list(self, folder: _Folder) -> None:
        """Remove every file and every empty folder; remember some of the other folders."""
        folder.listed, folder.more, folder.gone = True, False, 0
        try:
            with os.scandir(folder.handle) as entries:
                for entry in entries:
                    self._demand_time()
                    if self._is_left(entry, folder):
                        folder.pending.append(entry.name)
                    if len(folder.pending) >= _AT_ONCE:
                        folder.more = True
                        return
        except TimeoutError:
            raise
        except OSError as error:
            self._failed(error)

    def _is_left(self, entry: os.DirEntry[str], folder: _Folder) -> bool:
        """Whether it is a folder that must be emptied first."""
        try:
            is_folder = entry.is_dir(follow_symlinks=False)
        except OSError as error:
            self._failed(error)
            return False
        if not is_folder:
            self._tried(os.unlink, entry.name, folder.handle)
            return False
        try:
            os.rmdir(entry.name, dir_fd=folder.handle)
        except OSError as error:
            if error.errno in _HOLDS_SOMETHING:
                return True
            self._failed(error)  # EBUSY: something is mounted there
            return False
        self._removed += 1
        folder.gone += 1
        return False

    def _tried(self, remove_it: Callable[..., None], name: str, folder: int) -> bool:
        try:
            remove_it(name, dir_fd=folder)
        except FileNotFoundError:
            return True
        except OSError as error:
            self._failed(error)
            return False
        self._removed += 1
        return True

    def _failed(self, error: OSError) -> None:
        # What is left because something in it is left is not the reason.
        if self.why is None or self.why.errno in _HOLDS_SOMETHING:
            self.why = error

    def _demand_time(self) -> None:
        if time.monotonic() > self._give_up:
            raise TimeoutError(errno.ETIMEDOUT, "it holds more than can be removed in the time")
