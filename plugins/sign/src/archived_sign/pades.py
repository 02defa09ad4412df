"""Appending to a PDF what PAdES knows: a signature, validation data, a document time stamp.

Knows PDF structure; where the key, the time and the answers come from is somebody else's business.
Everything is an incremental update: nothing changes a byte that is there.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.layout import (
    AxisAlignment,
    InnerScaling,
    Margins,
    SimpleBoxLayoutRule,
)
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers.pdf_cms import PdfCMSSignedAttributes, Signer
from pyhanko.sign.signers.pdf_signer import (
    PdfSignatureMetadata,
    PdfSigner,
    PdfSigningSession,
    PdfTBSDocument,
    PdfTimeStamper,
)
from pyhanko.sign.timestamps import TimeStamper
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.stamp import StaticStampStyle

from archived_sign.appearance import Page, page_of
from archived_sign.revocation import Material

ALGORITHM = "sha256"
_CHUNK = 1024 * 1024


class Unsignable(Exception):
    """The file's own structure does not allow a signature to be appended."""


class DoesNotFit(Exception):
    """The finished signature is larger than the room kept for it."""


@dataclass(frozen=True)
class Visible:
    """A one-page PDF drawn into `box` (left, bottom, right, top) on the first page."""

    drawing: Path
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Signature:
    """What the signature shall say. `moment` has its distance from UTC."""

    moment: datetime
    field: str
    reserve: int
    reason: str = ""
    location: str = ""
    visible: Visible | None = None


def new_field_name() -> str:
    """A field name that no other signature has."""
    return f"archived-{uuid.uuid4().hex}"


def first_page(path: Path) -> Page:
    """The visible part of the first page. Raises `Unsignable`."""
    with path.open("rb") as file:
        try:
            return page_of(_first(PdfFileReader(file, strict=True)))
        except (OSError, MemoryError):
            raise
        except Exception as error:
            raise Unsignable(_why(error)) from error


def append_signature(
    path: Path, signature: Signature, signer: Signer, timestamper: TimeStamper | None
) -> None:
    """Sign the file in place, by an incremental update: its earlier bytes stay as they are.

    ETSI EN 319 142-1 baseline B-B, or B-T with `timestamper`. Raises `Unsignable`, `DoesNotFit`,
    and whatever the key or the time stamp server raise.
    """
    with path.open("r+b") as file:
        session, tbs, digest = _prepare(file, signature, signer, timestamper)
        attributes = PdfCMSSignedAttributes(signing_time=session.system_time)
        try:
            asyncio.run(tbs.perform_signature(digest, attributes))
        except SigningError as error:
            if "larger than expected" in str(error):
                raise DoesNotFit(str(error)) from error
            raise


def append_validation_data(path: Path, material: Material) -> None:
    """Add certificates, OCSP responses and CRLs to the document security store, by an update.

    What is in it stays. Without `VRI` entries, which EN 319 142-1 (5.4.2.3) does not ask for.
    """
    with path.open("r+b") as file:
        writer = _Writer(file, strict=True)
        DocumentSecurityStore.supply_dss_in_writer(
            writer, None, certs=material.certificates, ocsps=material.ocsps, crls=material.crls
        )
        writer.write_in_place()  # type: ignore[no-untyped-call]  # the library's


def append_document_timestamp(path: Path, timestamper: TimeStamper, reserve: int) -> str:
    """Add a document time stamp over the whole file, by an update; gives its field's name.

    `reserve`: room for the token in hexadecimal digits. Raises `DoesNotFit` and what the time
    stamp server raises. The file ends as it was when it does.
    """
    field = new_field_name()
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            writer = _Writer(file, strict=True)
            stamper = PdfTimeStamper(timestamper, field_name=field)
            stamper.timestamp_pdf(writer, ALGORITHM, bytes_reserved=reserve, in_place=True)
    except BaseException as error:
        # Only an update was begun: without it the file has the bytes it had.
        os.truncate(path, size)
        if isinstance(error, SigningError) and "larger than expected" in str(error):
            raise DoesNotFit(str(error)) from error
        raise
    return field


def _prepare(
    file: IO[bytes], signature: Signature, signer: Signer, timestamper: TimeStamper | None
) -> tuple[PdfSigningSession, PdfTBSDocument, bytes]:
    # Until the digest only the document's structure is at work, so a failure is the document's.
    try:
        writer = _Writer(file, strict=True)
        session = _pdf_signer(signature, signer, timestamper).init_signing_session(writer)
        session.system_time = signature.moment
        tbs = session.prepare_tbs_document(None, signature.reserve)
        prepared, _ = tbs.digest_tbs_document(in_place=True, chunk_size=_CHUNK)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise Unsignable(_why(error)) from error
    return session, tbs, prepared.document_digest


class _Writer(IncrementalPdfFileWriter):
    """Appends a signature and leaves the document's description as it was.

    pyHanko would write it anew, and make of an empty entry one that PDF/A forbids.
    """

    def _update_meta(self) -> None:
        """Nothing of it changes."""


def _pdf_signer(signature: Signature, signer: Signer, timestamper: TimeStamper | None) -> PdfSigner:
    meta = PdfSignatureMetadata(
        field_name=signature.field,
        md_algorithm=ALGORITHM,
        subfilter=SigSeedSubFilter.PADES,
        reason=signature.reason or None,
        location=signature.location or None,
    )
    visible = signature.visible
    if visible is None:
        return PdfSigner(meta, signer, timestamper=timestamper)
    return PdfSigner(
        meta,
        signer,
        timestamper=timestamper,
        stamp_style=_drawn(visible.drawing),
        new_field_spec=SigFieldSpec(signature.field, on_page=0, box=visible.box),
    )


def _drawn(drawing: Path) -> StaticStampStyle:
    return StaticStampStyle.from_pdf_file(
        str(drawing),
        border_width=0,
        background_layout=SimpleBoxLayoutRule(
            x_align=AxisAlignment.ALIGN_MIN,
            y_align=AxisAlignment.ALIGN_MIN,
            margins=Margins(),
            inner_content_scaling=InnerScaling.NO_SCALING,
        ),
    )


def _first(reader: PdfFileReader) -> Any:
    node: Any = reader.root["/Pages"]
    for _ in range(64):
        kids: Sequence[Any] | None = node.get("/Kids")
        if not kids:
            return node
        node = kids[0]
    raise ValueError("the page tree has no end")


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
