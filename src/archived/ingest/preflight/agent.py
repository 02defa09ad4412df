"""Child processes that act in a folder as the scanner's user or as the service's.

I/O runs in the children only, so a hung mount blocks a child, not the command. `AgentActions` has
one method per action and judges nothing; arguments and results are JSON, and `OSError` passes
through. When an agent is closed, or its parent dies, it removes what it made.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pwd
import signal
import stat
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from archived.ingest.file_errors import sentence
from archived.ingest.mounts import mount_of
from archived.ingest.scanner import FolderOffline, scan
from archived.ingest.watcher import has_writer
from archived.storage import atomic, tree

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PATIENCE = 60.0
"""Seconds for what somebody put into a folder of ours."""
_AT_FDCWD = -100
_REPLACE, _RENAME_NOREPLACE = 0, 1
_libc = ctypes.CDLL(None, use_errno=True)


def name_of(uid: int) -> str:
    """A user's name, or the number when nobody knows it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def clear(folder: Path, prefix: str) -> None:
    """Remove what begins with `prefix`, as far as this user may; follows no links.

    Raises `OSError` when the folder cannot be listed.
    """
    for name in os.listdir(os.fsencode(folder)):  # noqa: PTH208 - bytes names
        if name.startswith(os.fsencode(prefix)):
            path = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))  # noqa: PTH118
            with suppress(OSError):
                tree.remove(path, seconds=_PATIENCE)


class AgentActions:
    """What a hand can do. `label` is what follows the prefix in a name. Times in seconds."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix
        self._open: dict[str, int] = {}
        self._events: list[tuple[str, str, float]] = []

    def _path(self, label: str) -> Path:
        return Path(f"{self._folder}/{self._prefix}{label}")

    def who(self) -> list[int]:
        return [os.geteuid(), os.getegid()]

    def mount(self) -> dict[str, str]:
        """Type, source, point and options of the mount, and the folder's own rights."""
        mount = mount_of(self._folder)
        status = self._folder.stat()
        return {
            "point": mount.point,
            "type": mount.kind,
            "source": mount.source,
            "options": mount.options,
            "super_options": mount.super_options,
            "owner": name_of(status.st_uid),
            "rights": stat.filemode(status.st_mode),
        }

    def names(self) -> list[str]:
        """Our names as the daemon's own scan finds them; bytes that are no text as surrogates."""
        try:
            found = [
                os.fsdecode(seen.path) for seen in scan(self._folder, recursive=False, trials=True)
            ]
        except FolderOffline as error:
            raise OSError(errno.EIO, str(error)) from error
        return [name.removeprefix(self._prefix) for name in found if name.startswith(self._prefix)]

    def entries(self) -> int:
        """How many entries the folder has; fails when it cannot be listed."""
        with os.scandir(self._folder) as found:
            return sum(1 for _ in found)

    def create(self, label: str, text: str = "") -> float:
        """A new file, closed at once; when it was there on the monotonic clock."""
        handle = os.open(self._path(label), _NEW, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
        return time.monotonic()

    def open(self, label: str) -> float:
        """A file that stays open for writing."""
        self._open[label] = os.open(self._path(label), _NEW, 0o666)
        return time.monotonic()

    def overwrite(self, label: str, text: str) -> None:
        """Put other bytes into a file that is there."""
        handle = os.open(self._path(label), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())

    def write(self, label: str, text: str) -> float:
        os.write(self._open[label], text.encode())
        return time.monotonic()

    def close(self, label: str) -> float:
        """Raises what the kernel could only say now."""
        os.close(self._open.pop(label))
        return time.monotonic()

    def set_time(self, label: str, mtime_ns: int) -> None:
        os.utime(self._path(label), ns=(mtime_ns, mtime_ns), follow_symlinks=False)

    def touch_now(self, label: str) -> list[float]:
        """Our clock just before a file was made, the folder's for it, and our clock after."""
        before = time.time()
        self.create(label, "now")
        return [before, self._path(label).lstat().st_mtime, time.time()]

    def rename(self, label: str, other: str) -> float:
        self._rename(label, other, _REPLACE)
        return time.monotonic()

    def _rename(self, label: str, other: str, flags: int) -> None:
        """As any other program renames: not durably, and without `atomic`'s fallback."""
        names = os.fsencode(self._path(label)), os.fsencode(self._path(other))
        _told(_libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], flags))

    def unlink(self, label: str) -> float:
        self._path(label).unlink()
        return time.monotonic()

    def make_folder(self, label: str) -> None:
        self._path(label).mkdir()

    def stat(self, label: str) -> dict[str, int] | None:
        """What the daemon compares; `None` when there is no such name."""
        try:
            it = self._path(label).lstat()
        except FileNotFoundError:
            return None
        return {
            "device": it.st_dev,
            "inode": it.st_ino,
            "size": it.st_size,
            "mode": it.st_mode,
            "mtime_ns": it.st_mtime_ns,
            "ctime_ns": it.st_ctime_ns,
            "uid": it.st_uid,
            "gid": it.st_gid,
        }

    def read(self, label: str) -> str:
        handle = os.open(self._path(label), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            return file.read().decode("latin-1")

    def has_writer(self, label: str) -> bool | None:
        return has_writer(self._path(label))

    def claim(self, label: str, other: str) -> None:
        """As admission takes a name away."""
        atomic.move_file(self._path(label), self._path(other))

    def remove(self, label: str) -> None:
        """As admission removes a source."""
        atomic.remove_file(self._path(label))

    def link(self, label: str, other: str) -> None:
        _told(_libc.link(os.fsencode(self._path(label)), os.fsencode(self._path(other))))

    def rename_no_replace(self, label: str, other: str) -> None:
        self._rename(label, other, _RENAME_NOREPLACE)

    def fsync(self, label: str) -> None:
        """The file, then the folder."""
        atomic.fsync_file(self._path(label))
        atomic.fsync_folder(self._folder)

    def space(self) -> list[int]:
        """Free bytes for users, free inodes, inodes there are (0: they are not counted)."""
        it = os.statvfs(self._folder)
        return [it.f_bavail * it.f_frsize, it.f_favail, it.f_files]

    def replace_often(self, label: str, seconds: float) -> int:
        """Put whole new files under one name, again and again; how often."""
        until, count = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            self.create(f"{label}-next", "whole" * 100)
            self._rename(f"{label}-next", label, _REPLACE)
            count += 1
        return count

    def look_often(self, label: str, seconds: float) -> list[int]:
        """How often the name was looked at, missing, and not whole."""
        until, looks, missing, torn = time.monotonic() + seconds, 0, 0, 0
        while time.monotonic() < until:
            looks += 1
            try:
                torn += len(self.read(label)) != 500
            except FileNotFoundError:
                missing += 1
        return [looks, missing, torn]

    def listen(self) -> None:
        """Collect watchdog's events from now on."""
        observer = Observer()
        observer.schedule(_Ear(self._hear), str(self._folder), recursive=False)
        observer.start()  # it ends with this process

    def _hear(self, kind: str, path: str) -> None:
        name = os.path.basename(path)  # noqa: PTH119 - strangers' names are not resolved
        if name.startswith(self._prefix):
            self._events.append((kind, name.removeprefix(self._prefix), time.monotonic()))

    def heard(self) -> list[tuple[str, str, float]]:
        """Kind, label and monotonic time of every event so far."""
        return list(self._events)


def _told(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class _Ear(FileSystemEventHandler):
    """Passes on what happened to which name; of a rename, both."""

    def __init__(self, hear: Callable[[str, str], None]) -> None:
        self._hear = hear

    def on_any_event(self, event: FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            if path:
                self._hear(event.event_type, os.fsdecode(path))


PATIENCE = 20.0
"""Seconds an action may take; a mount that answers later is no place for scans."""

_UMASK = 0o022
"""What servers and login sessions create files with, unless told otherwise."""


class AgentNoAnswer(Exception):
    """The hand hangs in a call to the kernel, or is gone."""


class Agent:
    """A child process that acts in `folder` as `user`; its files' names begin with `prefix`."""

    def __init__(self, folder: Path, prefix: str, user: pwd.struct_passwd | None) -> None:
        self._line, theirs = Pipe()
        self._alive = True
        self._asked = 0
        """Number of the last action: an answer to an earlier one that nobody waited for is passed
        over. Else every later answer would be taken for its neighbour's."""
        self._pid = os.fork()
        if self._pid == 0:
            self._line.close()
            _live(theirs, folder, prefix, user)
        theirs.close()

    def begin(self, action: str, *arguments: Any) -> None:
        """Start an action; `result` waits for it."""
        if not self._alive:
            raise AgentNoAnswer
        try:
            self._asked += 1
            self._line.send_bytes(json.dumps([self._asked, action, *arguments]).encode())
        except OSError as error:
            raise AgentNoAnswer from error

    def result(self, patience: float = PATIENCE) -> Any:
        """The last action's result. Raises its `OSError`, or `AgentNoAnswer`.

        Any other error of an action is an `OSError` as well, with its text and the number 0.
        """
        answer: dict[str, Any] = {}
        until = time.monotonic() + patience
        while answer.get("of") != self._asked:
            try:
                answered = self._alive and self._line.poll(max(0.0, until - time.monotonic()))
                answer = json.loads(self._line.recv_bytes()) if answered else {}
            except (EOFError, OSError) as error:
                self._alive = False
                raise AgentNoAnswer from error
            if not answer:
                self._alive = False
                raise AgentNoAnswer
        if "errno" in answer:
            raise OSError(answer["errno"], answer["why"])
        return answer["result"]

    def do(self, action: str, *arguments: Any) -> Any:
        """One action and its result."""
        self.begin(action, *arguments)
        return self.result()

    def let_go(self, patience: float = 5.0) -> None:
        """It removes what is left of its files and ends; one that hangs is killed."""
        self._line.close()
        until = time.monotonic() + patience
        while os.waitpid(self._pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > until:
                os.kill(self._pid, signal.SIGKILL)
                return  # it may hang in the kernel until the mount answers: nobody waits for that
            time.sleep(0.01)


def _live(line: Connection, folder: Path, prefix: str, user: pwd.struct_passwd | None) -> None:
    """The child's whole life. Never returns."""
    try:
        # Ctrl-C reaches the whole group: our owner decides, and we clean up when it lets go.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGIO):
            signal.signal(number, signal.SIG_IGN)
        # A line to another hand kept open here would keep that hand from seeing its end.
        os.closerange(3, line.fileno())
        os.closerange(line.fileno() + 1, 1024)
        if user is not None:
            os.initgroups(user.pw_name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            os.umask(_UMASK)
        _serve(line, AgentActions(folder, prefix))
    except (KeyboardInterrupt, SystemExit):
        pass  # a signal that came before we ignored it
    except BaseException:  # noqa: BLE001 - the owner hears nothing more: somebody must say why
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            clear(folder, prefix)
        os._exit(0)


def _serve(line: Connection, actions: AgentActions) -> None:
    while True:
        try:
            number, action, *arguments = json.loads(line.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            answer = json.dumps({"of": number, "result": getattr(actions, action)(*arguments)})
        except OSError as error:
            code = error.errno or 0
            why = os.strerror(code) if code else sentence(error)
            answer = json.dumps({"of": number, "errno": code, "why": why})
        except Exception as error:  # noqa: BLE001 - an odd file system must not end the trial
            answer = json.dumps({"of": number, "errno": 0, "why": sentence(error)})
        line.send_bytes(answer.encode())
