"""Queries for metrics: short ones by index, and sums over the whole archive. Reads only.

`ArchiveTotals` counts once, in a thread of its own and in one view of the catalog. Later reads
look only at ledger entries that are new.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, select, text

from archived.errors import CatalogError
from archived.model.former_names import EVENTS
from archived.model.lifecycle import State
from archived.storage import schema as t
from archived.storage.catalog import Catalog
from archived.storage.rows import ArrivalState

LABELS_LIMIT = 100
"""Values that a label may have by a plug-in's word."""
OTHER = "other"
"""The label of all further values."""

_LAST_EVENTS = text(
    "SELECT name, coalesce(json_extract(facts, '$.stage'), ''), max(at) FROM outbox GROUP BY 1, 2"
)


@dataclass(frozen=True, slots=True)
class Received:
    """What was ever taken in from one hot folder; parts cut from a document are not counted."""

    documents: int
    size: int
    pages: int


def received(catalog: Catalog) -> Mapping[str, Received]:
    """Hot folder -> what was taken in."""
    d = t.document.c
    statement = (
        select(d.hotfolder, func.count(), func.sum(d.size), func.coalesce(func.sum(d.pages), 0))
        .where(d.master.is_(None))
        .group_by(d.hotfolder)
    )
    with catalog.reading() as connection:
        return {row[0]: Received(*map(int, row[1:])) for row in connection.execute(statement)}


def last_arrival(catalog: Catalog, hotfolder: str) -> datetime | None:
    """When the newest file came that was not ignored."""
    a = t.arrival.c
    came = (ArrivalState.SEEN, ArrivalState.ADMITTED, ArrivalState.HELD)
    newest = [  # each a look into the index `arrival_state`
        select(func.max(a.id)).where(a.state == state, a.hotfolder == hotfolder) for state in came
    ]
    with catalog.reading() as connection:
        ids = [connection.execute(each).scalar_one() for each in newest]
        last = max((each for each in ids if each is not None), default=None)
        return connection.execute(select(a.first_seen).where(a.id == last)).scalar()


def oldest_unclaimed(catalog: Catalog) -> Mapping[str, datetime]:
    """Hot folder -> when its oldest file that is still only seen was noticed."""
    a = t.arrival.c
    return _oldest(catalog, a.hotfolder, a.first_seen, a.state == ArrivalState.SEEN)


def oldest_in_work(catalog: Catalog) -> Mapping[str, datetime]:
    """Hot folder -> when its oldest document that is neither sealed nor held was received."""
    d = t.document.c
    in_work = d.state.in_([State.ADMITTED, State.WORKING, State.WAITING])
    return _oldest(catalog, d.hotfolder, d.received, in_work)


def _oldest(catalog: Catalog, hotfolder: Any, at: Any, where: Any) -> Mapping[str, datetime]:
    statement = select(hotfolder, func.min(at)).where(where).group_by(hotfolder)
    with catalog.reading() as connection:
        return {name: _instant(when) for name, when in connection.execute(statement)}


def held_by_code(catalog: Catalog) -> Mapping[str, int]:
    """Code -> documents that wait for a person, the most frequent codes; the rest are `other`."""
    counted = sorted(catalog.count_held().items(), key=lambda each: -each[1])
    few, rest = dict(counted[:LABELS_LIMIT]), sum(n for _, n in counted[LABELS_LIMIT:])
    return few | {OTHER: few.get(OTHER, 0) + rest} if rest else few


def last_events(catalog: Catalog) -> Mapping[tuple[str, str], datetime]:
    """(event, stage) -> when it last happened, as far as the outbox goes back."""
    with catalog.reading() as connection:
        found = connection.execute(_LAST_EVENTS).all()
    last: dict[tuple[str, str], datetime] = {}
    for name, stage, at in found:
        event = (EVENTS.get(name, name), stage)
        last[event] = max(
            datetime.fromisoformat(at), last.get(event, datetime.min.replace(tzinfo=UTC))
        )
    return last


def paused(catalog: Catalog, hotfolder: str) -> str:
    """Why intake of a hot folder was last said to pause; empty if it was said to go on since."""
    o = t.outbox.c
    latest = (
        select(o.name, o.facts)
        .where(o.hotfolder == hotfolder, o.name.in_(("intake-paused", "intake-resumed")))
        .order_by(o.sequence.desc())
        .limit(1)
    )
    with catalog.reading() as connection:
        told = connection.execute(latest).first()
    return str(told.facts.get("why", "")) if told is not None else ""


def unread(catalog: Catalog, readers: Iterable[str]) -> Mapping[str, int]:
    """Reader of the outbox -> how many events it was not given yet."""
    o, r = t.outbox.c, t.reader.c
    with catalog.reading() as connection:
        rows = connection.execute(select(r.name, r.sequence))
        places: dict[str, int] = {row.name: row.sequence for row in rows}
        return {
            reader: connection.execute(
                select(func.count()).select_from(t.outbox).where(o.sequence > places.get(reader, 0))
            ).scalar_one()
            for reader in readers
        }


def spool_bytes(catalog: Catalog) -> int:
    """Bytes of the files of documents whose object does not exist yet, replaced ones too."""
    d = t.document.c
    unsealed = select(d.id).where(
        d.state.in_(
            [
                State.ADMITTED,
                State.WORKING,
                State.WAITING,
                State.DIVIDED,
                State.HELD,
                State.REJECTED,
            ]
        ),
        d.object_key.is_(None),
    )
    total = select(func.coalesce(func.sum(t.artifact.c.size), 0)).where(
        t.artifact.c.document.in_(unsealed)
    )
    with catalog.reading() as connection:
        return int(connection.execute(total).scalar_one())


def oldest_uncopied(catalog: Catalog) -> datetime | None:
    """When the oldest sealed document that still has steps to do was sealed."""
    d = t.document.c
    # Two looks, for each has an index: those that wait for their turn, those that run.
    looks = [
        select(func.min(d.sealed_at)).where(waits, d.state == State.SEALED)
        for waits in ((d.due.is_not(None)) & (d.running.is_(None)), d.running.is_not(None))
    ]
    with catalog.reading() as connection:
        found = [connection.execute(look).scalar_one() for look in looks]
    return min((_instant(at) for at in found if at is not None), default=None)


def ledger_time(catalog: Catalog) -> datetime | None:
    """When the last entry was made."""
    newest = select(t.ledger.c.at).order_by(t.ledger.c.sequence.desc()).limit(1)
    with catalog.reading() as connection:
        return connection.execute(newest).scalar()


def _instant(at: datetime | str) -> datetime:
    return datetime.fromisoformat(at) if isinstance(at, str) else at


_log = logging.getLogger("archived.observe")

_SEALED, _COPIED, _ENDED = "document-sealed", "copy-verified", "step-finished"
_AT_ONCE = 2000
"""Entries followed in one reading: a scrape does not wait for a burst."""


@dataclass(slots=True)
class TargetCopies:
    """What lies at one target."""

    count: int = 0
    size: int = 0
    verified: float = 0.0
    """Unix time of the last."""


@dataclass(slots=True)
class Totals:
    """The sums, as of one entry of the ledger."""

    head: int = 0
    store_bytes: int = 0
    copies: dict[str, TargetCopies] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    """Documents with a signature that waits for a higher level."""


class ArchiveTotals:
    """One catalog's sums. `read` returns them, or `None` until they were counted."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._totals: Totals | None = None
        self._counting: threading.Thread | None = None

    def read(self) -> Totals | None:
        """The sums now. Begins to count at the first call. Raises `CatalogError`."""
        with self._lock:
            totals = self._totals
            if totals is None:
                if self._counting is None or not self._counting.is_alive():
                    self._counting = threading.Thread(
                        target=self._count, name="archived-tally", daemon=True
                    )
                    self._counting.start()
                return None
            with self._catalog.reading() as connection:
                for entry in _new_entries(connection, totals.head):
                    _follow(connection, totals, *entry)
            return totals

    def counted(self, seconds: float) -> bool:
        """Wait for the first count to end; whether it came through."""
        if self._counting is not None:
            self._counting.join(seconds)
        return self._totals is not None

    def _count(self) -> None:
        try:
            with self._catalog.reading() as connection:
                totals = _from_scratch(connection)
        except (CatalogError, OSError) as error:
            # The next reading tries again.
            _log.warning("not counted: %s", error, extra={"action": "metrics-unreadable"})
            return
        self._totals = totals


def _from_scratch(connection: Connection) -> Totals:
    head = connection.execute(select(func.coalesce(func.max(t.ledger.c.sequence), 0))).scalar_one()
    size = connection.execute(
        select(func.coalesce(func.sum(t.artifact.c.size), 0))
        .select_from(t.artifact.join(t.document, t.artifact.c.document == t.document.c.id))
        .where(t.artifact.c.current, t.document.c.object_key.is_not(None))
    ).scalar_one()
    r = t.replica.c
    copies = connection.execute(
        select(r.target, func.count(), func.sum(r.size), func.max(r.verified)).group_by(r.target)
    )
    s = t.step.c
    pending = connection.execute(
        select(s.document)
        .distinct()
        .where(s.ending == "finished", func.json_extract(s.facts, "$.pending").is_not(None))
    ).scalars()
    return Totals(
        int(head),
        int(size),
        {target: TargetCopies(count, size, _unix(at)) for target, count, size, at in copies},
        {document for document in pending if _is_pending(connection, document)},
    )


def _new_entries(connection: Connection, head: int) -> Iterator[tuple[int, str, str, str]]:
    entry = t.ledger.c
    wanted = (entry.kind.in_((_SEALED, _COPIED, _ENDED)), entry.document.is_not(None))
    newest = connection.execute(select(func.coalesce(func.max(entry.sequence), 0))).scalar_one()
    rows = connection.execute(
        select(entry.sequence, entry.kind, entry.document, entry.entry)
        .where(entry.sequence > head, entry.sequence <= min(newest, head + _AT_ONCE), *wanted)
        .order_by(entry.sequence)
    ).all()
    for sequence, kind, document, entered in rows:
        yield sequence, kind, document or "", entered
    yield min(newest, head + _AT_ONCE), "", "", ""


def _follow(
    connection: Connection, totals: Totals, sequence: int, kind: str, document: str, text: str
) -> None:
    if kind == _SEALED:
        a = t.artifact.c
        size = select(func.coalesce(func.sum(a.size), 0)).where(a.document == document, a.current)
        totals.store_bytes += connection.execute(size).scalar_one()
    elif kind == _COPIED:
        target = _target(text)
        r = t.replica.c
        copy = connection.execute(
            select(r.size, r.verified).where(r.document == document, r.target == target)
        ).first()
        if copy is not None:
            known = totals.copies.setdefault(target, TargetCopies())
            if not _copied_before(connection, document, target, sequence):
                known.count += 1
                known.size += copy[0]
            known.verified = max(known.verified, _unix(copy[1]))
    elif kind == _ENDED:
        (totals.pending.add if _is_pending(connection, document) else totals.pending.discard)(
            document
        )
    totals.head = sequence


def _copied_before(connection: Connection, document: str, target: str, sequence: int) -> bool:
    entry = t.ledger.c
    earlier = select(entry.entry).where(
        entry.document == document, entry.kind == _COPIED, entry.sequence < sequence
    )
    return any(_target(text) == target for text in connection.execute(earlier).scalars())


def _is_pending(connection: Connection, document: str) -> bool:
    """Whether what the last good end of one of its stages told is that a level is pending."""
    s = t.step.c
    steps = connection.execute(
        select(s.stage, s.facts)
        .where(s.document == document, s.ending == "finished")
        .order_by(s.started)
    )
    latest: dict[str, Any] = {stage: facts for stage, facts in steps if facts is not None}
    return any(facts.get("pending") for facts in latest.values())


def _target(entry: str) -> str:
    return str(json.loads(entry).get("facts", {}).get("target", ""))


def _unix(at: datetime | str) -> float:
    return (datetime.fromisoformat(at) if isinstance(at, str) else at).timestamp()
