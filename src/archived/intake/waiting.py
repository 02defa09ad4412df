"""Files that lie in a hot folder and were not taken in yet: which, since when, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

WHY: Mapping[str, str] = {
    "changes": "it came a moment ago, or is still changing",
    "unfinished": "its end has not come",
    "open": "somebody has it open for writing",
    "holes": "parts of it are not written yet",
    "no-room": "there is no room on the disk with the spool",
    "batch": "the rest of its batch, or what closes it, has not come",
    "trouble": "it could not be taken in and is tried again",
}
"""Code -> why a file waits."""

MOST = 1000
"""Files of one sweep that are remembered by name."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One file. `detail` completes the code's sentence; it may be empty."""

    name: str
    since: datetime
    """When it was seen first, whichever daemon ran then."""
    code: str
    detail: str = ""

    @property
    def why(self) -> str:
        """In one sentence."""
        return f"{WHY[self.code]}: {self.detail}" if self.detail else WHY[self.code]


def seconds_before(first_seen: datetime, ctime_ns: int, now: datetime) -> float:
    """How long a file has looked as it does, before this daemon saw it for the first time.

    Known on two conditions: it was on record then, and its inode has not changed since. The change
    time is the file system's own: whoever writes a file cannot set it.
    """
    since = max(first_seen.timestamp(), ctime_ns / 1e9)
    return max(0.0, now.timestamp() - since)
