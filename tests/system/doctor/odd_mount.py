"""A FUSE mount with the habits of foreign file systems; run by an interpreter that has fusepy.

Usage: odd_mount.py BACKING MOUNTPOINT. Names are composed (NFC) and of one case, as on some file
servers; times have steps of two seconds, as on FAT; a name has 200 bytes at most.
"""

# A file system is written in system calls.
# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH119, PTH208

from __future__ import annotations

import errno
import os
import sys
import unicodedata
from typing import Any

try:
    from fuse import FUSE, FuseOSError, Operations
except ImportError:
    from fusepy import FUSE, FuseOSError, Operations

FIELDS = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid", "st_atime", "st_mtime", "st_ctime")


class Odd(Operations):
    """Everything is passed on to the folder behind."""

    def __init__(self, root: str) -> None:
        self.root = root

    def __call__(self, op: str, path: str, *rest: Any) -> Any:
        if len(os.path.basename(path).encode("utf-8", "surrogateescape")) > 200:
            raise FuseOSError(errno.ENAMETOOLONG)
        try:
            return super().__call__(op, self.behind(path), *rest)
        except OSError as error:
            raise FuseOSError(error.errno or errno.EIO) from None

    def behind(self, path: str) -> str:
        return self.root + unicodedata.normalize("NFC", path).lower()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = os.lstat(path)
        told = {key: getattr(status, key) for key in FIELDS}
        for key in ("st_mtime", "st_ctime"):
            told[key] = told[key] // 2 * 2
        return told

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(path)]

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags & ~os.O_CREAT)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(path, length)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        os.fsync(fh)

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        return 0

    def rename(self, path: str, other: str) -> None:
        os.rename(path, self.behind(other))

    def link(self, path: str, other: str) -> None:
        raise FuseOSError(errno.EPERM)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def utimens(self, path: str, times: Any = None) -> None:
        os.utime(path, times)

    def statfs(self, path: str) -> dict[str, int]:
        told = os.statvfs(path)
        keys = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_frsize", "f_namemax")
        return {key: getattr(told, key) for key in keys}


if __name__ == "__main__":
    FUSE(Odd(sys.argv[1]), sys.argv[2], foreground=True, nothreads=True)
