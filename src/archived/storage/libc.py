"""Kernel calls on descriptors that Python has no function for: openat2(2) and renameat2(2).

`OSError` is raised as the `os` module raises it. Where the kernel lacks a call, or a filter
forbids it, the same is done with the calls that there are.
"""

from __future__ import annotations

import ctypes
import errno
import os

AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_OPENAT2 = 437
"""The same number on every architecture that Debian supports."""
_NO_SYMLINKS, _BENEATH = 0x04, 0x08
"""RESOLVE_NO_SYMLINKS also forbids the magic links of /proc."""
_LACKING = frozenset({errno.ENOSYS, errno.EPERM, errno.E2BIG, errno.EINVAL, errno.EAGAIN})
"""No such call, a filter that forbids it, or a rename elsewhere at the same moment."""
_WAY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(folder: int, path: bytes, flags: int) -> int:
    """Open `path`, relative to an open folder; no link on the way is followed, none leads out.

    Raises `OSError`: ELOOP where a link is, ENOENT and ENOTDIR as open(2) does. Mount points on the
    way are crossed: only an administrator can put one there.
    """
    how = _How(flags | os.O_CLOEXEC, 0, _BENEATH | _NO_SYMLINKS)
    handle: int = _syscall(
        ctypes.c_long(_OPENAT2),
        ctypes.c_int(folder),
        ctypes.c_char_p(path),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if handle >= 0:
        return handle
    number = ctypes.get_errno()
    if number in _LACKING:
        return open_by_parts(folder, path, flags)
    raise OSError(number, os.strerror(number), os.fsdecode(path))


def open_by_parts(folder: int, path: bytes, flags: int) -> int:
    """As `open_beneath`, one component at a time: for kernels before 5.6."""
    *way, name = path.split(b"/")
    if any(part in {b"", b".", b".."} for part in (*way, name)):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), os.fsdecode(path))
    handle = folder
    try:
        for part in way:
            deeper = os.open(part, _WAY, dir_fd=handle)
            if handle != folder:
                os.close(handle)
            handle = deeper
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
    finally:
        if handle != folder:
            os.close(handle)


def rename_noreplace(
    source: bytes, path: bytes, *, source_folder: int = AT_FDCWD, folder: int = AT_FDCWD
) -> None:
    """Rename, never over an existing name. Raises `OSError`: EINVAL or ENOSYS where the file
    system cannot promise that.
    """
    if _libc.renameat2(source_folder, source, folder, path, _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        names = os.fsdecode(source), os.fsdecode(path)
        raise OSError(number, os.strerror(number), names[0], None, names[1])
