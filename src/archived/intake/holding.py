"""Holds files of one hot folder where they lie, many in one transaction."""

from __future__ import annotations

from dataclasses import replace

from archived.intake.card import FolderCard, House
from archived.intake.file_errors import recordable
from archived.intake.formats import Look, Whole, broken_promise, not_accepted
from archived.intake.holds import HOLDS
from archived.intake.noting import AT_ONCE, record_held
from archived.intake.watched import Watched
from archived.storage.catalog import Catalog
from archived.storage.records import ArrivalState


class Holding:
    """What is held is on record when `record` returns, or earlier."""

    def __init__(self, card: FolderCard, catalog: Catalog, house: House) -> None:
        self._card = card
        self._catalog = catalog
        self._house = house
        self._waiting: list[tuple[Watched, str, str]] = []

    def begin(self) -> None:
        """A sweep begins. What an earlier one did not record is decided anew."""
        self._waiting.clear()

    def hold(self, watched: Watched, code: str, detail: str) -> None:
        """Hold a file for one of `HOLDS`; once for each code."""
        arrival = watched.arrival
        if arrival.state is ArrivalState.HELD and arrival.code == code:
            return
        self.hold_as(watched, code, reason_for(code, detail))

    def of_another_type(self, watched: Watched, found: Look) -> bool:
        """Hold a file of a type that the folder does not accept; whether that is so.

        A damaged scan is not meant: what its name promises is taken into custody, and held there.
        """
        why = not_accepted(found, self._card.accept)
        if not why or broken_promise(watched.arrival.path, found):
            return False
        self.hold(watched, "type-not-accepted", why)
        return True

    def hold_as(self, watched: Watched, code: str, reason: str) -> None:
        """Hold a file with a whole sentence of its own; once for each."""
        arrival, reason = watched.arrival, recordable(reason)
        if (arrival.state, arrival.code, arrival.reason) == (ArrivalState.HELD, code, reason):
            return
        self._waiting.append((watched, code, reason))
        if len(self._waiting) >= AT_ONCE:
            self.record()

    def record(self) -> None:
        """Put all of them on record. Raises `CatalogError`."""
        held, self._waiting = self._waiting, []
        if not held:
            return
        now = self._house.now()
        with self._catalog.transaction() as change:
            arrivals = [(watched.arrival, code, reason) for watched, code, reason in held]
            record_held(change, self._card, arrivals, now)
        for watched, code, reason in held:
            watched.arrival = replace(
                watched.arrival, state=ArrivalState.HELD, code=code, reason=reason, ended=now
            )


def reason_for(code: str, detail: str) -> str:
    """Why a file is held and what to do, in one sentence."""
    return f"{HOLDS[code].why}: {detail}; {HOLDS[code].hint}"


def what_is_wrong(path: bytes, size: int, found: Look) -> tuple[str, str] | None:
    """Code and reason with which a file that nobody writes to is taken in as held, if any."""
    if found.whole is Whole.NO:
        code = "arrived-incomplete" if size else "arrived-empty"
        return code, f"{HOLDS[code].why}: {found.why}"
    broken = broken_promise(path, found)
    return ("content-unrecognised", broken) if broken else None
