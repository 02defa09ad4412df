"""watchdog's events, as hints that a scan is worth while. Losing one costs time, never a file.

Which folders get events: local file systems do; network and FUSE mounts deliver none for changes
made elsewhere, so they are polled. The choice is made per folder from the mount's type.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from archived.intake.rules import OWN_FOLDER

Mode = Literal["auto", "events", "polling"]

REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "davfs", "sshfs",
     "virtiofs", "vboxsf", "drvfs"}
)  # fmt: skip
"""Mount types on which other machines write without our kernel hearing of it."""

_ESCAPED = re.compile(r"\\([0-7]{3})")
"""How mountinfo writes blanks, tabs, line feeds and backslashes in a path (proc(5))."""

_HINTS = frozenset({"created", "modified", "moved", "closed", "deleted"})


def mount_type(path: Path, mounts: str) -> str:
    """The file-system type of the mount `path` lies on; `mounts` is /proc/self/mountinfo's text."""
    best, kind = "", "unknown"
    wanted = str(path.resolve())
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        point = _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields.split()[4])
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind


def wants_polling(kind: str) -> bool:
    """True when changes below such a mount may go unannounced."""
    return kind in REMOTE or kind.startswith("fuse")


def choose_mode(path: Path, mode: Mode) -> Literal["events", "polling"]:
    """`auto` resolved from the mount's type."""
    if mode != "auto":
        return mode
    return "polling" if wants_polling(mount_type(path, _mounts())) else "events"


def _mounts() -> str:
    return Path("/proc/self/mountinfo").read_text("utf-8", errors="surrogateescape")


class _Hint(FileSystemEventHandler):
    """As little as possible happens in watchdog's thread: a hint is passed on."""

    def __init__(self, hint: Callable[[], None], own: bytes) -> None:
        self._hint = hint
        self._own = own

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _HINTS and not self._is_ours(event):
            self._hint()

    def _is_ours(self, event: FileSystemEvent) -> bool:
        """What we write into our own folder is no news."""
        paths = [os.fsencode(path) for path in (event.src_path, event.dest_path) if path]
        return all(path == self._own or path.startswith(self._own + b"/") for path in paths)


class Watcher:
    """Calls `hint` (from another thread) when something may have changed below `root`.

    Except in the folder `own` of our answers.
    """

    def __init__(
        self, root: Path, hint: Callable[[], None], *, recursive: bool = True,
        own: bytes = OWN_FOLDER,
    ) -> None:  # fmt: skip
        self._root = root
        self._hint = hint
        self._recursive = recursive
        self._own = os.path.join(os.fsencode(root), own)  # noqa: PTH118 - bytes names
        self._observer: BaseObserver | None = None

    def start(self) -> None:
        """Begin. Raises `OSError` when the kernel cannot watch (no such folder, out of watches)."""
        observer = Observer()
        try:
            hint = _Hint(self._hint, self._own)
            observer.schedule(hint, str(self._root), recursive=self._recursive)
            observer.start()
        except BaseException:
            _close(observer)
            raise
        self._observer = observer

    def alive(self) -> bool:
        """False when watchdog gave up, as it does when the folder disappears."""
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and all(e.is_alive() for e in observer.emitters)
        )

    def stop(self) -> None:
        """End the thread; safe to call when it never started."""
        if self._observer is not None:
            _close(self._observer)
            self._observer = None


def _close(observer: BaseObserver) -> None:
    """Stop it and give its inotify instance back: a user has few, and a share may be away long."""
    observer.unschedule_all()
    observer.stop()
    if observer.is_alive():
        observer.join(timeout=5)


def has_writer(path: Path) -> bool | None:
    """Whether somebody has the file open for writing; `None` where the kernel cannot tell.

    Asks for a read lease, which is refused while there is a writer, and gives it straight back.
    The daemon ignores SIGIO, the signal of a lease being broken in between.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return lease_refused(handle)
    finally:
        os.close(handle)


def lease_refused(handle: int) -> bool | None:
    """`has_writer` of a file that is open for reading."""
    try:
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None  # not our file and no CAP_LEASE, or a file system without leases
    return False
