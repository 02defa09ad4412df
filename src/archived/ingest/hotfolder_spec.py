"""One hot folder as ingest is given it, what it needs of the daemon, and what a sweep reports.

A file that lies in the folder and is not taken in yet is reported as `Waiting`, with the reason.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from archived.ingest.admission import Custody
from archived.ingest.batches import BatchRules
from archived.ingest.filetypes import ANY_TYPE
from archived.ingest.ignore_rules import OWN_FOLDER
from archived.ingest.submission import Candidate, Route
from archived.ingest.watcher import Mode
from archived.message import Message
from archived.model.ids import readable
from archived.storage.rows import Arrival

WHY: Mapping[str, str] = {
    "changes": Message("it came a moment ago, or is still changing"),
    "unfinished": Message("its end has not come"),
    "open": Message("somebody has it open for writing"),
    "holes": Message("parts of it are not written yet"),
    "no-room": Message("there is no room on the disk with the spool"),
    "batch": Message("the rest of its batch, or what closes it, has not come"),
    "trouble": Message("it could not be taken in and is tried again"),
    "hold": Message(
        "it cannot be taken in, and is put on record as held with others within a minute"
    ),
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
        return (
            Message("{why}: {detail}", why=WHY[self.code], detail=self.detail)
            if self.detail
            else WHY[self.code]
        )


def seconds_before(first_seen: datetime, ctime_ns: int, now: datetime) -> float:
    """How long a file has looked as it does, before this daemon saw it for the first time.

    Known on two conditions: it was on record then, and its inode has not changed since. The change
    time is the file system's own: whoever writes a file cannot set it.
    """
    since = max(first_seen.timestamp(), ctime_ns / 1e9)
    return max(0.0, now.timestamp() - since)


_LONGER = 12


@dataclass(frozen=True, slots=True)
class HotFolderSpec:
    """One configured hot folder. Times in seconds, sizes in bytes."""

    name: str
    path: Path
    route: Route
    settle_time: float = 5.0
    rescan: float = 30.0
    deadline: float = 900.0
    """How long a file may stay unfinished, unchanged, before it is held."""
    max_size: int = 4 << 30
    accept: tuple[str, ...] = (ANY_TYPE,)
    """Types of files that are taken in, by the words of `formats.TYPES`."""
    mode: Mode = "auto"
    recursive: bool = True
    ignore: tuple[str, ...] = ()
    own: bytes = OWN_FOLDER
    """The receipts folder; never looked into."""
    device: str = ""
    """Which device writes to it; empty: the folder's name stands for it."""
    device_per_subfolder: bool = False
    """Each folder directly below it is a device of its own."""

    batches: BatchRules = field(default_factory=BatchRules)
    """How its files belong together; by default each file is a document of its own."""

    @property
    def long_settle_time(self) -> float:
        """How long a file must look the same where that alone tells whether it is still written to:
        its size was reserved beforehand, or the kernel cannot say whether somebody has it open.
        """
        return min(_LONGER * self.settle_time, max(self.deadline, self.settle_time))

    def inside(self, path: bytes) -> Path:
        """A file of the folder, absolute."""
        return Path(os.fsdecode(os.path.join(os.fsencode(self.path), path)))  # noqa: PTH118

    def origin(self, path: bytes) -> str:
        """The device that a file at this path came from."""
        below, _, rest = path.partition(b"/")
        if self.device_per_subfolder and rest:
            return readable(below)
        return self.device or self.name


class IngestServices(Protocol):
    """What ingest needs of the daemon: routes, new ids, an artifact's bytes, free space."""

    def now(self) -> datetime: ...
    def new_id(self, now: datetime) -> str: ...
    def route(self, spec: HotFolderSpec, candidate: Candidate) -> Route: ...
    def find_bytes(self, document: str, became: str | None = None) -> Path | None: ...
    def room_for(self, size: int) -> bool: ...
    def stopping(self) -> bool: ...


@dataclass(slots=True)
class Sweep:
    """What one pass over the folder did."""

    admitted: list[Custody] = field(default_factory=list)
    arriving: int = 0
    """Files that are not whole or not settled yet."""
    settles: float = math.inf
    """Seconds until the first of them will have settled, if it does not change."""
    no_room: bool = False
    """Something waits for free space."""
    stuck: list[str] = field(default_factory=list)
    """Sources in custody that could not be removed."""
    errors: list[str] = field(default_factory=list)
    broken: list[tuple[str, Exception]] = field(default_factory=list)
    """Files held for an error that is none of a disk or share, with the error."""
    blocked: str = ""
    """Why files could not be taken in although nothing is wrong with them; empty: nothing is."""
    waiting: list[Waiting] = field(default_factory=list)
    """Those of `arriving`, by name."""

    def waits(self, arrival: Arrival, code: str, detail: str = "") -> None:
        """A file stays where it is for now."""
        self.arriving += 1
        if len(self.waiting) < MOST:
            self.waiting.append(Waiting(arrival.name, arrival.first_seen, code, detail))
