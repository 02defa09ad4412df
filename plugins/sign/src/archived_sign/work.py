"""One run of the stage, top to bottom: may it be signed, with what, sign, judge, report."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from pyhanko.pdf_utils.misc import PdfError

from archived.api import Context, Document, Postpone, Refuse, Result, Role
from archived_sign.existing import look
from archived_sign.keys import Credential, Pkcs12File, common_name, flaws, now_utc, unusable
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
from archived_sign.timestamps import HttpTimeStamper, ServerDown, ServerRefused
from archived_sign.verdict import YES, TimestampVerdict, Verdict, judge, read_roots

FILE_NAME = "document.pdf"
CLOCK_TOLERANCE = 300.0
"""Seconds between our clock and the time stamp server's before a note says so."""

_AFTERWARDS = 15.0
_REVOCATION = "not established (nobody was asked when it was signed)"


def sign_document(document: Document, context: Context[SignOptions]) -> Result:
    """Sign the main PDF. Raises `Refuse` and `Postpone` with the codes of the README."""
    main = document.main
    existing = look(main.path)
    if main.role == Role.ORIGINAL and (existing.signed or existing.broken):
        return _left_alone(existing.signed, existing.broken)
    if existing.broken:
        raise _unsignable(existing.broken)
    if existing.signed:
        raise Refuse(
            f"the copy to be signed is not untouched: {existing.signed}",
            code="already-signed",
            hint="look at what the stages before this one made; only an unsigned copy is signed",
        )
    credential = _credential(context.options)
    try:
        return _Signing(document, context, credential).result()
    except Unsignable as error:
        if main.role == Role.ORIGINAL:
            return _left_alone("", str(error))
        raise _unsignable(str(error)) from error


def _left_alone(signed: str, broken: str) -> Result:
    if signed:
        reason = "original-signed"
        note = f"not signed: {signed}; a signed original is never rewritten"
    else:
        reason = "original-unsignable"
        note = f"not signed: nothing can be appended to this original: {broken}"
    facts = {"level": "none", "pending": None, "reason": reason, "pades": False}
    return Result(facts=facts, tools=_tools(), notes=[note])


def _unsignable(why: str) -> Refuse:
    return Refuse(
        f"the access copy cannot be signed: {why}",
        code="unsignable",
        hint="make the copy again with the ocr stage, or release the document to a pipeline "
        "without signing",
    )


def _credential(options: SignOptions) -> Credential:
    credential = Pkcs12File(options.key, options.passphrase).open()
    for flaw in flaws(credential, now_utc()):
        if flaw.code:
            raise unusable(flaw)
    return credential


def _tools() -> dict[str, str]:
    return {name: version(name) for name in ("pyhanko", "cryptography")}


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

    def result(self) -> Result:
        self._sign()
        self.context.progress(0.8)
        verdict = self._judged()
        return Result(
            replace_main=self.output,
            facts=self._facts(verdict),
            tools=_tools(),
            notes=self._notes(verdict),
        )

    def _sign(self) -> None:
        stamp = self.options.timestamp
        if stamp is None:
            self._append(None)
            return
        try:
            self._append(self._timestamper(stamp))
        except ServerRefused as error:
            raise Postpone(
                f"the time stamp server gives no time stamp: {error}",
                code="timestamp-refused",
                hint="check stage.sign.timestamp: the address, the user and the password",
                after="10 min",
            ) from error
        except ServerDown as error:
            if stamp.when_down == "postpone":
                raise Postpone(
                    f"the time stamp server is down: {error}",
                    code="timestamp-server-down",
                    hint='the document waits for it; when_down = "sign-without" would not',
                    after="5 min",
                ) from error
            self.pending = str(error)
            self._append(None)

    def _append(self, timestamper: HttpTimeStamper | None) -> None:
        # A fresh copy each time: a failed attempt leaves an empty signature behind.
        shutil.copyfile(self.document.main.path, self.output.path)
        try:
            append_signature(self.output.path, self.signature, self.credential.signer, timestamper)
        except DoesNotFit as error:
            raise Postpone(
                f"the signature does not fit into the room kept for it: {error}",
                code="reserve-too-small",
                hint="raise stage.sign.reserve",
                after="30 min",
            ) from error

    def _timestamper(self, stamp: TimestampOptions) -> HttpTimeStamper:
        try:
            return HttpTimeStamper(stamp, lambda: self.context.remaining() - _AFTERWARDS)
        except (OSError, UnicodeDecodeError) as error:
            raise Postpone(
                f"the time stamp server's user or password cannot be read: {error}",
                code="key-unavailable",
                hint="check stage.sign.timestamp.user and stage.sign.timestamp.password",
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
                f"the visible signature has no font: {error}",
                code="no-font",
                hint="install fonts-croscore or fonts-liberation2, or set stage.sign.font",
                after="30 min",
            ) from error
        page = first_page(self.document.main.path)
        block = appearance.place(page, appearance.text_width(font, lines))
        drawing = self.context.folder / "block.pdf"
        appearance.draw(drawing, font, lines, block, page.rotate)
        self.appearance = {
            "page": 1, "box": list(block.box), "size": round(block.size, 2), "font": font.name,
        }  # fmt: skip
        return Visible(drawing, block.box)

    def _judged(self) -> Verdict:
        stamp = self.options.timestamp
        try:
            roots = read_roots(self.options.trusted_roots)
            stamp_roots = read_roots(stamp.trusted_roots if stamp else ())
        except (OSError, ValueError) as error:
            raise Postpone(
                f"a trusted root cannot be used: {error}",
                code="untrusted",
                hint="check stage.sign.trusted_roots and stage.sign.timestamp.trusted_roots",
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
                f"the time stamp server's token does not verify: {stamped.integrity}",
                code="timestamp-refused",
                hint="ask whoever runs the time stamp server",
                after="10 min",
            )
        doubts = {"our certificate": verdict.trust}
        if stamped:
            doubts["the time stamp"] = stamped.trust
        for what, trust in doubts.items():
            if trust.startswith("no ("):
                raise Postpone(
                    f"{what} does not lead to a root you trust: {trust}",
                    code="untrusted",
                    hint="check trusted_roots, and that the PKCS#12 file holds the whole chain",
                    after="30 min",
                )

    def _facts(self, verdict: Verdict) -> Mapping[str, Any]:
        certificate = self.credential.certificate
        stamped = verdict.timestamp
        return {
            "level": "B-T" if stamped else "B-B",
            "pending": "B-T" if self.pending else None,
            "pades": True,
            "signer": self.credential.name,
            "issuer": common_name(certificate.issuer),
            "serial": f"{certificate.serial_number:x}",
            "not_after": certificate.not_valid_after_utc.isoformat(),
            "throwaway": self.credential.throwaway,
            "algorithm": self._algorithm(),
            "signed_at": self.signature.moment.isoformat(),
            "field": self.signature.field,
            "appearance": self.appearance,
            "timestamp": self._stamp_facts(stamped) if stamped else None,
            "verdict": {
                "integrity": verdict.integrity,
                "trust": verdict.trust,
                "revocation": _REVOCATION,
            },
        }

    def _algorithm(self) -> str:
        mechanism = self.credential.signer.get_signature_mechanism_for_digest("sha256")
        return str(mechanism["algorithm"].native)

    def _stamp_facts(self, stamped: TimestampVerdict) -> dict[str, Any]:
        server = urlsplit(self.options.timestamp.url if self.options.timestamp else "")
        authority = x509.load_der_x509_certificate(stamped.certificate.dump())
        return {
            "at": stamped.at.isoformat(),
            "server": server._replace(query="", fragment="").geturl(),
            "authority": common_name(authority.subject),
            "not_after": authority.not_valid_after_utc.isoformat(),
            "policy": stamped.policy,
            "serial": f"{stamped.serial:x}",
            "ahead_of_us": round(self._ahead(stamped), 1),
            "integrity": stamped.integrity,
            "trust": stamped.trust,
        }

    def _ahead(self, stamped: TimestampVerdict) -> float:
        return (stamped.at - self.signature.moment).total_seconds()

    def _notes(self, verdict: Verdict) -> list[str]:
        notes = []
        if self.pending:
            notes.append(
                f"signed B-B without a time stamp, B-T is pending: the server is down "
                f"({self.pending})"
            )
        if self.document.facts.get("ocr", {}).get("reading_copy"):
            notes.append(
                "the signature attests the archive's own reading copy and nothing about the "
                "signatures or restrictions of the original, which is kept beside it"
            )
        if self.document.main.role == Role.ORIGINAL:
            notes.append("signed a copy of the original; the original stays as received")
        if verdict.timestamp and abs(self._ahead(verdict.timestamp)) > CLOCK_TOLERANCE:
            seconds = self._ahead(verdict.timestamp)
            notes.append(f"this machine's clock differs from the time stamp by {seconds:.0f} s")
        if self.credential.throwaway:
            notes.append("signed with a throw-away demonstration key, which proves nothing")
        return notes
