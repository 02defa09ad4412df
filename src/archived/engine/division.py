"""How a document is cut into parts: each becomes a document of its own, all in one transaction.

*Must*: every part's bytes are durable in the spool before the transaction that names them; the
master keeps its own until every part is at rest, and is then sealed as it arrived. A crash in
between leaves folders that nobody names: recovery drops them, and the step is done again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePath

from archived import AGENT
from archived.engine.cards import SEAL_LANE, Deck
from archived.engine.masters import PARTS_IN_WORK
from archived.errors import NoSuchDocument, NotNow
from archived.model.document import AT_REST, Happened, State
from archived.model.identity import nth_document_id
from archived.model.outcome import Outcome, PartMade
from archived.model.plan import SEAL, next_step
from archived.model.secrecy import highest
from archived.storage.change import Change
from archived.storage.ledger import Entry
from archived.storage.records import DocumentRow, Kept, StepRow, received
from archived.storage.spool import Incoming, Spool


@dataclass(frozen=True, slots=True)
class Part:
    """One part in the spool: the id it will have, what the stage said of it, its bytes."""

    document: str
    made: PartMade
    kept: Kept


def take_out(spool: Spool, master: DocumentRow, step: StepRow, outcome: Outcome) -> list[Part]:
    """Put each part's file into a spool folder of its own; durable when this returns.

    Doing it again for the same step gives the same ids. Raises `OSError`, and nothing is left then;
    `NotNow` when the step has ended already: its parts are documents, whose bytes are theirs.
    """
    if master.running != step.id:
        raise NotNow(f"step {step.id} of document {master.id} has ended already")
    parts: list[Part] = []
    try:
        for number, made in enumerate(outcome.parts):
            document = _id(step, number)
            spool.drop(document)  # from a try whose transaction failed
            suffix = PurePath(made.file.name).suffix.lower() or ".bin"
            source = spool.work / step.id / made.file.path
            incoming = Incoming(source, f"original/0001{suffix}")
            note = {"master": master.id, "step": step.id, "part": number + 1}
            (kept,) = spool.take_in(document, [incoming], note)
            parts.append(Part(document, made, kept))
    except OSError:
        # The next attempt cuts under other ids: on a full disk each would leave it fuller.
        for part in parts:
            spool.drop(part.document)
        raise
    return parts


def _id(step: StepRow, number: int) -> str:
    once = hashlib.sha256(f"{step.id}/{number}".encode()).digest()
    return nth_document_id(step.started, number, once[:8])


def divide(
    change: Change, deck: Deck, master: DocumentRow, step: StepRow, parts: list[Part],
    now: datetime,
) -> State:  # fmt: skip
    """Within the transaction of the step's end: the parts are documents, and the master waits."""
    state = change.move(
        master, Happened.DIVIDED, now, running=None, due=None, attempts=0, postponed=0, code=None,
        reason=None, hint=None,
    )  # fmt: skip
    for number, part in enumerate(parts, start=1):
        _admit_part(change, deck, master, step, part, number, now)
    facts = {"stage": step.stage, "step": step.id, "parts": [part.document for part in parts]}
    change.record(Entry("document-divided", now, AGENT, document=master.id, facts=facts))
    change.announce(
        "document-divided", now, document=master.id, hotfolder=master.hotfolder,
        facts={"stage": step.stage, "parts": len(parts)},
    )  # fmt: skip
    return state


def let_master_go_on(change: Change, part: DocumentRow, now: datetime) -> None:
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
            master, Happened.PARTS_AT_REST, now, due=now, position=master.stages.index(SEAL),
            lane=SEAL_LANE,
            secrecy=highest([master.secrecy, *(each.secrecy for each in parts)]),
        )  # fmt: skip
    elif master.code == PARTS_IN_WORK and master.due is not None:
        change.set_columns(master.id, due=now)  # one that a person refused was taken up again


def _rests(part: DocumentRow) -> bool:
    """Whether nothing more is to be done with a part; one at the end of a pipeline that makes too
    few copies is never safe, and its master must not wait for that.
    """
    ended = part.state is State.SEALED and next_step(part.stages, part.position) is None
    return part.state in AT_REST or ended


def _admit_part(
    change: Change, deck: Deck, master: DocumentRow, step: StepRow, part: Part, number: int,
    now: datetime,
) -> None:  # fmt: skip
    made, kept, position = part.made, part.kept, step.position + 1
    # How many pages a ticket claims is said of the whole.
    given = {key: value for key, value in (master.given or {}).items() if key != "pages"}
    row = replace(
        master, id=part.document, state=State.ADMITTED, name=made.name,
        media_type=made.file.media_type, size=kept.size, position=position, running=None,
        lane=deck.lane_of(next_step(master.stages, position)), attempts=0, postponed=0, due=now,
        code=None, reason=None, hint=None, changed=now, pages=None,
        dossier=made.dossier or master.dossier, given=given or None, collation="", master=master.id,
    )  # fmt: skip
    change.admit(row, [received(row.id, kept, made.file.media_type, main=True)])
    if made.facts:
        # What the stage knows of a part stands where every stage's facts stand.
        change.step_started(
            replace(step, id=f"{step.id}-{number}", document=row.id, ended=now,
                    ending="finished", facts=dict(made.facts))
        )  # fmt: skip
    change.record(
        Entry(
            "part-admitted", now, AGENT, document=row.id,
            digests={"original/0001": kept.sha512},
            facts={"hotfolder": row.hotfolder, "device": row.origin, "name": row.name,
                   "size": kept.size, "sha256": kept.sha256, "master": master.id, "part": number,
                   **({"dossier": row.dossier} if row.dossier else {})},
        )
    )  # fmt: skip
    change.announce(
        "document-admitted", now, document=row.id, hotfolder=row.hotfolder,
        facts={"size": kept.size, "sha256": kept.sha256, "master": master.id},
    )  # fmt: skip
