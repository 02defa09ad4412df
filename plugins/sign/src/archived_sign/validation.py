"""Judging a signature by ETSI EN 319 102-1, from the bytes on disk and without any network.

The only module that touches the library's AdES validation, which its authors call incubating.
Revocation information counts only from the moment it was issued (never `retroactive_revinfo`): a
certificate that was on hold and was released must not pass for one that was always good.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESPassed, AdESStatus
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.validation import ades
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.policy_decl import (
    CertificateFetchingRule,
    LocalKnowledge,
    PdfSignatureValidationSpec,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
)
from pyhanko.sign.validation.report.tools import generate_report
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.status import PdfSignatureStatus, SignatureCoverageLevel
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.ltv.types import ValidationTimingInfo
from pyhanko_certvalidator.policy_decl import NO_REVOCATION, REQUIRE_REVINFO, CertRevTrustPolicy
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.revinfo.archival import CRLContainer, OCSPContainer

from archived_sign.revocation import CLOCK_TOLERANCE, Material
from archived_sign.signed_file import (
    signature_in,
    stamps_after,
    stored,
    stored_at,
    time_of,
    tokens_in,
)
from archived_sign.token import signer_of, tst_info
from archived_sign.verdict import NO_ROOT, YES, TimestampVerdict, Verdict

HORIZON = timedelta(days=365 * 30)
"""How far ahead it is tried whether the signature can be maintained."""

# What it would warn of, with a traceback, is the verdict.
for _name in ("generic_cms", "ades"):
    logging.getLogger(f"pyhanko.sign.validation.{_name}").setLevel(logging.ERROR)

_NOT_ASKED = "not established (nobody was asked when it was signed)"
_MAIN = {
    AdESStatus.PASSED: "TOTAL-PASSED",
    AdESStatus.FAILED: "TOTAL-FAILED",
    AdESStatus.INDETERMINATE: "INDETERMINATE",
}


@dataclass(frozen=True)
class Anchors:
    """Whom to trust: roots of signatures, roots of time stamps.

    `own`: the top of our own chain. Where no `roots` are configured it shows that the chain holds
    together, and not that anybody trusts it.
    """

    roots: Sequence[asn1_x509.Certificate] = ()
    timestamp_roots: Sequence[asn1_x509.Certificate] = ()
    own: Sequence[asn1_x509.Certificate] = ()


def judge(
    path: Path,
    field: str,
    anchors: Anchors,
    *,
    long_term: bool = False,
    updated: bool = False,
    known: Material | None = None,
) -> Verdict:
    """Read the file again and judge the signature in `field`.

    `long_term`: the validation data in the file must prove it, revocation included. `updated`:
    document time stamps and validation data may follow the signature. `known`: what was learnt
    about time stamps and is not in the file yet. Raises `PdfError` when it cannot be read.
    """
    return asyncio.run(_judge(path, field, anchors, long_term, updated, known or Material()))


async def _judge(
    path: Path, field: str, anchors: Anchors, long_term: bool, updated: bool, known: Material
) -> Verdict:
    with path.open("rb") as file:
        reader = PdfFileReader(file, strict=True)
        signature = signature_in(reader, field)
        if signature is None:
            nothing = f"no (no signature is in field {field})"
            return Verdict(nothing, NO_ROOT, _NOT_ASKED, "INDETERMINATE/SIGNED_DATA_NOT_FOUND")
        case = _Case(reader, signature, anchors, long_term, known)
        result = await case.result(anchors.roots)
        integrity = _integrity(result.api_status, case.stamps, updated)
        # Without validation data the time stamp has a verdict of its own, and no part in this one.
        chain = result if long_term else await case.basic(anchors.roots or anchors.own)
        trust = _trust(chain, bool(anchors.roots))
        return Verdict(
            integrity=integrity,
            trust=trust,
            revocation=_revocation(result) if long_term else _NOT_ASKED,
            indication=_indication(result),
            timestamp=await case.signature_timestamp(),
            document_timestamps=tuple([await case.stamp(each) for each in case.stamps]),
            maintainable=await case.maintainable() if long_term else Verdict.maintainable,
            tried_until=case.now.validation_time + HORIZON if long_term else None,
            report=generate_report(signature, result) if result.api_status else "",
        )


class _Case:
    """One signature to judge, with everything the judgement takes."""

    def __init__(
        self,
        reader: PdfFileReader,
        signature: EmbeddedPdfSignature,
        anchors: Anchors,
        long_term: bool,
        known: Material,
    ) -> None:
        self.reader, self.signature, self.anchors = reader, signature, anchors
        self.long_term, self.known = long_term, known
        self.stamps = list(stamps_after(reader, signature))
        self.tokens = tokens_in(signature)
        signature.compute_integrity_info()  # type: ignore[no-untyped-call]  # the library's
        for each in self.stamps:
            each.compute_integrity_info()  # type: ignore[no-untyped-call]  # the library's
        times = [time_of(each.signed_data) for each in self.stamps]
        times += [time_of(token) for token in self.tokens]
        # A time stamp server whose clock is ahead of ours has not stamped in the future.
        moment = max([datetime.now(UTC), *times])
        self.now = ValidationTimingInfo(moment, moment, point_in_time_validation=False)

    def spec(
        self, roots: Sequence[asn1_x509.Certificate], material: Material | None = None
    ) -> SignatureValidationSpec:
        """Whom to trust and what is known: `material`, and what was handed in."""
        rule = REQUIRE_REVINFO if self.long_term else NO_REVOCATION
        known = (material or Material()) | self.known
        return SignatureValidationSpec(
            cert_validation_policy=_policy(roots, rule),
            ts_cert_validation_policy=_policy(self.anchors.timestamp_roots, rule),
            revinfo_gathering_policy=RevocationInfoGatheringSpec(
                RevinfoOnlineFetchingRule.LOCAL_ONLY,
                certificate_fetching_rule=CertificateFetchingRule.NEVER_FETCH,
            ),
            local_knowledge=LocalKnowledge(
                known_ocsps=[o for each in known.ocsps for o in OCSPContainer.load_multi(each)],
                known_crls=[CRLContainer(each) for each in known.crls],
                known_certs=list(known.certificates),
            ),
            # The library wants the usage extension to be there; where it is absent every
            # usage is allowed (RFC 5280, 4.2.1.3). `keys.flaws` has looked at it already.
            key_usage_settings=KeyUsageConstraints(key_usage=set()),
        )

    async def result(self, roots: Sequence[asn1_x509.Certificate]) -> Any:
        """The library's result, by the process of EN 319 102-1 that fits what the file holds."""
        if self.stamps and not self.tokens:
            return await self._by_document_timestamps(roots)
        if self.long_term and self.stamps:
            spec = PdfSignatureValidationSpec(self.spec(roots))
            result = await ades.ades_lta_validation(self.signature, spec, timing_info=self.now)
            if not self._may_have_missed_crls(result):
                return result
            again = await self._by_document_timestamps(roots)
            return again if again.ades_subindic == AdESPassed.OK else result
        if not self.tokens:
            return await self.basic(roots)
        return await ades.ades_with_time_validation(
            self.signature.signed_data,
            self.spec(roots, stored(self.reader)),
            timing_info=self.now,
            raw_digest=self.signature.compute_digest(),
            extra_status_kwargs=self.signature.summarise_integrity_info(),
            status_cls=PdfSignatureStatus,
        )

    async def basic(self, roots: Sequence[asn1_x509.Certificate]) -> Any:
        """The signature and its chain now, whatever time stamps there are (5.3)."""
        return await self._basic(self.spec(roots), self.now)

    def _may_have_missed_crls(self, result: Any) -> bool:
        """Whether the library's process for archival may have overlooked a CRL.

        For the past it looks for the CRLs of an authority below the root along a path that ends
        at that authority, and finds none (pyHanko 0.38). OCSP responses it finds.
        """
        undecided = result.ades_subindic.status == AdESStatus.INDETERMINATE
        return undecided and bool(stored(self.reader).crls)

    async def _by_document_timestamps(self, roots: Sequence[asn1_x509.Certificate]) -> Any:
        """What the document time stamps prove by themselves, without one in the signature.

        The library's process for archival wants a time stamp in the signature. Here each document
        time stamp is judged at the time that the next one proves, the last one now; the signature
        at the first proven time at which it holds. Of what the store holds only that counts which
        was in it when the proving time stamp was made: nothing from later can excuse a hold.
        """
        proven: list[tuple[datetime, Material]] = []
        for stamp, later in zip(self.stamps, [*self.stamps[1:], None], strict=True):
            at = _at(time_of(later.signed_data)) if later else self.now
            then = stored_at(self.reader, later) if later else stored(self.reader)
            judged = await self._stamp(stamp, self.spec(roots, then), at)
            if judged.ades_subindic != AdESPassed.OK or not judged.api_status.intact:
                proven.clear()  # what it proved, and all before it, is open again
                continue
            proven.append((time_of(stamp.signed_data), stored_at(self.reader, stamp)))
        for moment, then in proven:
            result = await self._basic(self.spec(roots, then), _at(moment))
            if result.ades_subindic == AdESPassed.OK:
                return result
        # What the store holds needs no proof of its age for a judgement of today.
        return await self._basic(self.spec(roots, stored(self.reader)), self.now)

    async def _basic(self, spec: SignatureValidationSpec, timing: ValidationTimingInfo) -> Any:
        # The library makes a status without the PDF's part here, whatever class it is told.
        result = await ades.ades_basic_validation(
            self.signature.signed_data,
            spec,
            timing_info=timing,
            raw_digest=self.signature.compute_digest(),
        )
        if result.api_status is None:
            return result
        told = {
            each.name: getattr(result.api_status, each.name) for each in fields(result.api_status)
        }
        told |= self.signature.summarise_integrity_info()
        return replace(result, api_status=PdfSignatureStatus(**told))

    async def signature_timestamp(self) -> TimestampVerdict | None:
        """The time stamp in the signature (its unsigned attribute)."""
        value = self.signature.signer_info["signature"].native
        for token in self.tokens:
            judged = await ades.ades_timestamp_validation(
                token,
                self.spec(self.anchors.roots, stored(self.reader)),
                lambda algorithm: hashlib.new(algorithm, value).digest(),
                timing_info=self.now,
            )
            return self._stamp_verdict(token, judged)
        return None

    async def stamp(self, embedded: EmbeddedPdfSignature) -> TimestampVerdict:
        """One document time stamp."""
        spec = self.spec(self.anchors.roots, stored(self.reader))
        judged = await self._stamp(embedded, spec, self.now)
        return self._stamp_verdict(embedded.signed_data, judged)

    async def _stamp(self, embedded: Any, spec: Any, timing: ValidationTimingInfo) -> Any:
        return await ades.ades_timestamp_validation(
            embedded.signed_data, spec, embedded.compute_digest, timing_info=timing
        )

    def _stamp_verdict(self, token: cms.SignedData, judged: Any) -> TimestampVerdict:
        info, status = tst_info(token), judged.api_status
        sound = status is not None and status.intact and status.valid
        return TimestampVerdict(
            at=info["gen_time"].native,
            integrity=YES if sound else "no (the time stamp's own signature or digest is wrong)",
            trust=_trust(judged, asked=True) if self.anchors.timestamp_roots else NO_ROOT,
            policy=info["policy"].dotted,
            serial=info["serial_number"].native,
            certificate=signer_of(token),
        )

    async def maintainable(self) -> str:
        """Whether it would hold after `HORIZON`, with document time stamps renewed until then."""
        now = await self.result(self.anchors.roots)
        holds = YES if now.ades_subindic == AdESPassed.OK else f"no ({_indication(now)})"
        if not self.tokens:
            # The simulation wants a time stamp in the signature. What holds now at a proven time
            # holds as long as the document time stamps are renewed.
            return holds
        result = await ades.simulate_future_ades_lta_validation(
            self.signature,
            PdfSignatureValidationSpec(self.spec(self.anchors.roots)),
            future_validation_time=self.now.validation_time + HORIZON,
            current_reference_time=self.now.validation_time,
        )
        if result.ades_subindic == AdESPassed.OK:
            return YES
        return holds if self._may_have_missed_crls(result) else f"no ({_indication(result)})"


def _policy(roots: Sequence[asn1_x509.Certificate], rule: Any) -> CertValidationPolicySpec:
    return CertValidationPolicySpec(
        trust_manager=SimpleTrustManager.build(trust_roots=list(roots)),
        revinfo_policy=CertRevTrustPolicy(rule),
        time_tolerance=CLOCK_TOLERANCE,
    )


def _at(moment: datetime) -> ValidationTimingInfo:
    return ValidationTimingInfo(
        validation_time=moment, best_signature_time=moment, point_in_time_validation=True
    )


def _integrity(status: Any, stamps: Sequence[EmbeddedPdfSignature], updated: bool) -> str:
    if status is None:
        return "no (the signature cannot be read)"
    if not status.intact:
        return "no (the digest of the file is not the one that was signed)"
    if not status.valid:
        return "no (the signature value is wrong)"
    if not updated or status.coverage == SignatureCoverageLevel.ENTIRE_FILE:
        if status.coverage != SignatureCoverageLevel.ENTIRE_FILE:
            return "no (the signature does not cover the whole file)"
        if status.modification_level != ModificationLevel.NONE:
            return "no (the file was changed after it was signed)"
        return YES
    if status.coverage != SignatureCoverageLevel.ENTIRE_REVISION:
        return "no (the signature does not cover the whole file)"
    levels = [status.modification_level, *(_changes_after(each) for each in stamps)]
    if any(level not in _UPDATES for level in levels):
        return "no (the file was changed after it was signed)"
    return YES


_UPDATES = {ModificationLevel.NONE, ModificationLevel.LTA_UPDATES}


def _changes_after(stamp: EmbeddedPdfSignature) -> Any:
    if stamp.coverage == SignatureCoverageLevel.ENTIRE_FILE:
        return ModificationLevel.NONE
    if stamp.coverage != SignatureCoverageLevel.ENTIRE_REVISION or stamp.diff_result is None:
        return ModificationLevel.OTHER
    return getattr(stamp.diff_result, "modification_level", ModificationLevel.OTHER)


def _indication(result: Any) -> str:
    main = _MAIN[result.ades_subindic.status]
    if main == "TOTAL-PASSED":
        return main
    return f"{main}/{result.ades_subindic.standard_name}"


def _trust(result: Any, asked: bool) -> str:
    if result.ades_subindic == AdESPassed.OK:
        return YES if asked else NO_ROOT
    why = _indication(result)
    if asked:
        return f"no ({why})"
    return f"not established (no trusted root is configured, and our own chain fails: {why})"


def _revocation(result: Any) -> str:
    if result.ades_subindic == AdESPassed.OK:
        return YES
    why = _indication(result)
    return f"no ({why})" if "REVOKED" in why else f"not established ({why})"
