"""System calls about confinement that Python does not have, and the ends of a seccomp listener.

Each is one function that holds or raises `NotPermitted`. What to take away, and from whom, is
decided elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_SET_PTRACER = 0x59616D61
_PR_SET_SECCOMP = 22

_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 1 << 3, 1 << 5
_RECEIVE, _SEND, _IS_VALID, _GO_ON = 0xC0502100, 0xC0182101, 0x40082102, 1
"""ioctls of a listener (`man 2 seccomp_unotify`), and the flag that lets the call happen."""
NOTIFICATION_SIZE = 80
"""Bytes of `struct seccomp_notif`."""

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_OPENAT2 = 437  # the same on every architecture

Line = tuple[int, int, int, int]
"""One BPF instruction: code, lines to skip if true, lines to skip if false, operand."""


class NotPermitted(OSError):
    """The kernel, or whoever started us, does not allow this confinement."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One call that waits for an answer. `thread` is who called; `raw` is the kernel's struct."""

    id: int
    thread: int
    number: int
    arguments: tuple[int, ...]
    raw: bytes

    @classmethod
    def of(cls, raw: bytes) -> Notification:
        """What `struct seccomp_notif` says."""
        id_, thread, _flags, number, _arch, _ip, *arguments = struct.unpack("=QIIiIQ6Q", raw)
        return cls(id_, thread, number, tuple(arguments), raw)

    def whole(self, place: int) -> int:
        """An argument as the kernel reads a C int."""
        value = self.arguments[place] & 0xFFFFFFFF
        return value - 2**32 if value >= 2**31 else value


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
    """Give up every capability. Root has all, and so has who made a user namespace.

    Without any, nothing is asked for: a hardened unit forbids capset(2).
    """
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    held = ctypes.create_string_buffer(24)  # effective, permitted, inheritable: two words each
    done(libc().capget(header, held), "capget")
    if any(held.raw):
        done(libc().capset(header, bytes(24)), "capset")


def install_filter(program: Sequence[Line], seccomp: int = -1) -> int:
    """Install a seccomp filter, for good. Needs `no_new_privs`.

    With `seccomp`, the number of the system call seccomp(2): makes a listener and returns its
    descriptor. Raises `NotPermitted`, also where somebody listens already (a container of some
    kinds).
    """
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    kept = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(kept))
    if seccomp < 0:
        return done(libc().prctl(_PR_SET_SECCOMP, 2, filter_), "seccomp")
    install = libc().syscall
    found: int = install(seccomp, _SET_MODE_FILTER, _NEW_LISTENER | _WAIT_KILLABLE, filter_)
    if found < 0 and ctypes.get_errno() == errno.EINVAL:  # Linux before 5.19
        found = install(seccomp, _SET_MODE_FILTER, _NEW_LISTENER, filter_)
    return done(found, "seccomp")


def next_call(listener: int) -> Notification | None:
    """One call that waits; `None`: none does now. Does not wait.

    Raises `EOFError` when nobody is left who could ask.
    """
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    events = dict(poll.poll(0)).get(listener, 0)
    if not events & select.POLLIN:  # receiving would wait
        if events:
            raise EOFError
        return None
    asked = bytearray(NOTIFICATION_SIZE)
    try:
        fcntl.ioctl(listener, _RECEIVE, asked)
    except FileNotFoundError:  # who asked is dead
        return None
    return Notification.of(bytes(asked))


def waits_still(listener: int, call: Notification) -> bool:
    """Whether who called still waits: else its number in /proc may be another's by now."""
    try:
        fcntl.ioctl(listener, _IS_VALID, struct.pack("=Q", call.id))
    except OSError:
        return False
    return True


def let_be(listener: int, call: Notification) -> None:
    """Let the call happen. What it points to may have changed since it was asked for."""
    _answer(listener, call, 0, _GO_ON)


def answer(listener: int, call: Notification, error: int = 0) -> None:
    """The call does not happen: it returns 0, or fails with the number `error`."""
    _answer(listener, call, error, 0)


def _answer(listener: int, call: Notification, error: int, flags: int) -> None:
    reply = struct.pack("=QqiI", call.id, 0, -error, flags)
    with contextlib.suppress(FileNotFoundError):  # who asked is dead
        fcntl.ioctl(listener, _SEND, bytearray(reply))


def open_beneath(folder: int, path: bytes) -> int:
    """An `O_PATH` descriptor of what lies at `path` below the open `folder`.

    The kernel follows no link and does not leave the folder, whatever is renamed meanwhile. Raises
    `OSError`.
    """
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    how = struct.pack("=QQQ", flags, 0, resolve)
    found: int = libc().syscall(_OPENAT2, folder, path, how, ctypes.c_size_t(len(how)))
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found


def set_times(descriptor: int, times: bytes | None) -> None:
    """utimensat(2) of what an `O_PATH` descriptor is open on. `times`: two timespec, `None`: now.

    Raises `OSError`.
    """
    link = stat.S_ISLNK(os.fstat(descriptor).st_mode)  # it cannot be named by /proc
    folder, place, flags = (
        (descriptor, b"", 0x1000)
        if link
        else (  # AT_EMPTY_PATH
            -100,
            f"/proc/self/fd/{descriptor}".encode(),
            0,  # AT_FDCWD
        )
    )
    if libc().utimensat(folder, place, times, flags) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
