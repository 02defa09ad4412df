"""A file of a hot folder, opened once: looked at, leased, copied and removed on that descriptor.

Whoever may write to a share may put a link in place of a folder, or another file in place of a
file, at any moment. So no link on the way is followed, the file is compared with the one that the
scan saw, and its name is only used in the folder that was opened on the way, wherever that is by
then.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from archived.ingest.filetypes import Inspection, inspect
from archived.ingest.watcher import lease_refused
from archived.storage.atomic import OpenFile, naming
from archived.storage.libc import open_beneath

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK = 512
"""What `st_blocks` counts, whatever the file system's own blocks are."""


@contextmanager
def folder_of(root: Path, path: bytes) -> Iterator[int]:
    """The folder in which the file at `path` below `root` lies, as a descriptor for names in it.

    Raises `OSError` (ENOENT, ENOTDIR, or ELOOP for a link) when a folder on the way is not there.
    The hot folder itself may be reached through links: it is the administrator's own.
    """
    handle = os.open(root, _FOLDER)
    try:
        way, _, _ = path.rpartition(b"/")
        if way:
            above, handle = handle, -1
            try:
                handle = open_beneath(above, way, _FOLDER)
            finally:
                os.close(above)
        yield handle
    finally:
        if handle >= 0:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """An open file. `folder` is the descriptor of the folder that it was found in, `shown` the path
    that errors name.
    """

    folder: int
    name: str
    open_file: OpenFile

    @property
    def _handle(self) -> int:
        return self.open_file.file.fileno()

    @property
    def here(self) -> Path:
        """Its name in the folder that was opened, good as long as this is open."""
        return Path(f"/proc/self/fd/{self.folder}") / self.name

    def status(self) -> os.stat_result:
        """What the file itself says. Raises `OSError` that names it."""
        try:
            return os.fstat(self._handle)
        except OSError as error:
            raise naming(error, self.open_file) from error

    def named(self, name: str = "") -> os.stat_result | None:
        """What lies under its name, or another, in the folder that was opened; no link followed."""
        try:
            return os.stat(name or self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise naming(error, self.open_file) from error

    def has_its_name(self) -> bool:
        """Whether its name still leads to this very file."""
        there, own = self.named(), self.status()
        return there is not None and (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)

    def look(self) -> Inspection:
        """What it is and whether it is whole. Raises `OSError` that names it."""
        try:
            return inspect(_Bytes(self._handle))
        except OSError as error:
            raise naming(error, self.open_file) from error

    def has_writer(self) -> bool | None:
        """Whether somebody has it open for writing; `None` where the kernel cannot tell."""
        return lease_refused(self._handle)

    def has_holes(self, *, ask_blocks: bool) -> bool:
        """Whether parts of it were never written, or may not have been.

        A program that reserves a file's full size shows that size before the bytes are there. The
        kernel is asked for the first hole. `ask_blocks`: the blocks on the disk are compared with
        the size as well, for mounts that cannot tell about holes; compression looks the same
        there. No block at all is a file system that does not count them.
        """
        own = self.status()
        if own.st_size == 0:
            return False
        try:
            hole = os.lseek(self._handle, 0, os.SEEK_HOLE)
        except OSError:  # ENXIO: it has become empty; EINVAL: not known there
            hole = own.st_size
        return hole < own.st_size or (
            ask_blocks and own.st_blocks > 0 and own.st_blocks * _BLOCK < own.st_size
        )


@contextmanager
def open_source(root: Path, path: bytes) -> Iterator[SourceFile]:
    """The file at `path` below `root`, until the end of the block. Never waits for a writer.

    Raises `OSError` that names it: ELOOP where a link is, ENXIO for what is no file.
    """
    shown = Path(os.fsdecode(os.path.join(os.fsencode(root), path)))  # noqa: PTH118 - bytes names
    name = os.fsdecode(path.rpartition(b"/")[2])
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(folder_of(root, path))
            handle = os.open(name, _FILE, dir_fd=folder)
        except OSError as error:
            raise naming(error, shown) from error
        with _closed_on_error(handle, shown):
            _demand_regular(handle)
        file = os.fdopen(handle, "rb")
        stack.callback(_close, file)
        yield SourceFile(folder, name, OpenFile(file, shown))


@contextmanager
def _closed_on_error(handle: int, shown: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        os.close(handle)
        raise naming(error, shown) from error
    except Exception:
        os.close(handle)
        raise


def _demand_regular(handle: int) -> None:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise OSError(errno.ENXIO, "it is not a regular file any more")


def _close(file: BinaryIO) -> None:
    with suppress(OSError), file:  # it was only read: what a close cannot do costs nothing
        pass


class _Bytes:
    """The file's bytes as `formats` wants to read them."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.size = os.fstat(handle).st_size

    def at(self, offset: int, length: int) -> bytes:
        if offset >= self.size:
            return b""  # also an offset that no file can have
        return os.pread(self._handle, min(length, self.size - offset), offset)
