"""Whether certificates are revoked, as OCSP responses and CRLs that can be kept (RFC 6960, 5280).

Asks only the addresses in the certificates of a chain that leads to a trusted root: our own and
the time stamp servers'. What it gives has been checked: signed by who may, current, and "good".
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import (
    InsufficientRevinfoError,
    PathBuildingError,
    PathValidationError,
    RevokedError,
    ValidationError,
)
from pyhanko_certvalidator.policy_decl import (
    NO_REVOCATION,
    REQUIRE_REVINFO,
    CertRevTrustPolicy,
    RevocationCheckingPolicy,
)

from archived_sign.options import RevocationOptions
from archived_sign.servers import ServerDown, ServerRefused, ask

CLOCK_TOLERANCE = timedelta(seconds=60)
"""How far our clock and a server's may differ before an answer counts as one from the future."""
LARGEST_OCSP = 256 * 1024
LARGEST_CRL = 16 * 1024 * 1024
"""Bytes. Every CRL that is taken is copied into every document."""


class Unavailable(Exception):
    """Nobody says now whether a certificate is revoked."""


class Revoked(Exception):
    """A certificate is revoked, or on hold."""


class Unreadable(Exception):
    """A configured file of CRLs cannot be read, or holds none."""


class NoPath(Exception):
    """A certificate does not lead to a trusted root at this time, whoever is asked."""


@dataclass(frozen=True)
class Material:
    """What proves a chain: its certificates, and what was said about them.

    `until`: when the first certificate below the root ends.
    """

    certificates: tuple[asn1_x509.Certificate, ...] = ()
    ocsps: tuple[asn1_ocsp.OCSPResponse, ...] = ()
    crls: tuple[asn1_crl.CertificateList, ...] = ()
    until: datetime | None = None

    def __or__(self, other: Material) -> Material:
        ends = [each for each in (self.until, other.until) if each is not None]
        return Material(
            _distinct((*self.certificates, *other.certificates)),
            _distinct((*self.ocsps, *other.ocsps)),
            _distinct((*self.crls, *other.crls)),
            min(ends) if ends else None,
        )


class RevocationSource:
    """Gathers the material of one chain after the other. `remaining`: seconds left for all."""

    def __init__(self, options: RevocationOptions, remaining: Callable[[], float]) -> None:
        self.waited = 0.0
        """Seconds spent on questions so far, answered or not."""
        self._options, self._remaining = options, remaining
        self._gathered: dict[bytes, Material] = {}

    def gather(
        self,
        leaf: asn1_x509.Certificate,
        others: Iterable[asn1_x509.Certificate],
        roots: Sequence[asn1_x509.Certificate],
    ) -> Material:
        """The material of the chain from `leaf` to one of `roots`, all of it good now.

        Asked once for each certificate. Raises `NoPath`, `Revoked`, `Unavailable`,
        `Unreadable`.
        """
        key = leaf.dump()
        if key not in self._gathered:
            self._gathered[key] = self._gather(leaf, others, roots)
        return self._gathered[key]

    def _gather(
        self,
        leaf: asn1_x509.Certificate,
        others: Iterable[asn1_x509.Certificate],
        roots: Sequence[asn1_x509.Certificate],
    ) -> Material:
        path = asyncio.run(_path(leaf, list(others), roots, Material(), NO_REVOCATION))
        until = min(each.not_valid_after for each in path[1:])
        known = Material(tuple(path), crls=tuple(self._imported(path)), until=until)
        reasons: list[str] = []
        # A file is asked even where a server will be: what it says to be revoked is not used.
        answered = _checked(known, roots, reasons)
        if self._options.fetch:
            answered = self._fetched(path, roots, known, reasons) or answered
        if answered is None:
            name = leaf.subject.human_friendly
            told = "; ".join(dict.fromkeys(reasons)) or "no current CRL is at hand"
            raise Unavailable(f"nobody says whether {name} is revoked: {told}")
        return answered

    def _fetched(
        self,
        path: Sequence[asn1_x509.Certificate],
        roots: Sequence[asn1_x509.Certificate],
        known: Material,
        reasons: list[str],
    ) -> Material | None:
        """OCSP; else CRLs; else both; else both with what was imported."""
        chain = Material(tuple(path), until=known.until)
        ocsps = self._ocsps(path, reasons)
        if answered := _checked(chain | ocsps, roots, reasons):
            return answered
        crls = self._crls(path, reasons)
        for each in (crls, crls | ocsps, crls | ocsps | known):
            if answered := _checked(chain | each, roots, reasons):
                return answered
        return None

    def _imported(self, path: Sequence[asn1_x509.Certificate]) -> Iterator[Any]:
        issuers = {each.subject.hashable for each in path}
        for file in self._options.crls:
            yield from (each for each in read_crls(file) if each.issuer.hashable in issuers)

    def _ocsps(self, path: Sequence[asn1_x509.Certificate], reasons: list[str]) -> Material:
        found = []
        for issuer, certificate in pairwise(path):
            body, nonce = ocsp_request(certificate, issuer)
            for url in filter(_is_http, certificate.ocsp_urls):
                headers = {"Content-Type": "application/ocsp-request"}
                content = self._asked(url, body, headers, LARGEST_OCSP, reasons)
                try:
                    if content is None:
                        continue
                    if answer := _answer(content, nonce):
                        found.append(answer)
                        break
                    reasons.append(f"{url}: it gives no answer about this certificate")
                except (ValueError, TypeError):
                    reasons.append(f"{url}: its answer is not an OCSP response")
        return Material(ocsps=tuple(found))

    def _crls(self, path: Sequence[asn1_x509.Certificate], reasons: list[str]) -> Material:
        found = []
        for certificate in path[1:]:
            points = certificate.crl_distribution_points
            for url in filter(_is_http, (each.url for each in points if each.url)):
                content = self._asked(url, None, {}, LARGEST_CRL, reasons)
                try:
                    if content is not None:
                        found += _crls_in(content)
                        break
                except (ValueError, TypeError):
                    reasons.append(f"{url}: its answer is not a CRL")
        return Material(crls=_distinct(found))

    def _asked(
        self,
        url: str,
        body: bytes | None,
        headers: dict[str, str],
        largest: int,
        reasons: list[str],
    ) -> bytes | None:
        seconds = min(self._options.timeout.total_seconds(), self._remaining())
        began = time.monotonic()
        try:
            return ask(url, body, headers, seconds=seconds, largest=largest)[1]
        except (ServerDown, ServerRefused) as error:
            reasons.append(f"{url}: {error}")
            return None
        finally:
            self.waited += time.monotonic() - began


def read_crls(path: Path) -> list[asn1_crl.CertificateList]:
    """The CRLs in a file, DER or PEM. Raises `Unreadable` naming the file."""
    try:
        return _crls_in(path.read_bytes())
    except OSError as error:
        raise Unreadable(str(error)) from error
    except (ValueError, TypeError) as error:
        raise Unreadable(f"{path} holds no CRL: {error}") from error


def _checked(
    material: Material, roots: Sequence[asn1_x509.Certificate], reasons: list[str]
) -> Material | None:
    """The material, if it says of every certificate of its chain that it is good now.

    Why it does not is added to `reasons`.
    """
    leaf, others = material.certificates[-1], list(material.certificates)
    try:
        asyncio.run(_path(leaf, others, roots, material, REQUIRE_REVINFO))
    except Unavailable as error:
        if material.ocsps or material.crls:
            reasons.append(str(error))
        return None
    return material


async def _path(
    leaf: asn1_x509.Certificate,
    others: list[asn1_x509.Certificate],
    roots: Sequence[asn1_x509.Certificate],
    material: Material,
    rule: RevocationCheckingPolicy,
) -> list[asn1_x509.Certificate]:
    """From the root to `leaf`."""
    context = ValidationContext(
        trust_roots=list(roots),
        other_certs=list(material.certificates),
        ocsps=list(material.ocsps),
        crls=list(material.crls),
        allow_fetching=False,
        moment=datetime.now(UTC),
        revinfo_policy=CertRevTrustPolicy(rule),
        time_tolerance=CLOCK_TOLERANCE,
    )
    validator = CertificateValidator(leaf, others, validation_context=context)
    try:
        path = await validator.async_validate_path()
    except RevokedError as error:
        raise Revoked(str(error)) from error
    except InsufficientRevinfoError as error:
        raise Unavailable(str(error)) from error
    except (PathBuildingError, PathValidationError, ValidationError) as error:
        raise NoPath(str(error)) from error
    return list(path.iter_certs(include_root=True))


def ocsp_request(
    certificate: asn1_x509.Certificate, issuer: asn1_x509.Certificate
) -> tuple[bytes, bytes]:
    """A question about `certificate`, DER, and its nonce."""
    nonce = os.urandom(16)
    ours, above = (x509.load_der_x509_certificate(each.dump()) for each in (certificate, issuer))
    # SHA-1 only names the certificate (RFC 5019, 2.1.1); many servers know no other name.
    request = ocsp.OCSPRequestBuilder().add_certificate(ours, above, SHA1())  # noqa: S303
    built = request.add_extension(x509.OCSPNonce(nonce), critical=False).build()
    return built.public_bytes(Encoding.DER), nonce


def _answer(content: bytes, nonce: bytes) -> asn1_ocsp.OCSPResponse | None:
    """The response, if it answers our question. Servers may leave the nonce out (RFC 9654)."""
    response = asn1_ocsp.OCSPResponse.load(content, strict=True)
    if response["response_status"].native != "successful":
        return None
    given = response.nonce_value
    return response if given is None or given.native == nonce else None


def _crls_in(content: bytes) -> list[asn1_crl.CertificateList]:
    blocks = [content]
    if pem.detect(content):
        blocks = [der for kind, _, der in pem.unarmor(content, multiple=True) if kind == "X509 CRL"]
    found = [asn1_crl.CertificateList.load(each, strict=True) for each in blocks]
    for each in found:
        each.issuer.dump()  # the parser is lazy: what is no CRL is told here
        each["tbs_cert_list"]["this_update"].native  # noqa: B018 - as above
    return found


def _is_http(url: str) -> bool:
    return urlsplit(url).scheme in {"http", "https"}


def _distinct(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple({each.dump(): each for each in items}.values())
