"""Durable writes: the only module that calls `os.replace`, `os.rename`, `os.link` or `os.fsync`.

A function here has either happened, durably, when it returns, or left every published name as it
was. It knows paths and bytes, never what they mean. `OSError` passes through unchanged.

Every durable operation announces itself to `fuse` first, so that a test can cut the power before
any of them (see `step`).
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from archived.storage import tree
from archived.storage.libc import rename_noreplace

fuse: Callable[[str, Path], None] | None = None
"""Called as `fuse(operation, path)` before each durable operation; `None` outside tests.

Operations: `mkdir`, `write` (before each piece of content), `fsync` (a file), `fsync-folder`,
`rename`, `link`, `unlink`, `remove-tree`, `commit` (of a catalog transaction). A test's fuse ends
the process (`os._exit`) or raises a `BaseException` that is no `Exception`: those are never
cleaned up after, like a power cut.
"""

SCRATCH_PREFIX = ".archived-"
"""Files whose name starts so are unfinished writes; whoever owns the folder may clear them."""

_CHUNK = 1 << 20
_SAME_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""What lies under the name itself: no link is followed, and a pipe makes nobody wait."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What went through a copy: bytes and lower-case hex digests, from a single read."""

    size: int
    sha256: str
    sha512: str


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that was opened once and is read as it is, whatever its name leads to by now. `path`
    is what errors name.
    """

    file: BinaryIO
    path: Path


Source = Path | bytes | OpenFile
"""Where bytes come from."""


def step(operation: str, path: Path) -> None:
    """Announce a durable operation. Other storage modules call it before their own commits."""
    if fuse is not None:
        fuse(operation, path)


def write_file(
    path: Path,
    content: bytes | Iterable[bytes],
    *,
    mode: int = 0o644,
    replace: bool = True,
    scratch: Path | None = None,
) -> None:
    """Put `content` under `path`, whole and durable or not at all; the folder must exist.

    `replace=False` raises `FileExistsError` rather than replace. `scratch` is another folder of
    the same file system for the unfinished file, for folders in which no stray name may appear
    (an OCFL object); by default it lies beside `path`. Calls: write.., fsync, rename, fsync-folder.
    """
    with _unfinished(scratch or path.parent) as unfinished:
        with _created(unfinished, mode) as file:
            for piece in (content,) if isinstance(content, bytes) else content:
                step("write", unfinished)
                file.write(piece)
            file.flush()
            step("fsync", unfinished)
            os.fsync(file.fileno())
        _rename(unfinished, path, replace=replace)
    fsync_folder(path.parent)


def copy_durably(source: Path, path: Path, *, mode: int = 0o444) -> Copied:
    """Copy to a new name, whole and durable or not at all; never over an existing name.

    Hashes what it writes, in one read. A symbolic link as source raises `OSError` (ELOOP), an
    existing `path` `FileExistsError`. Calls: write.., fsync, rename, fsync-folder.
    """
    with _unfinished(path.parent) as unfinished:
        copied = copy_file(source, unfinished, mode=mode)
        fsync_file(unfinished)
        _rename(unfinished, path, replace=False)
    fsync_folder(path.parent)
    return copied


def copy_file(source: Source, path: Path, *, mode: int = 0o444) -> Copied:
    """Copy to a new name in a folder nobody sees yet, hashing in one read; bytes are a source
    too. **Not** durable by itself: `publish_folder` makes it so, in one pass over the folder.

    An `OSError` of the source names it (`filename`); one of the copy never does.
    """
    sha256, sha512, size = hashlib.sha256(), hashlib.sha512(), 0
    with _opened(source) as origin, _created(path, mode) as file:
        while piece := _read(origin, source):
            step("write", path)
            file.write(piece)
            sha256.update(piece)
            sha512.update(piece)
            size += len(piece)
    return Copied(size, sha256.hexdigest(), sha512.hexdigest())


@contextmanager
def open_beneath(folder: Path, path: str) -> Iterator[OpenFile]:
    """A file below a folder, opened to be read; no link is followed on the way to it, nor at it.

    Raises `OSError`, also for what is no regular file.
    """
    *above, name = PurePosixPath(path).parts or ("",)
    if not name or ".." in (*above, name) or path.startswith("/"):
        raise OSError(errno.EINVAL, "not a path below the folder", path)
    handle = os.open(folder, _SAME_FILE | os.O_DIRECTORY)
    try:
        for each in above:
            inner = os.open(each, _SAME_FILE | os.O_DIRECTORY, dir_fd=handle)
            os.close(handle)
            handle = inner
        opened = os.open(name, _SAME_FILE, dir_fd=handle)
    except OSError as error:
        raise naming(error, folder / path) from error
    finally:
        os.close(handle)
    with regular_file(opened, folder / path) as file:
        yield OpenFile(file, folder / path)


def move_file(source: Path, path: Path) -> None:
    """Give a file (already durable) a new name on the same file system, never replacing one.

    Raises `FileExistsError` when `path` exists, `OSError` (EXDEV) across file systems. Calls:
    rename (or link, unlink), fsync-folder on the new folder, then on the old one. A crash before
    the last leaves one name or the other (with the fallback for old file systems: or both).
    """
    _rename(source, path, replace=False)
    fsync_folder(path.parent)
    if source.parent != path.parent:
        fsync_folder(source.parent)


def gather(source: Path, staged: Path) -> None:
    """Move a file into a folder nobody sees yet, never replacing one. **Not** durable by itself:
    `publish_folder` makes it so.
    """
    _rename(source, staged, replace=False)


def publish_folder(staged: Path, final: Path) -> None:
    """Give a finished folder its final name: all of it durable, or the name does not exist.

    Makes missing parents of `final`. Raises `FileExistsError` when `final` exists, even empty.
    Calls: fsync and fsync-folder bottom-up over `staged`, mkdir and fsync-folder for each missing
    parent, one rename, fsync-folder of `final.parent`, then of `staged.parent`.
    """
    fsync_tree(staged)
    make_folder(final.parent)
    _rename(staged, final, replace=False)
    fsync_folder(final.parent)
    fsync_folder(staged.parent)


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """`mkdir -p`, durable: each new folder's parent is fsynced. Existing folders are left alone.

    A parent is fsynced also when the folder was there already but might be the leftover of a
    crash between the two calls: only the deepest existing one can be, so only that is repeated.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    if missing:
        # A parent we may not read is none that we made.
        with suppress(PermissionError):
            fsync_folder(path.parent)
    for folder in reversed(missing):
        step("mkdir", folder)
        folder.mkdir(mode=mode, exist_ok=True)
        fsync_folder(folder.parent)


def remove_file(path: Path, *, missing_ok: bool = False) -> None:
    """Remove one name, durably. Calls: unlink, fsync-folder."""
    step("unlink", path)
    path.unlink(missing_ok=missing_ok)
    fsync_folder(path.parent)


def remove_tree(folder: Path, *, seconds: float = float("inf")) -> None:
    """Remove a folder and all below it, read-only or not; absent is fine. Never follows links.

    Not atomic: a crash leaves a part. Rename it away first where a part would be seen. Raises
    `OSError` when something is left, `TimeoutError` after `seconds` (see `tree.remove`).
    """
    if not os.path.lexists(folder):
        return
    step("remove-tree", folder)
    tree.remove(folder, seconds=seconds)
    fsync_folder(folder.parent)


def same_bytes(one: Path | OpenFile, other: Path | OpenFile) -> bool:
    """Whether two files hold the same bytes, by reading both."""
    with _opened(one) as first, _opened(other) as second:
        if os.fstat(first.fileno()).st_size != os.fstat(second.fileno()).st_size:
            return False
        while piece := first.read(_CHUNK):
            if piece != second.read(_CHUNK):
                return False
        return not second.read(1)


def begins_with(longer: Path | OpenFile, shorter: Path) -> bool:
    """Whether a file begins with all the bytes of another, by reading them."""
    with _opened(longer) as first, _opened(shorter) as second:
        while piece := second.read(_CHUNK):
            if first.read(len(piece)) != piece:
                return False
        return True


def digest(path: Path) -> Copied:
    """Size and both digests of a file, in one read. Never follows a link."""
    sha256, sha512, size = hashlib.sha256(), hashlib.sha512(), 0
    with _opened(path) as file:
        while piece := file.read(_CHUNK):
            sha256.update(piece)
            sha512.update(piece)
            size += len(piece)
    return Copied(size, sha256.hexdigest(), sha512.hexdigest())


def read_bytes(path: Path) -> bytes:
    """The whole of a small file. Never follows a link."""
    with _opened(path) as file:
        return file.read()


def fsync_file(path: Path) -> None:
    """Make a file's bytes durable. Its *name* is durable only once its folder is fsynced."""
    with _opened(path) as file:
        step("fsync", path)
        os.fsync(file.fileno())


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    step("fsync-folder", path)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(folder: Path) -> None:
    """Make a folder durable, files first, each folder after what it holds.

    Anything that is neither file nor folder (a link, a socket) raises `OSError` (EINVAL): it
    cannot be made durable and has no business in a published folder.
    """
    for found in tree.walk(folder):
        path = folder.joinpath(*found.above, found.name)
        if found.kind is tree.EntryKind.OTHER:
            raise OSError(errno.EINVAL, "neither a file nor a folder", str(path))
        step("fsync-folder" if found.kind is tree.EntryKind.FOLDER else "fsync", path)
        handle = os.open(found.name, _SAME_FILE, dir_fd=found.folder)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    fsync_folder(folder)


def _rename(source: Path, path: Path, *, replace: bool) -> None:
    step("rename", path)
    if replace:
        source.replace(path)
        return
    try:
        rename_noreplace(os.fsencode(source), os.fsencode(path))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        _rename_without_renameat2(source, path)


def _rename_without_renameat2(source: Path, path: Path) -> None:
    """For file systems without RENAME_NOREPLACE (NFS, some FUSE)."""
    if stat.S_ISDIR(source.lstat().st_mode):
        # The kernel refuses a folder that is not empty; one writer per store makes the check
        # for an empty one good enough.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        source.rename(path)
        return
    step("link", path)
    os.link(source, path, follow_symlinks=False)
    step("unlink", source)
    source.unlink()


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    path = folder / f"{SCRATCH_PREFIX}{secrets.token_hex(8)}"
    try:
        yield path
    except Exception:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def _created(path: Path, mode: int) -> Iterator[BinaryIO]:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        yield file


def _read(file: BinaryIO, source: Source) -> bytes:
    try:
        return file.read(_CHUNK)
    except OSError as error:
        raise naming(error, source) from error


def naming(error: OSError, source: Source) -> OSError:
    """The same error with the name of the file that it is about: calls on descriptors know none."""
    path = source.path if isinstance(source, OpenFile) else source
    name = "" if isinstance(path, bytes) else str(path)
    return OSError(error.errno, error.strerror, name)


@contextmanager
def _opened(path: Source) -> Iterator[BinaryIO]:
    if isinstance(path, bytes):
        yield io.BytesIO(path)
        return
    if isinstance(path, OpenFile):
        # From the end: a seek within what is buffered would read nothing anew.
        path.file.seek(0, os.SEEK_END)
        path.file.seek(0)
        yield path.file
        return
    with regular_file(os.open(path, _SAME_FILE), path) as file:
        yield file


def regular_file(handle: int, path: Path) -> BinaryIO:
    """What was opened, to be read. What is no file is closed, and refused with an `OSError` that
    names it: `os.fdopen` refuses a folder too, but leaves it open.
    """
    try:
        mode = os.fstat(handle).st_mode
    except OSError as error:
        os.close(handle)
        raise naming(error, path) from error
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(number, "not a regular file", str(path))
