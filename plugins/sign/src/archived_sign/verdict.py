"""Judging a signature that was just made, from the bytes on disk.

Three-valued: "yes", "no (why)", "not established (why)". What was not looked at is never "yes".
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.validation.generic_cms import extract_tst_data_iter
from pyhanko.sign.validation.pdf_embedded import (
    EmbeddedPdfSignature,
    async_validate_pdf_signature,
)
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.status import SignatureCoverageLevel, SignatureStatus
from pyhanko_certvalidator import ValidationContext

from archived_sign.keys import as_asn1

YES = "yes"


@dataclass(frozen=True)
class TimestampVerdict:
    """What the time stamp says, and whether that can be believed."""

    at: datetime
    integrity: str
    trust: str
    policy: str
    serial: int
    certificate: Any


@dataclass(frozen=True)
class Verdict:
    """`integrity`: digest, signature value, coverage of the whole file and no later change.
    `trust`: does the certificate lead to a root the administrator trusts."""

    integrity: str
    trust: str
    timestamp: TimestampVerdict | None


def read_roots(paths: Sequence[Path]) -> list[x509.Certificate]:
    """The certificates in PEM files. Raises `OSError`, `ValueError` naming the file."""
    roots: list[x509.Certificate] = []
    for path in paths:
        try:
            roots += x509.load_pem_x509_certificates(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} holds no PEM certificate: {error}") from error
    return roots


def judge(
    path: Path,
    field: str,
    *,
    own_roots: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate] = (),
    timestamp_roots: Sequence[x509.Certificate] = (),
) -> Verdict:
    """Read the file again and judge the signature in `field`. Needs no network.

    Without `roots` the chain is checked up to `own_roots`, which shows that it holds together
    but not that anybody trusts it.
    """
    with path.open("rb") as file:
        reader = PdfFileReader(file, strict=True)
        found = [s for s in reader.embedded_regular_signatures if s.field_name == field]
        if len(found) != 1:
            return Verdict(f"no ({len(found)} signatures in field {field})", _unknown(), None)
        embedded = found[0]
        status = asyncio.run(
            async_validate_pdf_signature(
                embedded,
                _context(roots or own_roots),
                ts_validation_context=_context(timestamp_roots),
                # The library wants the usage extension to be there; where it is absent every
                # usage is allowed (RFC 5280, 4.2.1.3). `keys.flaws` has looked at it already.
                key_usage_settings=KeyUsageConstraints(key_usage=set()),
            )
        )
        return Verdict(
            _integrity(status),
            _trust(status, bool(roots)),
            _timestamp(embedded, status, timestamp_roots),
        )


def _context(roots: Sequence[x509.Certificate]) -> ValidationContext:
    return ValidationContext(trust_roots=[as_asn1(c) for c in roots], allow_fetching=False)


def _integrity(status: Any) -> str:
    if not status.intact:
        return "no (the digest of the file is not the one that was signed)"
    if not status.valid:
        return "no (the signature value is wrong)"
    if status.coverage != SignatureCoverageLevel.ENTIRE_FILE:
        return "no (the signature does not cover the whole file)"
    if status.modification_level != ModificationLevel.NONE:
        return "no (the file was changed after it was signed)"
    return YES


def _trust(status: SignatureStatus, asked: bool) -> str:
    if status.trusted:
        return YES if asked else _unknown()
    indication = status.trust_problem_indic
    why = getattr(indication, "standard_name", None) or "no path to a root"
    if asked:
        return f"no ({why})"
    return f"not established (no trusted root is configured, and our own chain fails: {why})"


def _unknown() -> str:
    return "not established (no trusted root is configured)"


def _timestamp(
    embedded: EmbeddedPdfSignature, status: Any, roots: Sequence[x509.Certificate]
) -> TimestampVerdict | None:
    stamp = status.timestamp_validity
    if stamp is None:
        return None
    sound = stamp.intact and stamp.valid
    integrity = YES if sound else "no (the time stamp's own signature or digest is wrong)"
    trust = _trust(stamp, bool(roots)) if roots else _unknown()
    token = next(extract_tst_data_iter(embedded.signer_info, signed=False))
    info = token["encap_content_info"]["content"].parsed
    return TimestampVerdict(
        at=stamp.timestamp,
        integrity=integrity,
        trust=trust,
        policy=info["policy"].dotted,
        serial=info["serial_number"].native,
        certificate=stamp.signing_cert,
    )
