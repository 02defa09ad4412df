"""What one hot folder's share is told: news become receipts and lists, the rest is compared.

At least once: the place in the outbox moves only after the answers are on the share, and an
answer written twice is the same file with the same content. Blocking; for one thread at a time.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as midnight
from pathlib import Path
from typing import Protocol

import structlog

from archived.api.events import Event
from archived.errors import CatalogError, NoSuchDocument
from archived.model.lifecycle import SOURCE_GREW, State
from archived.observe.receipts import folder as folder_module
from archived.observe.receipts import texts
from archived.observe.receipts.folder import (
    HELD,
    RECEIPTS,
    SAFE,
    TOP,
    ForgeryDoubt,
    ReceiptFolder,
    cost,
)
from archived.storage import receipt_queries
from archived.storage.catalog import Catalog
from archived.storage.receipt_queries import Held, Safe
from archived.storage.rows import Arrival, DocumentRow, LedgerRow

_log = structlog.get_logger("archived.observe")

_BATCH = 100
_MINUTE = 60.0
_NAMED = 10
"""Waiting files that STATUS.txt names."""
_ONE_FILE = frozenset(
    {errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
)
"""Somebody's folder lies under an answer's name, or the share cannot have such a name: this one
answer is passed over. Everything else is the share's trouble, and is tried again."""


@dataclass(frozen=True, slots=True)
class ReceiptSpec:
    """One hot folder whose share is answered on. `keep` is bytes."""

    hotfolder: str
    path: Path
    folder: str
    keep: int
    zone: tzinfo


class WaitingView(Protocol):
    """A file that was not taken in yet, by its name."""

    @property
    def name(self) -> str: ...
    @property
    def since(self) -> datetime: ...
    @property
    def code(self) -> str: ...


class IngestStanding(Protocol):
    """How the hot folder's intake stands; texts are empty when all is well."""

    @property
    def offline(self) -> str: ...
    @property
    def paused(self) -> str: ...
    @property
    def failing(self) -> str: ...
    @property
    def arriving(self) -> int: ...
    @property
    def stuck(self) -> list[str]: ...
    @property
    def waiting(self) -> Sequence[WaitingView]: ...


class ReceiptWriter:
    """Owns the reader `share HOTFOLDER` of the outbox."""

    def __init__(
        self, spec: ReceiptSpec, catalog: Catalog, now: Callable[[], datetime] | None = None
    ) -> None:
        self.spec = spec
        self._catalog = catalog
        self._now = now or (lambda: datetime.now(UTC))
        self._reader = reader_of(spec.hotfolder)
        self._receipts = ReceiptFolder(spec.path, spec.folder, spec.keep)
        self._place = self._noted = 0
        """Up to where the outbox was answered; the same, as it stands in the catalog."""
        self._safe: dict[date, dict[str, Safe]] = {}
        self._reasons: dict[str, Held] = {}
        self._compared = self._told_at = self._noted_at = -_MINUTE
        self._told: texts.FolderState | None = None
        self._cleared = False
        self._alone = threading.Lock()
        self._silent = False

    def update(self, standing: IngestStanding) -> None:
        """Bring the share up to date. Raises `OSError` and `CatalogError`: try again later."""
        with self._alone:
            if self._silent:
                return
            self._enrol()
            if standing.offline:
                # What is there may be the bare mount point: nothing new is made in it.
                with suppress(FileNotFoundError), self._receipts.opened(make=False):
                    self._tell(standing)
                return
            with self._receipts.opened() as another:
                if another:
                    self._reasons, self._told = {}, None
                    self._compared = -_MINUTE
                self._catch_up()
                if time.monotonic() - self._compared >= _MINUTE:
                    self._compare_reasons()
                self._cleared |= self._receipts.shrink()
                self._tell(standing)

    @property
    def doubt(self) -> ForgeryDoubt:
        """Why the answers may be forged, as it was when they were last brought up to date."""
        return self._receipts.doubt

    def silence(self) -> None:
        """Break off soon, for good; may be called from any thread."""
        self._silent = True

    def write_stopped(self) -> None:
        """Say on the share that nobody works any more; the last word."""
        self.silence()
        if not self._alone.acquire(timeout=1.0):
            return  # the share hangs
        try:
            with suppress(OSError, CatalogError), self._receipts.opened(make=False):
                self._write_status(texts.FolderState(stopped=True))
        finally:
            self._alone.release()

    # News --------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        while not self._silent:
            hotfolder = self.spec.hotfolder
            events, place = receipt_queries.events_after(
                self._catalog, hotfolder, self._place, _BATCH
            )
            days: set[date] = set()
            mine = [self._answer(event, days) for event in events]
            for day in sorted(days):
                rows = list(self._safe_on(day).values())
                self._put(SAFE, texts.list_of(day), texts.safe_list(rows, self.spec.zone))
            if any(mine):
                self._compare_reasons()
            self._place = place
            late = time.monotonic() - self._noted_at >= _MINUTE
            if any(mine) or (late and place > self._noted):
                self._note_place(place)
            if len(events) < _BATCH:
                return
            self._cleared |= self._receipts.shrink()

    def _enrol(self) -> None:
        """Put the place on record before anything is answered: events wait for known readers."""
        if self._noted_at > 0:
            return
        place = receipt_queries.place_of(self._catalog, self._reader)
        self._note_place(place or 0)
        self._place = self._noted

    def _note_place(self, place: int) -> None:
        with self._catalog.transaction() as change:
            change.outbox_read(self._reader, place)
        self._noted, self._noted_at = place, time.monotonic()

    def _answer(self, event: Event, days: set[date]) -> bool:
        """Whether the event was this hot folder's. `days` collects those whose list changed."""
        if event.document is None:
            return event.hotfolder == self.spec.hotfolder
        try:
            document = self._catalog.document(event.document)
        except NoSuchDocument:
            return False
        if document.hotfolder != self.spec.hotfolder:
            return False
        match event.name:
            case "document-admitted" | "arrival-repeated":
                self._give_receipts(document)
                days |= self._list_gone(document)
            case "document-source-grew":
                self._give_receipts(document, arrival=event.facts.get("arrival"))
            case "document-rejected":
                self._say_rejected(document, event.at)
            case "document-safe":
                days |= self._note_safe(document, event)
        return True

    def _give_receipts(self, document: DocumentRow, *, arrival: int | None = None) -> None:
        """A receipt for each file that became this document and has none yet, and anew for the
        `arrival` of which there is something else to say.
        """
        # As many as may have come at once, and no more: one file may be repeated for ever.
        files = sum(a.step is None for a in self._catalog.artifacts(document.id))
        arrivals = receipt_queries.arrivals_of(self._catalog, document.id, max(files, 100))
        missing = [
            a
            for a in arrivals
            if a.id == arrival
            or not self._receipts.has(
                RECEIPTS, folder_module.receipt(a.path, document.id, a.id) + ".json"
            )
        ]
        if not missing:
            return
        entries = self._catalog.ledger_of(document.id)
        for each in missing:
            name = folder_module.receipt(each.path, document.id, each.id)
            receipt = _receipt(document, each, entries)
            zone = self.spec.zone
            # The JSON comes last: where it is, the other is.
            self._put(RECEIPTS, f"{name}.txt", texts.receipt_text(receipt, zone))
            self._put(RECEIPTS, f"{name}.json", texts.receipt_json(receipt, zone))

    def _list_gone(self, document: DocumentRow) -> set[date]:
        """The day of the list that a receipt names, where that was removed for want of room."""
        if document.state is not State.SAFE or document.safe_at is None:
            return set()
        day = document.safe_at.astimezone(self.spec.zone).date()
        return set() if self._receipts.has(SAFE, texts.list_of(day)) else {day}

    def _say_rejected(self, document: DocumentRow, at: datetime) -> None:
        it = Held(document.path, document.name, "", at, document=document.id)
        name = f"{folder_module.resembling(document.path)}_{document.id}_rejected.txt"
        self._put(RECEIPTS, name, texts.rejection_text(it, self.spec.zone))

    def _note_safe(self, document: DocumentRow, event: Event) -> set[date]:
        at = document.safe_at or event.at
        day = at.astimezone(self.spec.zone).date()
        rows = self._safe_on(day)
        if document.id not in rows:
            found = receipt_queries.safe_document(self._catalog, self.spec.hotfolder, document.id)
            rows |= {row.document: row for row in found}
        return {day}

    def _safe_on(self, day: date) -> dict[str, Safe]:
        """What became safe on a day; asked of the catalog once, then kept up by news."""
        if day not in self._safe:
            zone = self.spec.zone
            start = datetime.combine(day, midnight(), zone)
            end = datetime.combine(day + timedelta(days=1), midnight(), zone)
            rows = receipt_queries.safe_between(
                self._catalog, self.spec.hotfolder, start.astimezone(UTC), end.astimezone(UTC)
            )
            for old in sorted(self._safe)[:-1]:
                del self._safe[old]
            self._safe[day] = {row.document: row for row in rows}
        return self._safe[day]

    # What is compared, not heard ---------------------------------------------------------------

    def _compare_reasons(self) -> None:
        """A reason file for each thing that is held now, and for nothing else."""
        most = max(1, self._receipts.keep // 4 // cost(1))
        held = receipt_queries.held(self._catalog, self.spec.hotfolder, most)
        wanted = {
            folder_module.reason(h.path, document=h.document, arrival=h.arrival): h for h in held
        }
        for name in set(self._receipts.names(HELD)) - set(wanted):
            self._receipts.drop(HELD, name)
        for name, it in wanted.items():
            if self._reasons.get(name) == it and self._receipts.has(HELD, name):
                continue
            content = texts.reason_text(it, self.spec.zone)
            if not self._receipts.holds(HELD, name, content):
                self._put(HELD, name, content)
        self._reasons = wanted
        self._compared = time.monotonic()

    def _tell(self, standing: IngestStanding) -> None:
        """Renew STATUS.txt when it says something else, and every minute."""
        in_work, held = receipt_queries.counts(self._catalog, self.spec.hotfolder)
        today = self._now().astimezone(self.spec.zone).date()
        state = texts.FolderState(
            offline=standing.offline,
            paused=standing.paused,
            failing=standing.failing,
            arriving=standing.arriving,
            in_work=in_work,
            held=held,
            reasons=len(self._reasons),
            safe_today=len(self._safe_on(today)),
            stuck=len(standing.stuck),
            waiting=self._waiting(standing),
            strangers=self._receipts.strangers,
            too_much=self._cleared,
            doubt=self._receipts.doubt,
        )
        if state != self._told or time.monotonic() - self._told_at >= _MINUTE:
            self._write_status(state)

    def _waiting(self, standing: IngestStanding) -> tuple[texts.Waiting, ...]:
        """Files that have waited for a while: what came a moment ago is on its way."""
        before = self._now() - timedelta(seconds=_MINUTE)
        found = [each for each in standing.waiting if each.since <= before][:_NAMED]
        return tuple(texts.Waiting(each.name, each.since, each.code) for each in found)

    def _write_status(self, state: texts.FolderState) -> None:
        now, zone = self._now(), self.spec.zone
        today = now.astimezone(zone).date()
        self._put(TOP, folder_module.STATUS, texts.status_text(state, now, zone, today))
        self._told, self._told_at = state, time.monotonic()

    def _put(self, folder: str, name: str, content: bytes) -> None:
        try:
            self._receipts.put(folder, name, content)
        except OSError as error:
            if error.errno not in _ONE_FILE:
                raise
            _log.warning(
                "an answer cannot be written",
                action="receipt-passed-over",
                hotfolder=self.spec.hotfolder,
                folder=folder,
                why=error.strerror,
            )


def reader_of(hotfolder: str) -> str:
    """Under which name a hot folder's place in the outbox is kept."""
    return f"share {hotfolder}"


def _receipt(document: DocumentRow, arrival: Arrival, entries: list[LedgerRow]) -> texts.Receipt:
    again = arrival.code == "same-bytes"
    entry = _entry(arrival.id, entries)
    return texts.Receipt(
        hotfolder=document.hotfolder,
        path=arrival.path,
        name=arrival.name,
        size=arrival.size,
        sha256=arrival.sha256 or "",
        received=arrival.ended or document.received,
        document=document.id,
        listed=document.name,
        again=again,
        safe_at=document.safe_at if document.state is State.SAFE else None,
        held=document.state is State.HELD,
        grew=arrival.code == SOURCE_GREW,
        ledger=entry.sequence if entry else None,
        ledger_hash=entry.hash if entry else None,
    )


def _entry(arrival: int, entries: list[LedgerRow]) -> LedgerRow | None:
    """The ledger's entry about this file; one found after a crash is named by its document."""
    for row in entries:
        of_a_file = row.kind in {"document-admitted", "arrival-joined", "arrival-repeated"}
        if of_a_file and row.facts.get("arrival") == arrival:
            return row
    return next((row for row in entries if row.kind == "recovered"), None)
