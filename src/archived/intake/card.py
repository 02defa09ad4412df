"""What a desk is given, and what it gives back. No disk, no decisions."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from archived.intake.admission import Custody
from archived.intake.batch import Rules
from archived.intake.formats import ANY_TYPE
from archived.intake.item import Candidate, Route
from archived.intake.rules import OWN_FOLDER
from archived.intake.waiting import MOST, Waiting
from archived.intake.watcher import Mode
from archived.model.identity import readable
from archived.storage.records import Arrival

_LONGER = 12


@dataclass(frozen=True, slots=True)
class FolderCard:
    """One configured hot folder. Times in seconds, sizes in bytes."""

    name: str
    path: Path
    route: Route
    quiet: float = 5.0
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
    """The folder of our answers; never looked into."""
    device: str = ""
    """Which device writes to it; empty: the folder's name stands for it."""
    device_per_subfolder: bool = False
    """Each folder directly below it is a device of its own."""

    batches: Rules = field(default_factory=Rules)
    """How its files belong together; by default each file is a document of its own."""

    @property
    def long_quiet(self) -> float:
        """How long a file must look the same where that alone tells whether it is still written to:
        its size was reserved beforehand, or the kernel cannot say whether somebody has it open.
        """
        return min(_LONGER * self.quiet, max(self.deadline, self.quiet))

    def inside(self, path: bytes) -> Path:
        """A file of the folder, absolute."""
        return Path(os.fsdecode(os.path.join(os.fsencode(self.path), path)))  # noqa: PTH118

    def origin(self, path: bytes) -> str:
        """The device that a file at this path came from."""
        below, _, rest = path.partition(b"/")
        if self.device_per_subfolder and rest:
            return readable(below)
        return self.device or self.name


class House(Protocol):
    """What a desk needs of the rest: who decides routes, gives ids, finds bytes, knows space."""

    def now(self) -> datetime: ...
    def new_id(self, now: datetime) -> str: ...
    def route(self, card: FolderCard, candidate: Candidate) -> Route: ...
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
