"""Time-stamp tokens (RFC 3161): what one says, and whether that can be believed at a time.

Signature and path are checked by pyHanko, imported when the first token is judged. Nothing is
fetched: certificates and revocation data come from the token and from the caller.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asn1crypto import cms, crl, ocsp, x509

from archived.evidence.evidence_record import token_info
from archived.message import Message


@dataclass(frozen=True, slots=True)
class Trust:
    """What a token may lead to. `crls`: imported revocation lists."""

    anchors: Sequence[x509.Certificate] = ()
    crls: Sequence[crl.CertificateList] = ()
    others: Sequence[x509.Certificate] = field(default=())
    """Intermediate certificates that a token may lack."""


@dataclass(frozen=True, slots=True)
class TokenVerdict:
    """What a token says, and of each check "yes", "no" or "not established" with a reason."""

    at: datetime
    authority: str
    """The name in the certificate that signed, for people."""
    not_after: datetime
    serial: int
    intact: bool
    """Digest and signature value are right."""
    trusted: bool
    """The certificate led to an anchor at the moment asked for."""
    why: str
    """Why it is not intact, or not trusted; else `""`."""
    revocation: str
    """"good", "revoked" or "not established"."""


def judge_token(
    token: cms.ContentInfo, imprint: bytes, trust: Trust, moment: datetime
) -> TokenVerdict:
    """Judge a token over `imprint` as it stands at `moment` (aware).

    Raises `ValueError` for a token that cannot be read or names no signer.
    """
    # It logs each path that it does not find, with a traceback: the verdict says it.
    logging.getLogger("pyhanko.sign.validation.generic_cms").setLevel(logging.CRITICAL)
    from pyhanko.sign.general import extract_certificate_info
    from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
    from pyhanko.sign.validation.status import TimestampSignatureStatus

    info = token_info(token)
    signed = token["content"]
    try:
        signer = extract_certificate_info(signed).signer_cert
        context = _context(signed, trust, moment)
        said = asyncio.run(validate_tst_signed_data(signed, context, lambda _: imprint))
        status = TimestampSignatureStatus(**said)
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    intact, why = _intact(status)
    trusted = bool(status.trusted)
    if intact and not trusted:
        why = _distrust(status, signer, moment, bool(trust.anchors))
    return TokenVerdict(
        at=info["gen_time"].native,
        authority=_name(signer),
        not_after=signer.not_valid_after,
        serial=info["serial_number"].native,
        intact=intact,
        trusted=trusted,
        why=why,
        revocation=_revocation(status, context),
    )


def _name(certificate: x509.Certificate) -> str:
    """The common name, or all of the subject where there is none."""
    name = certificate.subject.native.get("common_name")
    return name if isinstance(name, str) else str(certificate.subject.human_friendly)


def _context(signed: cms.SignedData, trust: Trust, moment: datetime) -> Any:
    from pyhanko_certvalidator import ValidationContext

    crls, responses = _revocation_data(signed)
    return ValidationContext(
        trust_roots=list(trust.anchors),
        other_certs=list(trust.others),
        crls=[*trust.crls, *crls],
        ocsps=responses,
        moment=moment,
        allow_fetching=False,
        revocation_mode="soft-fail",
    )


def _revocation_data(signed: cms.SignedData) -> tuple[list[Any], list[Any]]:
    """The lists and responses inside a token (RFC 5652, 10.2.1; RFC 5940)."""
    crls: list[Any] = []
    responses: list[Any] = []
    for choice in signed["crls"] or ():
        if choice.name == "certificate_list":
            crls.append(choice.chosen)
            continue
        try:
            kind, value = choice.chosen["other_rev_info_format"], choice.chosen["other_rev_info"]
            if kind.native == "ocsp_response":
                responses.append(ocsp.OCSPResponse.load(value.dump()))
        except (ValueError, TypeError, KeyError):
            continue  # revocation data that cannot be read proves nothing, either way
    return crls, responses


def _intact(status: Any) -> tuple[bool, str]:
    if not status.intact:
        return False, Message("it stamps another digest")
    if not status.valid:
        return False, Message("its signature value is wrong")
    return True, ""


def _distrust(status: Any, signer: x509.Certificate, moment: datetime, anchors: bool) -> str:
    if not anchors:
        return Message("no trusted root was given")
    if moment > signer.not_valid_after:
        return Message(
            "its certificate ended on {day} and it was not renewed before",
            day=f"{signer.not_valid_after:%Y-%m-%d}",
        )
    indication = status.trust_problem_indic
    name = getattr(indication, "standard_name", None) or "no path to a root"
    return Message("its certificate does not lead to a trusted root ({why})", why=name)


def _revocation(status: Any, context: Any) -> str:
    if status.revocation_details is not None:
        return "revoked"
    # Without lists and responses the path was accepted unasked.
    return (
        "good"
        if context.revinfo_manager.crls or context.revinfo_manager.ocsps
        else "not established"
    )
