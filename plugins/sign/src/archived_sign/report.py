"""What the record says about a signature, or about why there is none. Pure: it only words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from archived.api import Artifact, Context, Document, Message, Result, Role
from archived_sign.keys import Credential
from archived_sign.levels import Progress, below
from archived_sign.pades import ALGORITHM, Signature
from archived_sign.pkcs12_keys import common_name
from archived_sign.verdict import YES, TimestampVerdict, Verdict

CLOCK_TOLERANCE = 300.0
"""Seconds between our clock and the time stamp server's before a note says so."""

REPORT_NAME = "signature-validation.xml"


def tools() -> dict[str, str]:
    """What did the work, with versions."""
    return {name: version(name) for name in ("pyhanko", "cryptography")}


def left_alone(signed: str = "", broken: str = "", originals: int = 1) -> Result:
    """The result for an original that stays unsigned: it is signed, cannot be, or is not alone."""
    if originals > 1:
        reason = "several-originals"
        note = Message(
            "not signed: the document has {originals} originals, and no copy holds all of them",
            originals=originals,
        )
    elif signed:
        reason = "original-signed"
        note = Message("not signed: {signed}; a signed original is never rewritten", signed=signed)
    else:
        reason = "original-unsignable"
        note = Message(
            "not signed: nothing can be appended to this original: {broken}", broken=broken
        )
    facts = {"level": "none", "pending": None, "reason": reason, "pades": False}
    return Result(facts=facts, tools=tools(), notes=[note])


@dataclass(frozen=True)
class Outcome:
    """How far a document has come, to be put into words. `wanted`: the configured level."""

    verdict: Verdict
    progress: Progress
    wanted: str
    waited: Mapping[str, float]

    @property
    def missing(self) -> bool:
        """Whether the wanted level is not reached."""
        return below(self.progress.level, self.wanted)

    def facts(self) -> dict[str, Any]:
        """The facts that an upgrade changes."""
        verdict, stamps = self.verdict, self.verdict.document_timestamps
        return {
            "level": self.progress.level,
            "pending": self.wanted if self.missing else None,
            "proof_until": self._proof_until(),
            "maintainable_until": self._maintainable_until(),
            "document_timestamps": [self._stamp_facts(each) for each in stamps],
            "waited": dict(self.waited),
            "verdict": {
                "integrity": verdict.integrity,
                "trust": verdict.trust,
                "revocation": verdict.revocation,
                "indication": verdict.indication,
                "maintainable": verdict.maintainable,
            },
        }

    def stamp_facts(self, stamped: TimestampVerdict, signed_at: datetime) -> dict[str, Any]:
        """The facts of the time stamp in the signature."""
        server = urlsplit(self.progress.server)._replace(query="", fragment="").geturl()
        ahead = round((stamped.at - signed_at).total_seconds(), 1)
        return {**self._stamp_facts(stamped), "server": server, "ahead_of_us": ahead}

    def note(self) -> str:
        """What a person should know about a level that is not reached."""
        if not self.missing:
            return ""
        return Message(
            "signed {level}; {wanted} is pending: {pending}",
            level=self.progress.level,
            wanted=self.wanted,
            pending=self.progress.away,
        )

    def _proof_until(self) -> str | None:
        if self.progress.level != "B-LTA" or self.progress.until is None:
            return None
        return self.progress.until.isoformat()

    def _maintainable_until(self) -> str | None:
        tried = self.verdict.tried_until
        return tried.isoformat() if tried and self.verdict.maintainable == YES else None

    def _stamp_facts(self, stamped: TimestampVerdict) -> dict[str, Any]:
        authority = x509.load_der_x509_certificate(stamped.certificate.dump())
        return {
            "at": stamped.at.isoformat(),
            "authority": common_name(authority.subject),
            "not_after": authority.not_valid_after_utc.isoformat(),
            "policy": stamped.policy,
            "serial": f"{stamped.serial:x}",
            "integrity": stamped.integrity,
            "trust": stamped.trust,
        }


@dataclass(frozen=True)
class Report:
    """One signature in words."""

    credential: Credential
    signature: Signature
    appearance: Mapping[str, Any] | None
    outcome: Outcome

    def facts(self) -> Mapping[str, Any]:
        """The stage's facts, as its README lists them."""
        certificate = self.credential.certificate
        stamped = self._stamped
        moment = self.signature.moment
        return {
            **self.outcome.facts(),
            "pades": True,
            "signer": self.credential.name,
            "issuer": common_name(certificate.issuer),
            "serial": f"{certificate.serial_number:x}",
            "not_after": certificate.not_valid_after_utc.isoformat(),
            "throwaway": self.credential.throwaway,
            "algorithm": self._algorithm(),
            "signed_at": moment.isoformat(),
            "field": self.signature.field,
            "appearance": self.appearance,
            "timestamp": self.outcome.stamp_facts(stamped, moment) if stamped else None,
        }

    @property
    def _stamped(self) -> TimestampVerdict | None:
        return self.outcome.verdict.timestamp

    def _algorithm(self) -> str:
        mechanism = self.credential.signer.get_signature_mechanism_for_digest(ALGORITHM)
        return str(mechanism["algorithm"].native)

    def notes(self, document: Document) -> list[str]:
        """What a person should know beside the facts."""
        notes: list[str] = [note] if (note := self.outcome.note()) else []
        if document.facts.get("ocr", {}).get("reading_copy"):
            notes.append(
                Message(
                    "the signature attests the archive's own reading copy and nothing "
                    "about the signatures or restrictions of the original, which is kept "
                    "beside it"
                )
            )
        if document.main.role == Role.ORIGINAL:
            notes.append(Message("signed a copy of the original; the original stays as received"))
        ahead = (self._stamped.at - self.signature.moment).total_seconds() if self._stamped else 0
        if abs(ahead) > CLOCK_TOLERANCE:
            notes.append(
                Message(
                    "this machine's clock differs from the time stamp by {seconds:.0f} s",
                    seconds=ahead,
                )
            )
        if self.credential.throwaway:
            notes.append(
                Message("signed with a throw-away demonstration key, which proves nothing")
            )
        return notes


def validation_report(context: Context[Any], verdict: Verdict) -> list[Artifact]:
    """The ETSI TS 119 102-2 report as an artifact, where there is one."""
    if not verdict.report:
        return []
    file = context.new_file(REPORT_NAME, media_type="application/xml", role=Role.METADATA)
    file.path.write_text(verdict.report, encoding="utf-8")
    return [file]
