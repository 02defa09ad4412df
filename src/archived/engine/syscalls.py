"""System calls that take something away from this process for good and that Python does not have.

Each is one function that holds or raises `NotPermitted`. What to take away, and from whom, is
decided elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22

_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 1 << 3, 1 << 5
_RECEIVE, _SEND, _GO_ON = 0xC0502100, 0xC0182101, 1
"""ioctls of a listener (`man 2 seccomp_unotify`), and the flag that lets the call happen."""

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
_CLONE_PARENT = 0x00008000

_LOAD, _EQUAL, _AT_LEAST, _ANY_OF, _SKIP, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x05, 0x54, 0x06
"""BPF: LD|W|ABS, JMP|JEQ|K, JMP|JGE|K, JMP|JSET|K, JMP|JA, ALU|AND|K, RET|K."""
_ALLOW, _DENY, _ABSENT, _REFUSE = 0x7FFF0000, 0x0005000D, 0x00050026, 0x0005006F
"""SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO with EACCES, ENOSYS or ECONNREFUSED."""
_ASK = 0x7FC00000  # SECCOMP_RET_USER_NOTIF
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


def ask_for_births() -> int:
    """From now on every new process and thread waits until the listener's holder says `let_be`.

    Returns the listener's descriptor; without one open they all fail. clone3 hides its flags from
    a filter, so it is told to be absent, and C libraries use clone. A process cannot be given to
    the parent's parent (`CLONE_PARENT`): nobody would count it there. io_uring is forbidden: it
    has threads of the kernel work for it. Raises `NotPermitted`, also where somebody listens
    already (a container of some kinds).
    """
    _, calls = _machine()
    return _filter(
        [
            (_EQUAL, 9, 0, 425),  # io_uring_setup
            (_EQUAL, 7, 0, 435),  # clone3
            (_EQUAL, 4, 0, calls["fork"]),
            (_EQUAL, 3, 0, calls["vfork"]),
            (_EQUAL, 0, 3, calls["clone"]),
            (_LOAD, 0, 0, _FIRST),  # the flags
            (_ANY_OF, 3, 0, _CLONE_PARENT),
            (_RETURN, 0, 0, _ASK),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _ABSENT),
            (_RETURN, 0, 0, _DENY),
        ],
        listen=True,
    )


def next_birth(listener: int) -> int | None:
    """The number of one birth that waits; `None`: none does now. Does not wait.

    Raises `EOFError` when nobody is left who could ask.
    """
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    events = dict(poll.poll(0)).get(listener, 0)
    if not events & select.POLLIN:  # receiving would wait
        if events:
            raise EOFError
        return None
    asked = bytearray(80)  # struct seccomp_notif
    try:
        fcntl.ioctl(listener, _RECEIVE, asked)
    except FileNotFoundError:  # who asked is dead
        return None
    return int.from_bytes(asked[:8], sys.byteorder)


def let_be(listener: int, birth: int, *, refused: int = 0) -> None:
    """Let it happen, or have it fail with the error number `refused`."""
    answer = struct.pack("=QqiI", birth, 0, -refused, 0 if refused else _GO_ON)
    with contextlib.suppress(FileNotFoundError):  # who asked is dead
        fcntl.ioctl(listener, _SEND, bytearray(answer))


def _machine() -> tuple[int, dict[str, int]]:
    """The audit number of this machine's architecture, and the numbers of the calls we name."""
    none = 2**32 - 1
    known = {
        "x86_64": (0xC000003E, {
            "socket": 41, "truncate": 76, "open": 2, "openat": 257, "seccomp": 317,
            "clone": 56, "fork": 57, "vfork": 58,
        }),
        "aarch64": (0xC00000B7, {
            "socket": 198, "truncate": 45, "open": none, "openat": 56, "seccomp": 277,
            "clone": 220, "fork": none, "vfork": none,
        }),
    }  # fmt: skip
    if platform.machine() not in known or sys.maxsize < 2**32:
        raise NotPermitted(0, f"not written for {platform.machine()}")
    return known[platform.machine()]


def _filter(rest: Sequence[Line], *, listen: bool = False) -> int:
    """Install a filter: `rest` begins with the call's number loaded; its last line denies.

    With `listen`, returns the descriptor of its listener.
    """
    architecture, calls = _machine()
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
    if not listen:
        return done(libc().prctl(_PR_SET_SECCOMP, 2, filter_), "seccomp")
    install = libc().syscall
    flags = _NEW_LISTENER | _WAIT_KILLABLE
    found: int = install(calls["seccomp"], _SET_MODE_FILTER, flags, filter_)
    if found < 0 and ctypes.get_errno() == errno.EINVAL:  # Linux before 5.19
        found = install(calls["seccomp"], _SET_MODE_FILTER, _NEW_LISTENER, filter_)
    return done(found, "seccomp")
