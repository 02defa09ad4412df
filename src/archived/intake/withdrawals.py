"""Files that are gone before they were taken in: a few are put on record one by one, many as one.

A client that creates and removes thousands of files would else write an entry into the ledger for
each, for ever. So of one hot folder and period the first ones have entries of their own, and all
others one together. Until that is written they stand as files that are being watched: nothing of
them is on record elsewhere, so both books agree at every moment, and after a crash they are gone
again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from archived.intake.card import FolderCard, House
from archived.intake.noting import batched, record_left_alone, record_many_left_alone
from archived.intake.watched import Watched
from archived.storage.catalog import Catalog
from archived.storage.change import Change
from archived.storage.records import Arrival, ArrivalState

SINGLE = 20
"""Files in one period with an entry of their own."""
PERIOD = 60.0
"""Seconds of which the others are put on record together."""
TOGETHER = 2000
"""Files in one entry at most: there may be several in one period."""
RULE = "withdrawn"


def record_gone(change: Change, card: FolderCard, arrival: Arrival, house: House) -> None:
    """One file that is gone, by itself."""
    change.arrival_changed(arrival.id, present=False)
    if arrival.state in {ArrivalState.SEEN, ArrivalState.HELD}:
        record_left_alone(change, card, arrival, RULE, house.now())


class Withdrawals:
    """Those of one hot folder."""

    def __init__(
        self, card: FolderCard, catalog: Catalog, house: House,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._card = card
        self._catalog = catalog
        self._house = house
        self._clock = clock
        self._began = float("-inf")
        self._single = 0
        self._waiting: set[int] = set()
        """Arrivals that wait for the entry that they are to share."""

    @property
    def settles(self) -> float:
        """Seconds until what waits is put on record; infinite when nothing does."""
        if not self._waiting:
            return float("inf")
        return max(0.0, self._began + PERIOD - self._clock())

    def record(self, gone: Sequence[Watched]) -> Iterator[Watched]:
        """Put files that are gone on record; yields those that are by now, all others wait.

        `gone` names those that wait as well, as long as they have not come back.
        """
        if not gone:  # a period begins with the first that is gone
            self._waiting = set()
            return
        now = self._clock()
        over = now >= self._began + PERIOD
        if over:
            self._began, self._single = now, 0
        before, self._waiting = self._waiting, set()
        single, together = [], []
        for watched in gone:
            if watched.arrival.state is not ArrivalState.SEEN:
                single.append(watched)
            elif watched.arrival.id not in before and self._single < SINGLE:
                self._single += 1
                single.append(watched)
            else:
                together.append(watched)
        for some in batched(single):
            with self._catalog.transaction() as change:
                for watched in some:
                    record_gone(change, self._card, watched.arrival, self._house)
            yield from some
        while together and (over or len(together) >= TOGETHER):
            some, together = together[:TOGETHER], together[TOGETHER:]
            with self._catalog.transaction() as change:
                arrivals = [watched.arrival for watched in some]
                record_many_left_alone(change, self._card, arrivals, RULE, self._house.now())
            yield from some
        self._waiting = {watched.arrival.id for watched in together}
