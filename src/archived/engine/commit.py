"""The order in which work becomes permanent. The most important text in the program.

`commit_step` and `seal` are each one short list of durable acts. *Must*: bytes are on disk before
anything mentions them; everything that mentions them changes in one transaction; only then may the
working copy go. Breaking that loses a document. Everything else here is bookkeeping.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from archived import AGENT
from archived.engine import review, split
from archived.engine.sealing import SearchText
from archived.engine.specs import Specs
from archived.errors import NotNow
from archived.message import Message
from archived.model import record
from archived.model.lifecycle import State, Transition
from archived.model.outcome import Ending, Outcome
from archived.model.paper_return import SIGNING
from archived.model.pipeline import next_step
from archived.model.retry import RetryDecision, RetryVerdict
from archived.model.review import holding
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.ledger_head import HeadFile, NewestObject
from archived.storage.rows import ArtifactRow, DocumentRow, Replica, SpoolFile, StepRow
from archived.storage.spool import Spool
from archived.storage.transaction import Transaction

_ENDED = {
    Ending.FINISHED: "step-finished",
    Ending.REFUSED: "step-refused",
    Ending.FAILED: "step-failed",
    Ending.POSTPONED: "step-postponed",
    Ending.REQUEUED: "step-requeued",
}

FURTHER_COPY_AGAIN = timedelta(days=1)
"""After this a further copy of a safe document is tried again, when it has no tries left."""


def begin_step(catalog: Catalog, document: DocumentRow, step: StepRow, now: datetime) -> None:
    """Count the attempt *before* it starts: what kills the machine still runs out of attempts."""
    with catalog.transaction() as change:
        change.move(
            document, Transition.STEP_STARTED, now, running=step.id, attempts=document.attempts + 1
        )
        change.step_started(step)


@dataclass(frozen=True, slots=True)
class CommitContext:
    """Where a step's end is written, by which configuration, and when."""

    spool: Spool
    catalog: Catalog
    specs: Specs
    now: datetime


def commit_step(
    context: CommitContext, step: StepRow, outcome: Outcome, decision: RetryDecision
) -> State:
    """Make an ended step permanent; returns the document's new state. The order is the point:

    1. what it made is durable in the spool before anything mentions it, and so are the parts that
       it cut out, each in a folder of its own;
    2. the step's end, its artifacts, ledger entries and news change in one transaction, and in the
       same one the parts become documents;
    3. only then may its working folder go.

    Raises `OSError` from 1 (nothing has happened) and `CatalogError` from 2 (do it again).
    """
    spool, catalog = context.spool, context.catalog
    outcome = context.specs.with_code(step.stage, outcome)
    finished = outcome.ending is Ending.FINISHED
    kept = (
        spool.keep(step.document, step.id, spool.work / step.id, outcome.made) if finished else []
    )  # 1
    parts = (
        split.take_out(spool, catalog.document(step.document), step, outcome) if finished else []
    )
    with catalog.transaction() as change:  # 2
        state = _record_end(change, context, step, outcome, decision, _Durable(kept, parts))
    spool.end_work(step.id)  # 3
    return state


def skip_step(
    catalog: Catalog, specs: Specs, document: DocumentRow, step: StepRow, why: str
) -> None:
    """Pass over a stage that does not accept the document's type, on record."""
    now = step.started
    with catalog.transaction() as change:
        change.step_started(step)
        change.step_ended(step.id, now, ending="skipped", notes=[why])
        change.move(document, Transition.STEP_STARTED, now)
        _record(change, "step-skipped", step, now, {"why": why})
        _announce(change, "step-skipped", document, step, now)
        advance(change, specs, document.id, now)


def seal(
    context: CommitContext,
    step: StepRow,
    sealed: Mapping[str, Any],
    words: SearchText | None,
    *,
    head: HeadFile,
) -> State:
    """Record that a document's object is durable in the store; returns its new state.

    1. (the caller) the object is durable in the store under its final name;
    2. the document becomes sealed, with ledger entry, news and words to find it by, at once;
    3. the store's head file follows: behind the catalog it does no harm, ahead it must never be;
    4. only after 2 may the spool let its bytes go.

    `sealed` holds `object_key`, `object_version` and `inventory_sha512`. For a document that was
    sealed before it is a further version, which lacks copies; empty, where an upgrade made nothing.
    `words` is then `None`.
    """
    spool, catalog, specs, now = context.spool, context.catalog, context.specs, context.now
    with catalog.transaction() as change:  # 2
        document = _still_running(change, step)
        change.step_ended(step.id, now, ending="finished")
        if not sealed:
            change.move(document, Transition.STEP_FINISHED, now, running=None)
            _record(change, "step-finished", step, now, {"ending": Ending.FINISHED})
            _announce(change, "step-finished", document, step, now)
        elif document.object_key is not None:
            _record_version(change, document, step, sealed, now)
        else:
            _record_sealed(change, context, document, step, sealed, words)
        state = advance(change, specs, document.id, now)
    if sealed:
        newest = NewestObject(
            step.document,
            sealed["object_key"],
            sealed["object_version"],
            sealed["inventory_sha512"],
        )
        head.follow(catalog, now, newest)  # 3
    with suppress(OSError):  # it is sealed and on record: what is left goes at the next start
        spool.drop(step.document)  # 4
        spool.end_work(step.id)
    return state


def _record_sealed(
    change: Transaction,
    context: CommitContext,
    document: DocumentRow,
    step: StepRow,
    sealed: Mapping[str, Any],
    words: SearchText | None,
) -> None:
    now = context.now
    left_out = words.left_out if words else 0
    change.move(document, Transition.SEALED, now, running=None, sealed_at=now, **sealed)
    _record(
        change,
        "document-sealed",
        step,
        now,
        {
            "object": sealed["object_key"],
            "version": sealed["object_version"],
            "pages": document.pages,
            SIGNING: context.specs.signing(document.stages),
            "text_bytes_not_searchable": left_out,
        },
        digests={"inventory.json": sealed["inventory_sha512"]},
    )
    _announce(change, "document-sealed", document, step, now, object=sealed["object_key"])
    facts = context.catalog.facts(document.id)
    described = record.findable(facts, document.dossier, document.given or {})
    change.index_words(document.id, document.name, described, words.text if words else "")


def _record_version(
    change: Transaction,
    document: DocumentRow,
    step: StepRow,
    sealed: Mapping[str, Any],
    now: datetime,
) -> None:
    """No copy of the new version exists: the document is safe again when there are enough.

    Since when it is safe stays: its paper was listed then, and is not listed a second time.
    """
    change.move(document, Transition.UPGRADED, now, running=None, **sealed)
    facts = {"object": sealed["object_key"], "version": sealed["object_version"]}
    digests = {"inventory.json": sealed["inventory_sha512"]}
    _record(change, "document-upgraded", step, now, facts, digests=digests)
    _announce(change, "document-upgraded", document, step, now, version=sealed["object_version"])


class _Durable(NamedTuple):
    """What a step made, as it lies in the spool."""

    kept: list[SpoolFile]
    parts: list[split.SpooledPart]


def _record_end(
    change: Transaction,
    context: CommitContext,
    step: StepRow,
    outcome: Outcome,
    decision: RetryDecision,
    made: _Durable,
) -> State:
    specs, now = context.specs, context.now
    kept, parts = made
    document = _still_running(change, step)
    artifacts = _artifacts(step, outcome, kept)
    asked = review.columns(change, step, outcome.reviews, artifacts)
    change.step_ended(step.id, now, **_columns(outcome), **asked)
    change.add_artifacts(artifacts)
    _record(
        change,
        _ENDED[outcome.ending],
        step,
        now,
        {"ending": outcome.ending, "code": outcome.code, "attempt": step.attempt},
        digests={f"{a.role}/{a.name}": a.sha512 for a in artifacts},
    )
    for copy in outcome.copies:
        _record_copy(change, document, step, copy, now)
    if outcome.reviews:
        review.ask(change, document, step, now)
    match decision.verdict:
        case RetryVerdict.GO_ON if parts:
            _note_pages(change, document, step, outcome)
            _announce(change, "step-finished", document, step, now)
            return split.split_document(change, specs, document, step, parts, now)
        case RetryVerdict.GO_ON:
            change.move(document, Transition.STEP_FINISHED, now, running=None)
            _note_pages(change, document, step, outcome)
            _announce(change, "step-finished", document, step, now)
            return advance(change, specs, document.id, now)
        case RetryVerdict.REVIEW:
            _note_pages(change, document, step, outcome)
            _announce(change, "step-finished", document, step, now)
            return _hold_for_review(change, specs, document, step, outcome, now)
        case RetryVerdict.WAIT:
            return _wait(change, document, step, outcome, decision, now)
        case RetryVerdict.HOLD:
            return _hold(change, document, step, outcome, decision, now)


def _note_pages(
    change: Transaction, document: DocumentRow, step: StepRow, outcome: Outcome
) -> None:
    pages = record.pages_of({step.stage: outcome.facts})
    if pages is not None:
        change.set_columns(document.id, pages=pages)


def _still_running(change: Transaction, step: StepRow) -> DocumentRow:
    """An ending counts once: a commit whose answer was lost may be done again, to no effect."""
    document = change.document(step.document)
    if document.running != step.id:
        raise NotNow(
            Message(
                "step {step} of document {document} has ended already",
                step=step.id,
                document=document.id,
            )
        )
    return document


def _wait(
    change: Transaction,
    document: DocumentRow,
    step: StepRow,
    outcome: Outcome,
    decision: RetryDecision,
    now: datetime,
) -> State:
    postponed = outcome.ending is Ending.POSTPONED
    requeued = outcome.ending is Ending.REQUEUED
    state = change.move(
        document,
        Transition.STEP_FINISHED if requeued else Transition.STEP_POSTPONED,
        now,
        running=None,
        attempts=decision.attempts,
        due=decision.due,
        postponed=document.postponed + 1 if postponed else document.postponed,
        code=None if requeued else outcome.code,
        reason=None if requeued else outcome.message,
        hint=None if requeued else outcome.hint,
    )
    if not requeued:
        _announce(change, _ENDED[outcome.ending], document, step, now, code=outcome.code)
    return state


def _hold(
    change: Transaction,
    document: DocumentRow,
    step: StepRow,
    outcome: Outcome,
    decision: RetryDecision,
    now: datetime,
) -> State:
    if document.state is State.SAFE:
        # A further copy cannot be made. The document is no less safe for that: nobody must decide.
        later = replace(decision, attempts=0, due=now + FURTHER_COPY_AGAIN)
        return _wait(change, document, step, outcome, later, now)
    state = change.move(
        document,
        Transition.STEP_HELD,
        now,
        running=None,
        attempts=decision.attempts,
        due=None,
        code=outcome.code,
        reason=outcome.message,
        hint=outcome.hint,
    )
    facts = {"code": outcome.code, "stage": step.stage, "reason": outcome.message}
    _record(change, "document-held", step, now, facts)
    _announce(change, _ENDED[outcome.ending], document, step, now, code=outcome.code)
    _announce(change, "document-held", document, step, now, code=outcome.code)
    return state


def _hold_for_review(
    change: Transaction,
    specs: Specs,
    document: DocumentRow,
    step: StepRow,
    outcome: Outcome,
    now: datetime,
) -> State:
    """The stage lies behind the document, and a person before the next one."""
    why = holding(outcome.reviews)
    if why is None:
        raise ValueError("no review holds this document")
    position = document.position + 1
    state = change.move(
        document,
        Transition.STEP_HELD,
        now,
        running=None,
        due=None,
        attempts=0,
        postponed=0,
        position=position,
        lane=specs.lane_of(next_step(document.stages, position)),
        code=why.code,
        reason=why.message,
        hint=why.hint,
        review=step.id,
    )
    facts = {"code": why.code, "reason": why.message}
    _record(change, "document-held", step, now, facts)
    _announce(change, "document-held", document, step, now, code=why.code)
    return state


def advance(change: Transaction, specs: Specs, document_id: str, now: datetime) -> State:
    """Point the document at its next stage; at the end of the plan, say whether it is safe."""
    document = change.document(document_id)
    position = document.position + 1
    following = next_step(document.stages, position)
    fresh = {"position": position, "attempts": 0, "postponed": 0, "lane": specs.lane_of(following)}
    cleared = {"code": None, "reason": None, "hint": None, "review": None}
    if following is not None:
        change.set_columns(document_id, due=now, **fresh, **cleared)
        return document.state
    change.set_columns(document_id, due=None, **fresh, **cleared)
    return judge_safety(change, replace(document, position=position), now)


def judge_safety(change: Transaction, document: DocumentRow, now: datetime) -> State:
    """A sealed document whose pipeline is done is safe, or its code says `copies-missing`."""
    if document.state is State.SAFE:  # further copies of it were made
        return document.state
    copies = change.verified_copies(document.id, document.inventory_sha512 or "")
    if copies < document.copies:
        change.set_columns(
            document.id,
            code="copies-missing",
            reason=Message(
                "{copies} of {wanted} wanted copies were verified",
                copies=copies,
                wanted=document.copies,
            ),
            hint=Message(
                "let a stage of its pipeline make enough copies and reload; then ask for "
                "them: archivectl copy {id}",
                id=document.id,
            ),
        )
        split.let_master_go_on(change, document, now)
        return document.state
    since = document.safe_at or now
    state = change.move(document, Transition.COPIES_VERIFIED, now, safe_at=since)
    change.record(
        Entry("document-safe", now, AGENT, document=document.id, facts={"copies": copies})
    )
    change.announce(
        "document-safe",
        now,
        document=document.id,
        hotfolder=document.hotfolder,
        facts={"copies": copies, "name": document.name},
    )
    split.let_master_go_on(change, document, now)
    return state


def _record_copy(
    change: Transaction, document: DocumentRow, step: StepRow, copy: Any, now: datetime
) -> None:
    change.copy_verified(
        Replica(
            document.id,
            copy.target,
            copy.key,
            copy.inventory_sha512,
            copy.files,
            copy.size,
            copy.verified,
        )
    )
    _record(
        change,
        "copy-verified",
        step,
        now,
        {"target": copy.target, "key": copy.key},
        digests={"inventory.json": copy.inventory_sha512},
    )


def _artifacts(step: StepRow, outcome: Outcome, kept: list[SpoolFile]) -> list[ArtifactRow]:
    return [
        ArtifactRow(
            document=step.document,
            role=made.role,
            name=made.name,
            media_type=made.media_type,
            size=file.size,
            sha512=file.sha512,
            sha256=file.sha256,
            path=file.path,
            step=step.id,
            main=index == outcome.main,
        )
        for index, (made, file) in enumerate(zip(outcome.made, kept, strict=False))
    ]


def _columns(outcome: Outcome) -> dict[str, Any]:
    return {
        "ending": str(outcome.ending),
        "code": outcome.code or None,
        "message": outcome.message or None,
        "hint": outcome.hint or None,
        "facts": dict(outcome.facts),
        "tools": dict(outcome.tools),
        "notes": list(outcome.notes),
        "wall": outcome.usage.wall,
        "cpu": outcome.usage.cpu,
        "peak_memory": outcome.usage.peak_memory,
    }


def _record(
    change: Transaction,
    kind: str,
    step: StepRow,
    now: datetime,
    facts: Mapping[str, Any],
    digests: Mapping[str, str] | None = None,
) -> None:
    agent = f"{step.distribution} {step.version}" if step.stage != "seal" else AGENT
    change.record(
        Entry(
            kind,
            now,
            agent,
            document=step.document,
            digests=digests,
            facts={"stage": step.stage, "step": step.id, **{k: v for k, v in facts.items() if v}},
        )
    )


def _announce(
    change: Transaction,
    name: str,
    document: DocumentRow,
    step: StepRow,
    now: datetime,
    **facts: Any,
) -> None:
    # The received name may itself be a secret; who may see it is decided by who reads events.
    change.announce(
        name,
        now,
        document=document.id,
        hotfolder=document.hotfolder,
        facts={"stage": step.stage, **facts},
    )
