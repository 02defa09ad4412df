"""Changes mode and times of files for a step, in the step's own folders only.

A filter cannot read a path. A listener that read one and let the call happen would be deceived by a
thread that changes it meanwhile. So the call never happens: a process of ours opens the file
itself, beneath a folder of the step and through no link, and changes what it opened. It serves one
step at a time and has no plug-in. It reads the step's memory, so nothing is forked from it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import stat
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archived.engine.sandbox import seccomp, syscalls
from archived.engine.sandbox.process_limit import FOLDERS_LIMIT
from archived.engine.sandbox.syscalls import NOTIFICATION_SIZE, Notification

_AT_FDCWD, _NO_FOLLOW, _EMPTY_PATH = -100, 0x100, 0x1000
_PATH_LIMIT = 4096
_LINKS_LIMIT = 40
_PAGE = 4096
_MAGIC = ("/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/")


class BrokerProcess:
    """The fork server's end of one broker process, which serves one step at a time."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setblocking(False)
        self._unanswered = 0
        with theirs:
            theirs.set_inheritable(True)
            argv = [sys.executable, "-P", "-m", __name__, str(theirs.fileno())]
            try:
                self.pid = os.posix_spawn(sys.executable, argv, os.environ)
            except OSError:
                self._line.close()
                raise

    def give(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Have it change a file (`data` is a notification) or serve a step. Raises `OSError`."""
        self.is_idle()  # else what it reports would fill the line
        socket.send_fds(self._line, [data], list(fds))
        self._unanswered += 1

    def is_idle(self) -> bool:
        """Whether it has done all that it was given. Raises `OSError` when it has ended."""
        while self._unanswered:
            try:
                done = self._line.recv(1)
            except BlockingIOError:
                return False
            if not done:
                raise ConnectionResetError(errno.ECONNRESET, "it has ended")
            self._unanswered -= 1
        return True

    def let_go(self) -> None:
        """In a process just forked: keep nothing of it."""
        self._line.close()

    def end(self) -> None:
        """Kill it; see `is_gone`."""
        self._line.close()
        os.kill(self.pid, signal.SIGKILL)

    def is_gone(self) -> bool:
        """Whether it is dead and waited for. One that hangs in a file system dies late."""
        return os.waitpid(self.pid, os.WNOHANG)[0] == self.pid


class BrokerPool:
    """The brokers of one fork server. One is started when a step needs it and no other is free."""

    def __init__(self) -> None:
        self._all: set[BrokerProcess] = set()
        self._free: list[BrokerProcess] = []
        self._ended: list[BrokerProcess] = []

    @property
    def pids(self) -> set[int]:
        """Their processes, those that are dying included."""
        self._ended = [worker for worker in self._ended if not worker.is_gone()]
        return {worker.pid for worker in (*self._all, *self._ended)}

    def take(self, listener: int, folders: Sequence[int]) -> BrokerProcess:
        """A broker for one step, which answers on `listener`. Raises `OSError`."""
        while self._free:
            worker = self._free.pop()
            try:
                if worker.is_idle():
                    worker.give(_SERVE, [listener, *folders])
                    return worker
            except OSError:
                pass
            self._end(worker)  # stuck in a file system, perhaps, for a step that has ended
        worker = BrokerProcess()
        self._all.add(worker)
        worker.give(_SERVE, [listener, *folders])
        return worker

    def give_back(self, worker: BrokerProcess) -> None:
        """Its step has ended: it keeps neither the listener nor the folders."""
        try:
            worker.give(_FORGET)
        except OSError:
            self._end(worker)
        else:
            self._free.append(worker)

    def let_go(self) -> None:
        """In a process just forked: keep nothing of them."""
        for worker in self._all:
            worker.let_go()

    def close(self) -> None:
        """End all."""
        for worker in tuple(self._all):
            self._end(worker)
        self._free.clear()

    def _end(self, worker: BrokerProcess) -> None:
        self._all.discard(worker)
        worker.end()
        self._ended.append(worker)


_SERVE, _FORGET = b"+", b"-"
"""A step begins, with its listener and folders as descriptors; it has ended."""


def main() -> None:
    """Serve the socket whose descriptor is the first argument, and report each thing done."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line = socket.socket(fileno=int(sys.argv[1]))
    kept: list[int] = []
    broker: AttributeBroker | None = None
    while True:
        asked, fds, _, _ = socket.recv_fds(line, NOTIFICATION_SIZE, 1 + FOLDERS_LIMIT)
        if not asked:
            return
        if asked in (_SERVE, _FORGET):
            for fd in kept:
                os.close(fd)
            kept, broker = fds, AttributeBroker(fds[0], fds[1:]) if fds else None
        elif broker is not None:
            broker.answer(Notification.of(asked))
        line.send(b".")


@dataclass(frozen=True, slots=True)
class _Place:
    """What a call names. `path`: absolute. `follow`: the last part may be a link.

    `same`: an open descriptor that must be on the same file, or -1.
    """

    path: str
    follow: bool
    same: int = -1


class AttributeBroker:
    """One step's. `folders` are open; `listener` is where the step's calls wait."""

    def __init__(self, listener: int, folders: Sequence[int]) -> None:
        self._listener = listener
        self._folders = folders
        self._calls = seccomp.table()

    def answer(self, asked: Notification) -> None:
        """Change what a call asks for, and let the call return."""
        error = 0
        try:
            self._change(asked)
        except OSError as failed:
            error = failed.errno or errno.EPERM
        except Exception:  # noqa: BLE001 - whatever a stranger asks for, who asks is answered
            error = errno.EPERM
        with contextlib.suppress(OSError):  # the step has ended meanwhile
            syscalls.answer(self._listener, asked, error)

    def _change(self, asked: Notification) -> None:
        with contextlib.ExitStack() as opened:
            call = _CALLS[self._calls[asked.number].name]
            place, change = call(_Caller(asked, opened))
            if not syscalls.waits_still(self._listener, asked):
                raise ProcessLookupError(errno.ESRCH, "it is gone")
            found = self._open(place)
            opened.callback(os.close, found)
            change(found)

    def _open(self, place: _Place) -> int:
        """The file, opened beneath a folder of the step. Raises `OSError`."""
        if place.same >= 0 and _is_nameless(place.same):
            return os.dup(place.same)  # nobody else can reach it
        path = _seems_to_lie(place)
        for folder in self._folders:
            root = os.readlink(f"/proc/self/fd/{folder}")  # noqa: PTH115
            if path != root and not path.startswith(root + "/"):
                continue
            try:
                found = syscalls.open_beneath(folder, os.fsencode(path[len(root) + 1 :] or "."))
            except OSError as error:
                if error.errno == errno.ENOENT:
                    raise
                break
            if place.same < 0 or os.path.sameopenfile(found, place.same):
                return found
            os.close(found)
        raise PermissionError(errno.EPERM, "not in a folder of the step")


def _seems_to_lie(place: _Place) -> str:
    """Where it is, as far as can be seen now: the kernel decides at the opening."""
    above, name = (place.path, "") if place.follow else os.path.split(place.path)
    try:
        return os.path.join(_resolved(above), name).rstrip("/")  # noqa: PTH118
    except OSError as error:
        if error.errno == errno.EINVAL:  # a link that became something else meanwhile
            raise PermissionError(errno.EPERM, "it is being changed") from error
        raise


def _resolved(path: str) -> str:
    """The path without links. Not through /proc, which shows everybody something else."""
    at, links, left = "/", 0, path.split("/")[::-1]
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            at = os.path.dirname(at)  # noqa: PTH120
            continue
        here = os.path.join(at, part)  # noqa: PTH118
        if not stat.S_ISLNK(os.lstat(here).st_mode):
            at = here
        else:
            links += 1
            if links > _LINKS_LIMIT:
                raise OSError(errno.ELOOP, "too many links")
            target = os.readlink(here)  # noqa: PTH115
            at = "/" if target.startswith("/") else at
            left += target.split("/")[::-1]
        if at == "/proc":
            raise PermissionError(errno.EPERM, "through /proc")
    return at


def _is_nameless(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 0


class _Caller:
    """Who asks: reads its memory and its descriptors. All of it may change at any time."""

    def __init__(self, asked: Notification, opened: contextlib.ExitStack) -> None:
        self.asked = asked
        self._opened = opened
        self._proc = f"/proc/{asked.thread}"

    def memory(self, address: int, size: int) -> bytes:
        """Bytes at an address. Raises `OSError`."""
        memory = os.open(f"{self._proc}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(memory, size, address)
        finally:
            os.close(memory)

    def text(self, address: int) -> str:
        """The C string at an address. Raises `OSError`."""
        found = b""
        while len(found) < _PATH_LIMIT:
            at = address + len(found)
            chunk, end, _ = self.memory(at, _PAGE - at % _PAGE).partition(b"\0")
            found += chunk
            if end:
                return os.fsdecode(found)
        raise OSError(errno.ENAMETOOLONG, "the path has no end")

    def descriptor(self, number: int) -> int:
        """An `O_PATH` descriptor of what one of its descriptors is open on. Raises `OSError`."""
        if number < 0:
            raise OSError(errno.EBADF, "no descriptor")
        try:
            found = os.open(f"{self._proc}/fd/{number}", os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise OSError(errno.EBADF, "no such descriptor") from error
        self._opened.callback(os.close, found)
        return found

    def open_on(self, number: int) -> _Place:
        """The file that a descriptor is open on."""
        found = self.descriptor(number)
        return _Place(os.readlink(f"/proc/self/fd/{found}"), follow=False, same=found)  # noqa: PTH115

    def place(self, folder: int, address: int, *, flags: int = 0) -> _Place:
        """What a path argument names, from the folder of a descriptor or the working one."""
        path = self.text(address) if address else ""
        if not path:
            if not address or flags & _EMPTY_PATH:
                return self.open_on(folder)
            raise FileNotFoundError(errno.ENOENT, "the path is empty")
        start, _, number = path.rpartition("/")
        if start + "/" in _MAGIC and number.isdecimal() and not flags & _NO_FOLLOW:
            return self.open_on(int(number))
        if not path.startswith("/"):
            here = (
                os.readlink(f"{self._proc}/cwd")  # noqa: PTH115
                if folder == _AT_FDCWD
                else self.open_on(folder).path
            )
            path = f"{here}/{path}"
        return _Place(path, follow=not flags & _NO_FOLLOW)

    def whole(self, place: int) -> int:
        """An argument that is a C int."""
        return self.asked.whole(place)

    def pointer(self, place: int) -> int:
        """An argument that is an address."""
        return self.asked.arguments[place]


_Change = Callable[[int], None]
_Work = tuple[_Place, _Change]


def _mode(mode: int) -> _Change:
    def change(found: int) -> None:
        status = os.fstat(found)
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.EOPNOTSUPP, "a link has no mode")
        _refuse_shared(status)
        wanted = stat.S_IMODE(mode)
        if wanted & ~status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            raise PermissionError(errno.EPERM, "a program with the service's rights")
        os.chmod(f"/proc/self/fd/{found}", wanted)  # noqa: PTH101

    return change


def _owner(user: int, group: int) -> _Change:
    """An owner cannot be changed; to say who it is already changes nothing."""

    def change(found: int) -> None:
        status = os.fstat(found)
        if user not in (-1, status.st_uid) or group not in (-1, status.st_gid):
            raise PermissionError(errno.EPERM, "another owner")

    return change


def _times(times: bytes | None) -> _Change:
    def change(found: int) -> None:
        status = os.fstat(found)
        _refuse_shared(status)
        syscalls.set_times(found, times)

    return change


def _refuse_shared(status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:  # the other name may be anywhere
        raise PermissionError(errno.EPERM, "a file of several names")


def _pairs(caller: _Caller, place: int, scale: int) -> bytes | None:
    """Two times in memory as timespec; `scale` is nanoseconds in their second number."""
    if not (address := caller.pointer(place)):
        return None
    one, part_one, two, part_two = struct.unpack("=4q", caller.memory(address, 32))
    return struct.pack("=4q", one, part_one * scale, two, part_two * scale)


def _seconds(caller: _Caller, place: int) -> bytes | None:
    if not (address := caller.pointer(place)):
        return None
    one, two = struct.unpack("=2q", caller.memory(address, 16))
    return struct.pack("=4q", one, 0, two, 0)


_CALLS: dict[str, Callable[[_Caller], _Work]] = {
    "chmod": lambda c: (c.place(_AT_FDCWD, c.pointer(0)), _mode(c.whole(1))),
    "fchmod": lambda c: (c.open_on(c.whole(0)), _mode(c.whole(1))),
    "fchmodat": lambda c: (c.place(c.whole(0), c.pointer(1)), _mode(c.whole(2))),
    "fchmodat2": lambda c: (c.place(c.whole(0), c.pointer(1), flags=c.whole(3)), _mode(c.whole(2))),
    "chown": lambda c: (c.place(_AT_FDCWD, c.pointer(0)), _owner(c.whole(1), c.whole(2))),
    "lchown": lambda c: (
        c.place(_AT_FDCWD, c.pointer(0), flags=_NO_FOLLOW),
        _owner(c.whole(1), c.whole(2)),
    ),
    "fchown": lambda c: (c.open_on(c.whole(0)), _owner(c.whole(1), c.whole(2))),
    "fchownat": lambda c: (
        c.place(c.whole(0), c.pointer(1), flags=c.whole(4)),
        _owner(c.whole(2), c.whole(3)),
    ),
    "utime": lambda c: (c.place(_AT_FDCWD, c.pointer(0)), _times(_seconds(c, 1))),
    "utimes": lambda c: (c.place(_AT_FDCWD, c.pointer(0)), _times(_pairs(c, 1, 1000))),
    "futimesat": lambda c: (c.place(c.whole(0), c.pointer(1)), _times(_pairs(c, 2, 1000))),
    "utimensat": lambda c: (
        c.place(c.whole(0), c.pointer(1), flags=c.whole(3)),
        _times(_pairs(c, 2, 1)),
    ),
}
"""Name of a call -> what it names and what it does to that."""


if __name__ == "__main__":
    main()
