"""What is in a hot folder, now. Events are hints; this is the truth.

Names are bytes throughout; nothing is opened here. A folder that cannot be listed is *offline*,
which is never the same as empty.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from archived.intake.rules import OWN_FOLDER
from archived.intake.settle import Sighting

DEEPEST = 64
"""Folders nested deeper than this are not entered; the folder itself is reported."""


class FolderOffline(Exception):
    """The hot folder cannot be listed: the share is gone, or rights were taken away."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One entry that is not a folder. `path` is relative to the hot folder."""

    path: bytes
    mode: int
    sighting: Sighting


def scan(root: Path, *, recursive: bool = True) -> Iterator[Seen]:
    """Everything below `root` that is not a folder. Raises `FolderOffline`.

    A sub-folder that vanishes or cannot be read while we walk is passed over: the next scan, or
    an offline share, will tell.
    """
    try:
        yield from _walk(os.fsencode(root), b"", recursive=recursive, depth=0)
    except OSError as error:
        raise FolderOffline(f"{root}: {error.strerror}") from error


def _walk(root: bytes, below: bytes, *, recursive: bool, depth: int) -> Iterator[Seen]:
    with os.scandir(os.path.join(root, below)) as entries:  # noqa: PTH118 - bytes names
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = below + b"/" + entry.name if below else entry.name
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield Seen(path, status.st_mode, _sighting(status))
        elif recursive and depth < DEEPEST and path != OWN_FOLDER:
            try:
                yield from _walk(root, path, recursive=recursive, depth=depth + 1)
            except (FileNotFoundError, PermissionError, NotADirectoryError):
                continue


def _sighting(status: os.stat_result) -> Sighting:
    return Sighting(
        device=status.st_dev, inode=status.st_ino, size=status.st_size,
        mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns, at=time.monotonic(),
    )  # fmt: skip
