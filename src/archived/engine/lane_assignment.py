"""Which lane a document waits in, and which document a lane takes next.

The lane is stored with the document, so that the scheduler can query what is due; after a restart
or a reload `redirect` corrects it. `Queue` combines the catalog's waiting lines with `FairQueue`.
Who was served when is kept in memory only: after a restart every device counts as new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from archived.engine.specs import Specs
from archived.model.pipeline import next_step
from archived.model.scheduling import FairQueue, WaitingLine
from archived.storage.catalog import Catalog
from archived.storage.rows import DocumentRow

AGEING = timedelta(minutes=30)


class Queue:
    """One for all lanes. `ageing` may be replaced at any time. Blocking: call it in a thread."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._turns: dict[str, FairQueue] = {}
        self.ageing = AGEING

    def next(
        self, lane: str, now: datetime, free: int, taken: Collection[str]
    ) -> list[DocumentRow]:
        """At most `free` documents to start now, none of those in `taken`."""
        turns = self._turns.setdefault(lane, FairQueue())
        lines = self._catalog.lines(lane, now)
        waiting: dict[WaitingLine, list[DocumentRow]] = {}
        chosen: list[DocumentRow] = []
        while len(chosen) < free:
            line = turns.next(lines, now, self.ageing)
            if line is None:
                break
            if line not in waiting:
                rows = self._catalog.first_in(lane, line, now, free + len(taken))
                waiting[line] = [row for row in rows if row.id not in taken]
            if waiting[line]:
                chosen.append(waiting[line].pop(0))
                turns.served(line)
            else:
                lines.remove(line)
        return chosen


def redirect(catalog: Catalog, specs: Specs, now: datetime) -> int:
    """Returns how many were redirected. Blocking; raises `CatalogError`.

    A document that waits because its stage was missing is due at once when the stage is back.
    """
    wanted = [row.id for row in catalog.moving() if _columns(specs, row, now)]
    if wanted:
        with catalog.transaction() as change:
            for document in wanted:
                # Read again: it may have moved on since it was listed.
                if columns := _columns(specs, change.document(document), now):
                    change.set_columns(document, **columns)
    return len(wanted)


def due_again(catalog: Catalog, documents: Iterable[str], code: str, now: datetime) -> None:
    """What these waiting documents wait for under `code` has come. Blocking; `CatalogError`."""
    with catalog.transaction() as change:
        for document in documents:
            row = change.document(document)
            if row.code == code and row.running is None and row.due is not None:
                change.set_columns(document, due=now)


def due_at(catalog: Catalog, stage: str, now: datetime) -> int:
    """Steps of this stage that had to wait may be tried at once: a place that they need is back.
    Returns how many. Blocking; raises `CatalogError`.
    """
    wanted = [row.id for row in catalog.moving() if _waits_at(row, stage, now)]
    if wanted:
        with catalog.transaction() as change:
            for document in wanted:
                if _waits_at(change.document(document), stage, now):
                    change.set_columns(document, due=now)
    return len(wanted)


def _waits_at(row: DocumentRow, stage: str, now: datetime) -> bool:
    waits = row.running is None and row.code is not None and row.due is not None and row.due > now
    return waits and next_step(row.stages, row.position) == stage


def _columns(specs: Specs, row: DocumentRow, now: datetime) -> dict[str, Any]:
    stage = next_step(row.stages, row.position)
    columns: dict[str, Any] = {}
    if stage is None:
        return columns
    if (lane := specs.lane_of(stage)) != row.lane:
        columns["lane"] = lane
    if row.code == "stage-missing" and stage in specs.stages:
        columns["due"] = now
    return columns
