"""Both books of the balance sheet, read at one instant: the ledger and the arrivals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select

from archived.model.account import KINDS, Arrived, Book, Settled
from archived.storage import schema as t
from archived.storage.queries import Queries, column_of
from archived.storage.records import ArrivalState

_AT_ONCE = 2000


def settled(catalog: Queries) -> Iterator[Settled]:
    """Every file that was ever seen, with where it stands. Raises `CatalogError`.

    Streams the catalog; keeps a few words for each arrival and document in memory.
    """
    with catalog.reading() as connection:
        book = Book()
        entries = select(t.ledger.c.entry).where(t.ledger.c.kind.in_(KINDS))
        for (entry,) in _streamed(connection, entries.order_by(t.ledger.c.sequence)):
            it = json.loads(entry)
            at = datetime.fromisoformat(it["at"])
            book.add(it["kind"], at, it.get("document"), it.get("facts") or {})
        yield from book.settle(_arrivals(connection))


def _arrivals(connection: Connection) -> Iterator[Arrived]:
    a, d = t.arrival.c, t.document.c
    rows: Select[Any] = select(
        a.id, a.hotfolder, a.origin, a.name, a.first_seen, a.state, a.code, a.document, d.state,
        d.pages,
    ).select_from(t.arrival.outerjoin(t.document, a.document == d.id))  # fmt: skip
    for row in _streamed(connection, rows):
        state = ArrivalState(row[5])
        yield Arrived(
            id=row[0], hotfolder=row[1], device=row[2] or row[1], name=row[3], seen=row[4],
            column=column_of(state, row[8]),
            rule=row[6] if state is ArrivalState.IGNORED else None,
            document=row[7], pages=row[9], only_seen=state is ArrivalState.SEEN,
        )  # fmt: skip


def _streamed(connection: Connection, statement: Select[Any]) -> Iterator[Sequence[Any]]:
    yield from connection.execution_options(yield_per=_AT_ONCE).execute(statement)
