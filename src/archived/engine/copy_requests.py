"""Copies that the configuration asks for and a sealed document lacks: how they are made.

A document keeps the stages that it was admitted with. One that was sealed before its pipeline had a
stage that makes copies, or before a target was added, lacks copies, and no step would make them. A
person asks for them: the stages of its pipeline that make copies now are then put into its own
list, and it goes through them like any other document. One that is safe stays safe meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archived.engine.decisions import PersonDecision
from archived.engine.specs import PipelineSpec, Specs
from archived.errors import NotNow
from archived.message import Message
from archived.model.lifecycle import State, Transition
from archived.model.pipeline import SEAL
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.rows import DocumentRow
from archived.storage.transaction import Transaction

AT_ONCE = 200
"""Documents that one transaction asks for: other writers wait for it."""
LAST = -1_000_000
"""Priority of documents that were asked for all at once: what comes in goes first."""


@dataclass(frozen=True, slots=True)
class CopyRequests:
    """One part of a walk through all sealed documents, oldest first. `after`: where it goes on."""

    asked: int = 0
    have_all: int = 0
    on_their_way: int = 0
    left: Mapping[str, int] = field(default_factory=dict)
    """Pipeline for which nothing makes copies -> its documents that lack some."""
    held: int = 0
    after: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As the control socket answers it."""
        return {
            "asked": self.asked,
            "have_all": self.have_all,
            "on_their_way": self.on_their_way,
            "left": dict(self.left),
            "held": self.held,
            "after": self.after,
        }


def ask_for_copies(catalog: Catalog, specs: Specs, document: str, by: PersonDecision) -> State:
    """One document goes through the stages that make copies, also when it has them: they are then
    read back. Raises `NotNow` for one that is not sealed, is held, is on its way to its copies, or
    whose pipeline has no stage that makes copies.
    """
    with catalog.transaction() as change:
        row = change.document(document)
        if row.state not in (State.SEALED, State.SAFE):
            raise NotNow(
                Message(
                    "document {document} is {state}; only a sealed one is copied",
                    document=document,
                    state=row.state,
                ),
                hint=Message(
                    "see where it stands: archivectl explain {document}", document=document
                ),
            )
        copying = _copying(specs, row)
        if not copying:
            raise NotNow(
                Message(
                    'no stage of the pipeline "{pipeline}" makes copies', pipeline=row.pipeline
                ),
                hint=Message(
                    "let a stage of this pipeline make copies and reload; then ask again. "
                    "A pipeline of this name is needed, though no hot folder need use it "
                    "any more"
                ),
            )
        if _on_its_way(row, copying):
            raise NotNow(
                Message(
                    "document {document} is on its way to its copies already", document=document
                )
            )
        return _ask(change, specs, row, copying, by)


def ask_for_all(
    catalog: Catalog, specs: Specs, by: PersonDecision, *, after: str = "", again: bool = False
) -> CopyRequests:
    """The same for the next sealed documents behind an id that lack copies; call it until `after`
    is `None`. `again`: also for those that lack none, whose copies are then read back.
    """
    asked = have_all = on_their_way = held = 0
    left: dict[str, int] = {}
    with catalog.transaction() as change:
        rows = change.with_object(after, AT_ONCE)
        done = change.finished_with([row.id for row in rows])
        for row in rows:
            copying = _copying(specs, row)
            lacks = row.state is not State.SAFE or any(
                (stage, specs.stages[stage].options_digest) not in done.get(row.id, ())
                for stage in copying
            )
            if row.state not in (State.SEALED, State.SAFE):
                held += 1
            elif _on_its_way(row, copying):
                on_their_way += 1
            elif not copying:
                have_all += not lacks
                if lacks:
                    left[row.pipeline] = left.get(row.pipeline, 0) + 1
            elif lacks or again:
                _ask(change, specs, row, copying, by, priority=LAST)
                asked += 1
            else:
                have_all += 1
    following = rows[-1].id if len(rows) == AT_ONCE else None
    return CopyRequests(asked, have_all, on_their_way, left, held, following)


def _plan(specs: Specs, row: DocumentRow) -> PipelineSpec:
    """The document's pipeline as it is configured now; as it was when that is no more."""
    return specs.pipelines.get(row.pipeline) or PipelineSpec(tuple(row.stages), row.copies)


def _copying(specs: Specs, row: DocumentRow) -> list[str]:
    """The stages of its pipeline, as it is configured now, that make copies."""
    plan = _plan(specs, row)
    behind = plan.stages[plan.stages.index(SEAL) + 1 :] if SEAL in plan.stages else ()
    return [name for name in behind if name in specs.stages and specs.stages[name].targets]


def _on_its_way(row: DocumentRow, copying: Sequence[str]) -> bool:
    to_come = row.stages[row.position :]
    return row.running is not None or (row.due is not None and bool(set(to_come) & set(copying)))


def _ask(
    change: Transaction,
    specs: Specs,
    row: DocumentRow,
    copying: Sequence[str],
    by: PersonDecision,
    priority: int | None = None,
) -> State:
    behind = [name for name in row.stages[: row.position] if name not in copying]
    to_come = [name for name in row.stages[row.position :] if name not in copying]
    # A safe document keeps the number that made it safe: it must not seem to have too few.
    copies = row.copies if row.state is State.SAFE else _plan(specs, row).copies
    state = change.move(
        row,
        Transition.COPIES_ASKED,
        by.at,
        stages=[*behind, *copying, *to_come],
        copies=copies,
        position=len(behind),
        lane=specs.lane_of(copying[0]),
        due=by.at,
        attempts=0,
        postponed=0,
        code=None,
        reason=None,
        hint=None,
        priority=row.priority if priority is None else min(row.priority, priority),
    )
    facts = {"note": by.note, "stages": list(copying), "was": row.code, "copies": copies}
    change.record(
        Entry(
            "copies-asked",
            by.at,
            by.operator,
            document=row.id,
            facts={k: v for k, v in facts.items() if v},
        )
    )
    return state
