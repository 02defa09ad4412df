"""Queries for the receipts of a hot folder. Reads only.

All are about one hot folder: nothing of another can come into an answer.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from archived.api.events import Event
from archived.model import former_names
from archived.model.lifecycle import State
from archived.model.paper_return import PaperMark, marks, signing_stages
from archived.storage import schema as t
from archived.storage.catalog import Catalog
from archived.storage.queries import event_row
from archived.storage.rows import Arrival, ArrivalState


@dataclass(frozen=True, slots=True)
class Held:
    """A document, or (without one) a file in the folder, that waits for a person."""

    path: bytes
    name: str
    code: str
    since: datetime
    document: str | None = None
    arrival: int = 0
    detail: str = ""
    """What exactly does not agree; of files only, and of what everybody sees who sees the share."""
    review: bool = False
    """A stage ended well and asked for a look."""


@dataclass(frozen=True, slots=True)
class Safe:
    """A document whose wanted copies exist and were read back."""

    document: str
    name: str
    received: datetime
    safe_at: datetime
    pages: int | None
    copies: int
    sha256: str
    marks: tuple[PaperMark, ...] = ()


_SILENT = (
    "step-finished",
    "step-skipped",
    "step-postponed",
    "step-refused",
    "step-failed",
    "document-sealed",
    "intake-paused",
    "intake-resumed",
)
"""Events that change no answer; the state of intake is seen, not heard."""


def place_of(catalog: Catalog, reader: str) -> int:
    """The last event a reader has been given; 0 for one that is new."""
    with catalog.reading() as connection:
        found = select(t.reader.c.sequence).where(t.reader.c.name == reader)
        return int(connection.execute(found).scalar() or 0)


def events_after(
    catalog: Catalog, hotfolder: str, place: int, limit: int
) -> tuple[list[Event], int]:
    """Events that may concern a hot folder, in order, and the place after them.

    An event that names no hot folder (a repeat names its document) is one of them.
    """
    mine = (t.outbox.c.hotfolder == hotfolder) | t.outbox.c.hotfolder.is_(None)
    statement = (
        select(t.outbox)
        .where(
            t.outbox.c.sequence > place,
            mine,
            t.outbox.c.name.not_in(former_names.spellings(_SILENT)),
        )
        .order_by(t.outbox.c.sequence)
        .limit(limit)
    )
    with catalog.reading() as connection:
        newest = connection.execute(select(func.max(t.outbox.c.sequence))).scalar() or 0
        events = [event_row(row) for row in connection.execute(statement)]
    full = len(events) == limit
    return events, events[-1].sequence if full else max(place, newest)


def arrivals_of(catalog: Catalog, document: str, limit: int = 100) -> list[Arrival]:
    """The newest files that became a document."""
    statement = (
        select(t.arrival)
        .where(t.arrival.c.document == document, t.arrival.c.state == ArrivalState.ADMITTED)
        .order_by(t.arrival.c.id.desc())
        .limit(limit)
    )
    with catalog.reading() as connection:
        return [
            Arrival(**(dict(row._mapping) | {"state": ArrivalState(row.state)}))
            for row in connection.execute(statement)
        ]


def held(catalog: Catalog, hotfolder: str, limit: int) -> list[Held]:
    """What waits for a person, documents and files, the newest first of each."""
    d, a = t.document.c, t.arrival.c
    documents = (
        select(d.path, d.name, d.code, d.changed, d.id, d.review)
        .where(d.state == State.HELD, d.hotfolder == hotfolder)
        .order_by(d.changed.desc())
        .limit(limit)
    )
    files = (
        select(a.path, a.name, a.code, func.coalesce(a.ended, a.first_seen), a.id, a.reason)
        .where(a.state == ArrivalState.HELD, a.hotfolder == hotfolder, a.present)
        .order_by(a.id.desc())
        .limit(limit)
    )
    with catalog.reading() as connection:
        found = [
            Held(path, name, code or "error", changed, document=identifier, review=bool(review))
            for path, name, code, changed, identifier, review in connection.execute(documents)
        ]
        found += [
            Held(path, name, code or "error", since, arrival=identifier, detail=_detail(code, why))
            for path, name, code, since, identifier, why in connection.execute(files)
        ]
    return found[:limit]


def _detail(code: str | None, reason: str | None) -> str:
    """Of a batch, what its ticket says and what lies there: that stands on the share anyway."""
    return reason or "" if code is not None and code.startswith("ticket-") else ""


def counts(catalog: Catalog, hotfolder: str) -> tuple[int, int]:
    """Documents in work; documents and files that are held."""
    d, a = t.document.c, t.arrival.c
    states = select(d.state, func.count()).where(
        d.state.in_([State.ADMITTED, State.WORKING, State.WAITING, State.DIVIDED, State.HELD]),
        d.hotfolder == hotfolder,
    )
    files = select(func.count()).where(
        a.state == ArrivalState.HELD, a.hotfolder == hotfolder, a.present
    )
    with catalog.reading() as connection:
        found = {row[0]: int(row[1]) for row in connection.execute(states.group_by(d.state))}
        waiting = found.pop(State.HELD, 0) + connection.execute(files).scalar_one()
    return sum(found.values()), int(waiting)


def safe_between(catalog: Catalog, hotfolder: str, start: datetime, end: datetime) -> list[Safe]:
    """Documents that became safe from `start` until before `end`."""
    d = t.document.c
    return _safe(catalog, d.hotfolder == hotfolder, d.safe_at >= start, d.safe_at < end)


def safe_document(catalog: Catalog, hotfolder: str, document: str) -> list[Safe]:
    """One document of the hot folder, when it is safe."""
    return _safe(catalog, t.document.c.hotfolder == hotfolder, t.document.c.id == document)


def _safe(catalog: Catalog, *where: object) -> list[Safe]:
    d, a, r = t.document.c, t.artifact.c, t.replica.c
    sha256 = (
        select(a.sha256).where(a.document == d.id, a.role == "original").order_by(a.id).limit(1)
    )
    copies = select(func.count()).where(
        r.document == d.id, r.inventory_sha512 == d.inventory_sha512
    )
    statement = select(
        d.id,
        d.name,
        d.received,
        d.safe_at,
        d.pages,
        d.media_type,
        d.stages,
        copies.scalar_subquery(),
        sha256.scalar_subquery(),
    ).where(d.state == State.SAFE, d.master.is_(None), *where)  # type: ignore[arg-type] # conditions, all of them
    with catalog.reading() as connection:
        rows = connection.execute(statement).all()
        seals = _entries(connection, "document-sealed", *where)
        signing = {row.id: signing_stages(seals.get(row.id, [{}])[-1], row.stages) for row in rows}
        facts = _facts(connection, {name for each in signing.values() for name in each}, *where)
        releases = _entries(connection, "document-released", *where)
    return [
        Safe(
            identifier,
            name,
            received,
            safe_at,
            pages,
            int(n),
            digest or "",
            marks(
                media_type=media_type,
                pages=pages,
                signing=signing[identifier],
                facts=facts.get(identifier, {}),
                releases=releases.get(identifier, ()),
            ),
        )
        for identifier, name, received, safe_at, pages, media_type, _stages, n, digest in rows
    ]


def _facts(
    connection: Connection, stages: Collection[str], *where: object
) -> dict[str, dict[str, dict[str, Any]]]:
    """Document -> stage, of these -> what it found when it ended well last."""
    s, d = t.step.c, t.document.c
    rows = connection.execute(
        select(s.document, s.stage, s.facts)
        .select_from(t.document.join(t.step, s.document == d.id))
        .where(s.stage.in_(stages), s.ending == "finished", *where)  # type: ignore[arg-type] # as above
        .order_by(s.started)
    )
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for document, stage, facts in rows:
        found.setdefault(document, {})[stage] = facts or {}
    return found


def _entries(connection: Connection, kind: str, *where: object) -> dict[str, list[dict[str, Any]]]:
    """Document -> the facts of each of its ledger's entries of a kind, up to its seal."""
    e, d = t.ledger.c, t.document.c
    found: dict[str, list[dict[str, Any]]] = {}
    entries = connection.execute(
        select(e.document, e.entry)
        .select_from(t.document.join(t.ledger, e.document == d.id))
        .where(e.kind.in_(former_names.spellings([kind])), e.at <= d.sealed_at, *where)  # type: ignore[arg-type] # as above
        .order_by(e.sequence)
    )
    for document, entry in entries:
        facts = json.loads(entry).get("facts", {})
        found.setdefault(document, []).append(former_names.present(facts))
    return found
