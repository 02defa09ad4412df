"""Landlock: from now on this process reaches only the files it is told of.

Lines of ctypes around three system calls, for the ABI the running kernel has (`man 7 landlock`).
Which files a step may reach is not known here.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from enum import IntFlag

from archived.engine.sandbox.syscalls import NotPermitted, done, libc

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_ASK_VERSION = 1
_PATH_BENEATH = 1

REFER_ABI, TRUNCATE_ABI, TCP_ABI, IOCTL_ABI, SIGNAL_ABI = 2, 3, 4, 5, 6
"""The first ABI that knows renaming across folders, truncation, TCP, device ioctls, signals."""
NEWEST_ABI = 6
"""The newest whose rights are known here; what later ones added is not used."""


class Access(IntFlag):
    """What may be done below a path: the kernel's bits."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15

    LIST = READ_DIR
    READ = READ_FILE | READ_DIR
    RUN = READ | EXECUTE
    USE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
    """A device such as /dev/null."""
    CHANGE = (
        READ
        | WRITE_FILE
        | TRUNCATE
        | REMOVE_DIR
        | REMOVE_FILE
        | REFER
        | MAKE_DIR
        | MAKE_REG
        | MAKE_SOCK
        | MAKE_FIFO
        | MAKE_SYM
    )
    """All but devices and starting programs."""


_OF_FILES = (
    Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
)
"""What a rule on something that is no folder may speak of."""

Rule = tuple[str, Access]


def version() -> int:
    """The kernel's Landlock ABI. Raises `NotPermitted` when it has none, saying why."""
    found = libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    return done(found, "landlock")


def restrict(rules: Iterable[Rule], *, tcp: bool, abi: int) -> None:
    """Allow what `rules` say, on files, and nothing else; for good, children included.

    Paths that cannot be found are left out: there is nothing to allow. Without `tcp`, TCP is
    forbidden (from `TCP_ABI`). From `SIGNAL_ABI` on, processes outside cannot be sent signals, nor
    their abstract sockets be reached. Needs `no_new_privs` and a process of one thread. `abi` is
    at most `version()`. Raises `NotPermitted`.
    """
    abi = min(abi, NEWEST_ABI)
    known = int(_known(abi))
    net = 0 if tcp else 0b11  # bind, connect
    scope = 0b11  # abstract sockets, signals
    fields = (known, net, scope)[: 1 if abi < TCP_ABI else 2 if abi < SIGNAL_ABI else 3]
    attribute = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = done(
        libc().syscall(_CREATE_RULESET, attribute, ctypes.c_size_t(len(attribute)), 0), "landlock"
    )
    try:
        add = libc().syscall
        for path, access in rules:
            _allow(add, ruleset, path, int(access) & known)
        done(libc().syscall(_RESTRICT_SELF, ruleset, 0), "landlock")
    finally:
        os.close(ruleset)


def _known(abi: int) -> Access:
    known = Access((1 << 13) - 1)
    for since, more in (
        (REFER_ABI, Access.REFER),
        (TRUNCATE_ABI, Access.TRUNCATE),
        (IOCTL_ABI, Access.IOCTL_DEV),
    ):
        if abi >= since:
            known |= more
    return known


def _allow(add: ctypes._NamedFuncPointer, ruleset: int, path: str, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            access &= int(_OF_FILES)
        if not access:
            return
        rule = struct.pack("=Qi", access, place)
        if add(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0) != 0:
            number = ctypes.get_errno()
            raise NotPermitted(number, f"landlock: {path}: {os.strerror(number)}")
    finally:
        os.close(place)
