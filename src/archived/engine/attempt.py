"""One attempt at a step: the document it is given, its state for `status`, its end for metrics,
and failures of the core.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from archived.api import Artifact, Role, Sealed
from archived.engine.protocol import StepDocument
from archived.engine.worker.reply import clean
from archived.errors import CatalogError, StoreError
from archived.message import Message
from archived.model.outcome import Ending, Outcome, Usage, of_os_error
from archived.model.pipeline import next_step
from archived.model.review import SECRECY_OPEN, Review
from archived.storage.artifacts import path_of
from archived.storage.catalog import Catalog
from archived.storage.ocfl.store import Store
from archived.storage.rows import DocumentRow, StepRow
from archived.storage.spool import Spool


@dataclass(slots=True)
class ActiveStep:
    """A step being run now, for `status`."""

    document: str
    name: str
    stage: str
    lane: str
    attempt: int
    started: datetime
    progress: float = 0.0


@dataclass(frozen=True, slots=True)
class StepEnded:
    """Told after each attempt: for metrics and the watchdog, not for decisions."""

    stage: str
    ending: str
    code: str
    usage: Usage
    facts: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    reviews: Sequence[Review] = ()

    @classmethod
    def of(cls, step: StepRow, outcome: Outcome) -> StepEnded:
        """How an attempt ended."""
        return cls(
            step.stage,
            str(outcome.ending),
            outcome.code,
            outcome.usage,
            outcome.facts,
            outcome.tools,
            outcome.reviews,
        )


def step_failed(error: Exception) -> Outcome:
    """Something that is our mistake: tried again like a stage's, then held."""
    return Outcome(
        Ending.FAILED,
        code="core-error",
        message=clean(Message("{name}: {error}", name=type(error).__name__, error=error)),
        hint=Message("report it with the journal of that time; archivectl retry tries again"),
    )


def unreadable(error: StoreError | CatalogError | OSError) -> Outcome:
    """Store, spool or catalog could not be used: the world's fault, and it waits."""
    if isinstance(error, OSError):
        return of_os_error(error)
    return Outcome(
        Ending.POSTPONED,
        code="store-io",
        message=error.message,
        hint=error.hint
        or Message("look at the store; the document goes on by itself once it is readable"),
        after=timedelta(minutes=1),
    )


def unrecordable(error: Exception) -> Outcome:
    """What a stage returned could not be put on record."""
    if isinstance(error, OSError):
        return of_os_error(error)
    told = error.args[0] if error.args else ""
    why = told if isinstance(told, Message) else str(error).partition("\n")[0]
    why = why or type(error).__name__
    return Outcome(
        Ending.FAILED,
        code="bad-output",
        hint=Message("report it to the stage's author"),
        message=clean(Message("what the stage returned cannot be recorded: {why}", why=why)),
    )


def step_document(spool: Spool, store: Store, catalog: Catalog, row: DocumentRow) -> StepDocument:
    """The document as a stage will see it."""
    rows = catalog.artifacts(row.id)
    artifacts = [
        Artifact(
            path=path_of(spool, store, row, a),
            name=a.name,
            media_type=a.media_type,
            role=Role(a.role),
            sha512=a.sha512,
            size=a.size,
        )
        for a in rows
    ]
    return StepDocument(
        id=row.id,
        received=row.received,
        hotfolder=row.hotfolder,
        name=row.name,
        artifacts=artifacts,
        main=next(i for i, a in enumerate(rows) if a.main),
        facts=catalog.facts(row.id),
        secrecy=row.secrecy,
        sealed=_sealed(store, row),
        dossier=row.dossier,
        given=row.given or {},
        collation=row.collation,
        answers=_answers(catalog, row),
    )


def _answers(catalog: Catalog, row: DocumentRow) -> dict[str, str]:
    """What people answered, by note, to the refusals and reviews of the stage that comes next.

    That secrecy is not established is answered by a release that names what was shown, by no note.
    """
    stage = next_step(row.stages, row.position)
    told = (entry.facts for entry in catalog.ledger_of(row.id) if entry.kind == "document-retried")
    return {
        was: note
        for facts in told
        if facts.get("stage") == stage
        and (was := facts.get("was"))
        and was not in SECRECY_OPEN
        and (note := (facts.get("note") or "").strip())
    }


def _sealed(store: Store, row: DocumentRow) -> Sealed | None:
    if row.object_key is None:
        return None
    return Sealed(
        root=store.ocfl / row.object_key,
        key=row.object_key,
        version=row.object_version or 1,
        inventory_sha512=row.inventory_sha512 or "",
    )
