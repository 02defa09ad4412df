"""A file that was written to after it was taken in: what is archived may be only its beginning.

What came meanwhile is a new arrival. The document that holds the shorter bytes is held while it is
not sealed; of one that is, its arrival and its receipt say so.
"""

from __future__ import annotations

from datetime import datetime

from archived import AGENT
from archived.intake.holds import HOLDS
from archived.model.document import SOURCE_GREW, Happened, State
from archived.storage.catalog import Catalog
from archived.storage.change import Change
from archived.storage.ledger import Entry
from archived.storage.records import Arrival, DocumentRow

_HELD_BY: dict[State, Happened] = {
    State.ADMITTED: Happened.ADMITTED_HELD,
    State.WORKING: Happened.STEP_HELD,
    State.WAITING: Happened.STEP_HELD,
}
"""The states in which it is held; in all others somebody has decided, or it is sealed."""


def record_grown(catalog: Catalog, arrival: Arrival, now: datetime) -> bool:
    """Put on record that more came for this arrival; `False` while a step of its document runs.

    Done again it changes nothing. An arrival whose bytes belong to an older document says nothing
    about that one. Raises `CatalogError`.
    """
    if arrival.document is None or arrival.code == "same-bytes":
        return True
    with catalog.transaction() as change:
        document = change.document(arrival.document)
        if arrival.code != SOURCE_GREW:
            happened = _HELD_BY.get(document.state) if document.object_key is None else None
            if happened is not None and document.running is not None:
                return False
            _record(change, document, arrival, now, held=happened is not None)
            if happened is not None:
                _hold(change, document, happened, now)
    return True


def _record(
    change: Change, document: DocumentRow, arrival: Arrival, now: datetime, *, held: bool
) -> None:
    change.arrival_changed(arrival.id, code=SOURCE_GREW, reason=HOLDS[SOURCE_GREW].why)
    facts = {"arrival": arrival.id, "name": arrival.name, "size": arrival.size, "held": held}
    change.record(
        Entry("document-source-grew", now, AGENT, document=document.id, facts=facts)
    )  # fmt: skip
    change.announce(
        "document-source-grew", now, document=document.id, hotfolder=document.hotfolder,
        facts={"arrival": arrival.id, "held": held},
    )  # fmt: skip


def _hold(change: Change, document: DocumentRow, happened: Happened, now: datetime) -> None:
    hold = HOLDS[SOURCE_GREW]
    change.move(
        document, happened, now, running=None, due=None, code=SOURCE_GREW, reason=hold.why,
        hint=hold.hint,
    )  # fmt: skip
    facts = {"code": SOURCE_GREW, "reason": hold.why}
    change.record(Entry("document-held", now, AGENT, document=document.id, facts=facts))
    change.announce(
        "document-held", now, document=document.id, hotfolder=document.hotfolder,
        facts={"code": SOURCE_GREW},
    )  # fmt: skip
