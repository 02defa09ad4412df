"""What a step's process may use and reach: limits always, isolation where the kernel allows it.

Called in the child after the fork, before any of the stage's code. Whatever does not hold is said
(`Confinement`), never assumed.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from archived.engine import births, landlock, syscalls
from archived.engine.boundary import Limits
from archived.engine.landlock import Rule
from archived.engine.syscalls import NotPermitted

__all__ = ["Confinement", "NotPermitted", "adopt_orphans", "confine", "die_with"]

REPLY_MEMORY = 64 * 2**20
"""Bytes of address space kept back so that a child out of memory can still say so."""
_NICE = 5  # scanning and serving come before the work on a document


@dataclass(frozen=True, slots=True)
class Confinement:
    """What protects the machine from a step: each is `"yes"`, `"no (why)"` or `"not asked"`."""

    limits: str
    """Address space, CPU, file size, open files, no core dump."""
    processes: str
    """Processes and threads: how many there may be at a time (`births`)."""
    privileges: str
    """Set-uid programs gain nothing (`no_new_privs`)."""
    network: str
    """No network; "yes" names how: a namespace of its own, or a system call filter."""
    parent: str
    """The child dies when the fork server does."""
    files: str
    """It reads and writes the files it was given and no others."""
    services: str
    """It cannot talk to programs of this machine by local sockets: the daemon's control socket
    would be open to it, having the same user."""
    signals: str
    """It cannot end or disturb processes that it did not start."""

    def to_json(self) -> dict[str, str]:
        """Name -> verdict."""
        return asdict(self)


def confine(
    limits: Limits,
    parent: int,
    rules: Sequence[Rule] | None = None,
    *,
    services: bool = False,
    hand: int = -1,
) -> Confinement:
    """Confine the calling process, for good. `parent` is the pid it was forked from.

    `rules` name the files it may reach; `None`: as before. `services`: it may use local sockets.
    `hand`: a socket whose other end takes the listener of its births and answers them; closed here.
    Must be called while single-threaded. Never raises for want of permission. A further kind of
    isolation is one more attempt here and one more verdict in `Confinement`.
    """
    privileges = _attempt(lambda: syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1))
    # Changing credentials in a namespace clears the parent-death signal, so the network goes first.
    network = "not asked" if limits.network else _without_network()
    held_parent = _attempt(lambda: die_with(parent))
    with contextlib.suppress(OSError):  # a hardened unit forbids it and sets Nice= itself
        os.nice(_NICE)
    held_limits = _attempt(lambda: _limit(limits))
    processes = _few_processes(limits.processes, hand)
    held_services = "not asked" if services else _attempt(syscalls.forbid_local_sockets)
    files, signals = ("not asked", "not asked")
    if rules is not None:  # last: it closes what the steps above read in /proc
        files, signals = _within(rules, tcp=limits.network)
    return Confinement(
        limits=held_limits,
        processes=processes,
        privileges=privileges,
        network=network,
        parent=held_parent,
        files=files,
        services=held_services,
        signals=signals,
    )


def _within(rules: Sequence[Rule], *, tcp: bool, newest: int = sys.maxsize) -> tuple[str, str]:
    """Reach only what `rules` say: the verdicts about files and about signals.

    `newest` is for trying how it holds on a kernel with an older ABI.
    """
    try:
        abi = min(landlock.version(), newest)
        landlock.restrict(rules, tcp=tcp, abi=abi)
    except OSError as error:
        why = f"no ({error.strerror or error})"
        return why, why
    how = f"Landlock ABI {abi}"
    signals = f"no ({how} does not know signals; 6 does)"
    if abi >= landlock.SIGNAL_ABI:
        signals = f"yes ({how})"
    if abi >= landlock.TRUNCATE_ABI:
        return f"yes ({how})", signals
    try:
        syscalls.forbid_emptying()
    except OSError as error:
        return f"no ({how}: files can be emptied: {error.strerror or error})", signals
    return f"yes ({how}, system call filter)", signals


def die_with(parent: int) -> None:
    """Be killed as soon as the process `parent`, which forked this one, is gone."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)


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
        (resource.RLIMIT_AS, memory, REPLY_MEMORY),
    ):
        if soft is None:
            continue
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft = min(soft, ceiling)  # noqa: PLW2901 - only root may raise the ceiling
            spare = min(spare, ceiling - soft)  # noqa: PLW2901
        resource.setrlimit(kind, (soft, soft + spare))


def _few_processes(most: int | None, hand: int) -> str:
    if hand < 0:
        return "not asked"
    # Not RLIMIT_NPROC: it counts all the user's, the daemon's and other steps', and not root's.
    with socket.socket(fileno=hand) as line:
        if most is None:
            return "not asked"
        try:
            births.give_listener(line, syscalls.ask_for_births())
        except OSError as error:
            return f"no ({error.strerror or error})"
    return f"yes (at most {most}; each is asked for)"


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
    syscalls.unshare(syscalls.CLONE_NEWNET)


def _own_user_and_network() -> None:
    user, group = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
    # Mapped to themselves, so that files keep their owners; all other ids become `nobody`.
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    syscalls.drop_capabilities()


def _no_internet_sockets() -> None:
    syscalls.forbid_internet_sockets()
