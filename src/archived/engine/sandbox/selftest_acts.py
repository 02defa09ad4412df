"""What a taken-over step would try, act by act: each must fail in a confined process.

Every act is about things that the trial made itself (`Things`) and leaves them as they were: where
it is possible it must harm nobody, so none is about all processes of a user. Each is also tried
without confinement, to tell what the confinement refuses from what this machine refuses to
everybody.
"""

# ruff: noqa: ARG001, ARG005, S103 - every act is called with the same, and must fail

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from archived.engine.sandbox import seccomp
from archived.engine.sandbox.syscalls import libc
from archived.message import Message

MEMORY = 512 * 2**20
"""Bytes that an act asks for; the trial's limit must be less."""


@dataclass(frozen=True, slots=True)
class ActContext:
    """What acts are about. `other`: a file of another step. `given`: one that may be read only.

    `own`: the step's folder. `bystander`: a process of the same user. `address`: where somebody
    listens. `service`: a local socket; one for datagrams is beside it, named `.datagrams`.
    """

    own: Path
    other: Path
    given: Path
    bystander: int
    address: tuple[str, int]
    service: Path


Act = Callable[[ActContext], object]


def call(name: str, *arguments: object) -> int:
    """A system call by its name. Raises `OSError`, also where this machine has none of the name."""
    try:
        number = seccomp.number(name)
    except OSError as error:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    long = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    found: int = libc().syscall(ctypes.c_long(number), *long)
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found


def _closed(descriptor: int) -> None:
    os.close(descriptor)


def _same_limits(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CORE, resource.prlimit(pid, resource.RLIMIT_CORE))


def _mode_through(flags: int, way: Callable[[int], object]) -> Act:
    def act(things: ActContext) -> None:
        fd = os.open(things.given, flags)
        try:
            way(fd)
        finally:
            os.close(fd)

    return act


def _removed(things: ActContext) -> None:
    things.other.unlink()
    things.other.write_text("of another document")


def _watch(things: ActContext) -> None:
    watch = call("inotify_init1", 0)
    try:
        call("inotify_add_watch", watch, os.fsencode(things.other.parent), 0xFFF)
    finally:
        os.close(watch)


def _namespace(things: ActContext) -> None:
    child = call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)  # CLONE_NEWUSER
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _owner_of_signals(things: ActContext) -> None:
    one, two = socket.socketpair()
    with one, two:
        fcntl.fcntl(one, fcntl.F_SETOWN, things.bystander)


def _lease(things: ActContext) -> None:
    with things.given.open("rb") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)


def _datagram(things: ActContext) -> None:
    one, two = socket.socketpair(type=socket.SOCK_DGRAM)
    with one, two:
        one.connect(str(things.service) + ".datagrams")


def _set_uid_file(things: ActContext) -> None:
    _closed(os.open(things.own / "set-uid", os.O_CREAT | os.O_WRONLY, 0o4700))


def _set_uid_mode(things: ActContext) -> None:
    (things.own / "program").touch()
    (things.own / "program").chmod(0o4755)


def _family(number: int, kind: int) -> Act:
    return lambda things: socket.socket(number, kind).close()


def _many_files(things: ActContext) -> None:
    opened: list[int] = []
    try:
        while len(opened) < 4096:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for fd in opened:
            os.close(fd)


def _large_file(things: ActContext) -> None:
    with (things.own / "large").open("wb", buffering=0) as file:
        os.pwrite(file.fileno(), b"x", 2**40)


def _much_memory(things: ActContext) -> None:
    try:
        bytearray(MEMORY)
    except MemoryError as error:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from error


def _raised_limit(things: ActContext) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**40, 2**40))
    except ValueError as error:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM)) from error


def _io_priority(things: ActContext) -> None:
    call("ioprio_set", 1, things.bystander, 3 << 13)


def _scheduling(things: ActContext) -> None:
    os.sched_setscheduler(things.bystander, os.SCHED_BATCH, os.sched_param(0))


def _affinity(things: ActContext) -> None:
    os.sched_setaffinity(things.bystander, os.sched_getaffinity(things.bystander))


def _descriptor(things: ActContext) -> None:
    watch = os.pidfd_open(things.bystander)
    try:
        _closed(call("pidfd_getfd", watch, 0, 0))
    finally:
        os.close(watch)


def _memory_of(things: ActContext) -> None:
    kept = ctypes.create_string_buffer(8)
    one = struct.pack("PL", ctypes.addressof(kept), 8)
    call("process_vm_readv", things.bystander, one, 1, one, 1, 0)


def _memory_by_path(things: ActContext) -> None:
    """Opening it is what the kernel decides about (Yama and Landlock, as for tracing)."""
    _closed(os.open(f"/proc/{things.bystander}/mem", os.O_RDWR))


def _surroundings(things: ActContext) -> None:
    """Its environment and memory map, which Yama does not guard."""
    _closed(os.open(f"/proc/{things.bystander}/environ", os.O_RDONLY))


_PTRACE_SEIZE = 0x4206
_ADD_KEY = (b"user", b"archived-trial", b"x", 1, -2)  # the process's own keyring

TRACE = Message("a step cannot trace another process")

ACTS: tuple[tuple[str, str, Act], ...] = (
    ("limits", Message("a step cannot take more memory than it may"), _much_memory),
    ("limits", Message("a step cannot write a larger file than it may"), _large_file),
    ("limits", Message("a step cannot open more files than it may"), _many_files),
    ("limits", Message("a step cannot raise its own limits"), _raised_limit),
    (
        "network",
        Message("a step that did not ask for the network cannot connect"),
        lambda t: socket.create_connection(t.address, timeout=1).close(),
    ),
    ("files", Message("a step cannot read another's file"), lambda t: t.other.read_bytes()),
    (
        "files",
        Message("a step cannot list another's folder"),
        lambda t: list(t.other.parent.iterdir()),
    ),
    ("files", Message("a step cannot change another's file"), lambda t: t.other.open("a").close()),
    ("files", Message("a step cannot empty another's file"), lambda t: os.truncate(t.other, 0)),
    (
        "files",
        Message("a step cannot make files outside its folder"),
        lambda t: (t.other.parent / "new").touch(),
    ),
    (
        "files",
        Message("a step cannot link another's file into its folder"),
        lambda t: os.link(t.other, t.own / "linked"),
    ),
    (
        "files",
        Message("a step cannot move another's file into its folder"),
        lambda t: t.other.rename(t.own / "moved").rename(t.other),
    ),
    ("files", Message("a step cannot remove another's file"), _removed),
    (
        "files",
        Message("a step cannot change its own document"),
        lambda t: t.given.open("a").close(),
    ),
    (
        "services",
        Message("a step cannot connect to a service of this machine"),
        lambda t: _connect(t.service),
    ),
    ("services", Message("a step cannot send to a service of this machine"), _datagram),
    (
        "signals",
        Message("a step cannot send a signal to another process"),
        lambda t: os.kill(t.bystander, signal.SIGCONT),
    ),
    (
        "signals",
        Message("a step cannot have the kernel send signals to another process"),
        _owner_of_signals,
    ),
    (
        "calls",
        Message("a step cannot change the limits of another process"),
        lambda t: _same_limits(t.bystander),
    ),
    ("calls", Message("a step cannot choose the processors of another process"), _affinity),
    ("calls", Message("a step cannot change how another process is scheduled"), _scheduling),
    (
        "calls",
        Message("a step cannot change the priority of another process"),
        lambda t: os.setpriority(os.PRIO_PROCESS, t.bystander, 19),
    ),
    ("calls", Message("a step cannot change the disk priority of another process"), _io_priority),
    ("calls", TRACE, lambda t: call("ptrace", _PTRACE_SEIZE, t.bystander, 0, 0)),
    ("calls", Message("a step cannot read the memory of another process"), _memory_of),
    ("files", Message("a step cannot open the memory of another process"), _memory_by_path),
    ("files", Message("a step cannot read the environment of another process"), _surroundings),
    ("calls", Message("a step cannot take a descriptor of another process"), _descriptor),
    (
        "calls",
        Message("a step cannot change another's mode by its path"),
        lambda t: t.other.chmod(0o700),
    ),
    (
        "calls",
        Message("a step cannot change another's times by its path"),
        lambda t: os.utime(t.other),
    ),
    (
        "calls",
        Message("a step cannot change another's owner by its path"),
        lambda t: os.chown(t.other, -1, os.getegid()),
    ),
    (
        "calls",
        Message("a step cannot change another's attributes by its path"),
        lambda t: os.setxattr(t.other, "user.trial", b"x"),
    ),
    (
        "calls",
        Message("a step cannot change the mode of its document by a descriptor"),
        _mode_through(os.O_RDONLY, lambda fd: os.fchmod(fd, 0o777)),
    ),
    (
        "calls",
        Message("a step cannot change the mode of its document by a path descriptor"),
        _mode_through(os.O_PATH, lambda fd: call("fchmodat2", fd, b"", 0o777, 0x1000)),
    ),
    (
        "calls",
        Message("a step cannot change the mode of its document by /proc"),
        _mode_through(os.O_PATH, lambda fd: os.chmod(f"/proc/self/fd/{fd}", 0o777)),  # noqa: PTH101
    ),
    (
        "calls",
        Message("a step cannot change the times of its document by a descriptor"),
        _mode_through(os.O_RDONLY, os.utime),
    ),
    ("calls", Message("a step cannot make a set-uid file"), _set_uid_file),
    ("calls", Message("a step cannot make a file of its folder set-uid"), _set_uid_mode),
    ("calls", Message("a step cannot watch another's folder"), _watch),
    ("calls", Message("a step cannot lease its document, for which others would wait"), _lease),
    ("calls", Message("a step cannot make namespaces"), _namespace),
    (
        "calls",
        Message("a step cannot reach memory that steps share"),
        lambda t: call("shmctl", call("shmget", 0, 4096, 0o600), 0, 0),
    ),
    (
        "calls",
        Message("a step cannot use queues that steps share"),
        lambda t: call("msgctl", call("msgget", 0, 0o600), 0, 0),
    ),
    (
        "calls",
        Message("a step cannot keep files in memory beside its limit"),
        lambda t: _closed(call("memfd_create", b"trial", 0)),
    ),
    ("calls", Message("a step cannot use keyrings"), lambda t: call("add_key", *_ADD_KEY)),
    (
        "calls",
        Message("a step cannot handle page faults itself"),
        lambda t: _closed(call("userfaultfd", 1)),
    ),
    (
        "calls",
        Message("a step cannot keep secret memory"),
        lambda t: _closed(call("memfd_secret", 0)),
    ),
    (
        "calls",
        Message("a step cannot use io_uring"),
        lambda t: _closed(call("io_uring_setup", 4, ctypes.create_string_buffer(256))),
    ),
    (
        "calls",
        Message("a step cannot load programs into the kernel"),
        lambda t: _closed(call("bpf", 0, struct.pack("=IIII112x", 2, 4, 4, 1), 128)),
    ),
    ("calls", Message("a step cannot use the encryption sockets of the kernel"), _family(38, 5)),
    ("calls", Message("a step cannot use sockets of virtual machines"), _family(40, 1)),
    ("calls", Message("a step cannot use raw packets"), _family(17, 3)),
)
"""(protection as in `sandbox.Confinement`, what must hold, how it is tried). Those that take
something away from the process that tries stand last."""


def _connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))


def own_work(things: ActContext) -> None:
    """What a step must be able to do with files of its own. Raises `OSError`."""
    file = things.own / "own"
    file.write_text("of this step")
    file.chmod(0o640)
    os.utime(file, (1, 1))
    with file.open("r+") as opened:
        os.fchmod(opened.fileno(), 0o600)
    if file.read_text() != "of this step" or file.stat().st_mode & 0o777 != 0o600:
        raise OSError(errno.EIO, "its file is another than it made")


def programs_work(things: ActContext) -> None:
    """The same, by a program that the step starts. Raises `OSError`."""
    file = things.own / "of a program"
    file.write_text("")
    code = "import os, sys; os.chmod(sys.argv[1], 0o640)"
    program = [sys.executable, "-I", "-S", "-c", code, str(file)]
    if subprocess.run(program, capture_output=True, check=False).returncode != 0:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
