"""The limits that are set before the first byte of a document is decoded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pikepdf
from PIL import Image

from archived.api import Message, Refuse

STREAM_BYTES = 256 * 1024 * 1024
"""What one compressed stream may unpack to here; PDFium draws larger images by itself."""
CONTENT_BYTES = 1024 * 1024 * 1024
"""What all of a document's page descriptions together may unpack to."""


@contextmanager
def in_force(max_megapixels: int) -> Iterator[None]:
    """Make Pillow and qpdf refuse bombs. Process-wide: for a child that does one document."""
    pixels = max_megapixels * 1_000_000
    before = Image.MAX_IMAGE_PIXELS
    qpdf: dict[str, Any] = pikepdf.settings.set_qpdf_limits(
        doc_max_warnings=5000,
        parser_max_nesting=200,
        dct_max_memory=STREAM_BYTES,
        dct_max_progressive_scans=200,
        flate_max_memory=STREAM_BYTES,
        png_max_memory=STREAM_BYTES,
        run_length_max_memory=STREAM_BYTES,
        tiff_max_memory=STREAM_BYTES,
    )
    Image.MAX_IMAGE_PIXELS = pixels
    try:
        with warnings.catch_warnings():
            # Pillow only warns up to twice its limit.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
        pikepdf.settings.set_qpdf_limits(**qpdf)


def check_pixels(width: int, height: int, max_megapixels: int, where: str) -> None:
    """Refuse an image by its header, before it is decoded."""
    if width * height > max_megapixels * 1_000_000:
        raise Refuse(
            Message(
                "{where} holds an image of {width} x {height} pixels, more than the "
                "{max_megapixels} megapixels allowed",
                where=where,
                width=width,
                height=height,
                max_megapixels=max_megapixels,
            ),
            code="too-large",
            hint=Message(
                "Scan again at a lower resolution, or raise max_megapixels for this stage."
            ),
        )


def check_pages(count: int, max_pages: int, before: int = 0) -> None:
    """Refuse a file without pages, or a document with more than wanted.

    `before`: pages of the document's other files, counted earlier.
    """
    if count == 0:
        raise Refuse(
            Message("The document has no pages"),
            code="no-pages",
            hint=Message("Scan it again, or ask the sender for a complete file."),
        )
    if before + count > max_pages:
        raise Refuse(
            Message(
                "The document has {before} pages or more; {max_pages} are allowed",
                before=before + count,
                max_pages=max_pages,
            ),
            code="too-many-pages",
            hint=Message("Split it, or raise max_pages for this stage."),
        )
