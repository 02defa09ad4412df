"""Has this file stopped changing? Pure: sightings in, an answer out.

The clock is ours (monotonic seconds), never the file's: a scanner's time may lie in the past, and
some clients set it. Anything that differs between two sightings starts the quiet time afresh.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Status(Protocol):
    """What of `os.stat_result` is looked at."""

    @property
    def st_dev(self) -> int: ...
    @property
    def st_ino(self) -> int: ...
    @property
    def st_size(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_ctime_ns(self) -> int: ...


QUIET = 15
"""Seconds that a file must have stayed the same, as [intake] quiet has it by default: longer than a
scanner pauses between pages. Where nobody can tell whether a file is still open, as with separate
accounts for scanners and service, nothing else tells its end."""


class Sighting(NamedTuple):
    """What `stat` said about a file, and when we asked (monotonic seconds)."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    at: float

    def same_as(self, other: Sighting) -> bool:
        """True when nothing that `stat` can tell has changed."""
        return (self.device, self.inode, self.size, self.mtime_ns, self.ctime_ns) == (
            other.device, other.inode, other.size, other.mtime_ns, other.ctime_ns,
        )  # fmt: skip

    def is_of(self, status: Status) -> bool:
        """True when nothing has changed by what `stat` says now."""
        return (self.device, self.inode, self.size, self.mtime_ns, self.ctime_ns) == (
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
        )  # fmt: skip


def unchanged_since(first: Sighting | None, last: Sighting) -> Sighting:
    """The sighting from which on the file has looked the same: `first`, or `last` if it changed."""
    return first if first is not None and first.same_as(last) else last


def has_settled(first: Sighting, last: Sighting, quiet: float) -> bool:
    """True when a file has looked the same for `quiet` seconds."""
    return first.same_as(last) and last.at - first.at >= quiet
