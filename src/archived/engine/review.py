"""The ending "finished, and a person must look": how it is put on record, and how it is decided.

Everything happens within the transaction of the step's end or of the decision. A decision to go on
names what was shown; what changed since is not covered by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from archived.errors import NotNow
from archived.message import Message
from archived.model import review
from archived.model.lifecycle import State
from archived.model.review import Review
from archived.storage.ledger import Entry
from archived.storage.rows import ArtifactRow, DocumentRow, StepRow
from archived.storage.transaction import Transaction


def columns(
    change: Transaction, step: StepRow, reviews: Sequence[Review], artifacts: Sequence[ArtifactRow]
) -> dict[str, Any]:
    """What is kept with the step. To be asked before what it made is added to its document."""
    if not reviews:
        return {}
    digests = {a.name: a.sha512 for a in artifacts if a.role == "metadata"}
    named = review.with_digests(reviews, digests)
    return {"reviews": review.to_json(named), "worked_on": change.main_of(step.document)}


def ask(change: Transaction, document: DocumentRow, step: StepRow, now: datetime) -> None:
    """On record and in the news: somebody must look. Nothing of what is to be seen is told."""
    asked = of_step(change.step(step.id))
    told = [
        {"code": each.code, "regions": len(each.regions), "held": not each.flagged}
        for each in asked
    ]
    change.record(
        Entry(
            "review-required",
            now,
            f"{step.distribution} {step.version}",
            document=document.id,
            facts={
                "stage": step.stage,
                "step": step.id,
                "shown": review.digest(step.id, asked),
                "reviews": told,
            },
        )
    )
    for each in told:
        change.announce(
            "review-required",
            now,
            document=document.id,
            hotfolder=document.hotfolder,
            facts={"stage": step.stage, **each},
        )


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The review that holds a document: the step that asked for it, and what it asked."""

    step: StepRow
    reviews: tuple[Review, ...]

    @property
    def shown(self) -> str:
        """What a decision must name."""
        return review.digest(self.step.id, self.reviews)

    def facts(self) -> dict[str, Any]:
        """For the ledger: what somebody looked at who let the document go on."""
        return {
            "step": self.step.id,
            "shown": self.shown,
            "reviews": review.to_json(self.reviews),
        }


def of_document(change: Transaction, row: DocumentRow) -> Reviewed | None:
    """What must be looked at before the document goes on; `None` when that is not why it waits."""
    if row.review is None:
        return None
    step = change.step(row.review)
    return Reviewed(step, of_step(step))


def of_step(step: StepRow) -> tuple[Review, ...]:
    """What the step asked somebody to look at."""
    return review.from_json(list(step.reviews or ()))


def check_shown(row: DocumentRow, reviewed: Reviewed | None, shown: str | None) -> None:
    """Raises `NotNow` unless a release names exactly what is to be looked at.

    Nor does it cover what somebody rejected meanwhile, or what is held for something else by now.
    """
    document = row.id
    if shown == (reviewed.shown if reviewed else None) and not _rejected(row, reviewed):
        return
    if _rejected(row, reviewed):
        raise NotNow(
            Message("somebody decided that document {document} is not archived", document=document),
            hint=Message("archivectl retry {document} takes it up again", document=document),
        )
    why = (
        Message(
            "a person must look at document {document} before it is released", document=document
        )
        if shown is None
        else Message(
            "what was shown of document {document} is not what holds it now", document=document
        )
    )
    raise NotNow(
        why,
        hint=Message(
            "archivectl review {document} -o FOLDER shows it; then archivectl release "
            "--reviewed FOLDER --note WHY",
            document=document,
        ),
    )


def _rejected(row: DocumentRow, reviewed: Reviewed | None) -> bool:
    return reviewed is not None and row.state is State.REJECTED


def try_again(change: Transaction, reviewed: Reviewed) -> int:
    """The stage that asked is to run again on what it was given; returns its place."""
    change.supersede_step(reviewed.step)
    return reviewed.step.position
