"""Files that are gone before they were taken in: a few are put on record one by one, many as one.

What shares an entry is decided by `entry_folding`. Until it is written, such a file stands as one
that is being watched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from archived.ingest.entry_folding import EntryFolding
from archived.ingest.hotfolder_spec import HotFolderSpec, IngestServices
from archived.ingest.recording import batched, record_left_alone, record_many_left_alone
from archived.ingest.tracking import TrackedFile
from archived.storage.catalog import Catalog
from archived.storage.rows import Arrival, ArrivalState
from archived.storage.transaction import Transaction

RULE = "withdrawn"


def record_gone(
    change: Transaction, spec: HotFolderSpec, arrival: Arrival, services: IngestServices
) -> None:
    """One file that is gone, by itself."""
    change.arrival_changed(arrival.id, present=False)
    if arrival.state in {ArrivalState.SEEN, ArrivalState.HELD}:
        record_left_alone(change, spec, arrival, RULE, services.now())


class Withdrawals:
    """Those of one hot folder."""

    def __init__(
        self,
        spec: HotFolderSpec,
        catalog: Catalog,
        services: IngestServices,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec = spec
        self._catalog = catalog
        self._services = services
        self._folding = EntryFolding(clock)

    @property
    def settles(self) -> float:
        """Seconds until what waits is put on record; infinite when nothing does."""
        return self._folding.settles

    def record(self, gone: Sequence[TrackedFile]) -> Iterator[TrackedFile]:
        """Put files that are gone on record; yields those that are by now, all others wait.

        `gone` names those that wait as well, as long as they have not come back.
        """
        self._folding.begin()
        waiting = (ArrivalState.SEEN, ArrivalState.HELD)
        ended = [w for w in gone if w.arrival.state not in waiting]  # these need no entry
        divided = self._folding.divide(
            [(w.arrival.id, w) for w in gone if w.arrival.state in waiting]
        )
        for some in batched(ended + divided.single):
            with self._catalog.transaction() as change:
                for watched in some:
                    record_gone(change, self._spec, watched.arrival, self._services)
            yield from some
        for some in divided.together:
            with self._catalog.transaction() as change:
                arrivals = [watched.arrival for watched in some]
                record_many_left_alone(change, self._spec, arrivals, RULE, self._services.now())
            yield from some
