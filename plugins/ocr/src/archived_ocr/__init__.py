"""The stage `ocr`. This module stays light: the daemon imports it; the work is in `steps`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from archived.api import Context, Document, Needs, Result, Stage, StageConfig, hookimpl

__all__ = ["Ocr", "OcrOptions", "register_stages"]


class OcrOptions(StageConfig):
    """What `[stage.ocr]` may say."""

    languages: str = Field("vie", pattern=r"[A-Za-z_/]+(\+[A-Za-z_/]+)*")
    """Tesseract's languages, the most frequent first: `vie`, `vie+eng`."""
    tessdata: Path = Path("/usr/share/tesseract-ocr/5/tessdata")
    """The folder that holds the language data (`vie.traineddata`)."""
    ocr_dpi: int = Field(200, ge=100, le=600)
    """The resolution at which pages are read. The archived image keeps its own; small print is
    read again at one and a half times this."""
    turn_pages: bool = True
    """Turn pages that were scanned sideways or upside down."""
    images: Literal["keep", "lossless"] = "keep"
    """`keep`: stored images stay as they came. `lossless`: also refuse what a page cannot show
    exactly, and flag scans that arrived as JPEG."""
    image_dpi: int = Field(0, ge=0, le=4800)
    """Resolution of images that do not say theirs; 0: whatever makes the page nearest to A4."""
    existing_text: Literal["keep", "redo"] = "keep"
    """What to do with the invisible text layer of an earlier OCR."""
    overlay_words: int = Field(40, ge=0)
    """A scanned page with fewer printed words than this on top is still read: stamps, seals."""
    owner_password: Literal["refuse", "record"] = "record"  # noqa: S105 - a choice, not a secret
    """A PDF that opens without a password but restricts its use: refuse it, or record that."""
    date_zone: str = Field("+07:00", pattern=r"[+-](0\d|1[0-4]):[0-5]\d")
    """The zone of dates in a PDF's description that say none: what scanners' clocks show."""
    actions: Literal["remove", "hold"] = "remove"
    """What a PDF does when it is opened or clicked, other than to show a page of it or an address
    (https, mailto): take it out of the copy, or hold the document for a person."""
    claimed_pages: Literal["hold", "note"] = "hold"
    """When a ticket says another number of pages than there are: hold the document for a person,
    or note it."""
    max_megapixels: int = Field(250, ge=1, le=2000)
    """Pixels, in millions, that one image may have."""
    max_pages: int = Field(2000, ge=1)
    """Pages that one document may have."""


class Ocr(Stage[OcrOptions]):
    """Scans become PDF/A-2b with a text layer; born-digital files become PDF/A-2b as they are."""

    name = "ocr"
    version = "0.2.0"
    accepts = ("application/pdf", "image/tiff", "image/jpeg", "image/png")
    any_original = True
    needs = Needs(
        timeout=timedelta(minutes=30),
        attempts=2,
        lane="cpu",
        memory="3 GiB",
        max_time=timedelta(hours=24),
        memory_per_page="4 MiB",
        max_memory="12 GiB",
        programs=("jbig2dec",),
    )
    preload = ("archived_ocr.pipeline", "pyhanko.pdf_utils.reader", "pikepdf.pdfa")

    def check(self, options: OcrOptions) -> Iterable[str]:
        """Language data that is missing."""
        wanted = options.languages.split("+") + (["osd"] if options.turn_pages else [])
        for language in wanted:
            if not (options.tessdata / f"{language}.traineddata").is_file():
                yield (
                    f"no language data {language}.traineddata in {options.tessdata}: "
                    f"install tesseract-ocr-{language.replace('_', '-')} or set tessdata"
                )

    def run(self, document: Document, context: Context[OcrOptions]) -> Result:
        """Read the document's main artifact."""
        from archived_ocr import pipeline

        return pipeline.run(document, context)


@hookimpl
def register_stages(register: Callable[[type[Stage[Any]]], None]) -> None:
    """Give the stage to the core."""
    register(Ocr)
