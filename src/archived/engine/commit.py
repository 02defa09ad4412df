"""The order in which work becomes permanent. The most important text in the program.

`commit_step` and `seal` are each one short list of durable acts. *Must*: bytes are on disk before
anything mentions them; everything that mentions them changes in one transaction; only then may the
working copy go. Breaking that loses a document. Everything else here is bookkeeping.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from archived import AGENT
from archived.engine import division, masters, review
from archived.engine.cards import Deck
from archived.engine.sealing import SearchText
from archived.errors import NotNow
from archived.model import description
from archived.model.document import SOURCE_GREW, Happened, State
from archived.model.outcome import Ending, Outcome
from archived.model.plan import SEAL, is_sealed, next_step
from archived.model.policy import Decision, Verdict
from archived.model.review import holding
from archived.model.secrecy import OF_PARTS
from archived.storage.catalog import Catalog
from archived.storage.change import Change
from archived.storage.head_file import HeadFile, NewestObject
from archived.storage.ledger import Entry
from archived.storage.records import ArtifactRow, DocumentRow, Kept, Replica, StepRow
from archived.storage.spool import Spool

_ENDED = {
    Ending.FINISHED: "step-finished",
    Ending.REFUSED: "step-broke",
    Ending.BROKE: "step-broke",
    Ending.POSTPONED: "step-postponed",
    Ending.PUT_BACK: "step-put-back",
}

FURTHER_COPY_AGAIN = timedelta(days=1)
"""After this a further copy of a safe document is tried again, when it has no tries left."""

_NOT_OF_A_STAGE = OF_PARTS | {SOURCE_GREW}
"""Codes that held a document before its next stage ran: to release it passes over none."""


def begin_step(catalog: Catalog, document: DocumentRow, step: StepRow, now: datetime) -> None:
    """Count the attempt *before* it starts: what kills the machine still runs out of attempts."""
    with catalog.transaction() as change:
        change.move(
            document, Happened.STEP_STARTED, now, running=step.id, attempts=document.attempts + 1
        )
        change.step_started(step)


def commit_step(
    spool: Spool, catalog: Catalog, deck: Deck, step: StepRow, outcome: Outcome,
    decision: Decision, now: datetime,
) -> State:  # fmt: skip
    """Make an ended step permanent; returns the document's new state. The order is the point:

    1. what it made is durable in the spool before anything mentions it, and so are the parts that
       it cut out, each in a folder of its own;
    2. the step's end, its artifacts, ledger entries and news change in one transaction, and in the
       same one the parts become documents;
    3. only then may its working folder go.

    Raises `OSError` from 1 (nothing has happened) and `CatalogError` from 2 (do it again).
    """
    outcome = deck.with_code(step.stage, outcome)
    finished = outcome.ending is Ending.FINISHED
    kept = (
        spool.keep(step.document, step.id, spool.work / step.id, outcome.made) if finished else []
    )  # 1
    parts = (
        division.take_out(spool, catalog.document(step.document), step, outcome) if finished else []
    )
    with catalog.transaction() as change:  # 2
        state = _record_end(change, deck, step, outcome, decision, kept, parts, now)
    spool.end_work(step.id)  # 3
    return state


def skip_step(catalog: Catalog, deck: Deck, document: DocumentRow, step: StepRow, why: str) -> None:
    """Pass over a stage that does not accept the document's type, on record."""
    now = step.started
    with catalog.transaction() as change:
        change.step_started(step)
        change.step_ended(step.id, now, ending="skipped", notes=[why])
        change.move(document, Happened.STEP_STARTED, now)
        _record(change, "step-skipped", step, now, {"why": why})
        _announce(change, "step-skipped", document, step, now)
        advance(change, deck, document.id, now)


def seal(
    spool: Spool, catalog: Catalog, deck: Deck, step: StepRow, sealed: Mapping[str, Any],
    words: SearchText, now: datetime, *, head: HeadFile,
) -> State:  # fmt: skip
    """Record that a document's object is durable in the store; returns its new state.

    1. (the caller) the object is durable in the store under its final name;
    2. the document becomes sealed, with ledger entry, news and words to find it by, at once;
    3. the store's head file follows: behind the catalog it does no harm, ahead it must never be;
    4. only after 2 may the spool let its bytes go.

    `sealed` holds `object_key`, `object_version` and `inventory_sha512`.
    """
    with catalog.transaction() as change:  # 2
        document = _still_running(change, step)
        facts = catalog.facts(document.id)
        change.step_ended(step.id, now, ending="finished")
        state = change.move(document, Happened.SEALED, now, running=None, sealed_at=now, **sealed)
        _record(
            change, "document-sealed", step, now,
            {"object": sealed["object_key"], "version": sealed["object_version"],
             "pages": document.pages,
             **({"text_bytes_not_searchable": words.left_out} if words.left_out else {})},
            digests={"inventory.json": sealed["inventory_sha512"]},
        )  # fmt: skip
        _announce(change, "document-sealed", document, step, now, object=sealed["object_key"])
        described = description.findable(facts, document.dossier, document.given or {})
        change.index_words(document.id, document.name, described, words.text)
        state = advance(change, deck, document.id, now)
    newest = NewestObject(
        step.document, sealed["object_key"], sealed["object_version"], sealed["inventory_sha512"]
    )
    head.follow(catalog, now, newest)  # 3
    with suppress(OSError):  # it is sealed and on record: what is left goes at the next start
        spool.drop(step.document)  # 4
        spool.end_work(step.id)
    return state


def release(
    catalog: Catalog, deck: Deck, document: str, operator: str, note: str, now: datetime, *,
    skip: bool, held_for: str | None = None, shown: str | None = None,
) -> State:  # fmt: skip
    """A person decides that a held or waiting document goes on.

    `held_for`: the code they decided about. Somebody else may have released it meanwhile, and what
    holds it by now is not what they looked at: `NotNow` then.

    `shown`: what the person was shown of a document that a review holds; without it, or when that
    is not what holds it by now, `NotNow`. Such a document has its stage behind it: it goes on with
    the next one, and `retry` runs the stage again that asked.

    `skip`: past the stage that held it (`release`); otherwise the same stage is tried again, with
    its attempts counted afresh (`retry`). A document held at intake has no stage behind its hold
    and goes on with its first; `seal` is never passed over; a document whose pipeline is done but
    that is not safe goes back to the stages after `seal`. Raises `IllegalStep` for a document that
    is at rest, `NotNow` when nothing is left to do.
    """
    kind = "document-released" if skip else "document-retried"
    with catalog.transaction() as change:
        row = change.document(document)
        if row.running is not None:
            raise NotNow(f"a step of document {document} is running; decide when it has ended")
        if held_for is not None and row.code != held_for:
            raise NotNow(
                f"document {document} is not held for {held_for} by now",
                hint=f"look at it again: archivectl explain {document}",
            )
        reviewed = review.of_document(change, row)
        told = masters.check_told(change, row) if skip else []
        if skip:
            review.check_shown(row, reviewed, shown)
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
            row, Happened.RELEASED_SEALED if sealed else Happened.RELEASED, now,
            due=now, attempts=0, postponed=0, code=None, reason=None, hint=None, review=None,
            position=position, lane=deck.lane_of(stage),
        )  # fmt: skip
        at = reviewed.step.stage if reviewed else next_step(row.stages, row.position)
        facts = {"note": note, "stage": at, "was": row.code}
        decided = {"parts": told} if told else {}
        looked_at = reviewed.facts() if reviewed and skip else {}
        entry = Entry(
            kind, now, operator, document=document, facts={**facts, **looked_at, **decided}
        )
        change.record(entry)
        change.announce(kind, now, document=document, hotfolder=row.hotfolder, facts=facts)
        if stage is None:
            change.set_columns(document, due=None)
            state = _judge_safety(change, change.document(document), now)
    return state


def refuse(catalog: Catalog, document: str, operator: str, note: str, now: datetime) -> State:
    """A person decides that a held document is not archived. Its bytes stay in the spool.

    Raises `NotNow` for a document that is sealed, `IllegalStep` for one that is not held.
    """
    with catalog.transaction() as change:
        row = change.document(document)
        if row.object_key is not None:
            raise NotNow(f"document {document} is sealed: it is archived already")
        state = change.move(row, Happened.OPERATOR_REFUSED, now, due=None)
        facts = {"note": note, "was": row.code}
        change.record(Entry("document-refused", now, operator, document=document, facts=facts))
        change.announce("document-refused", now, document=document, hotfolder=row.hotfolder)
        division.let_master_go_on(change, row, now)
    return state


def _where_to_go_on(change: Change, row: DocumentRow, *, skip: bool) -> int:
    stage = next_step(row.stages, row.position)
    if stage is None:
        after_seal = row.stages.index(SEAL) + 1
        if after_seal == len(row.stages):
            raise NotNow(
                f"document {row.id} is sealed and nothing in its pipeline makes copies",
                hint="let a stage of its pipeline make copies and reload; then ask for them: "
                f"archivectl copy {row.id}",
            )
        return after_seal
    passed_over = skip and stage != SEAL and change.was_tried(row.id, row.position)
    return row.position + 1 if passed_over else row.position


def _record_end(
    change: Change, deck: Deck, step: StepRow, outcome: Outcome, decision: Decision,
    kept: list[Kept], parts: list[division.Part], now: datetime,
) -> State:  # fmt: skip
    document = _still_running(change, step)
    artifacts = _artifacts(step, outcome, kept)
    asked = review.columns(change, step, outcome.reviews, artifacts)
    change.step_ended(step.id, now, **_columns(outcome), **asked)
    change.add_artifacts(artifacts)
    _record(
        change, _ENDED[outcome.ending], step, now,
        {"ending": outcome.ending, "code": outcome.code, "attempt": step.attempt},
        digests={f"{a.role}/{a.name}": a.sha512 for a in artifacts},
    )  # fmt: skip
    for copy in outcome.copies:
        _record_copy(change, document, step, copy, now)
    if outcome.reviews:
        review.ask(change, document, step, now)
    match decision.verdict:
        case Verdict.GO_ON if parts:
            _note_pages(change, document, step, outcome)
            _announce(change, "step-finished", document, step, now)
            return division.divide(change, deck, document, step, parts, now)
        case Verdict.GO_ON:
            change.move(document, Happened.STEP_FINISHED, now, running=None)
            _note_pages(change, document, step, outcome)
            _announce(change, "step-finished", document, step, now)
            return advance(change, deck, document.id, now)
        case Verdict.REVIEW:
            _note_pages(change, document, step, outcome)
            _announce(change, "step-finished", document, step, now)
            return _hold_for_review(change, deck, document, step, outcome, now)
        case Verdict.WAIT:
            return _wait(change, document, step, outcome, decision, now)
        case Verdict.HOLD:
            return _hold(change, document, step, outcome, decision, now)


def _note_pages(change: Change, document: DocumentRow, step: StepRow, outcome: Outcome) -> None:
    pages = description.pages({step.stage: outcome.facts})
    if pages is not None:
        change.set_columns(document.id, pages=pages)


def _still_running(change: Change, step: StepRow) -> DocumentRow:
    """An ending counts once: a commit whose answer was lost may be done again, to no effect."""
    document = change.document(step.document)
    if document.running != step.id:
        raise NotNow(f"step {step.id} of document {document.id} has ended already")
    return document


def _wait(
    change: Change, document: DocumentRow, step: StepRow, outcome: Outcome, decision: Decision,
    now: datetime,
) -> State:  # fmt: skip
    postponed = outcome.ending is Ending.POSTPONED
    put_back = outcome.ending is Ending.PUT_BACK
    state = change.move(
        document, Happened.STEP_FINISHED if put_back else Happened.STEP_POSTPONED, now,
        running=None, attempts=decision.attempts, due=decision.due,
        postponed=document.postponed + 1 if postponed else document.postponed,
        code=None if put_back else outcome.code,
        reason=None if put_back else outcome.message,
        hint=None if put_back else outcome.hint,
    )  # fmt: skip
    if not put_back:
        name = "step-postponed" if postponed else "step-broke"
        _announce(change, name, document, step, now, code=outcome.code)
    return state


def _hold(
    change: Change, document: DocumentRow, step: StepRow, outcome: Outcome, decision: Decision,
    now: datetime,
) -> State:  # fmt: skip
    if document.state is State.SAFE:
        # A further copy cannot be made. The document is no less safe for that: nobody must decide.
        later = replace(decision, attempts=0, due=now + FURTHER_COPY_AGAIN)
        return _wait(change, document, step, outcome, later, now)
    state = change.move(
        document, Happened.STEP_HELD, now, running=None, attempts=decision.attempts, due=None,
        code=outcome.code, reason=outcome.message, hint=outcome.hint,
    )  # fmt: skip
    facts = {"code": outcome.code, "stage": step.stage, "reason": outcome.message}
    _record(change, "document-held", step, now, facts)
    if outcome.ending is not Ending.REFUSED:
        _announce(change, "step-broke", document, step, now, code=outcome.code)
    _announce(change, "document-held", document, step, now, code=outcome.code)
    return state


def _hold_for_review(
    change: Change, deck: Deck, document: DocumentRow, step: StepRow, outcome: Outcome,
    now: datetime,
) -> State:  # fmt: skip
    """The stage lies behind the document, and a person before the next one."""
    why = holding(outcome.reviews)
    if why is None:
        raise ValueError("no review holds this document")
    position = document.position + 1
    state = change.move(
        document, Happened.STEP_HELD, now, running=None, due=None, attempts=0, postponed=0,
        position=position, lane=deck.lane_of(next_step(document.stages, position)),
        code=why.code, reason=why.message, hint=why.hint, review=step.id,
    )  # fmt: skip
    facts = {"code": why.code, "reason": why.message}
    _record(change, "document-held", step, now, facts)
    _announce(change, "document-held", document, step, now, code=why.code)
    return state


def advance(change: Change, deck: Deck, document_id: str, now: datetime) -> State:
    """Point the document at its next stage; at the end of the plan, say whether it is safe."""
    document = change.document(document_id)
    position = document.position + 1
    following = next_step(document.stages, position)
    fresh = {"position": position, "attempts": 0, "postponed": 0, "lane": deck.lane_of(following)}
    cleared = {"code": None, "reason": None, "hint": None, "review": None}
    if following is not None:
        change.set_columns(document_id, due=now, **fresh, **cleared)
        return document.state
    change.set_columns(document_id, due=None, **fresh, **cleared)
    return _judge_safety(change, replace(document, position=position), now)


def _judge_safety(change: Change, document: DocumentRow, now: datetime) -> State:
    if document.state is State.SAFE:  # further copies of it were made
        return document.state
    copies = change.verified_copies(document.id, document.inventory_sha512 or "")
    if copies < document.copies:
        change.set_columns(
            document.id, code="copies-missing",
            reason=f"{copies} of {document.copies} wanted copies were verified",
            hint="let a stage of its pipeline make enough copies and reload; then ask for them: "
            f"archivectl copy {document.id}",
        )  # fmt: skip
        division.let_master_go_on(change, document, now)
        return document.state
    state = change.move(document, Happened.COPIES_VERIFIED, now, safe_at=now)
    change.record(
        Entry("document-safe", now, AGENT, document=document.id, facts={"copies": copies})
    )
    change.announce(
        "document-safe", now, document=document.id, hotfolder=document.hotfolder,
        facts={"copies": copies, "name": document.name},
    )  # fmt: skip
    division.let_master_go_on(change, document, now)
    return state


def _record_copy(
    change: Change, document: DocumentRow, step: StepRow, copy: Any, now: datetime
) -> None:
    change.copy_verified(
        Replica(
            document.id, copy.target, copy.key, copy.inventory_sha512, copy.files, copy.size,
            copy.verified,
        )
    )  # fmt: skip
    _record(
        change, "copy-verified", step, now, {"target": copy.target, "key": copy.key},
        digests={"inventory.json": copy.inventory_sha512},
    )  # fmt: skip


def _artifacts(step: StepRow, outcome: Outcome, kept: list[Kept]) -> list[ArtifactRow]:
    return [
        ArtifactRow(
            document=step.document, role=made.role, name=made.name, media_type=made.media_type,
            size=file.size, sha512=file.sha512, sha256=file.sha256, path=file.path, step=step.id,
            main=index == outcome.main,
        )
        for index, (made, file) in enumerate(zip(outcome.made, kept, strict=False))
    ]  # fmt: skip


def _columns(outcome: Outcome) -> dict[str, Any]:
    return {
        "ending": str(outcome.ending), "code": outcome.code or None,
        "message": outcome.message or None, "hint": outcome.hint or None,
        "facts": dict(outcome.facts), "tools": dict(outcome.tools), "notes": list(outcome.notes),
        "wall": outcome.usage.wall, "cpu": outcome.usage.cpu,
        "peak_memory": outcome.usage.peak_memory,
    }  # fmt: skip


def _record(
    change: Change, kind: str, step: StepRow, now: datetime, facts: Mapping[str, Any],
    digests: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    agent = f"{step.distribution} {step.version}" if step.stage != "seal" else AGENT
    change.record(
        Entry(
            kind, now, agent, document=step.document, digests=digests,
            facts={"stage": step.stage, "step": step.id, **{k: v for k, v in facts.items() if v}},
        )
    )  # fmt: skip


def _announce(
    change: Change, name: str, document: DocumentRow, step: StepRow, now: datetime, **facts: Any
) -> None:
    # The received name may itself be a secret; who may see it is decided by who reads events.
    change.announce(
        name, now, document=document.id, hotfolder=document.hotfolder,
        facts={"stage": step.stage, **facts},
    )  # fmt: skip
