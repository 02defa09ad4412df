"""watchdog's events, as hints that a scan is worth while. Losing one costs time, never a file.

Which folders get events: local file systems do; network and FUSE mounts deliver none for changes
made elsewhere, so they are polled. The choice is made per folder from the mount's type.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyEmitter, InotifyWatchGroup
from watchdog.observers.inotify_c import InotifyEvent, InotifyFD

from archived.ingest.ignore_rules import OWN_FOLDER
from archived.ingest.mounts import mount_of
from archived.ingest.scanner import DEEPEST

Mode = Literal["auto", "events", "polling"]

REMOTE = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "davfs",
        "sshfs",
        "virtiofs",
        "vboxsf",
        "drvfs",
    }
)
"""Mount types on which other machines write without our kernel hearing of it."""

_HINTS = frozenset({"created", "modified", "moved", "closed", "deleted"})


def wants_polling(kind: str) -> bool:
    """True when changes below such a mount may go unannounced."""
    return kind in REMOTE or kind.startswith("fuse")


def choose_mode(path: Path, mode: Mode) -> Literal["events", "polling"]:
    """`auto` resolved from the mount's type."""
    if mode != "auto":
        return mode
    return "polling" if wants_polling(mount_of(path).kind) else "events"


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


class _Reader(InotifyFD):
    """Reads the kernel's events, for all watchers of this process.

    watchdog's own ends, and with it the events of every hot folder, at the first event that cannot
    be handled: whoever may make folders in one makes them deeper than Python recurses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hints: list[Callable[[], None]] = []
        """Those of all watchers."""

    def handle_event(self, event: InotifyEvent) -> None:
        try:
            super().handle_event(event)
        except Exception:  # noqa: BLE001 - see above; what it was about is found by listing
            for hint in tuple(self.hints):
                hint()


@cache
def _reader() -> _Reader:
    reader = _Reader()
    reader.start()
    return reader


class _Emitter(InotifyEmitter):
    """Of one watcher: what our reader has for it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named, inotify_fd=_reader())

    def on_thread_start(self) -> None:
        self._inotify = _Group(
            self._inotify_fd,
            os.fsencode(self.watch.path),
            is_recursive=self.watch.is_recursive,
            event_mask=self.get_event_mask_from_filter(),
            follow_symlink=False,
        )


class _Group(InotifyWatchGroup):
    """The folders of one watcher, no deeper than a scan goes: each new one is looked through anew,
    which takes long in a tree that grows from its top.
    """

    def _add_all_callbacks(self, path: bytes) -> None:
        unseen = [path]
        while unseen:
            folder = unseen.pop()
            self._add_callback(folder)
            if not self.is_recursive or self._depth(folder) >= DEEPEST:
                continue
            with suppress(OSError), os.scandir(folder) as entries:
                unseen += [each.path for each in entries if each.is_dir(follow_symlinks=False)]

    def _recursive_simulate(self, _path: bytes) -> list[InotifyEvent]:
        return []  # the new folder is a hint by itself, and what is in it is found by the scan

    def _depth(self, folder: bytes) -> int:
        return folder.count(b"/") - self.path.count(b"/")


class Watcher:
    """Calls `hint` (from another thread) when something may have changed below `root`.

    Except in the folder `own` of our answers.
    """

    def __init__(
        self,
        root: Path,
        hint: Callable[[], None],
        *,
        recursive: bool = True,
        own: bytes = OWN_FOLDER,
    ) -> None:
        self._root = root
        self._hint = hint
        self._recursive = recursive
        self._own = os.path.join(os.fsencode(root), own)  # noqa: PTH118 - bytes names
        self._observer: BaseObserver | None = None

    def start(self) -> str:
        """Begin. Raises `OSError` when the kernel cannot watch (no such folder, say).

        Folders below it may be too deep or too many to be watched: whoever may write there makes
        them. Then the folder itself is watched, and the answer says why the others are not.
        """
        why = ""
        try:
            self._observer = self._watch(recursive=self._recursive)
        except (OSError, RecursionError) as error:
            if not self._recursive:
                raise
            self._observer = self._watch(recursive=False)
            why = str(error)
        _reader().hints.append(self._hint)
        return why

    def _watch(self, *, recursive: bool) -> BaseObserver:
        observer = BaseObserver(_Emitter)
        try:
            observer.schedule(_Hint(self._hint, self._own), str(self._root), recursive=recursive)
            observer.start()
        except BaseException:
            _close(observer)
            raise
        return observer

    def alive(self) -> bool:
        """False when watchdog gave up, as it does when the folder disappears."""
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and _reader().is_alive()
            and all(e.is_alive() for e in observer.emitters)
        )

    def stop(self) -> None:
        """End the thread; safe to call when it never started."""
        if self._observer is not None:
            with suppress(ValueError):
                _reader().hints.remove(self._hint)
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
