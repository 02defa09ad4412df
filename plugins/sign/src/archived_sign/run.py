"""One run of the stage, top to bottom: may it be signed, with what, sign, judge, report."""

from __future__ import annotations

import shutil
from datetime import datetime
from typing import Any

from pyhanko.pdf_utils.misc import PdfError

from archived.api import Context, Document, Message, Postpone, Refuse, Result, Role
from archived_sign.existing import look
from archived_sign.keys import Credential, Pkcs12File, flaws, now_utc, unusable
from archived_sign.options import SignOptions, TimestampOptions, parse_offset
from archived_sign.pades import (
    DoesNotFit,
    Signature,
    Unsignable,
    Visible,
    append_signature,
    first_page,
    new_field_name,
)
from archived_sign.report import Report, left_alone, tools
from archived_sign.timestamps import HttpTimeStamper, ServerDown, ServerRefused
from archived_sign.verdict import YES, Verdict, judge, read_roots

FILE_NAME = "document.pdf"
_AFTERWARDS = 15.0


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
    credential = Pkcs12File(options.key, options.passphrase, options.certificate).open()
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
        self.pending = ""
        self.waited: dict[str, float] = {}

    def result(self) -> Result:
        self._sign()
        self.context.progress(0.8)
        report = Report(
            self.credential,
            self.signature,
            self._judged(),
            self.pending,
            self.appearance,
            self.options.timestamp.url if self.options.timestamp else "",
            self.waited,
        )
        return Result(
            replace_main=self.output,
            facts=report.facts(),
            tools=tools(),
            notes=report.notes(self.document),
        )

    def _sign(self) -> None:
        stamp = self.options.timestamp
        if stamp is None:
            self._append(None)
            return
        timestamper = self._timestamper(stamp)
        try:
            self._append(timestamper)
        except ServerRefused as error:
            raise Postpone(
                Message("the time stamp server gives no time stamp: {error}", error=error),
                code="timestamp-refused",
                hint=Message("check stage.sign.timestamp: the address, the user and the password"),
                after="10 min",
            ) from error
        except ServerDown as error:
            if stamp.when_down == "postpone":
                raise Postpone(
                    Message("the time stamp server is down: {error}", error=error),
                    code="timestamp-server-down",
                    hint=Message('the document waits for it; when_down = "sign-without" would not'),
                    after="5 min",
                ) from error
            self.pending = str(error)
            self._append(None)
        finally:
            self.waited["tsa"] = round(timestamper.waited, 3)

    def _append(self, timestamper: HttpTimeStamper | None) -> None:
        # A fresh copy each time: a failed attempt leaves an empty signature behind.
        shutil.copyfile(self.document.main.path, self.output.path)
        try:
            append_signature(self.output.path, self.signature, self.credential.signer, timestamper)
        except DoesNotFit as error:
            raise Postpone(
                Message(
                    "the signature does not fit into the room kept for it: {error}", error=error
                ),
                code="reserve-too-small",
                hint=Message("raise stage.sign.reserve"),
                after="30 min",
            ) from error

    def _timestamper(self, stamp: TimestampOptions) -> HttpTimeStamper:
        try:
            return HttpTimeStamper(stamp, lambda: self.context.remaining() - _AFTERWARDS)
        except (OSError, UnicodeDecodeError) as error:
            raise Postpone(
                Message(
                    "the time stamp server's user or password cannot be read: {error}", error=error
                ),
                code="key-unavailable",
                hint=Message("check stage.sign.timestamp.user and stage.sign.timestamp.password"),
                after="10 min",
            ) from error

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

    def _judged(self) -> Verdict:
        stamp = self.options.timestamp
        try:
            roots = read_roots(self.options.trusted_roots)
            stamp_roots = read_roots(stamp.trusted_roots if stamp else ())
        except (OSError, ValueError) as error:
            raise Postpone(
                Message("a trusted root cannot be used: {error}", error=error),
                code="untrusted",
                hint=Message(
                    "check stage.sign.trusted_roots and stage.sign.timestamp.trusted_roots"
                ),
                after="30 min",
            ) from error
        try:
            verdict = judge(
                self.output.path,
                self.signature.field,
                own_roots=self.credential.roots,
                roots=roots,
                timestamp_roots=stamp_roots,
            )
        except PdfError as error:
            # Odd tokens in the document that the library reads but does not write as they were.
            raise Unsignable(f"what was written cannot be read back: {error}") from error
        self._insist(verdict)
        return verdict

    def _insist(self, verdict: Verdict) -> None:
        """Let nothing pass that is not what was asked for."""
        if verdict.integrity != YES:
            raise RuntimeError(f"the signature just made does not verify: {verdict.integrity}")
        stamped = verdict.timestamp
        if self.options.timestamp and not self.pending and stamped is None:
            raise RuntimeError("the signature just made lacks the time stamp it was given")
        if stamped and stamped.integrity != YES:
            raise Postpone(
                Message(
                    "the time stamp server's token does not verify: {integrity}",
                    integrity=stamped.integrity,
                ),
                code="timestamp-refused",
                hint=Message("ask whoever runs the time stamp server"),
                after="10 min",
            )
        doubts = {"our certificate": verdict.trust}
        if stamped:
            doubts["the time stamp"] = stamped.trust
        for what, trust in doubts.items():
            if trust.startswith("no ("):
                raise Postpone(
                    Message(
                        "{what} does not lead to a root you trust: {trust}", what=what, trust=trust
                    ),
                    code="untrusted",
                    hint=Message(
                        "check trusted_roots, and that the PKCS#12 file holds the whole chain"
                    ),
                    after="30 min",
                )
