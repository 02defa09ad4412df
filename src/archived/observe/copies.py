"""What lies at each target, for people who ask now and then: counted afresh at every question."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from archived.storage import schema as t
from archived.storage.catalog import Catalog


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
