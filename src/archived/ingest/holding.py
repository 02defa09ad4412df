"""Holds files of one hot folder where they lie: a few with an entry each, many with one together.

What shares an entry is decided by `entry_folding`. Until it is written, such a file stands as it
did before, and its sweeps report it as waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

from archived.ingest.entry_folding import TOGETHER, EntryFolding
from archived.ingest.file_errors import recordable
from archived.ingest.filetypes import Completeness, Inspection, broken_promise, not_accepted
from archived.ingest.hold_reasons import HOLDS
from archived.ingest.hotfolder_spec import HotFolderSpec, IngestServices
from archived.ingest.recording import record_held, record_many_held
from archived.ingest.tracking import TrackedFile
from archived.message import Message
from archived.storage.catalog import Catalog
from archived.storage.rows import Arrival, ArrivalState
from archived.storage.transaction import Transaction

_Held: TypeAlias = tuple[TrackedFile, str, str]
"""With code and reason."""
_PutOnRecord: TypeAlias = Callable[
    [Transaction, HotFolderSpec, Sequence[tuple[Arrival, str, str]], datetime], None
]


class HoldRecorder:
    """What is held is on record when `record` returns, or earlier, or waits for a shared entry."""

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
        self._decided: list[_Held] = []
        self.waiting: list[TrackedFile] = []
        """Files of this sweep that are to be held, and wait for the entry that they share."""

    @property
    def settles(self) -> float:
        """Seconds until what waits is put on record; infinite when nothing does."""
        return self._folding.settles

    def begin(self) -> None:
        """A sweep begins. What an earlier one did not record is decided anew."""
        self._decided.clear()
        self.waiting.clear()
        self._folding.begin()

    def hold(self, watched: TrackedFile, code: str, detail: str) -> None:
        """Hold a file for one of `HOLDS`; once for each code."""
        arrival = watched.arrival
        if arrival.state is ArrivalState.HELD and arrival.code == code:
            return
        self.hold_as(watched, code, reason_for(code, detail))

    def of_another_type(self, watched: TrackedFile, found: Inspection) -> bool:
        """Hold a file of a type that the folder does not accept; whether that is so.

        A damaged scan is not meant: what its name promises is taken into custody, and held there.
        """
        why = not_accepted(found, self._spec.accept)
        if not why or broken_promise(watched.arrival.path, found):
            return False
        self.hold(watched, "type-not-accepted", why)
        return True

    def hold_as(self, watched: TrackedFile, code: str, reason: str) -> None:
        """Hold a file with a whole sentence of its own; once for each."""
        arrival, reason = watched.arrival, recordable(reason)
        if (arrival.state, arrival.code, arrival.reason) == (ArrivalState.HELD, code, reason):
            return
        self._decided.append((watched, code, reason))
        if len(self._decided) >= TOGETHER:
            self.record()

    def record(self) -> None:
        """Put them on record, but for those that wait. Raises `CatalogError`."""
        decided, self._decided = self._decided, []
        divided = self._folding.divide([(held[0].arrival.id, held) for held in decided])
        if divided.single:
            self._record(divided.single, record_held)
        for some in divided.together:
            self._record(some, record_many_held)
        recorded = {id(held[0]) for some in (divided.single, *divided.together) for held in some}
        self.waiting += [watched for watched, _, _ in decided if id(watched) not in recorded]

    def _record(self, held: Sequence[_Held], put_on_record: _PutOnRecord) -> None:
        now = self._services.now()
        with self._catalog.transaction() as change:
            arrivals = [(watched.arrival, code, reason) for watched, code, reason in held]
            put_on_record(change, self._spec, arrivals, now)
        for watched, code, reason in held:
            watched.arrival = replace(
                watched.arrival, state=ArrivalState.HELD, code=code, reason=reason, ended=now
            )


def reason_for(code: str, detail: str) -> str:
    """Why a file is held and what to do, in one sentence."""
    return Message(
        "{why}: {detail}; {hint}", why=HOLDS[code].why, detail=detail, hint=HOLDS[code].hint
    )


def what_is_wrong(path: bytes, size: int, found: Inspection) -> tuple[str, str] | None:
    """Code and reason with which a file that nobody writes to is taken in as held, if any."""
    if found.whole is Completeness.NO:
        code = "arrived-incomplete" if size else "arrived-empty"
        return code, Message("{why}: {found}", why=HOLDS[code].why, found=found.why)
    broken = broken_promise(path, found)
    return ("content-unrecognised", broken) if broken else None
