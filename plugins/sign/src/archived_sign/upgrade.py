"""Bringing a signed document to the wanted level, or renewing what proves it. Never signs again.

A signature that has no time stamp cannot be given one inside: that would change bytes that are in
the archive. A document time stamp after it proves the same, that the signature existed at that
time (ETSI EN 319 142-1, 6.3), and needs no key. So nothing here opens one.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pyhanko.pdf_utils.misc import PdfError

from archived.api import Context, Document, Message, Refuse, Result, Role
from archived_sign import failures
from archived_sign.levels import Augmentation, Progress, below
from archived_sign.options import SignOptions
from archived_sign.pades import DoesNotFit, Unsignable
from archived_sign.report import Outcome, tools, validation_report
from archived_sign.run import FILE_NAME, anchors, augmentation, judged
from archived_sign.validation import Anchors, judge
from archived_sign.verdict import YES

RENEW_BEFORE = timedelta(days=365)
"""How long before its proof ends a document is renewed."""


def upgrade_document(document: Document, context: Context[SignOptions]) -> Result:
    """Append what is missing. Raises `Refuse` and `Postpone` with the codes of the README."""
    facts = dict(document.facts.get("sign", {}))
    wanted = context.options.wanted_level
    if facts.get("level", "none") == "none":
        return Result(facts=facts, tools=tools())
    renew = wanted == "B-LTA" and _ends_soon(facts)
    if not (renew or below(facts["level"], wanted)):
        # Nothing more is wanted, perhaps since the options were changed.
        return Result(facts={**facts, "pending": None}, tools=tools())
    _insist_it_still_proves(facts)
    return _Upgrade(document, context, facts, renew).result()


def _ends_soon(facts: Mapping[str, Any]) -> bool:
    until = facts.get("proof_until")
    return _left(until) < RENEW_BEFORE if until else False


def _insist_it_still_proves(facts: Mapping[str, Any]) -> None:
    """Nothing can be proven from today on that ended before: nobody speaks for it any more."""
    until = facts.get("proof_until") or facts["not_after"]
    if _left(until) > timedelta(0):
        return
    raise Refuse(
        Message("what proves the signature ended on {until}", until=until[:10]),
        code="proof-ended",
        hint=Message(
            "the document stays as it is; a person decides what its signature is worth, and "
            "whether a copy of it is signed anew"
        ),
    )


def _left(moment: str) -> timedelta:
    return datetime.fromisoformat(moment) - datetime.now(UTC)


class _Upgrade:
    """One document on its way up."""

    def __init__(
        self,
        document: Document,
        context: Context[SignOptions],
        facts: dict[str, Any],
        renew: bool,
    ) -> None:
        self.document, self.context, self.facts, self.renew = document, context, facts, renew
        self.wanted = context.options.wanted_level
        self.output = context.new_file(FILE_NAME, media_type="application/pdf", role=Role.ACCESS)
        self.anchors: Anchors = anchors(context.options)

    def result(self) -> Result:
        """Raises `Postpone` when nothing could be appended."""
        path, before = self.output.path, self.facts["level"]
        shutil.copyfile(self.document.main.path, path)
        self._insist_it_is_sound()
        raising = augmentation(path, self.facts["field"], self.context, self.anchors)
        if raising is None:
            raise ValueError("a level above B-B goes with a time stamp server")
        progress = self._raised(raising, Progress(before))
        try:
            verdict = judged(path, self.facts["field"], self.anchors, progress)
        except Unsignable as error:
            raise _damaged(str(error)) from error
        outcome = Outcome(verdict, progress, self.wanted, raising.waited)
        stamp = self.facts.get("timestamp")
        return Result(
            replace_main=self.output,
            add=validation_report(self.context, verdict),
            facts={**self.facts, **outcome.facts(), "timestamp": stamp},
            tools=tools(),
            notes=[*self._notes(before, progress), *([outcome.note()] if outcome.missing else [])],
        )

    def _insist_it_is_sound(self) -> None:
        """Before a time stamp is spent on it, and makes the damage look old."""
        path, field = self.output.path, self.facts["field"]
        try:
            integrity = judge(path, field, self.anchors, updated=True).integrity
        except PdfError as error:
            raise _damaged(str(error)) from error
        if integrity != YES:
            raise _damaged(integrity)

    def _raised(self, raising: Augmentation, progress: Progress) -> Progress:
        before = progress.level
        try:
            raising.raise_level(progress, self.wanted, renew=self.renew)
        except DoesNotFit as error:
            raise failures.reserve_too_small(error) from error
        except failures.Wrong as error:
            raise failures.wrong(error) from error
        if progress.away is not None and (self.renew or progress.level == before):
            # Half a step is worth no version of the object: what was appended is dropped.
            raise failures.away(progress.away)
        return progress

    def _notes(self, before: str, progress: Progress) -> list[str]:
        if before == progress.level:
            return [
                Message(
                    "renewed at level {level}: a document time stamp over validation data of today",
                    level=progress.level,
                )
            ]
        return [
            Message(
                "raised from {before} to {level} by what was appended; the signature is the same",
                before=before,
                level=progress.level,
            )
        ]


def _damaged(why: str) -> Refuse:
    return Refuse(
        Message("the signed document cannot be added to: {why}", why=why),
        code="signature-damaged",
        hint=Message("compare the object with its copies; its earlier versions are in the store"),
    )
