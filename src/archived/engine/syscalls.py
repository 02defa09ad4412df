"""System calls that take something away from this process for good and that Python does not have.

Each is one function that holds or raises `NotPermitted`. What to take away, and from whom, is
decided elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_OF, _SKIP, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x05, 0x54, 0x06
"""BPF: LD|W|ABS, JMP|JEQ|K, JMP|JGE|K, JMP|JSET|K, JMP|JA, ALU|AND|K, RET|K."""
_ALLOW, _DENY, _ABSENT, _REFUSE = 0x7FFF0000, 0x0005000D, 0x00050026, 0x0005006F
"""SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO with EACCES, ENOSYS or ECONNREFUSED."""
_FIRST, _SECOND, _THIRD = 16, 24, 32
"""Where the low halves of a call's arguments lie in `seccomp_data`, on little-endian machines."""

Line = tuple[int, int, int, int]
"""One BPF instruction: code, lines to skip if true, lines to skip if false, operand."""


class NotPermitted(OSError):
    """The kernel, or whoever started us, does not allow this confinement."""


def libc() -> ctypes.CDLL:
    """The C library, with `errno` kept for `done`."""
    return ctypes.CDLL(None, use_errno=True)


def done(result: int, name: str) -> int:
    """The call's result. Raises `NotPermitted` if the call `name` failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise NotPermitted(number, f"{name}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    zero = ctypes.c_ulong(0)
    done(libc().prctl(option, ctypes.c_ulong(value), zero, zero, zero), "prctl")


def unshare(flags: int) -> None:
    """unshare(2)."""
    done(libc().unshare(flags), "unshare")


def drop_capabilities() -> None:
    """Give up every capability. A new user namespace gives all of them; no stage needs one."""
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    done(libc().capset(header, bytes(24)), "capset")


def forbid_internet_sockets() -> None:
    """Forbid, by a seccomp filter, every socket that is not a local (AF_UNIX) one.

    Needs `no_new_privs`. io_uring is forbidden as well: it can open sockets past the filter.
    """
    _, calls = _machine()
    _filter(
        [
            (_EQUAL, 4, 0, 425),  # io_uring_setup
            (_EQUAL, 0, 2, calls["socket"]),
            (_LOAD, 0, 0, _FIRST),  # the address family
            (_EQUAL, 0, 1, int(socket.AF_UNIX)),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _DENY),
        ]
    )


def forbid_local_sockets() -> None:
    """Forbid, by a seccomp filter, to make a local (AF_UNIX) socket; pairs are not touched.

    Refused like a connection to a service that is not there, which every client can explain.
    """
    _, calls = _machine()
    _filter(
        [
            (_EQUAL, 4, 0, 425),  # io_uring_setup
            (_EQUAL, 0, 2, calls["socket"]),
            (_LOAD, 0, 0, _FIRST),  # the address family
            (_EQUAL, 1, 0, int(socket.AF_UNIX)),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _REFUSE),
        ]
    )


def forbid_emptying() -> None:
    """Forbid, by a seccomp filter, to shorten a file without having it open for writing.

    Landlock before ABI 3 does not know of truncation: truncate(2), and open(2) with `O_TRUNC` but
    without writing, would empty files outside. openat2 hides its flags from a filter, so it is
    told to be absent, as on an old kernel. io_uring is forbidden: it opens files past the filter.
    """
    _, calls = _machine()
    _filter(
        [
            (_EQUAL, 14, 0, 425),  # io_uring_setup
            (_EQUAL, 13, 0, calls["truncate"]),
            (_EQUAL, 11, 0, 437),  # openat2
            (_EQUAL, 2, 0, calls["open"]),
            (_EQUAL, 3, 0, calls["openat"]),
            (_RETURN, 0, 0, _ALLOW),
            (_LOAD, 0, 0, _SECOND),  # the flags of open
            (_SKIP, 0, 0, 1),
            (_LOAD, 0, 0, _THIRD),  # the flags of openat
            (_ANY_OF, 0, 3, os.O_TRUNC),
            (_AND, 0, 0, os.O_ACCMODE),
            (_EQUAL, 1, 0, os.O_WRONLY),
            (_EQUAL, 0, 2, os.O_RDWR),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _ABSENT),
            (_RETURN, 0, 0, _DENY),
        ]
    )


def _machine() -> tuple[int, dict[str, int]]:
    """The audit number of this machine's architecture, and the numbers of the calls we name."""
    known = {
        "x86_64": (0xC000003E, {"socket": 41, "truncate": 76, "open": 2, "openat": 257}),
        "aarch64": (0xC00000B7, {"socket": 198, "truncate": 45, "open": 2**32 - 1, "openat": 56}),
    }
    if platform.machine() not in known or sys.maxsize < 2**32:
        raise NotPermitted(0, f"not written for {platform.machine()}")
    return known[platform.machine()]


def _filter(rest: Sequence[Line]) -> None:
    """Install a filter: `rest` begins with the call's number loaded; its last line denies."""
    architecture, _ = _machine()
    end = len(rest) - 1
    program: list[Line] = [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_EQUAL, 0, end + 2, architecture),  # another architecture's numbers mean other calls
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        (_AT_LEAST, end, 0, 0x40000000),  # x32 calls of x86_64
        *rest,
    ]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    kept = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(kept))
    done(libc().prctl(_PR_SET_SECCOMP, 2, filter_), "seccomp")
