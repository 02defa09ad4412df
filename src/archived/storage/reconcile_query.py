"""Ledger and arrivals read at one instant for the balance sheet, and copies by target."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from archived.model.former_names import kind_of, present, spellings
from archived.model.reconciliation import KINDS, CatalogFile, LedgerFold, ReconciledFile
from archived.storage import schema as t
from archived.storage.catalog import Catalog
from archived.storage.queries import Queries, column_of
from archived.storage.rows import ArrivalState

_AT_ONCE = 2000


def settled(catalog: Queries) -> Iterator[ReconciledFile]:
    """Every file that was ever seen, with where it stands. Raises `CatalogError`.

    Streams the catalog; keeps a few words for each arrival and document in memory.
    """
    with catalog.reading() as connection:
        book = LedgerFold()
        entries = select(t.ledger.c.entry).where(t.ledger.c.kind.in_(spellings(KINDS)))
        for (entry,) in _streamed(connection, entries.order_by(t.ledger.c.sequence)):
            it = json.loads(entry)
            at = datetime.fromisoformat(it["at"])
            facts = it.get("facts") or {}
            book.add(kind_of(it["kind"], facts), at, it.get("document"), present(facts))
        yield from book.settle(_arrivals(connection))


def _arrivals(connection: Connection) -> Iterator[CatalogFile]:
    a, d = t.arrival.c, t.document.c
    rows: Select[Any] = select(
        a.id,
        a.hotfolder,
        a.origin,
        a.name,
        a.first_seen,
        a.state,
        a.code,
        a.document,
        d.state,
        d.pages,
    ).select_from(t.arrival.outerjoin(t.document, a.document == d.id))
    for row in _streamed(connection, rows):
        state = row[5]
        yield CatalogFile(
            id=row[0],
            hotfolder=row[1],
            device=row[2] or row[1],
            name=row[3],
            seen=row[4],
            column=column_of(state, row[8]),
            rule=row[6] if state == ArrivalState.IGNORED else None,
            document=row[7],
            pages=row[9],
            only_seen=state == ArrivalState.SEEN,
        )


def _streamed(connection: Connection, statement: Select[Any]) -> Iterator[Sequence[Any]]:
    yield from connection.execution_options(yield_per=_AT_ONCE).execute(statement)


def copies(catalog: Catalog) -> list[dict[str, Any]]:
    """Target, number of documents, and when the last copy was read back. Raises `CatalogError`."""
    r = t.replica.c
    with catalog.reading() as connection:
        rows = connection.execute(
            select(r.target, func.count(), func.max(r.verified))
            .group_by(r.target)
            .order_by(r.target)
        )
        return [
            {"target": target, "documents": count, "verified": _instant(last)}
            for target, count, last in rows
        ]


def _instant(at: datetime | str) -> datetime:
    return datetime.fromisoformat(at) if isinstance(at, str) else at
