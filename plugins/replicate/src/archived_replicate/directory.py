"""The target kind `directory`: a folder on another disk or mount.

Every name is opened component by component without following symbolic links, so that nothing
below the folder can lead out of it. Knows keys and bytes, never what they mean.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self

from pydantic import Field, field_validator, model_validator

from archived.api import Message, Postpone, Size, Target, TargetConfig, check_key
from archived_replicate.digests import CHUNK, digest_stream
from archived_replicate.errors import Problem

INCOMING = ".incoming"
"""Folder of half-written files, outside every key, so that no object ever holds one."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a fifo somebody left there would block us for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LEFT_BEHIND_AFTER = 24 * 3600.0  # seconds; longer than any timeout a step is given


class DirectoryConfig(TargetConfig):
    """Options of a target of the kind `directory`."""

    path: Path = Field(examples=["/mnt/second"])
    """The folder that holds the replicas; absolute. It must exist: archived never creates it."""
    require_mount: bool | Path = False
    """Insist on a mounted disk: true, that `path` itself is a mount point; a folder above `path`,
    such as "/mnt/second", that this folder is one. Set it whenever `path` is on a disk of its
    own."""
    allow_same_filesystem: bool = False
    """Accept a folder on the store's or the system's own file system. For trials only."""
    keep_free: Size = 2**30
    """Space never used up. A copy that would leave less waits."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        if not path.is_absolute():
            raise ValueError('write an absolute path, like "/mnt/second"')
        return path

    @model_validator(mode="after")
    def _mount_is_above(self) -> Self:
        mount = self.mount
        below = mount is not None and (mount == self.path or mount in self.path.parents)
        if mount is not None and (not below or ".." in (*mount.parts, *self.path.parts)):
            raise ValueError("require_mount: write true, or a folder that holds `path`")
        return self

    @property
    def mount(self) -> Path | None:
        """The folder that must be a mount point; `None` when none must."""
        if isinstance(self.require_mount, Path):
            return self.require_mount
        return self.path if self.require_mount else None


class DirectoryTarget(Target[DirectoryConfig]):
    """Replicas in a folder on another file system."""

    kind = "directory"
    version = "1.0"

    def __init__(self, name: str, options: DirectoryConfig) -> None:
        super().__init__(name, options)
        self._durable: set[tuple[str, ...]] = set()
        self._swept = False

    def check(self, beside: Path) -> Iterable[str]:
        """Why this folder must not hold replicas of the store at `beside`, if so (`Problem`s)."""
        try:
            with self._root() as root:
                device = os.fstat(root).st_dev
                disk = os.fstatvfs(root)
        except Postpone as missing:
            yield Problem(
                missing.message.removeprefix(Message("target {name}: ", name=self.name)),
                code=missing.code,
            )
            return
        total = disk.f_blocks * disk.f_frsize
        if total <= self.options.keep_free:
            yield Problem(
                Message(
                    "the whole disk with {path} has {total} MiB, and keep_free leaves "
                    "{keep_free} MiB unused: no copy can ever be written",
                    path=self.options.path,
                    total=total >> 20,
                    keep_free=self.options.keep_free >> 20,
                ),
                code="target-full",
            )
        if self.options.allow_same_filesystem:
            return
        if device == beside.stat().st_dev:
            yield Problem(
                f"{self.options.path} lies on the same file system as the store, so one broken "
                "disk takes both; mount another disk there",
                code="target-same-filesystem",
            )
        elif device == Path("/").stat().st_dev:
            # An unmounted mount point is an empty folder of the system's disk.
            yield Problem(
                f"{self.options.path} lies on the system's own disk; its own disk is probably "
                "not mounted",
                code="target-missing",
            )

    def put(self, source: Path, key: str, sha512: str) -> None:
        """Write `source` durably under `key`, all or nothing.

        Raises `FileExistsError` when other bytes are there, `ValueError` when `source` does not
        have the digest `sha512`, `OSError` (`ENOSPC`) when `keep_free` would be touched.
        """
        *folders, name = self._names(key)
        with self._root() as root, self._folder(root, folders, make=True) as folder:
            there = _digest_at(folder, name)
            if there is None:
                self._write(root, folder, name, source, sha512)
            elif there != sha512:
                raise FileExistsError(errno.EEXIST, "other bytes are there already", key)
            # Also when the bytes were there: whoever renamed them may have died before this.
            os.fsync(folder)

    def replace(self, source: Path, key: str, sha512: str) -> None:
        """Durably put `source` in place of what `key` holds. Raises as `put` otherwise does."""
        *folders, name = self._names(key)
        with self._root() as root, self._folder(root, folders, make=True) as folder:
            self._write(root, folder, name, source, sha512)
            os.fsync(folder)

    def open(self, key: str) -> BinaryIO:
        """The bytes under `key`, from the disk rather than from the page cache."""
        *folders, name = self._names(key)
        with self._root() as root, self._folder(root, folders) as folder:
            file = _open_at(folder, name)
        # Only clean pages are dropped; ours are clean, every write ends in fsync.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file

    def list(self, prefix: str) -> Iterator[str]:
        """Every key below the folder `prefix` (`""`: all). A symbolic link counts as a key, so
        that somebody notices it, but cannot be opened."""
        names = self._names(prefix) if prefix else ()
        with ExitStack() as opened:
            root = opened.enter_context(self._root())
            try:
                folder = opened.enter_context(self._folder(root, names))
            except FileNotFoundError:
                return
            yield from self._below(folder, names)

    def free(self) -> int:
        """Bytes that may still be written: what is free beyond `keep_free`."""
        with self._root() as root:
            return max(0, self._room(root))

    # -- inside -----------------------------------------------------------------------------------

    def _names(self, key: str) -> tuple[str, ...]:
        names = check_key(key)
        if names[0] == INCOMING:
            raise ValueError(f"{key!r} is not a key: {INCOMING} is the target's own")
        return names

    @contextmanager
    def _root(self) -> Iterator[int]:
        path = self.options.path
        try:
            # Only here may a link be followed: the administrator wrote this path.
            root = os.open(path, _FOLDER & ~os.O_NOFOLLOW)
        except OSError as error:
            absent = error.errno in (errno.ENOENT, errno.ENOTDIR)
            raise Postpone(
                Message(
                    "target {name}: cannot open {path}: {why}",
                    name=self.name,
                    path=path,
                    why=error.strerror,
                ),
                code="target-missing" if absent else "target-io",
                hint=Message(
                    "Mount its disk, or create the folder on it; the copy is then made by itself."
                ),
            ) from error
        try:
            mount = self.options.mount
            if mount is not None and not _is_mount(mount):
                raise Postpone(
                    Message(
                        "target {name}: {mount} is not a mount point now{mounted_above}",
                        name=self.name,
                        mount=mount,
                        mounted_above=_mounted_above(mount),
                    ),
                    code="target-missing",
                    hint=Message("Mount its disk there; the copy is then made by itself."),
                )
            if mount is not None and not os.path.samestat(os.fstat(root), path.stat()):
                raise Postpone(  # what is open lies below the disk, where nobody would find it
                    Message(
                        "target {name}: a disk was mounted at {mount} just now",
                        name=self.name,
                        mount=mount,
                    ),
                    code="target-missing",
                    hint=Message("The copy is made by itself."),
                )
            yield root
        finally:
            os.close(root)

    @contextmanager
    def _folder(self, root: int, names: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """The folder `names` lead to, one real folder after the other."""
        here = os.dup(root)
        try:
            for depth, name in enumerate(names, start=1):
                if make:
                    self._make(here, tuple(names[:depth]))
                inner = os.open(name, _FOLDER, dir_fd=here)
                os.close(here)
                here = inner
            yield here
        finally:
            os.close(here)

    def _make(self, parent: int, names: tuple[str, ...]) -> None:
        try:
            os.mkdir(names[-1], 0o750, dir_fd=parent)
        except FileExistsError:
            if names in self._durable:
                return
        # Also for a folder that existed: whoever made it may have died before this.
        os.fsync(parent)
        self._durable.add(names)

    def _write(self, root: int, folder: int, name: str, source: Path, sha512: str) -> None:
        """Bytes and digest first, durable, under a name nobody reads; then one rename."""
        with self._folder(root, [INCOMING], make=True) as incoming:
            self._sweep(incoming)
            scratch = secrets.token_hex(16)
            try:
                with source.open("rb") as reading:
                    self._demand_room(root, os.fstat(reading.fileno()).st_size)
                    file = os.open(scratch, _NEW, 0o440, dir_fd=incoming)
                    try:
                        digest = _copy(reading, file)
                        os.fsync(file)
                    finally:
                        os.close(file)
                _demand(source, digest, sha512)
                os.rename(scratch, name, src_dir_fd=incoming, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(scratch, dir_fd=incoming)
                raise

    def _sweep(self, incoming: int) -> None:
        """Remove what writers that died left behind, once per target object."""
        if self._swept:
            return
        self._swept = True
        for name in os.listdir(incoming):
            with suppress(FileNotFoundError):  # somebody else sweeps as well
                there = os.stat(name, dir_fd=incoming, follow_symlinks=False)
                if (
                    stat.S_ISREG(there.st_mode)
                    and time.time() - there.st_mtime > _LEFT_BEHIND_AFTER
                ):
                    os.unlink(name, dir_fd=incoming)

    def _room(self, root: int) -> int:
        space = os.fstatvfs(root)
        return space.f_bavail * space.f_frsize - self.options.keep_free

    def _demand_room(self, root: int, size: int) -> None:
        if self._room(root) < size:
            raise OSError(
                errno.ENOSPC, f"writing {size} bytes would leave less free than keep_free"
            )

    def _below(self, folder: int, names: tuple[str, ...]) -> Iterator[str]:
        for name in os.listdir(folder):
            if not names and name == INCOMING:
                continue
            inner = (*names, name)
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                with self._folder(folder, [name]) as deeper:
                    yield from self._below(deeper, inner)
                continue
            key = "/".join(inner)
            try:
                check_key(key)
            except ValueError as strange:
                raise OSError(errno.EILSEQ, str(strange)) from None
            yield key


def _demand(source: Path, digest: str, sha512: str) -> None:
    if digest != sha512:
        raise ValueError(f"{source} does not have the digest it should have")


def _open_at(folder: int, name: str) -> BinaryIO:
    file = os.open(name, _FILE, dir_fd=folder)
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode):
        os.close(file)
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "not a file", name)
    return os.fdopen(file, "rb")


def _digest_at(folder: int, name: str) -> str | None:
    try:
        with _open_at(folder, name) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return digest_stream(file)
    except FileNotFoundError:
        return None


def _copy(reading: BinaryIO, file: int) -> str:
    digest = hashlib.sha512()
    while chunk := reading.read(CHUNK):
        digest.update(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(file, rest) :]
    return digest.hexdigest()


def _is_mount(path: Path) -> bool:
    """Whether a disk is mounted where a path leads to, by links too. Versions of Python differ."""
    return os.path.ismount(os.path.realpath(path))


def _mounted_above(path: Path) -> str:
    """Where a disk is mounted when `path` is only a folder on it; else nothing."""
    above = next((folder for folder in path.parents if _is_mount(folder)), Path("/"))
    if above == Path("/"):
        return ""
    return Message(
        ', but {above} is: if that is its disk, write require_mount = "{above}"', above=above
    )
