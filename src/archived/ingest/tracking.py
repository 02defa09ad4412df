"""What is remembered of a file in a hot folder. It can be lost at any time and is found again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from archived.ingest.batches import BatchFile
from archived.ingest.filetypes import Inspection
from archived.ingest.hotfolder_spec import HotFolderSpec, seconds_before
from archived.ingest.scanner import StatSample, unchanged_since
from archived.ingest.submission import Candidate
from archived.storage.rows import Arrival

LONGEST_PAUSE = 300.0
"""Seconds after which a file with an error of its own is tried again at the latest."""


@dataclass(slots=True)
class TrackedFile:
    """One file. Its `arrival` is as the catalog had it when it was last asked."""

    arrival: Arrival
    first: StatSample | None = None
    """Since when it has looked as it does now."""
    last: StatSample | None = None
    seen: Inspection | None = None
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
    """Seconds for which it had not changed before it was seen first."""

    def sighted(self, sighting: StatSample, now: datetime) -> None:
        """A scan saw it; what is known of it counts until it changes."""
        first = unchanged_since(self.first, sighting)
        if first is sighting:
            self.earlier = (
                seconds_before(self.arrival.first_seen, sighting.ctime_ns, now)
                if self.last is None
                else 0.0
            )
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

    def remembering(self, before: TrackedFile | None) -> TrackedFile:
        """The same, with what was seen of this very arrival before the catalog was read anew."""
        if before is None or before.arrival.id != self.arrival.id:
            return self
        return replace(before, arrival=self.arrival)


@dataclass(frozen=True, slots=True)
class ReadyFile:
    """A file of a hot folder with batches that could be taken in now."""

    watched: TrackedFile
    candidate: Candidate
    held: tuple[str, str] | None


def batch_file(watched: TrackedFile, ready: ReadyFile | None) -> BatchFile:
    """The file as batches are decided on."""
    arrival, last, still = watched.arrival, watched.last, watched.still
    size = last.size if last is not None else arrival.size
    held = ready.held if ready is not None else None
    written = last.mtime_ns if last is not None else arrival.mtime_ns
    seen = int(arrival.first_seen.timestamp() * 1e9)
    return BatchFile(
        arrival.path,
        arrival.id,
        size,
        still,
        ready is not None,
        arrival.origin,
        written,
        seen,
        held,
    )


def candidate(
    spec: HotFolderSpec, arrival: Arrival, last: StatSample, found: Inspection
) -> Candidate:
    """The file as it is brought to admission."""
    return Candidate(
        arrival=arrival.id,
        root=spec.path,
        path=arrival.path,
        device=last.device,
        inode=last.inode,
        size=last.size,
        mtime_ns=last.mtime_ns,
        ctime_ns=last.ctime_ns,
        media_type=found.media_type,
        extension=found.extension,
        origin=arrival.origin,
    )
