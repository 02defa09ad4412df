"""Documents and waiting files by a name that a person typed, or by the end of its path."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select

from archived.storage import schema as t
from archived.storage.catalog import Catalog
from archived.storage.rows import Arrival, ArrivalState

_NAMED = 10
"""Documents or files of one name that are told of."""


def _named(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    return (column == name) | column.endswith(f"/{name}", autoescape=True)


def documents_named(catalog: Catalog, name: str) -> Sequence[str]:
    """Ids of the newest documents with a name, with or without the folders above it; also of those
    that a file of this name joined.
    """
    d, a = t.document.c, t.arrival.c
    joined = select(a.document).where(a.document.is_not(None), _named(a.name, name))
    found = (
        select(d.id)
        .where(_named(d.name, name) | d.id.in_(joined))
        .order_by(d.id.desc())
        .limit(_NAMED)
    )
    with catalog.reading() as connection:
        return list(connection.execute(found).scalars())


def files_named(catalog: Catalog, name: str, *, part: bool = False) -> list[Arrival]:
    """Files that lie in a hot folder and became no document: of that name, or with that `part`."""
    a = t.arrival.c
    fits = a.name.contains(name, autoescape=True) if part else _named(a.name, name)
    found = (
        select(t.arrival)
        .where(a.document.is_(None), a.present, a.state != ArrivalState.ADMITTED, fits)
        .order_by(a.id.desc())
        .limit(_NAMED)
    )
    with catalog.reading() as connection:
        return [
            Arrival(**(dict(row._mapping) | {"state": ArrivalState(row.state)}))
            for row in connection.execute(found)
        ]
