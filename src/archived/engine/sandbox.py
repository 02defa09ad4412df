"""What a step's process may use and reach: limits always, isolation where the kernel allows it.

Called in the child after the fork, before any of the stage's code. Whatever does not hold is said
(`Confinement`), never assumed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from archived.engine.boundary import Limits

_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000

REPLY_MEMORY = 64 * 2**20
"""Bytes of address space kept back so that a child out of memory can still say so."""
_NICE = 5  # scanning and serving come before the work on a document


@dataclass(frozen=True, slots=True)
class Confinement:
    """What protects the machine from a step: each is `"yes"`, `"no (why)"` or `"not asked"`."""

    limits: str
    """Address space, CPU, file size, open files, no core dump."""
    privileges: str
    """Set-uid programs gain nothing (`no_new_privs`)."""
    network: str
    """No network; "yes" names how: a namespace of its own, or a system call filter."""
    parent: str
    """The child dies when the fork server does."""

    def to_json(self) -> dict[str, str]:
        """Name -> verdict."""
        return asdict(self)


class NotPermitted(OSError):
    """The kernel, or whoever started us, does not allow this confinement."""


def confine(limits: Limits, parent: int) -> Confinement:
    """Confine the calling process, for good. `parent` is the pid it was forked from.

    Must be called while single-threaded. Never raises for want of permission. A further kind of
    isolation is one more attempt here and one more verdict in `Confinement`.
    """
    privileges = _attempt(lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1))
    # Changing credentials in a namespace clears the parent-death signal, so the network goes first.
    network = "not asked" if limits.network else _without_network()
    held_parent = _attempt(lambda: die_with(parent))
    with contextlib.suppress(OSError):  # a hardened unit forbids it and sets Nice= itself
        os.nice(_NICE)
    return Confinement(
        limits=_attempt(lambda: _limit(limits)),
        privileges=privileges,
        network=network,
        parent=held_parent,
    )


def die_with(parent: int) -> None:
    """Be killed as soon as the process `parent`, which forked this one, is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _attempt(confine_one: Callable[[], object]) -> str:
    try:
        confine_one()
    except (OSError, ValueError) as error:
        return f"no ({error})"
    return "yes"


def _limit(limits: Limits) -> None:
    memory = None if limits.memory is None else limits.memory + _address_space()
    for kind, soft, spare in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, limits.cpu_seconds, 5),
        (resource.RLIMIT_FSIZE, limits.file_size, 0),
        (resource.RLIMIT_NOFILE, limits.open_files, 0),
        (resource.RLIMIT_NPROC, limits.processes, 0),
        (resource.RLIMIT_AS, memory, REPLY_MEMORY),
    ):
        if soft is None:
            continue
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft = min(soft, ceiling)  # noqa: PLW2901 - only root may raise the ceiling
            spare = min(spare, ceiling - soft)  # noqa: PLW2901
        resource.setrlimit(kind, (soft, soft + spare))


def release_reply_memory() -> None:
    """Let a child that ran out of memory use what was kept back for its last words."""
    with contextlib.suppress(OSError, ValueError):
        ceiling = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))


def _address_space() -> int:
    """Bytes of address space the calling process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _without_network() -> str:
    reasons = []
    for name, take_away in (
        ("network namespace", _own_network),
        ("user and network namespace", _own_user_and_network),
        ("system call filter", _no_internet_sockets),
    ):
        try:
            take_away()
        except OSError as error:
            reasons.append(f"{name}: {error.strerror or error}")
        else:
            return f"yes ({name})"
    return f"no ({'; '.join(reasons)})"


def _own_network() -> None:
    _unshare(_CLONE_NEWNET)


def _own_user_and_network() -> None:
    user, group = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    # Mapped to themselves, so that files keep their owners; all other ids become `nobody`.
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _drop_capabilities()


def _drop_capabilities() -> None:
    # A new user namespace gives every capability inside it; no stage needs one.
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _call(_libc().capset(header, bytes(24)), "capset")


def _no_internet_sockets() -> None:
    """Forbid, by a seccomp filter, every socket that is not a local (AF_UNIX) one.

    Needs `no_new_privs`. io_uring is forbidden as well: it can open sockets past the filter.
    """
    known = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
    if platform.machine() not in known or sys.maxsize < 2**32:
        raise NotPermitted(0, f"not written for {platform.machine()}")
    machine, socket_call = known[platform.machine()]
    load, equal, at_least, ret = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, JMP|JEQ, JMP|JGE, RET
    allow, deny = 0x7FFF0000, 0x00050000 | 13  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO | EACCES
    program = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (equal, 0, 7, machine),  # another architecture's numbers mean other calls
        (load, 0, 0, 0),  # seccomp_data.nr
        (at_least, 5, 0, 0x40000000),  # x32 calls of x86_64
        (equal, 4, 0, 425),  # io_uring_setup
        (equal, 0, 2, socket_call),
        (load, 0, 0, 16),  # the low half of the first argument: the address family
        (equal, 0, 1, int(socket.AF_UNIX)),
        (ret, 0, 0, allow),
        (ret, 0, 0, deny),
    ]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    kept = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(kept))
    _call(_libc().prctl(_PR_SET_SECCOMP, 2, filter_), "seccomp")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    _call(_libc().prctl(option, ctypes.c_ulong(value), zero, zero, zero), "prctl")


def _unshare(flags: int) -> None:
    _call(_libc().unshare(flags), "unshare")


def _call(result: int, name: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise NotPermitted(number, f"{name}: {os.strerror(number)}")


def probe() -> dict[str, str]:
    """Confine a process as a step's is and try to get out. What `archived doctor` shows.

    Start it as a program (`python -m archived.engine.sandbox`, prints JSON): it forks, which a
    process with threads must not. Names as in `Confinement`; "yes" was tried, not assumed.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        read, write = os.pipe()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            confinement = confine(Limits(cpu_seconds=60), parent).to_json()
            try:
                socket.create_connection(address, timeout=1).close()
            except OSError:
                pass
            else:
                if confinement["network"].startswith("yes"):
                    confinement["network"] = "no (a connection was possible all the same)"
            os.write(write, json.dumps(confinement).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
    found: dict[str, str] = json.loads(answer)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe()) + "\n")
