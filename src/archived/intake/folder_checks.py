"""Whether a hot folder is mounted and answers: one that looks empty may not be mounted."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from archived.intake.scan import FolderOffline, mount_point


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
            raise FolderOffline(f"{self._path}: {error}") from error
        if self._mount is not None and mount != self._mount and self._mount.is_relative_to(mount):
            raise FolderOffline(
                f"{self._path}: nothing is mounted at {self._mount} any more; mount it again, "
                "or reload archived when the folder is meant to be without it"
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
                f"{self._path}: empty, and not the file system that its files were seen on; "
                "is the share mounted?"
            )

    def ask_whether_it_answers(self) -> None:
        """A folder that cannot be listed any more: then an error is no file's fault."""
        try:
            with os.scandir(self._path) as entries:
                next(entries, None)
        except OSError as error:
            raise FolderOffline(f"{self._path}: {error.strerror or error}") from error

    def _status(self) -> os.stat_result:
        try:
            return self._path.stat()
        except OSError as error:
            raise FolderOffline(f"{self._path}: {error.strerror or error}") from error
