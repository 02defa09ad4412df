"""Clears the hot folder of sources that are in custody, and of what a crash left of a removal."""

from __future__ import annotations

import os

from archived import AGENT
from archived.errors import CatalogError
from archived.intake.card import FolderCard, House
from archived.intake.file_errors import sentence
from archived.intake.formats import Look, Whole
from archived.intake.noting import Removals
from archived.intake.pinned import pinned
from archived.intake.removal import Removal, finish_removal, give_back, remove_source, taken_for
from archived.intake.scan import Seen
from archived.intake.watched import Watched, candidate
from archived.intake.watcher import has_writer
from archived.model.identity import readable
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry

_UNLOOKED = Look("", "", Whole.UNKNOWN)


class Clearing:
    """For one hot folder. A source that cannot be removed is tried again, in turn with others."""

    def __init__(self, card: FolderCard, catalog: Catalog, house: House) -> None:
        self._card = card
        self._catalog = catalog
        self._house = house
        self._removals = Removals()
        self.begin = self._removals.begin
        self.forget = self._removals.forget

    def remove(self, watched: Watched) -> tuple[Removal | None, str]:
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
            done = remove_source(self._catalog, source, document, ours, now)
        except (FileNotFoundError, CatalogError):
            raise
        except Exception as error:  # noqa: BLE001 - as an error of the disk: it is stuck
            self._removals.failed(arrival.path)
            return None, f"cannot be removed: {sentence(error)}"
        if done is Removal.OPEN:
            self._removals.failed(arrival.path)
            return None, "somebody has it open for writing again"
        self._removals.forget(arrival.path)
        return done, ""

    def finish(self, seen: Seen) -> list[str] | None:
        """`None` unless this was a source in custody whose removal a crash had cut short.

        Then the names of what could not be removed even now: none, or this one.
        """
        document, number = taken_for(seen.path) or ("", 0)
        arrival = self._catalog.arrival(number) if document else None
        if arrival is None or arrival.document != document:
            return None
        try:
            with pinned(self._card.path, seen.path) as taken:
                writer = has_writer(taken)
                ours = None if writer else self._house.find_bytes(document, arrival.became)
                if ours is None:
                    return [readable(seen.path)]
                if not finish_removal(taken, ours):
                    # Somebody's new file was caught in the middle of it.
                    give_back(taken, taken.with_name(os.fsdecode(arrival.path.rpartition(b"/")[2])))
                    return []
            with self._catalog.transaction() as change:
                change.record(
                    Entry("source-removed", self._house.now(), AGENT, document=document,
                          facts={"arrival": number})
                )  # fmt: skip
        except CatalogError:
            raise
        except Exception:  # noqa: BLE001 - one source that cannot be removed must not stop the rest
            return [readable(seen.path)]
        return []
