"""What the record says about a signature, or about why there is none. Pure: it only words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from archived.api import Document, Message, Result, Role
from archived_sign.keys import Credential
from archived_sign.pades import ALGORITHM, Signature
from archived_sign.pkcs12_keys import common_name
from archived_sign.verdict import TimestampVerdict, Verdict

CLOCK_TOLERANCE = 300.0
"""Seconds between our clock and the time stamp server's before a note says so."""

_REVOCATION = "not established (nobody was asked when it was signed)"


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
class Report:
    """One signature in words. `pending` says why a time stamp is missing, or is empty; `waited`
    has the seconds spent on the time stamp server."""

    credential: Credential
    signature: Signature
    verdict: Verdict
    pending: str
    appearance: Mapping[str, Any] | None
    server: str
    waited: Mapping[str, float]

    def facts(self) -> Mapping[str, Any]:
        """The stage's facts, as its README lists them."""
        certificate = self.credential.certificate
        stamped = self.verdict.timestamp
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
            "waited": dict(self.waited),
            "verdict": {
                "integrity": self.verdict.integrity,
                "trust": self.verdict.trust,
                "revocation": _REVOCATION,
            },
        }

    def _algorithm(self) -> str:
        mechanism = self.credential.signer.get_signature_mechanism_for_digest(ALGORITHM)
        return str(mechanism["algorithm"].native)

    def _stamp_facts(self, stamped: TimestampVerdict) -> dict[str, Any]:
        server = urlsplit(self.server)
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

    def notes(self, document: Document) -> list[str]:
        """What a person should know beside the facts."""
        notes: list[str] = []
        if self.pending:
            notes.append(
                Message(
                    "signed B-B without a time stamp, B-T is pending: the server is down "
                    "({pending})",
                    pending=self.pending,
                )
            )
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
        if self.verdict.timestamp and abs(self._ahead(self.verdict.timestamp)) > CLOCK_TOLERANCE:
            seconds = self._ahead(self.verdict.timestamp)
            notes.append(
                Message(
                    "this machine's clock differs from the time stamp by {seconds:.0f} s",
                    seconds=seconds,
                )
            )
        if self.credential.throwaway:
            notes.append(
                Message("signed with a throw-away demonstration key, which proves nothing")
            )
        return notes
