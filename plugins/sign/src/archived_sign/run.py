"""One run of the stage, top to bottom: may it be signed, with what, sign, judge, report."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from pyhanko.pdf_utils.misc import PdfError

from archived.api import Context, Document, Message, Postpone, Refuse, Result, Role
from archived_sign import failures
from archived_sign.existing import look
from archived_sign.key_source import key_source
from archived_sign.keys import Credential, as_asn1, flaws, now_utc, unusable
from archived_sign.levels import Augmentation, Progress, read_anchors
from archived_sign.options import SignOptions, parse_offset
from archived_sign.pades import (
    DoesNotFit,
    Signature,
    Unsignable,
    Visible,
    append_signature,
    first_page,
    new_field_name,
)
from archived_sign.report import Outcome, Report, left_alone, tools, validation_report
from archived_sign.timestamps import HttpTimeStamper
from archived_sign.validation import Anchors, judge
from archived_sign.verdict import YES, Verdict

FILE_NAME = "document.pdf"
AFTERWARDS = 15.0
"""Seconds kept for judging what was made, out of the time for waiting."""


def sign_document(document: Document, context: Context[SignOptions]) -> Result:
    """Sign the main PDF. Raises `Refuse` and `Postpone` with the codes of the README."""
    main = document.main
    if main.role == Role.ORIGINAL and len(document.originals) > 1:
        # A signature under a copy of one file would speak for the whole document.
        return left_alone(originals=len(document.originals))
    existing = look(main.path)
    if main.role == Role.ORIGINAL and (existing.signed or existing.broken):
        return left_alone(existing.signed, existing.broken)
    if existing.broken:
        raise _unsignable(existing.broken)
    if existing.signed:
        raise Refuse(
            Message("the copy to be signed is not untouched: {signed}", signed=existing.signed),
            code="already-signed",
            hint=Message(
                "look at what the stages before this one made; only an unsigned copy is signed"
            ),
        )
    credential = _credential(context.options)
    try:
        return _Signing(document, context, credential).result()
    except Unsignable as error:
        if main.role == Role.ORIGINAL:
            return left_alone("", str(error))
        raise _unsignable(str(error)) from error


def _unsignable(why: str) -> Refuse:
    return Refuse(
        Message("the access copy cannot be signed: {why}", why=why),
        code="unsignable",
        hint=Message(
            "make the copy again with the ocr stage, or release the document to a pipeline "
            "without signing"
        ),
    )


def _credential(options: SignOptions) -> Credential:
    credential = key_source(options).open()
    for flaw in flaws(credential, now_utc(), throwaway=options.allow_throwaway):
        if flaw.code:
            raise unusable(flaw)
    return credential


class _Signing:
    """One document being signed: what is needed all along the way, held together."""

    def __init__(
        self, document: Document, context: Context[SignOptions], credential: Credential
    ) -> None:
        self.document, self.context, self.credential = document, context, credential
        self.options = context.options
        self.output = context.new_file(FILE_NAME, media_type="application/pdf", role=Role.ACCESS)
        moment = datetime.now(parse_offset(self.options.utc_offset)).replace(microsecond=0)
        self.appearance: dict[str, Any] | None = None
        self.signature = Signature(
            moment=moment,
            field=new_field_name(),
            reserve=self.options.reserve,
            reason=self.options.reason,
            location=self.options.location,
            visible=self._visible(moment),
        )
        self.anchors = anchors(self.options, credential)
        self.raising = augmentation(self.output.path, self.signature.field, context, self.anchors)

    def result(self) -> Result:
        progress = self._signed()
        self.context.progress(0.8)
        verdict = judged(self.output.path, self.signature.field, self.anchors, progress)
        waited = self.raising.waited if self.raising else {}
        outcome = Outcome(verdict, progress, self.options.wanted_level, waited)
        report = Report(self.credential, self.signature, self.appearance, outcome)
        return Result(
            replace_main=self.output,
            add=validation_report(self.context, verdict),
            facts=report.facts(),
            tools=tools(),
            notes=report.notes(self.document),
        )

    def _signed(self) -> Progress:
        raising, progress = self.raising, Progress("B-B")
        if raising is None:
            self._append(None)
            return progress
        try:
            self._ask_before(raising, progress)
            self._append_stamped(raising, progress)
            if progress.away is None:
                raising.raise_level(progress, self.options.wanted_level)
        except DoesNotFit as error:
            raise failures.reserve_too_small(error) from error
        except failures.Away as error:
            raise failures.away(error) from error
        except failures.Wrong as error:
            raise failures.wrong(error) from error
        if progress.away is not None and raising.patient:
            raise failures.away(progress.away)
        return progress

    def _ask_before(self, raising: Augmentation, progress: Progress) -> None:
        """Nothing is signed with a certificate that is known to be revoked or on hold."""
        if not self.options.long_term:
            return
        leaf = as_asn1(self.credential.certificate)
        chain = [as_asn1(each) for each in self.credential.chain]
        try:
            progress.signer_material = raising.about_signer(leaf, chain)
        except failures.Away as error:
            if raising.patient:
                raise
            progress.away = error

    def _append_stamped(self, raising: Augmentation, progress: Progress) -> None:
        try:
            self._append(raising.stamper)
            progress.level, progress.server = "B-T", raising.stamper.server
        except failures.Away as error:
            if raising.patient:
                raise
            progress.away = error
            self._append(None)

    def _append(self, timestamper: HttpTimeStamper | None) -> None:
        # A fresh copy each time: a failed attempt leaves an empty signature behind.
        shutil.copyfile(self.document.main.path, self.output.path)
        try:
            append_signature(self.output.path, self.signature, self.credential.signer, timestamper)
        except DoesNotFit as error:
            raise failures.reserve_too_small(error) from error

    def _visible(self, moment: datetime) -> Visible | None:
        if self.options.visible == "none":
            return None
        from archived_sign import appearance

        lines = (self.credential.name, moment.isoformat())
        try:
            font = appearance.find_font(self.options.font)
            if missing := appearance.missing_letters(font, "".join(lines)):
                raise ValueError(f"{font} lacks letters of the signer's name: {missing}")  # noqa: TRY301 - one way out for both
        except ValueError as error:
            raise Postpone(
                Message("the visible signature has no font: {error}", error=error),
                code="no-font",
                hint=Message("install fonts-croscore or fonts-liberation2, or set stage.sign.font"),
                after="30 min",
            ) from error
        page = first_page(self.document.main.path)
        block = appearance.place(page, appearance.text_width(font, lines))
        drawing = self.context.folder / "block.pdf"
        appearance.draw(drawing, font, lines, block, page.rotate)
        self.appearance = {
            "page": 1,
            "box": list(block.box),
            "size": round(block.size, 2),
            "font": font.name,
        }
        return Visible(drawing, block.box)


def anchors(options: SignOptions, credential: Credential | None = None) -> Anchors:
    """Whom to trust. Raises `Postpone` when a file with roots cannot be read."""
    own = [as_asn1(each) for each in credential.roots] if credential else []
    try:
        return read_anchors(options, own)
    except (OSError, ValueError) as error:
        raise failures.roots_unusable(error) from error


def augmentation(
    path: Path, field: str, context: Context[SignOptions], trusted: Anchors
) -> Augmentation | None:
    """What raises levels, where a time stamp server is configured. Raises `Postpone`."""
    if context.options.timestamp is None:
        return None
    try:
        return Augmentation(
            path, field, context.options, trusted, lambda: context.remaining() - AFTERWARDS
        )
    except (OSError, UnicodeDecodeError) as error:
        raise failures.secrets_unreadable(error) from error


def judged(path: Path, field: str, trusted: Anchors, progress: Progress) -> Verdict:
    """The verdict on what was made. Lets nothing pass that is not what was asked for."""
    long_term = progress.level in {"B-LT", "B-LTA"}
    try:
        verdict = judge(
            path,
            field,
            trusted,
            long_term=long_term,
            updated=progress.appended,
            known=progress.known,
        )
    except PdfError as error:
        # Odd tokens in the document that the library reads but does not write as they were.
        raise Unsignable(f"what was written cannot be read back: {error}") from error
    if verdict.integrity != YES:
        raise RuntimeError(f"the signature just made does not verify: {verdict.integrity}")
    stamps = [each for each in (verdict.timestamp, *verdict.document_timestamps) if each]
    if progress.level != "B-B" and not stamps:
        raise RuntimeError("the signature just made lacks the time stamp it was given")
    if broken := [each for each in stamps if each.integrity != YES]:
        raise failures.token_broken(broken[0].integrity)
    if long_term and not verdict.passed:
        raise failures.not_valid(verdict.indication)
    if progress.level == "B-LTA" and (trust := stamps[-1].trust) != YES:
        # The signature holds by itself while its certificate does; the archive needs more.
        raise failures.not_valid(trust)
    if long_term and verdict.maintainable.startswith("no ("):
        raise failures.not_valid(verdict.maintainable)
    if verdict.trust.startswith("no ("):
        raise failures.untrusted("our certificate", verdict.trust)
    if not long_term and stamps and stamps[-1].trust.startswith("no ("):
        raise failures.untrusted("the time stamp", stamps[-1].trust)
    return verdict
