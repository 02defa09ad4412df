"""Clears the hot folder of sources that are in custody, and of what a crash left of a removal.

Where the kernel cannot tell whether somebody still writes to a file, nobody knows that he does
not. Such a source has lost its name, is watched for a further quiet time and compared once more
before it is unlinked; what is unlinked is in custody, byte for byte.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from archived import AGENT
from archived.errors import CatalogError
from archived.intake.card import FolderCard, House
from archived.intake.file_errors import sentence
from archived.intake.formats import Look, Whole
from archived.intake.grown import record_grown
from archived.intake.noting import Removals
from archived.intake.opened import Opened, opened
from archived.intake.removal import Removal, give_back, remove_source, taken_for
from archived.intake.scan import Seen
from archived.intake.settle import Sighting, unchanged_since
from archived.intake.watched import Watched, candidate
from archived.model.identity import readable
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.records import Arrival

_UNLOOKED = Look("", "", Whole.UNKNOWN)


@dataclass(slots=True)
class _Quiet:
    """A source that has lost its name, and since when it has looked as it does."""

    arrival: Arrival
    first: Sighting


class Clearing:
    """For one hot folder. A source that cannot be removed is tried again, in turn with others."""

    def __init__(self, card: FolderCard, catalog: Catalog, house: House) -> None:
        self._card = card
        self._catalog = catalog
        self._house = house
        self._removals = Removals()
        self._watched: dict[bytes, _Quiet] = {}
        self._before: dict[bytes, _Quiet] = {}
        self.settles = math.inf
        """Seconds until the first of the sources that are watched has been quiet long enough."""
        self.forget = self._removals.forget

    def begin(self) -> None:
        """A sweep begins."""
        self._removals.begin()
        self._before, self._watched = {**self._before, **self._watched}, {}
        self.settles = math.inf

    def ended(self) -> None:
        """A sweep went through: what it did not meet is there no more."""
        self._before = {}

    def remove(
        self, watched: Watched, already_open: Opened | None = None
    ) -> tuple[Removal | None, str]:
        """What became of a source in custody; `None`, and perhaps why, when it is stuck.

        Raises `FileNotFoundError` when somebody else took it away, and `CatalogError`.
        """
        arrival, last = watched.arrival, watched.last
        assert last is not None  # noqa: S101 - a file is removed in a sweep that saw it
        if not self._removals.may_try(arrival.path):
            return None, ""
        document, now = arrival.document or "", self._house.now()
        try:
            ours = self._house.find_bytes(document, arrival.became)
            if ours is None:
                self._removals.failed(arrival.path)
                return None, ""  # no bytes to compare with
            source = candidate(self._card, arrival, last, _UNLOOKED)
            done = remove_source(self._catalog, source, document, ours, now, already_open)
        except (FileNotFoundError, CatalogError):
            raise
        except Exception as error:  # noqa: BLE001 - as an error of the disk: it is stuck
            self._removals.failed(arrival.path)
            return None, f"cannot be removed: {sentence(error)}"
        if done is Removal.OPEN:
            self._removals.failed(arrival.path)
            return None, "somebody has it open for writing again"
        if done is Removal.WATCHED:
            self.settles = min(self.settles, self._card.long_quiet)
        self._removals.forget(arrival.path)
        return done, ""

    def finish(self, seen: Seen) -> list[str] | None:
        """`None` unless this was a source in custody that has lost its name.

        Then the names of what could not be removed even now: none, or this one.
        """
        known = self._before.get(seen.path)
        if known is not None and self._is_watched(seen, known):
            return []
        arrival = known.arrival if known is not None else self._arrival_of(seen)
        if arrival is None:
            return None
        try:
            with opened(self._card.path, seen.path) as taken:
                done = self._finish(seen, arrival, taken)
        except CatalogError:
            raise
        except Exception:  # noqa: BLE001 - one source that cannot be removed must not stop the rest
            return [readable(seen.path)]
        return [] if done else [readable(seen.path)]

    def _arrival_of(self, seen: Seen) -> Arrival | None:
        document, number = taken_for(seen.path) or ("", 0)
        arrival = self._catalog.arrival(number) if document else None
        return None if arrival is None or arrival.document != document else arrival

    def _is_watched(self, seen: Seen, known: _Quiet) -> bool:
        """Whether it looks as before, and has not been quiet for long enough."""
        still = seen.at - known.first.at
        if not known.first.same_as(seen.sighting) or still >= self._card.long_quiet:
            return False
        self._watch(seen, known.arrival, known.first)
        return True

    def _watch(self, seen: Seen, arrival: Arrival, first: Sighting) -> None:
        self._watched[seen.path] = _Quiet(arrival, first)
        left = self._card.long_quiet - (seen.at - first.at)
        self.settles = min(self.settles, max(0.0, left))

    def _finish(self, seen: Seen, arrival: Arrival, taken: Opened) -> bool:
        """Remove it, watch it or give it its name back; `False` when none of that can be done."""
        writer, before = taken.has_writer(), taken.status()
        ours = None if writer else self._house.find_bytes(arrival.document or "", arrival.became)
        if ours is None:
            return False
        if not atomic.same_bytes(taken.open_file, ours):
            return self._give_back(arrival, taken, ours)
        if writer is None:
            known = self._before.get(seen.path)
            first = unchanged_since(known.first if known else None, seen.sighting)
            if seen.at - first.at < self._card.long_quiet:
                self._watch(seen, arrival, first)
                return True
        now = taken.status()
        if not taken.has_its_name() or (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
            now.st_size, now.st_mtime_ns, now.st_ctime_ns,
        ):  # fmt: skip
            self._watch(seen, arrival, seen.sighting)  # it changed while it was compared
            return True
        atomic.remove_file(taken.here)
        with self._catalog.transaction() as change:
            change.record(
                Entry("source-removed", self._house.now(), AGENT, document=arrival.document,
                      facts={"arrival": arrival.id})
            )  # fmt: skip
        return True

    def _give_back(self, arrival: Arrival, taken: Opened, ours: Path) -> bool:
        """What lies there is not what was taken in: it arrives, as it is now.

        When it is the same file or goes on where ours ends, ours is the shorter one.
        """
        status = taken.status()
        same_file = (status.st_dev, status.st_ino) == (arrival.device, arrival.inode)
        if (same_file or atomic.begins_with(taken.open_file, ours)) and not record_grown(
            self._catalog, arrival, self._house.now()
        ):
            self.settles = min(self.settles, self._card.quiet)
            return True  # a step of the document runs: the next sweep asks again
        name = os.fsdecode(arrival.path.rpartition(b"/")[2])
        give_back(taken.here, taken.here.with_name(name))
        return True

    def may_arrive_anew(self, arrival: Arrival, seen: Seen) -> bool:
        """A source that still has its name is another file by now, or the same one with more in it.

        Of the latter it is on record first that the document holds the shorter bytes; `False` while
        that cannot be recorded, because a step of the document runs.
        """
        if (seen.device, seen.inode) != (arrival.device, arrival.inode):
            return True
        if seen.size <= arrival.size:
            return True
        try:
            ours = self._house.find_bytes(arrival.document or "", arrival.became)
            with opened(self._card.path, arrival.path) as it:
                if ours is None or not atomic.begins_with(it.open_file, ours):
                    return True
        except OSError:
            return True
        return record_grown(self._catalog, arrival, self._house.now())
