"""What a signed PDF holds: the signature, time stamps, and the document security store.

Reads and judges nothing: whether any of it can be believed is `validation`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.general import find_cms_attribute_iter
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.errors import NoDSSFoundError
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

from archived_sign.revocation import Material
from archived_sign.token import tst_info


@dataclass(frozen=True)
class Inside:
    """What a file holds beside the signature, and the certificates that go with it."""

    signer: asn1_x509.Certificate
    certificates: tuple[asn1_x509.Certificate, ...]
    tokens: tuple[cms.SignedData, ...]
    """The time stamps: the one in the signature, then the document's, oldest first."""
    material: Material
    """What the document security store holds."""
    updates: int
    """How many document time stamps there are."""


def inspect(path: Path, field: str) -> Inside | None:
    """What the file holds about the signature in `field`; `None` when that is not in it."""
    with path.open("rb") as file:
        reader = PdfFileReader(file, strict=True)
        signature = signature_in(reader, field)
        if signature is None:
            return None
        stamps = list(stamps_after(reader, signature))
        material = stored(reader)
        others = (*signature.other_embedded_certs, *material.certificates)
        tokens = (*tokens_in(signature), *(each.signed_data for each in stamps))
        return Inside(signature.signer_cert, tuple(others), tokens, material, len(stamps))


def signature_in(reader: PdfFileReader, field: str) -> EmbeddedPdfSignature | None:
    found = [each for each in reader.embedded_regular_signatures if each.field_name == field]
    return found[0] if len(found) == 1 else None


def stamps_after(
    reader: PdfFileReader, signature: EmbeddedPdfSignature
) -> Iterator[EmbeddedPdfSignature]:
    for each in reader.embedded_timestamp_signatures:
        if each.signed_revision > signature.signed_revision:
            yield each


def tokens_in(signature: EmbeddedPdfSignature) -> list[cms.SignedData]:
    attributes = signature.signer_info["unsigned_attrs"]
    found = find_cms_attribute_iter(attributes, "signature_time_stamp_token")
    return [each["content"] for each in found]


def time_of(token: cms.SignedData) -> datetime:
    at: datetime = tst_info(token)["gen_time"].native
    return at


def stored(handler: Any) -> Material:
    """What the document security store holds."""
    try:
        store = DocumentSecurityStore.read_dss(handler)
    except NoDSSFoundError:
        return Material()
    context = store.as_validation_context({"trust_roots": [], "allow_fetching": False})
    return Material(tuple(store.load_certs()), tuple(context.ocsps), tuple(context.crls))


def stored_at(reader: PdfFileReader, stamp: EmbeddedPdfSignature) -> Material:
    """What it held when `stamp` was made: what that one proves to have existed."""
    return stored(reader.get_historical_resolver(stamp.signed_revision))
