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
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from archived.engine.protocol import StepLimits
from archived.engine.sandbox import landlock, seccomp, syscalls
from archived.engine.sandbox.landlock import Access, Rule
from archived.engine.sandbox.process_limit import FOLDERS_LIMIT, give_listener
from archived.engine.sandbox.seccomp import Policy
from archived.engine.sandbox.syscalls import NotPermitted
from archived.message import Message

__all__ = ["Confinement", "NotPermitted", "adopt_orphans", "confine", "die_with"]

REPLY_MEMORY = 64 * 2**20
"""Bytes of address space kept back so that a child out of memory can still say so."""
_HOW = Message("system call filter")
_NICE = 5  # scanning and serving come before the work on a document


@dataclass(frozen=True, slots=True)
class Confinement:
    """What protects the machine from a step: each is `"yes"`, `"no (why)"` or `"not asked"`."""

    limits: str
    """Address space, CPU, file size, open files, no core dump."""
    processes: str
    """Processes and threads: how many there may be at a time (`process_limit`)."""
    privileges: str
    """Set-uid programs gain nothing (`no_new_privs`), and it has no capability."""
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
    """It cannot send signals to processes that it did not start."""
    calls: str
    """Only system calls that steps need, with arguments about itself: nothing that changes other
    processes' limits or priority, nor mode, owner, times or attributes of files outside its
    folder."""

    def to_json(self) -> dict[str, str]:
        """Name -> verdict."""
        return asdict(self)


def confine(
    limits: StepLimits,
    parent: int,
    rules: Sequence[Rule] | None = None,
    *,
    services: bool = False,
    hand: int = -1,
    newest: int = sys.maxsize,
) -> Confinement:
    """Confine the calling process, for good. `parent` is the pid it was forked from.

    `rules` name the files it may reach; `None`: as before. `services`: it may use local sockets.
    `hand`: a socket whose other end takes the listener of its filter and answers it (`listener`);
    closed here. `newest`: an older ABI of Landlock, to try how that holds. Must be called while
    single-threaded. Never raises for want of permission. A further kind of isolation is one more
    attempt here and one more verdict in `Confinement`.
    """
    with contextlib.suppress(OSError):
        seccomp.table()  # a file: it is not in reach any more when the filter is made
    privileges = _attempt(lambda: syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1))
    # Changing credentials clears the parent-death signal, so the network goes first.
    namespace = "not asked" if limits.network else _without_network()
    if privileges == "yes":
        privileges = _attempt(syscalls.drop_capabilities)
    _be_readable_for(parent)
    held_parent = _attempt(lambda: die_with(parent))
    with contextlib.suppress(OSError):  # a hardened unit forbids it and sets Nice= itself
        os.nice(_NICE)
    held_limits = _attempt(lambda: _limit(limits))
    folders = _opened(rules or ())
    files, signals, emptying = ("not asked", "not asked", False)
    if rules is not None:  # it closes what the steps above read in /proc
        files, signals, emptying = _within(rules, limits.network, newest)
    policy = Policy(
        listening=hand >= 0,
        internet=limits.network or namespace.startswith("yes"),
        local=services,
        signals=rules is not None and not signals.startswith("yes"),
        emptying=emptying,
        groups=frozenset(limits.system_calls),
    )
    calls, unheard = _filtered(policy, folders, hand)  # last: it refuses what the others need
    filtered = calls.startswith("yes")
    if emptying:
        files = f"{files}, {_HOW})" if filtered else f"no ({files[5:]}: files can be emptied)"
    if policy.signals and policy.listening and filtered and not unheard:
        signals = f"yes ({_HOW})"
    network = namespace
    if namespace.startswith("no ("):
        network = f"yes ({_HOW})" if filtered else f"{namespace[:-1]}; {_HOW}: {calls})"
    processes = "not asked"
    if hand >= 0 and limits.processes is not None:
        processes = f"yes (at most {limits.processes}; each is asked for)"
        if unheard:
            processes = f"no ({unheard})"
    return Confinement(
        limits=held_limits,
        processes=processes,
        privileges=privileges,
        network=network,
        parent=held_parent,
        files=files,
        services="not asked" if services else "yes" if filtered else calls,
        signals=signals,
        calls=calls,
    )


def _filtered(policy: Policy, folders: Sequence[int], hand: int) -> tuple[str, str]:
    """Install the filter and hand its listener over: the verdict, and why nobody listens, if so."""
    unheard = ""
    try:
        if not policy.listening:
            syscalls.install_filter(seccomp.program(policy))
            return f"yes ({_HOW})", ""
        with socket.socket(fileno=hand) as line:
            try:
                number = seccomp.number("seccomp")
                listener = syscalls.install_filter(seccomp.program(policy), number)
                give_listener(line, listener, folders)
            except OSError as error:
                unheard = error.strerror or str(error)
                deaf = replace(policy, listening=False)
                syscalls.install_filter(seccomp.program(deaf))
    except OSError as error:
        why = error.strerror or str(error)
        return f"no ({why})", unheard or why
    finally:
        for folder in folders:
            os.close(folder)
    return f"yes ({_HOW})" if not unheard else f"yes ({_HOW}; nobody listens: {unheard})", unheard


def _opened(rules: Sequence[Rule]) -> list[int]:
    """The folders in which the step may change files: there it may change their mode and times."""
    found: list[int] = []
    for path, access in rules:
        if access & Access.CHANGE == Access.CHANGE and len(found) < FOLDERS_LIMIT:
            with contextlib.suppress(OSError, ValueError):
                found.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    return found


def _be_readable_for(parent: int) -> None:
    """Let the broker, a child of `parent`, read the paths that this process names.

    A process that changed its credentials is closed to its own user. Yama, where it is on, must be
    told who may read; it does not let anybody into what this process starts.
    """
    for option, value in ((syscalls.PR_SET_DUMPABLE, 1), (syscalls.PR_SET_PTRACER, parent)):
        with contextlib.suppress(OSError):
            syscalls.prctl(option, value)


def _within(rules: Sequence[Rule], tcp: bool, newest: int) -> tuple[str, str, bool]:
    """Reach only what `rules` say: the verdicts about files and about signals.

    The third: whether files can be emptied all the same, unless a filter forbids it; then the first
    verdict lacks its closing bracket.
    """
    try:
        abi = min(landlock.version(), newest)
        landlock.restrict(rules, tcp=tcp, abi=abi)
    except OSError as error:
        why = f"no ({error.strerror or error})"
        return why, why, False
    how = f"Landlock ABI {abi}"
    signals = f"no ({how} does not know signals; {landlock.SIGNAL_ABI} does)"
    if abi >= landlock.SIGNAL_ABI:
        signals = f"yes ({how})"
    if abi >= landlock.TRUNCATE_ABI:
        return f"yes ({how})", signals, False
    return f"yes ({how}", signals, True


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


def _limit(limits: StepLimits) -> None:
    memory = None if limits.memory is None else limits.memory + address_space()
    for kind, soft, spare in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, limits.cpu_seconds, 5),
        (resource.RLIMIT_FSIZE, limits.file_size, 0),
        (resource.RLIMIT_NOFILE, limits.open_files, 0),
        (resource.RLIMIT_AS, memory, _grows_by(limits) + REPLY_MEMORY),
    ):
        if soft is None:
            continue
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft = min(soft, ceiling)  # noqa: PLW2901 - only root may raise the ceiling
            spare = min(spare, ceiling - soft)  # noqa: PLW2901
        resource.setrlimit(kind, (soft, soft + spare))


def _grows_by(limits: StepLimits) -> int:
    """Bytes by which a step may raise its own limit of memory."""
    return max(0, limits.max_memory - limits.memory) if limits.memory is not None else 0


def grow_memory(limits: StepLimits, pages: int) -> None:
    """In a step's own process: what it may use for so many pages. More than `max_memory` it cannot
    give itself, for the hard limit is that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if limits.memory is None or resource.RLIM_INFINITY in (soft, hard):
        return
    most = hard - REPLY_MEMORY
    base = most - _grows_by(limits)
    wanted = min(most, base + limits.memory_per_page * max(0, pages))
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def release_reply_memory() -> None:
    """Let a child that ran out of memory use what was kept back for its last words."""
    with contextlib.suppress(OSError, ValueError):
        ceiling = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))


def address_space() -> int:
    """Bytes of address space the calling process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _without_network() -> str:
    reasons = []
    for name, take_away in (
        (Message("network namespace"), _own_network),
        (Message("user and network namespace"), _own_user_and_network),
    ):
        try:
            take_away()
        except OSError as error:
            reasons.append(f"{name}: {error.strerror or error}")
        else:
            return f"yes ({name})"
    return f"no ({'; '.join(reasons)})"


def _own_network() -> None:
    """For root."""
    syscalls.unshare(syscalls.CLONE_NEWNET)


def _own_user_and_network() -> None:
    user, group = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
    # Mapped to themselves, so that files keep their owners; all other ids become `nobody`.
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
