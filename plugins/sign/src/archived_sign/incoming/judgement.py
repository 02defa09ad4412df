"""The verdict on one signature of a received PDF, in three values, and why.

Integrity says whether the signed bytes are those in the file; trust, whether the certificate leads
to a configured root at a proven time, or now. A verdict is `valid` only when both are yes and what
was added later is allowed; `invalid` only for bytes that do not fit their signature, or a
certificate that was revoked before the time that a time stamp proves. All else, and whatever the
parser stumbles over, is `not established`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1_x509
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.general import find_cms_attribute_iter
from pyhanko.sign.validation.pdf_embedded import (
    EmbeddedPdfSignature,
    async_validate_pdf_signature,
    async_validate_pdf_timestamp,
)
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.status import SignatureCoverageLevel
from pyhanko_certvalidator import ValidationContext

from archived.api import Message
from archived_sign.revocation import Material

VALID, INVALID, OPEN = "valid", "invalid", "not established"
WEAK = frozenset({"md2", "md5", "sha1"})
"""Digests that no longer bind: recorded, and no reason to reject what was signed with them."""
AMBIGUOUS, UNREADABLE = "ambiguous-file", "unreadable"
_COVERAGE = {
    SignatureCoverageLevel.ENTIRE_FILE: "file",
    SignatureCoverageLevel.ENTIRE_REVISION: "revision",
    SignatureCoverageLevel.CONTIGUOUS_BLOCK_FROM_START: "beginning",
    SignatureCoverageLevel.UNCLEAR: "unclear",
}
_CHANGES = {
    ModificationLevel.NONE: "none",
    ModificationLevel.LTA_UPDATES: "validation data",
    ModificationLevel.FORM_FILLING: "forms",
    ModificationLevel.ANNOTATIONS: "annotations",
    ModificationLevel.OTHER: "other",
}
_LIMIT = 300
"""Characters of a name or reason out of a received file."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """Roots of signers and of time stamps, and imported CRLs."""

    roots: Sequence[asn1_x509.Certificate] = ()
    timestamp_roots: Sequence[asn1_x509.Certificate] = ()
    crls: Sequence[asn1_crl.CertificateList] = ()


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """One signature, document time stamp or empty signature field. Times are ISO 8601, UTC."""

    field: str
    kind: str
    """"signature", "timestamp" or "empty field"."""
    verdict: str = OPEN
    code: str = ""
    why: str = ""
    integrity: str = OPEN
    trust: str = OPEN
    revocation: str = OPEN
    signer: str = ""
    subject: str = ""
    issuer: str = ""
    serial: str = ""
    not_after: str | None = None
    claimed_at: str | None = None
    """When it was signed, by the signer's own word."""
    attested_at: str | None = None
    """By when it existed, by a time stamp that leads to a trusted root."""
    digest: str = ""
    weak: bool = False
    algorithm: str = ""
    format: str = ""
    coverage: str = "unclear"
    changes: str = "unknown"

    def facts(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)


def judge(
    embedded: EmbeddedPdfSignature,
    trusted: Trusted,
    stored: Material,
    *,
    differences: bool = True,
    ambiguous: bool = False,
) -> SignatureVerdict:
    """Judge one signature as it stands now. Never raises for what is in the file.

    `stored`: what the document security store holds. `differences`: whether what was added to the
    file later is analysed. `ambiguous`: the file has two cross-reference tables that may differ.
    """
    # It logs each path that it does not find, with a traceback: the verdict says it.
    logging.getLogger("pyhanko").setLevel(logging.CRITICAL)
    is_stamp = embedded.sig_object_type == "/DocTimeStamp"
    known = SignatureVerdict(_cut(embedded.field_name), "timestamp" if is_stamp else "signature")
    try:
        known = _described(known, embedded)
        status, said_good = asyncio.run(_status(embedded, trusted, stored, differences=differences))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - on odd bytes the library raises whatever it meets
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return replace(known, code=UNREADABLE, why=_cut(why))
    judged = _judged(known, status, trusted, said_good=said_good, is_stamp=is_stamp)
    if ambiguous and judged.verdict == VALID:
        why = Message(
            "the file has two cross-reference tables, and programs may show different pages"
        )
        return replace(judged, verdict=OPEN, code=AMBIGUOUS, why=why)
    return judged


async def _status(
    embedded: EmbeddedPdfSignature, trusted: Trusted, stored: Material, *, differences: bool
) -> tuple[Any, bool]:
    """The library's status, and whether something says of each certificate that it was good."""
    now = datetime.now(UTC)
    stamp_roots = trusted.timestamp_roots or trusted.roots
    if embedded.sig_object_type == "/DocTimeStamp":

        async def stamp(mode: str) -> Any:
            context = _context(stamp_roots, trusted, stored, now, mode)
            return await async_validate_pdf_timestamp(embedded, context, skip_diff=not differences)

        status = await stamp("soft-fail")
        return status, status.trusted and (await stamp("require")).trusted

    async def at(moment: datetime, mode: str = "soft-fail") -> Any:
        return await async_validate_pdf_signature(
            embedded,
            _context(trusted.roots, trusted, stored, moment, mode),
            ts_validation_context=_context(stamp_roots, trusted, stored, now),
            # Where the usage extension is absent every usage is allowed (RFC 5280, 4.2.1.3).
            key_usage_settings=KeyUsageConstraints(key_usage=set()),
            skip_diff=not differences,
        )

    status = await at(now)
    attested = _attested(status)
    # A certificate that ended since was good when the time stamp was made, or was not.
    moment = attested if attested and not status.trusted else now
    status = status if moment is now else await at(moment)
    return status, status.trusted and (await at(moment, "require")).trusted


def _context(
    roots: Sequence[asn1_x509.Certificate],
    trusted: Trusted,
    stored: Material,
    moment: datetime,
    mode: str = "soft-fail",
) -> ValidationContext:
    return ValidationContext(
        trust_roots=list(roots),
        other_certs=list(stored.certificates),
        crls=[*trusted.crls, *stored.crls],
        ocsps=list(stored.ocsps),
        allow_fetching=False,
        moment=moment,
        revocation_mode=mode,
    )


def _described(known: SignatureVerdict, embedded: EmbeddedPdfSignature) -> SignatureVerdict:
    """What it says of itself."""
    signer, info = embedded.signer_cert, embedded.signer_info
    name = signer.subject.native.get("common_name")
    claimed = embedded.self_reported_timestamp
    for attribute in find_cms_attribute_iter(info["signed_attrs"], "signing_time"):
        claimed = attribute.native
    digest = str(info["digest_algorithm"]["algorithm"].native)
    return replace(
        known,
        signer=_cut(name if isinstance(name, str) else signer.subject.human_friendly),
        subject=_cut(signer.subject.human_friendly),
        issuer=_cut(signer.issuer.human_friendly),
        serial=f"{signer.serial_number:x}"[:_LIMIT],
        not_after=_moment(signer.not_valid_after),
        claimed_at=_moment(claimed),
        digest=digest[:_LIMIT],
        weak=digest in WEAK,
        algorithm=str(info["signature_algorithm"]["algorithm"].native)[:_LIMIT],
        format=_cut(str(embedded.sig_object.get("/SubFilter", "")).lstrip("/")),
    )


def _judged(
    known: SignatureVerdict, status: Any, trusted: Trusted, *, said_good: bool, is_stamp: bool
) -> SignatureVerdict:
    sound = status.intact and status.valid
    attested = status.timestamp if is_stamp and status.trusted else _attested(status)
    known = replace(
        known,
        integrity=VALID if sound else INVALID,
        trust="yes" if status.trusted else OPEN,
        revocation=_revocation(status, said_good=said_good),
        coverage=_COVERAGE.get(status.coverage, "unclear"),
        changes=_CHANGES.get(status.modification_level, "unknown"),
        attested_at=_moment(attested),
        claimed_at=_moment(status.timestamp) if is_stamp else known.claimed_at,
    )
    code, why = next(_objections(known, status, trusted), ("", ""))
    invalid = code in {"digest-mismatch", "signature-value-wrong", "certificate-revoked"}
    verdict = INVALID if invalid else OPEN if code else VALID
    trust = "no" if code == "certificate-revoked" else known.trust
    return replace(known, verdict=verdict, code=code, why=why, trust=trust)


def _objections(
    known: SignatureVerdict, status: Any, trusted: Trusted
) -> Iterator[tuple[str, str]]:
    """Why it is not valid, the gravest first."""
    if not status.intact:
        yield "digest-mismatch", Message("the bytes that were signed are not those in the file")
    if not status.valid:
        yield "signature-value-wrong", Message("the signature was not made with this certificate")
    if known.revocation == "revoked" and known.attested_at is not None:
        yield "certificate-revoked", Message("the certificate was revoked before it was signed")
    if known.revocation == "revoked":
        # EN 319 102-1: INDETERMINATE/REVOKED_NO_POE. It may have been signed before.
        yield (
            "revoked-since",
            Message(
                "the certificate was revoked, and no time stamp proves that it was signed before"
            ),
        )
    if known.coverage not in {"file", "revision"}:
        yield "covers-a-part", Message("it covers a part of the file only")
    if known.changes == "other" or getattr(status, "docmdp_ok", None) is False:
        yield "changed-later", Message("the file was changed after it was signed")
    if known.changes == "unknown":
        yield "changes-unknown", Message("what was added to the file later could not be judged")
    if not (trusted.roots or trusted.timestamp_roots):
        yield "no-root", Message("no trusted root is configured")
    if not status.trusted:
        yield _distrust(known, status)


def _distrust(known: SignatureVerdict, status: Any) -> tuple[str, str]:
    if known.weak:
        return "weak-digest", Message("its digest algorithm no longer binds")
    ended = known.not_after is not None and known.not_after < datetime.now(UTC).isoformat()
    if ended and known.attested_at is None:
        return "certificate-ended", Message(
            "its certificate has ended, and no time stamp proves that it was made before"
        )
    indication = status.trust_problem_indic
    name = getattr(indication, "standard_name", None) or "no path to a root"
    return "untrusted", Message("its certificate does not lead to a trusted root ({why})", why=name)


def _revocation(status: Any, *, said_good: bool) -> str:
    if status.revocation_details is not None:
        return "revoked"
    return "good" if said_good else OPEN


def _attested(status: Any) -> datetime | None:
    stamps = (
        getattr(status, "timestamp_validity", None),
        getattr(status, "content_timestamp_validity", None),
    )
    for stamp in stamps:
        if stamp is not None and stamp.intact and stamp.valid and stamp.trusted:
            at: datetime = stamp.timestamp
            return at
    return None


def _moment(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat()


def _cut(text: str) -> str:
    """Received text: printable, and not without end."""
    return "".join(each if each.isprintable() else "?" for each in text)[:_LIMIT]
