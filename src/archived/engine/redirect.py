"""After a change of configuration: every waiting document into the lane of its next stage.

Lanes are written down with the document, so that the scheduler can ask for what is due; a reload
or a restart may have moved a stage to another lane, taken it away, or brought it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from archived.engine.cards import Deck
from archived.model.plan import next_step
from archived.storage.catalog import Catalog
from archived.storage.records import DocumentRow


def redirect(catalog: Catalog, deck: Deck, now: datetime) -> int:
    """Returns how many were redirected. Blocking; raises `CatalogError`.

    A document that waits because its stage was missing is due at once when the stage is back.
    """
    wanted = [row.id for row in catalog.moving() if _columns(deck, row, now)]
    if wanted:
        with catalog.transaction() as change:
            for document in wanted:
                # Read again: it may have moved on since it was listed.
                if columns := _columns(deck, change.document(document), now):
                    change.set_columns(document, **columns)
    return len(wanted)


def due_again(catalog: Catalog, documents: Iterable[str], code: str, now: datetime) -> None:
    """What these waiting documents wait for under `code` has come. Blocking; `CatalogError`."""
    with catalog.transaction() as change:
        for document in documents:
            row = change.document(document)
            if row.code == code and row.running is None and row.due is not None:
                change.set_columns(document, due=now)


def _columns(deck: Deck, row: DocumentRow, now: datetime) -> dict[str, Any]:
    stage = next_step(row.stages, row.position)
    columns: dict[str, Any] = {}
    if stage is None:
        return columns
    if (lane := deck.lane_of(stage)) != row.lane:
        columns["lane"] = lane
    if row.code == "stage-missing" and stage in deck.stages:
        columns["due"] = now
    return columns
