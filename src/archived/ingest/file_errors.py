"""Whose error is it: one file's, or that of the machine, the spool or the share? Pure.

An error about one file holds that file, and the sweep goes on with the next one. An error about
what all files need never holds a file: nothing is wrong with it.
"""

from __future__ import annotations

import errno
import os
from enum import StrEnum
from pathlib import Path

from archived.errors import CatalogError
from archived.message import Message

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""There is no room where the bytes would go."""
MACHINE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}) | NO_ROOM
"""This machine has run out of something, whatever file was asked about."""
CONNECTION = frozenset(
    {
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ESHUTDOWN,
        errno.ENONET,
        errno.ENOLINK,
        errno.ECOMM,
        errno.EPIPE,
        errno.ENODEV,
    }
)
"""The file system cannot be reached: all of its files are concerned."""
IN_USE = frozenset({errno.EBUSY, errno.EAGAIN, errno.ETXTBSY, errno.EDEADLK, errno.EINTR})
"""Somebody else has the file, for a while: file servers say so of a file that is being written."""
CHANGED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO})
"""What lies under the name is not what the scan saw: usually the next scan tells."""

_LONGEST = 300
"""Characters of an error's text that are put on record."""


class FaultOwner(StrEnum):
    """Whose an error is, and so what becomes of the file that was being attended to."""

    FILE = "file"
    """It is held by its name, and the sweep goes on."""
    CHANGED = "changed"
    """It is not what the scan saw: the next scan looks again."""
    IN_USE = "in use"
    """It is waited for, up to the hot folder's deadline."""
    WORLD = "world"
    """Nothing is wrong with it: the spool, the machine or the connection is in trouble."""
    CATALOG = "catalog"
    """Nothing can be recorded: the sweep ends."""


def fault_owner(error: Exception, path: Path) -> FaultOwner:
    """Whose error came up while the file at `path` was attended to."""
    if isinstance(error, CatalogError):
        return FaultOwner.CATALOG
    if not isinstance(error, OSError):
        return FaultOwner.FILE
    if not is_about(error, path):
        return FaultOwner.WORLD
    if error.errno in CHANGED:
        return FaultOwner.CHANGED
    return FaultOwner.IN_USE if error.errno in IN_USE else FaultOwner.FILE


def is_about(error: OSError, path: Path) -> bool:
    """Whether an error names this file, and is none of the machine's or the connection's."""
    if error.errno in MACHINE | CONNECTION or not isinstance(error.filename, str | bytes):
        return False
    return os.fsencode(error.filename) == os.fsencode(path)


def hold_code(error: Exception) -> str:
    """The code with which an error of its own holds a file."""
    if isinstance(error, PermissionError):
        return "unreadable"
    return "read-error" if isinstance(error, OSError) else "intake-failed"


def sentence(error: BaseException) -> str:
    """An error's text, for a record: one line that any encoding can carry."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if error.args and isinstance(error.args[0], Message):
        return error.args[0]
    told = recordable(" ".join(str(error).split()))[:_LONGEST]
    kind = type(error).__name__
    return f"{kind}: {told}" if told else kind


def recordable(text: str) -> str:
    """Text that can be written as UTF-8: a lone surrogate is shown as its number."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if shown == text else shown
