"""What a desk remembers of a file that is there: it can be lost at any time and is found again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from archived.intake.batch import Lying
from archived.intake.card import FolderCard
from archived.intake.formats import Look
from archived.intake.item import Candidate
from archived.intake.settle import Sighting, unchanged_since
from archived.intake.waiting import seconds_before
from archived.storage.records import Arrival

LONGEST_PAUSE = 300.0
"""Seconds after which a file with an error of its own is tried again at the latest."""


@dataclass(slots=True)
class Watched:
    """One file. Its `arrival` is as the catalog had it when it was last asked."""

    arrival: Arrival
    first: Sighting | None = None
    """Since when it has looked as it does now."""
    last: Sighting | None = None
    seen: Look | None = None
    """What a look at it found, as long as it does not change."""
    kind: int = 0
    """The type of file for which the rules were asked."""
    told: str = ""
    """The trouble that was last reported; the same trouble is told once."""
    vanished: int = 0
    """In how many sweeps in a row it was listed, and not found when it was opened."""
    failures: int = 0
    """How often in a row an error about it alone came up."""
    again: float = 0.0
    """When it is tried again after such an error (monotonic seconds), unless it changes."""

    earlier: float = 0.0
    """Seconds that it had looked the same before this desk saw it first."""

    def sighted(self, sighting: Sighting, now: datetime) -> None:
        """A scan saw it; what is known of it counts until it changes."""
        first = unchanged_since(self.first, sighting)
        if first is sighting:
            self.earlier = (
                seconds_before(self.arrival.first_seen, sighting.ctime_ns, now)
                if self.last is None else 0.0
            )  # fmt: skip
            self.seen = None
            self.attended()
        self.first, self.last = first, sighting

    @property
    def still(self) -> float:
        """For how many seconds it has looked the same, also to an earlier daemon."""
        if self.first is None or self.last is None:
            return 0.0
        return self.last.at - self.first.at + self.earlier

    def failed(self, now: float) -> None:
        """An error about this file alone: it is tried again later and later."""
        self.failures += 1
        self.again = now + min(LONGEST_PAUSE, 2.0 ** min(self.failures, 20))

    def attended(self) -> None:
        """No error came up with it."""
        self.vanished = self.failures = 0
        self.again = 0.0

    def remembering(self, before: Watched | None) -> Watched:
        """The same, with what was seen of this very arrival before the catalog was read anew."""
        if before is None or before.arrival.id != self.arrival.id:
            return self
        return replace(before, arrival=self.arrival)


@dataclass(frozen=True, slots=True)
class Ready:
    """A file of a hot folder with batches that could be taken in now."""

    watched: Watched
    candidate: Candidate
    held: tuple[str, str] | None


def lying(watched: Watched, ready: Ready | None) -> Lying:
    """The file as batches are decided on."""
    arrival, last, still = watched.arrival, watched.last, watched.still
    size = last.size if last is not None else arrival.size
    held = ready.held if ready is not None else None
    written = last.mtime_ns if last is not None else arrival.mtime_ns
    seen = int(arrival.first_seen.timestamp() * 1e9)
    return Lying(
        arrival.path, arrival.id, size, still, ready is not None, arrival.origin, written, seen,
        held,
    )  # fmt: skip


def candidate(card: FolderCard, arrival: Arrival, last: Sighting, found: Look) -> Candidate:
    """The file as it is brought to admission."""
    return Candidate(
        arrival=arrival.id, root=card.path, path=arrival.path, device=last.device,
        inode=last.inode, size=last.size, mtime_ns=last.mtime_ns, ctime_ns=last.ctime_ns,
        media_type=found.media_type, extension=found.extension, origin=arrival.origin,
    )  # fmt: skip
