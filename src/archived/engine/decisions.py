"""A person's decisions about a held or waiting document: it goes on, or it is not archived.

Each is one transaction: the document's next state, the ledger entry that names the person, and
the event.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from archived.engine import review, split
from archived.engine.commit import judge_safety
from archived.engine.specs import Specs
from archived.errors import NotNow
from archived.message import Message
from archived.model.lifecycle import SOURCE_GREW, State, Transition
from archived.model.pipeline import SEAL, copying_begins, is_sealed, next_step
from archived.model.secrecy import OF_PARTS
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.rows import DocumentRow
from archived.storage.transaction import Transaction

_NOT_OF_A_STAGE = OF_PARTS | {SOURCE_GREW}
"""Codes that held a document before its next stage ran: to release it passes over none."""


@dataclass(frozen=True, slots=True)
class PersonDecision:
    """Who decided, why and when; and about what, as they saw it.

    `held_for`: the code that held the document. Somebody else may have released it meanwhile.
    `shown`: what the person was shown of a document that a review holds; without it such a document
    is not released.
    """

    operator: str
    note: str
    at: datetime
    held_for: str | None = None
    shown: str | None = None


def release(
    catalog: Catalog, specs: Specs, document: str, by: PersonDecision, *, skip: bool
) -> State:
    """A person decides that a held or waiting document goes on.

    A document that a review holds has its stage behind it: it goes on with the next one, and
    `retry` runs the stage again that asked. `NotNow` when what holds it by now is not what the
    person decided about.

    `skip`: past the stage that held it (`release`); otherwise the same stage is tried again, with
    its attempts counted afresh (`retry`). A document held at intake has no stage behind its hold
    and goes on with its first; `seal` is never passed over; a document whose pipeline is done but
    that is not safe goes back to the stages after `seal`. Raises `IllegalStep` for a document that
    is at rest, `NotNow` when nothing is left to do.
    """
    kind, now = "document-released" if skip else "document-retried", by.at
    with catalog.transaction() as change:
        row = change.document(document)
        if row.running is not None:
            raise NotNow(
                Message(
                    "a step of document {document} is running; decide when it has ended",
                    document=document,
                )
            )
        if by.held_for is not None and row.code != by.held_for:
            raise _held_for_another(document, by.held_for)
        reviewed = review.of_document(change, row)
        told = split.check_told(change, row) if skip else []
        if skip:
            review.check_shown(row, reviewed, by.shown)
        if reviewed is None:
            # Who decides about its parts lets the step be done that they stopped.
            position = _where_to_go_on(change, row, skip=skip and row.code not in _NOT_OF_A_STAGE)
        elif skip:
            position = row.position
        else:
            position = review.try_again(change, reviewed)
        stage = next_step(row.stages, position)
        sealed = is_sealed(row.stages, row.position)
        state = change.move(
            row,
            Transition.RELEASED_SEALED if sealed else Transition.RELEASED,
            now,
            due=now,
            attempts=0,
            postponed=0,
            code=None,
            reason=None,
            hint=None,
            review=None,
            position=position,
            lane=specs.lane_of(stage),
        )
        at = reviewed.step.stage if reviewed else next_step(row.stages, row.position)
        facts = {"note": by.note, "stage": at, "was": row.code}
        decided = {"parts": told} if told else {}
        looked_at = reviewed.facts() if reviewed and skip else {}
        entry = Entry(
            kind, now, by.operator, document=document, facts={**facts, **looked_at, **decided}
        )
        change.record(entry)
        change.announce(kind, now, document=document, hotfolder=row.hotfolder, facts=facts)
        if stage is None:
            change.set_columns(document, due=None)
            state = judge_safety(change, change.document(document), now)
    return state


def _held_for_another(document: str, held_for: str) -> NotNow:
    return NotNow(
        Message(
            "document {document} is not held for {held_for} by now",
            document=document,
            held_for=held_for,
        ),
        hint=Message("look at it again: archivectl explain {document}", document=document),
    )


def reject(catalog: Catalog, document: str, by: PersonDecision) -> State:
    """A person decides that a held document is not archived. Its bytes stay in the spool.

    Raises `NotNow` for a document that is sealed, `IllegalStep` for one that is not held.
    """
    with catalog.transaction() as change:
        row, now = change.document(document), by.at
        if row.object_key is not None:
            raise NotNow(
                Message("document {document} is sealed: it is archived already", document=document)
            )
        state = change.move(row, Transition.OPERATOR_REJECTED, now, due=None)
        facts = {"note": by.note, "was": row.code}
        change.record(Entry("document-rejected", now, by.operator, document=document, facts=facts))
        change.announce("document-rejected", now, document=document, hotfolder=row.hotfolder)
        split.let_master_go_on(change, row, now)
    return state


def _where_to_go_on(change: Transaction, row: DocumentRow, *, skip: bool) -> int:
    stage = next_step(row.stages, row.position)
    if stage is None:
        after_seal = copying_begins(row.stages)
        if after_seal == len(row.stages):
            raise NotNow(
                Message(
                    "document {id} is sealed and nothing in its pipeline makes copies", id=row.id
                ),
                hint=Message(
                    "let a stage of its pipeline make copies and reload; then ask for "
                    "them: archivectl copy {id}",
                    id=row.id,
                ),
            )
        return after_seal
    passed_over = skip and stage != SEAL and change.was_tried(row.id, row.position)
    return row.position + 1 if passed_over else row.position
