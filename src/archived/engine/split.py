"""How a document is split into parts, and when the master that holds their pages may go on.

Every part's bytes *must* be durable in the spool before the transaction that names them. The
master keeps its own until every part is at rest, and is then sealed as it arrived. A crash in
between leaves folders without a document: recovery removes them, and the step runs again.

The master leaves the spool only when every part may, or when a person decided about the master
after having been told which parts may not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any, Protocol

from archived import AGENT
from archived.engine.specs import SEAL_LANE, Specs
from archived.errors import NoSuchDocument, NotNow
from archived.message import Message
from archived.model.ids import nth_document_id
from archived.model.lifecycle import AT_REST, State, Transition
from archived.model.outcome import Ending, Outcome, PartMade
from archived.model.pipeline import SEAL, next_step
from archived.model.secrecy import OF_PARTS, PART_ABOVE, PART_UNKNOWN, PartSecrecy, highest, of_part
from archived.storage.ledger import Entry
from archived.storage.rows import DocumentRow, LedgerRow, SpoolFile, StepRow, received
from archived.storage.spool import IncomingFile, Spool
from archived.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class SpooledPart:
    """One part in the spool: the id it will have, what the stage said of it, its bytes."""

    document: str
    number: int
    """Its place among the parts, from 1."""
    made: PartMade
    kept: SpoolFile


def take_out(
    spool: Spool, master: DocumentRow, step: StepRow, outcome: Outcome
) -> list[SpooledPart]:
    """Put each part's file into a spool folder of its own; durable when this returns.

    Doing it again for the same step gives the same ids. Raises `OSError`, and nothing is left then;
    `NotNow` when the step has ended already: its parts are documents, whose bytes are theirs.
    """
    if master.running != step.id:
        raise NotNow(
            Message(
                "step {step} of document {document} has ended already",
                step=step.id,
                document=master.id,
            )
        )
    parts: list[SpooledPart] = []
    try:
        for number, made in enumerate(outcome.parts):
            document = _id(step, number)
            spool.drop(document)  # from a try whose transaction failed
            suffix = PurePath(made.file.name).suffix.lower() or ".bin"
            source = spool.work / step.id / made.file.path
            incoming = IncomingFile(source, f"original/0001{suffix}")
            note = {"master": master.id, "step": step.id, "part": number + 1}
            (kept,) = spool.take_in(document, [incoming], note)
            parts.append(SpooledPart(document, number + 1, made, kept))
    except OSError:
        # The next attempt cuts under other ids: on a full disk each would leave it fuller.
        for part in parts:
            spool.drop(part.document)
        raise
    return parts


def _id(step: StepRow, number: int) -> str:
    once = hashlib.sha256(f"{step.id}/{number}".encode()).digest()
    return nth_document_id(step.started, number, once[:8])


def split_document(
    change: Transaction,
    specs: Specs,
    master: DocumentRow,
    step: StepRow,
    parts: list[SpooledPart],
    now: datetime,
) -> State:
    """Within the transaction of the step's end: the parts are documents, and the master waits."""
    state = change.move(
        master,
        Transition.DIVIDED,
        now,
        running=None,
        due=None,
        attempts=0,
        postponed=0,
        code=None,
        reason=None,
        hint=None,
    )
    for part in parts:
        _admit_part(change, specs, master, step, part, now)
    facts = {"stage": step.stage, "step": step.id, "parts": [part.document for part in parts]}
    change.record(Entry("document-divided", now, AGENT, document=master.id, facts=facts))
    change.announce(
        "document-divided",
        now,
        document=master.id,
        hotfolder=master.hotfolder,
        facts={"stage": step.stage, "parts": len(parts)},
    )
    return state


def let_master_go_on(change: Transaction, part: DocumentRow, now: datetime) -> None:
    """A part came to rest: when it was the last one, its master is sealed next."""
    if part.master is None:
        return
    try:
        master = change.document(part.master)
    except NoSuchDocument:
        return  # the catalog was made from the store, and this object could not be read
    parts = change.parts(master.id)
    if not all(_rests(each) for each in parts):
        return
    if master.state is State.DIVIDED:
        change.move(
            master,
            Transition.PARTS_AT_REST,
            now,
            due=now,
            position=master.stages.index(SEAL),
            lane=SEAL_LANE,
            secrecy=highest([master.secrecy, *(each.secrecy for each in parts)]),
        )
    elif master.code == PARTS_IN_WORK and master.due is not None:
        change.set_columns(master.id, due=now)  # one that a person rejected was taken up again


def _rests(part: DocumentRow) -> bool:
    """Whether nothing more is to be done with a part; one at the end of a pipeline that makes too
    few copies is never safe, and its master must not wait for that.
    """
    ended = part.state is State.SEALED and next_step(part.stages, part.position) is None
    return part.state in AT_REST or ended


def _admit_part(
    change: Transaction,
    specs: Specs,
    master: DocumentRow,
    step: StepRow,
    part: SpooledPart,
    now: datetime,
) -> None:
    made, kept, position = part.made, part.kept, step.position + 1
    # How many pages a ticket claims is said of the whole.
    given = {key: value for key, value in (master.given or {}).items() if key != "pages"}
    row = replace(
        master,
        id=part.document,
        state=State.ADMITTED,
        name=made.name,
        media_type=made.file.media_type,
        size=kept.size,
        position=position,
        running=None,
        lane=specs.lane_of(next_step(master.stages, position)),
        attempts=0,
        postponed=0,
        due=now,
        code=None,
        reason=None,
        hint=None,
        changed=now,
        pages=None,
        dossier=made.dossier or master.dossier,
        given=given or None,
        collation="",
        master=master.id,
    )
    change.admit(row, [received(row.id, kept, made.file.media_type, main=True)])
    if made.facts:
        # What the stage knows of a part stands where every stage's facts stand.
        change.step_started(
            replace(
                step,
                id=f"{step.id}-{part.number}",
                document=row.id,
                ended=now,
                ending="finished",
                facts=dict(made.facts),
            )
        )
    change.record(
        Entry(
            "part-admitted",
            now,
            AGENT,
            document=row.id,
            digests={"original/0001": kept.sha512},
            facts={
                "hotfolder": row.hotfolder,
                "device": row.origin,
                "name": row.name,
                "size": kept.size,
                "sha256": kept.sha256,
                "master": master.id,
                "part": part.number,
                **({"dossier": row.dossier} if row.dossier else {}),
            },
        )
    )
    change.announce(
        "document-admitted",
        now,
        document=row.id,
        hotfolder=row.hotfolder,
        facts={"size": kept.size, "sha256": kept.sha256, "master": master.id},
    )


PARTS_IN_WORK = "parts-in-work"
_NAMED = 20
"""Parts that a sentence names; `archivectl show` names all of them."""


class KnowsParts(Protocol):
    """Who knows the parts of a document: the catalog, or a transaction of it."""

    def parts(self, master: str) -> Sequence[DocumentRow]: ...


class KnowsDecisions(KnowsParts, Protocol):
    """Who knows what was decided as well."""

    def ledger_of(self, document: str) -> Sequence[LedgerRow]: ...


def stops(catalog: KnowsDecisions, row: DocumentRow) -> Outcome | None:
    """The ending of a step at or behind the seal that must not be done; `None`: it may.

    A decision covers a part as it was then: one that was taken up since is not covered.
    """
    found = _stopping(catalog, row)
    if not found:
        return None
    decided = _decided(catalog.ledger_of(row.id))
    return _outcome([(part, known) for part, known in found if _as_decided(part) not in decided])


def check_told(change: KnowsParts, row: DocumentRow) -> list[dict[str, Any]]:
    """For the ledger: the parts a person decided about who lets the held document go on.

    Raises `NotNow` when its parts are not what the person was told: what holds it names them.
    """
    if row.code not in OF_PARTS:
        return []
    found = _stopping(change, row)
    now = _outcome(found)
    if now is not None and (now.code, now.message) != (row.code, row.reason):
        raise NotNow(
            Message("its parts are not any more what document {id} is held for", id=row.id),
            hint=Message("archivectl retry {id} looks at them again", id=row.id),
        )
    return [_as_json(part) for part, _ in found]


def _stopping(catalog: KnowsParts, row: DocumentRow) -> list[tuple[DocumentRow, PartSecrecy]]:
    """The parts that are not allowed, in order, with those of parts that were cut themselves."""
    found: list[tuple[DocumentRow, PartSecrecy]] = []
    for part in catalog.parts(row.id):
        known = of_part(
            part.state,
            part.code,
            sealed=part.object_key is not None,
            passed=part.position >= part.stages.index(SEAL) and part.review is None,
        )
        if known is not PartSecrecy.ALLOWED:
            found.append((part, known))
        elif part.object_key is None:
            found += _stopping(catalog, part)
    return found


def _outcome(found: Sequence[tuple[DocumentRow, PartSecrecy]]) -> Outcome | None:
    def those(known: PartSecrecy) -> list[DocumentRow]:
        return [part for part, is_known in found if is_known is known]

    if in_work := those(PartSecrecy.IN_WORK):
        return Outcome(
            Ending.POSTPONED,
            PARTS_IN_WORK,
            Message("parts of it are not at rest: {named}", named=_named(in_work)),
            Message("decide about the parts; it goes on by itself"),
            after=timedelta(minutes=5),
        )
    for known, code, why in (
        (
            PartSecrecy.ABOVE,
            PART_ABOVE,
            Message("a part was rejected for a mark above the declared level"),
        ),
        (
            PartSecrecy.NOT_ESTABLISHED,
            PART_UNKNOWN,
            Message(
                "a part was rejected before it was known to carry no mark above the declared level"
            ),
        ),
    ):
        if those(known):
            return Outcome(
                Ending.REFUSED,
                code,
                Message("{why}: {named}", why=why, named=_named(part for part, _ in found)),
                Message(
                    "this scan holds the same pages. Reject it as well: its bytes are "
                    "kept, and the other parts are archived. Or, when it may be archived "
                    "in this place, release it"
                ),
            )
    return None


def _named(parts: Iterable[DocumentRow]) -> str:
    named = [f"{part.id} [{part.code}]" if part.code else part.id for part in parts]
    if len(named) <= _NAMED:
        return ", ".join(named)
    return Message("{named}, {more} more", named=named[:_NAMED], more=len(named) - _NAMED)


def _as_json(part: DocumentRow) -> dict[str, Any]:
    return {"part": part.id, "code": part.code, "since": part.changed.isoformat()}


def _as_decided(part: DocumentRow) -> tuple[str, str]:
    return part.id, part.changed.isoformat()


def _decided(entries: Iterable[LedgerRow]) -> set[tuple[str, str]]:
    told = (entry.facts for entry in entries if entry.kind == "document-released")
    return {(each["part"], each["since"]) for facts in told for each in facts.get("parts", ())}
