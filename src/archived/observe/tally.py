"""Sums over the whole archive, too long to be read at each scrape: counted once, then followed.

The first count takes one view of the catalog, in a thread of its own; after it each reading looks
only at ledger entries that are new. Reads; changes nothing.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from archived.errors import CatalogError
from archived.storage import schema as t
from archived.storage.catalog import Catalog

_log = logging.getLogger("archived.observe")

_SEALED, _COPIED, _ENDED = "document-sealed", "copy-verified", "step-finished"
_AT_ONCE = 2000
"""Entries followed in one reading: a scrape does not wait for a burst."""


@dataclass(slots=True)
class Copies:
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
    copies: dict[str, Copies] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    """Documents with a signature that waits for a higher level."""


class Tally:
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
        select(s.document).distinct().where(
            s.ending == "finished", func.json_extract(s.facts, "$.pending").is_not(None)
        )
    ).scalars()  # fmt: skip
    return Totals(
        int(head), int(size),
        {target: Copies(count, size, _unix(at)) for target, count, size, at in copies},
        {document for document in pending if _is_pending(connection, document)},
    )  # fmt: skip


def _new_entries(connection: Connection, head: int) -> Iterator[tuple[int, str, str, str]]:
    entry = t.ledger.c
    wanted = (entry.kind.in_((_SEALED, _COPIED, _ENDED)), entry.document.is_not(None))
    newest = connection.execute(select(func.coalesce(func.max(entry.sequence), 0))).scalar_one()
    rows = connection.execute(
        select(entry.sequence, entry.kind, entry.document, entry.entry)
        .where(entry.sequence > head, entry.sequence <= min(newest, head + _AT_ONCE), *wanted)
        .order_by(entry.sequence)
    ).all()
    for sequence, kind, document, text in rows:
        yield sequence, kind, document or "", text
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
            known = totals.copies.setdefault(target, Copies())
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
        select(s.stage, s.facts).where(s.document == document, s.ending == "finished")
        .order_by(s.started)
    )  # fmt: skip
    latest: dict[str, Any] = {stage: facts for stage, facts in steps if facts is not None}
    return any(facts.get("pending") for facts in latest.values())


def _target(entry: str) -> str:
    return str(json.loads(entry).get("facts", {}).get("target", ""))


def _unix(at: datetime | str) -> float:
    return (datetime.fromisoformat(at) if isinstance(at, str) else at).timestamp()
