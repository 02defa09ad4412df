"""The seccomp filter of a step's process: an allow-list over every known system call.

The calls and the rule of each are data (`system_calls.toml`), read once by a fork server. A filter
compares numbers: it sees no path and no structure. A call that depends on one of those is passed
to the listener (`engine.sandbox.seccomp_listener`) or does not exist.
"""

from __future__ import annotations

import errno
import os
import platform
import signal
import socket
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from archived.engine.sandbox.syscalls import Line, NotPermitted

RULES = (
    "allowed",
    "checked",
    "own",
    "birth",
    "signal",
    "change",
    "attribute",
    "ipc",
    "absent",
    "refused",
)
"""What may become of a call; explained in `system_calls.toml`."""

_MACHINES = {"x86_64": (0xC000003E, 1), "aarch64": (0xC00000B7, 2)}
"""Machine -> its audit number (AUDIT_ARCH_*), and the column of its numbers."""


@dataclass(frozen=True, slots=True)
class SystemCall:
    """One system call. `rule` is one of `RULES`."""

    name: str
    rule: str


def architecture(machine: str = "") -> int:
    """The audit number of a machine's architecture, else of this one's. Raises `NotPermitted`."""
    return _known(machine)[0]


def table(machine: str = "") -> Mapping[int, SystemCall]:
    """Number -> call, on the named machine, else on this one. Raises `NotPermitted`."""
    return _table(_known(machine)[1])


def number(name: str) -> int:
    """The number of a call on this machine. Raises `NotPermitted` where it has none."""
    for found, call in table().items():
        if call.name == name:
            return found
    raise NotPermitted(0, f"{name} does not exist on {platform.machine()}")


def _known(machine: str) -> tuple[int, int]:
    machine = machine or platform.machine()
    if machine not in _MACHINES or sys.maxsize < 2**32:
        raise NotPermitted(0, f"not written for {machine}")
    return _MACHINES[machine]


@cache
def _table(column: int) -> Mapping[int, SystemCall]:
    text = (
        resources.files("archived.engine.sandbox").joinpath("system_calls.toml").read_text("utf-8")
    )
    return MappingProxyType(
        {
            entry[column]: SystemCall(name, entry[0])
            for name, entry in sorted(tomllib.loads(text).items(), key=lambda each: each[1][column])
            if entry[column] >= 0
        }
    )


_LOAD, _EQUAL, _AT_LEAST, _ANY_OF, _SKIP, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x05, 0x54, 0x06
"""BPF: LD|W|ABS, JMP|JEQ|K, JMP|JGE|K, JMP|JSET|K, JMP|JA, ALU|AND|K, RET|K."""
_ERRNO, _ASK, _ALLOW = 0x00050000, 0x7FC00000, 0x7FFF0000
"""SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF, SECCOMP_RET_ALLOW."""
_DENY, _ABSENT = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS

NAMESPACES = 0x7E020000
"""Every CLONE_NEW* that clone(2) knows."""
CLONE_PARENT = 0x00008000
"""A process given to the parent's parent: nobody would count it there."""
_SET_ID = 0o6000

_PRCTL = (
    2,
    3,
    4,
    7,
    15,
    16,
    21,
    23,
    27,
    29,
    30,
    34,
    37,
    38,
    39,
    40,
    41,
    42,
    50,
    51,
    52,
    53,
    54,
    55,
    56,
    63,
    64,
    65,
    66,
    0x53564D41,
)
"""PR_GET_PDEATHSIG, *_DUMPABLE, GET_KEEPCAPS, *_NAME, GET_SECCOMP, CAPBSET_READ, GET_SECUREBITS,
*_TIMERSLACK, MCE_KILL_GET, GET_CHILD_SUBREAPER, *_NO_NEW_PRIVS, GET_TID_ADDRESS, *_THP_DISABLE,
SVE_*, *_SPECULATION_CTRL, PAC_RESET_KEYS, *_TAGGED_ADDR_CTRL, SME_*, *_MDWE, SET_VMA (names)."""
_FCNTL = (
    *range(8),
    9,
    11,
    16,
    36,
    37,
    38,
    1025,
    1027,
    1028,
    *range(1030, 1039),
)
"""All but who is signalled (F_SETOWN*, F_SETSIG), leases and F_NOTIFY: those act on others."""
_IOCTL = (
    0x5401,
    0x802C542A,
    0x5413,
    0x540F,
    0x5411,  # is it a terminal, how large; TIOCOUTQ
    0x541B,
    0x5421,
    0x5450,
    0x5451,
    0x5460,  # FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FIOQSIZE
    0x40049409,
    0x4020940D,
    0xC020660B,
    0x80086601,
    0x801C581F,  # FICLONE*, FIEMAP, reading flags
    0x8905,
    0x8910,
    0x8912,
    0x8913,
    0x8915,
    0x8917,
    0x8919,
    0x891B,
    0x8921,
    0x8927,
    0x8933,
)
"""The last line are SIOCATMARK and SIOCGIF*, which only read."""
_PERSONALITY = (0xFFFFFFFF, 0, 8)
"""Asking, PER_LINUX, PER_LINUX32."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What one step's filter lets through beyond what every one does.

    `listening`: somebody will answer what is asked for. `internet`: sockets of AF_INET, AF_INET6
    and the routes of AF_NETLINK. `local`: of AF_UNIX. `signals`: the filter must confine signals.
    `emptying`: it must keep files from being emptied without being opened for writing, which
    Landlock before ABI 3 does not. `groups`: of `api.Needs.system_calls`.
    """

    listening: bool = True
    internet: bool = False
    local: bool = False
    signals: bool = False
    emptying: bool = False
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _If:
    """A test on the low half of one argument: `mask` first, then `test` with `operand`."""

    argument: int
    test: int
    operand: int
    then: _Node
    other: _Node
    mask: int | None = None


_Node = int | _If
"""A verdict of the kernel's, or what it depends on."""


def program(policy: Policy, machine: str = "") -> list[Line]:
    """The filter for a machine, else for this one. Raises `NotPermitted` for an unknown one."""
    ranges = _ranges(policy, table(machine))
    trees = list(dict.fromkeys(node for _, node in ranges if isinstance(node, _If)))
    code = {tree: _compiled(tree) for tree in trees}
    head: list[Line] = [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_EQUAL, 1, 0, architecture(machine)),
        (_RETURN, 0, 0, _ABSENT),  # another architecture's numbers mean other calls
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
    ]
    # Two lines a range, then what is beyond them all, then the trees.
    starts, at = {}, 2 * len(ranges) + 1
    for tree in trees:
        starts[tree] = at
        at += len(code[tree])
    body: list[Line] = []
    for end, node in ranges:
        body.append((_AT_LEAST, 1, 0, end))
        if isinstance(node, _If):
            body.append((_SKIP, 0, 0, starts[node] - len(body) - 1))
        else:
            body.append((_RETURN, 0, 0, node))
    return [*head, *body, (_RETURN, 0, 0, _ABSENT), *(line for t in trees for line in code[t])]


def _ranges(policy: Policy, table: Mapping[int, SystemCall]) -> list[tuple[int, _Node]]:
    """Neighbouring numbers with the same fate, as (the first number after them, fate)."""
    ranges: list[tuple[int, _Node]] = []
    for number in range(max(table) + 1):
        call = table.get(number)
        node = _ABSENT if call is None else _fate(policy, call)
        if ranges and ranges[-1][1] == node:
            ranges.pop()
        ranges.append((number + 1, node))
    return ranges


def _fate(policy: Policy, call: SystemCall) -> _Node:
    asked = _ASK if policy.listening else _DENY
    match call.rule:
        case "allowed":
            return _ALLOW
        case "absent":
            return _ABSENT
        case "attribute":
            return _ERRNO | errno.EOPNOTSUPP
        case "own":
            return _If(0, _EQUAL, 0, _ALLOW, asked)
        case "birth":
            if policy.listening:
                return _ASK
            forbidden = NAMESPACES | CLONE_PARENT
            return _If(0, _ANY_OF, forbidden, _DENY, _ALLOW) if call.name == "clone" else _ALLOW
        case "signal":
            return _ASK if policy.signals and policy.listening else _ALLOW
        case "ipc":
            return _ALLOW if "ipc" in policy.groups else asked
        case "checked":
            return _checked(policy, call.name, asked)
    return asked  # "change" and "refused"


def _checked(policy: Policy, name: str, asked: int) -> _Node:
    match name:
        case "setpriority":
            return _If(0, _EQUAL, os.PRIO_PROCESS, _If(1, _EQUAL, 0, _ALLOW, asked), asked)
        case "ioprio_set":  # IOPRIO_WHO_PROCESS
            return _If(0, _EQUAL, 1, _If(1, _EQUAL, 0, _ALLOW, asked), asked)
        case "prctl":
            # It dies with the fork server and keeps its orphans, where they are counted.
            dies = _If(1, _EQUAL, signal.SIGKILL, _ALLOW, asked)
            adopts = _If(1, _EQUAL, 0, asked, _ALLOW)
            return _among(0, _PRCTL, _If(0, _EQUAL, 1, dies, _If(0, _EQUAL, 36, adopts, asked)))
        case "fcntl" | "personality":
            place, values = (1, _FCNTL) if name == "fcntl" else (0, _PERSONALITY)
            return _among(place, values, asked)
        case "ioctl":
            return _ALLOW if "devices" in policy.groups else _among(1, _IOCTL, asked)
        case "socket":
            return _sockets(policy, asked)
        case "socketpair":
            # A datagram socket of a pair could be connected to a service.
            pair = (
                _ALLOW
                if policy.local
                else _If(1, _EQUAL, socket.SOCK_DGRAM, asked, _ALLOW, mask=0xF)
            )
            return _If(0, _EQUAL, socket.AF_UNIX, pair, asked)
        case "truncate":
            return asked if policy.emptying else _ALLOW
        case "creat" | "mknod" | "mknodat":
            return _If(2 if name == "mknodat" else 1, _ANY_OF, _SET_ID, asked, _ALLOW)
        case "open":
            return _opening(policy, 1, asked)
        case "openat":
            return _opening(policy, 2, asked)
    raise AssertionError(name)


def _sockets(policy: Policy, asked: int) -> _Node:
    # Refused like a connection to a service that is not there, which every client can explain: the
    # C library asks for one when it looks up a user's name.
    node: _Node = _If(
        0,
        _EQUAL,
        socket.AF_UNIX,
        _ALLOW if policy.local else _ERRNO | errno.ECONNREFUSED,
        asked,
    )
    if policy.internet:
        plain = _If(1, _EQUAL, socket.SOCK_RAW, asked, _ALLOW, mask=0xF)
        for family in (socket.AF_INET, socket.AF_INET6):
            node = _If(0, _EQUAL, family, plain, node)
        routes = _If(2, _EQUAL, 0, _ALLOW, asked)  # NETLINK_ROUTE: which addresses are there
        node = _If(0, _EQUAL, socket.AF_NETLINK, routes, node)
    return node


def _opening(policy: Policy, flags: int, asked: int) -> _Node:
    """No file that is set-uid from birth, nor emptied without being opened for writing."""
    made = _If(flags + 1, _ANY_OF, _SET_ID, asked, _ALLOW)
    temporary = os.O_TMPFILE & ~os.O_DIRECTORY
    node: _Node = _If(flags, _ANY_OF, os.O_CREAT | temporary, made, _ALLOW)
    if policy.emptying:
        written = _If(
            flags,
            _EQUAL,
            os.O_WRONLY,
            node,
            _If(flags, _EQUAL, os.O_RDWR, node, asked, mask=os.O_ACCMODE),
            mask=os.O_ACCMODE,
        )
        node = _If(flags, _ANY_OF, os.O_TRUNC, written, node)
    return node


def _among(argument: int, values: Iterable[int], other: _Node) -> _Node:
    """Allowed if the argument is one of `values`, else as `other` says."""
    node = other
    for value in values:
        node = _If(argument, _EQUAL, value, _ALLOW, node)
    return node


def _compiled(node: _Node) -> list[Line]:
    if isinstance(node, int):
        return [(_RETURN, 0, 0, node)]
    then, other = _compiled(node.then), _compiled(node.other)
    load: list[Line] = [(_LOAD, 0, 0, 16 + 8 * node.argument)]  # little-endian: the low half
    if node.mask is not None:
        load.append((_AND, 0, 0, node.mask))
    return [*load, (node.test, 0, len(then), node.operand), *then, *other]
