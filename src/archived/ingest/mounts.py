"""Which mount a folder lies on (`/proc/self/mountinfo`), and whether a hot folder's is still there.

A folder that looks empty may not be mounted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from archived.ingest.scanner import FolderOffline, mount_point
from archived.message import Message

_ESCAPED = re.compile(r"\\([0-7]{3})")
"""How mountinfo writes blanks, tabs, line feeds and backslashes in a path (proc(5))."""


class Mount(NamedTuple):
    """One line of mountinfo; `kind` is the type of the file system."""

    point: str = ""
    kind: str = "unknown"
    source: str = ""
    options: str = ""
    super_options: str = ""


def mount_of(path: Path, mountinfo: str | None = None) -> Mount:
    """The mount that `path` lies on, by mountinfo's text (else that of this process).

    Of several on one another the last. Raises `OSError` when mountinfo cannot be read.
    """
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text("utf-8", errors="surrogateescape")
    best, wanted = Mount(), path.resolve()
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        written, options, *_ = [*fields.split(" ")[4:6], "", ""]
        kind, source, super_options, *_ = [*rest.split(" "), "", ""]  # a source may be empty
        point = _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), written)
        if point and wanted.is_relative_to(point) and len(point) >= len(best.point):
            best = Mount(point, kind, source, options, super_options)
    return best


class FolderChecks:
    """Of one hot folder. Each raises `FolderOffline`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mount: Path | None = None
        """Where the folder's file system was mounted in the last sweep that could be trusted."""

    def ask_whether_still_mounted(self) -> None:
        """What lies where a share was mounted, while it is not, is neither the folder nor empty."""
        try:
            mount = mount_point(self._path)
        except (OSError, RuntimeError) as error:
            raise FolderOffline(Message("{path}: {error}", path=self._path, error=error)) from error
        if self._mount is not None and mount != self._mount and self._mount.is_relative_to(mount):
            raise FolderOffline(
                Message(
                    "{path}: nothing is mounted at {mount} any more; mount it again, or "
                    "reload archived when the folder is meant to be without it",
                    path=self._path,
                    mount=self._mount,
                )
            )
        self._mount = mount

    def ask_whether_mounted(self, devices: Iterable[int]) -> None:
        """All files gone at once, and the folder is on another disk: that is no clerk's doing.

        `devices`: where the files were seen; 0 where that is not known.
        """
        device = self._status().st_dev
        known = [each for each in devices if each]
        if known and all(each != device for each in known):
            raise FolderOffline(
                Message(
                    "{path}: empty, and not the file system that its files were seen on; "
                    "is the share mounted?",
                    path=self._path,
                )
            )

    def ask_whether_it_answers(self) -> None:
        """A folder that cannot be listed any more: then an error is no file's fault."""
        try:
            with os.scandir(self._path) as entries:
                next(entries, None)
        except OSError as error:
            raise FolderOffline(
                Message("{path}: {why}", path=self._path, why=error.strerror or error)
            ) from error

    def _status(self) -> os.stat_result:
        try:
            return self._path.stat()
        except OSError as error:
            raise FolderOffline(
                Message("{path}: {why}", path=self._path, why=error.strerror or error)
            ) from error
