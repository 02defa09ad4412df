"""The pages of a document in the order in which people read them, as gray rasters.

Opens the originals, checks every size before anything is decoded, and knows no codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pypdfium2 as pdfium
from numpy.typing import NDArray
from PIL import Image, ImageOps

from archived.api import Artifact, Message, Refuse
from archived_separate import errors

Gray = NDArray[np.uint8]

FORMATS = {"image/tiff": "TIFF", "image/jpeg": "JPEG", "image/png": "PNG"}
MAX_PIXELS = 40_000_000
"""A huge sheet is looked at with a lower resolution."""
_A4_LONG_INCHES = 11.69
_USUAL_DPI = (100, 150, 200, 240, 300, 400, 600)
_MASTER = "application/pdf"


class Undrawable(Exception):
    """A page that the renderer cannot draw; says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page is: which original, and which page (or frame) of it, both from 0."""

    source: int
    index: int


@dataclass
class Source:
    """One original. `frames`: its pages' places in the file; smaller copies in a TIFF are none.
    `restricted`: its owner restricts its use; it opens without a password all the same."""

    path: Path
    media_type: str
    frames: list[int] = field(default_factory=list)
    reduced: int = 0
    restricted: bool = False

    @property
    def is_pdf(self) -> bool:
        """Whether it is a PDF, the rest being images."""
        return self.media_type == _MASTER


def survey(originals: Sequence[Artifact], max_pages: int, max_megapixels: int) -> list[Source]:
    """Every original with its pages; refuses what must not be decoded."""
    sources = []
    total = 0
    for original in originals:
        if original.media_type == _MASTER:
            source = _survey_pdf(original.path, max_pages, max_megapixels)
        elif original.media_type in FORMATS:
            source = _survey_image(original, max_pages, max_megapixels)
        else:
            raise errors.unsupported(f"{original.media_type} has no pages")
        total += len(source.frames)
        errors.check_pages(total, max_pages)
        sources.append(source)
    return sources


def _survey_pdf(path: Path, max_pages: int, max_megapixels: int) -> Source:
    with pikepdf.open(path) as pdf:
        count = len(pdf.pages)
        errors.check_pages(count, max_pages)
        for item in pdf.objects:
            if isinstance(item, pikepdf.Stream) and item.get("/Subtype") == "/Image":
                errors.check_pixels(
                    _number(item, "/Width"), _number(item, "/Height"), max_megapixels
                )
        return Source(path, _MASTER, list(range(count)), restricted=pdf.is_encrypted)


def _number(item: pikepdf.Object, key: str) -> int:
    try:
        return max(0, int(item.get(key, 0)))
    except (TypeError, ValueError):
        return 0


def _survey_image(original: Artifact, max_pages: int, max_megapixels: int) -> Source:
    source = Source(original.path, original.media_type)
    small: list[int] = []
    with errors.while_decoding(), _opened(source) as image:
        # Only a TIFF's further frames are pages; what a camera puts behind a JPEG is none.
        count = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
        errors.check_pages(count, max_pages)
        for index in range(count):
            if count > 1:
                image.seek(index)
            errors.check_pixels(*image.size, max_megapixels)
            # NewSubfileType bit 0: a smaller copy of another image in the file.
            tags: Any = getattr(image, "tag_v2", {})
            (small if int(tags.get(254, 0)) & 1 else source.frames).append(index)
    if not source.frames:
        source.frames, small = small, []
    source.reduced = len(small)
    return source


def _opened(source: Source) -> Image.Image:
    # An open file, never a path: Pillow maps uncompressed TIFFs it is given by path into memory,
    # which dies with a truncated file. Pillow closes it with the image.
    return Image.open(source.path.open("rb"), formats=[FORMATS[source.media_type]])


def in_order(sources: Sequence[Source], collation: str) -> list[Place]:
    """Where each page is, in reading order. Refuses backs that do not fit the fronts."""
    each = [[Place(number, i) for i in source.frames] for number, source in enumerate(sources)]
    if collation != "two-pass" or len(each) != 2:
        return [place for places in each for place in places]
    fronts, backs = each
    if len(fronts) != len(backs):
        raise Refuse(
            Message(
                "There are {fronts} fronts and {backs} backs", fronts=len(fronts), backs=len(backs)
            ),
            code="sides-differ",
            hint=Message("Scan both sides again; every sheet must go through twice."),
        )
    return [p for pair in zip(fronts, reversed(backs), strict=True) for p in pair]


class Rasters:
    """The open originals whose pages are wanted one after another."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._open: dict[int, Any] = {}

    def gray(self, place: Place, dpi: float) -> tuple[Gray, float]:
        """A page at about `dpi`, never enlarged, and the resolution it really has."""
        source = self._sources[place.source]
        if source.media_type not in (_MASTER, "image/tiff"):
            with errors.while_decoding(), _opened(source) as image:
                return _shrunk(image, dpi)
        if place.source not in self._open:
            self.close()  # one at a time: a document may have thousands of files
            self._open[place.source] = (
                pdfium.PdfDocument(source.path) if source.is_pdf else _opened(source)
            )
        opened = self._open[place.source]
        if source.is_pdf:
            return _rendered(opened, place.index, dpi)
        with errors.while_decoding():
            opened.seek(place.index)
            return _shrunk(opened, dpi)

    def close(self) -> None:
        """Close what is open."""
        for opened in self._open.values():
            opened.close()
        self._open.clear()

    def __enter__(self) -> Rasters:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _rendered(pdf: pdfium.PdfDocument, index: int, dpi: float) -> tuple[Gray, float]:
    try:
        page = pdf[index]
    except pdfium.PdfiumError as error:
        raise Undrawable(str(error)) from error
    try:
        width, height = (max(1.0, float(side)) for side in page.get_size())
        dpi = min(dpi, 72.0 * (MAX_PIXELS / (width * height)) ** 0.5)
        bitmap = page.render(scale=dpi / 72.0, grayscale=True)
        # The bitmap's memory is PDFium's: copy before it is closed.
        pixels = np.array(bitmap.to_pil().convert("L"))
        bitmap.close()
    except (ValueError, pdfium.PdfiumError) as error:  # a page without room, or a broken one
        raise Undrawable(str(error)) from error
    finally:
        page.close()
    return pixels, dpi


def _shrunk(image: Image.Image, dpi: float) -> tuple[Gray, float]:
    across, down = believable(image)
    inches = image.width / across, image.height / down
    dpi = min(dpi, max(across, down), (MAX_PIXELS / (inches[0] * inches[1])) ** 0.5)
    size = max(1, round(inches[0] * dpi)), max(1, round(inches[1] * dpi))
    if image.format == "JPEG":
        image.draft("L", size)
    gray = image if image.mode in ("1", "L") else _gray(image)
    if gray.size != size or gray.mode != "L":
        gray = gray.convert("L").resize(size, Image.Resampling.BOX)
    return np.asarray(ImageOps.exif_transpose(gray)), dpi


def _gray(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        return image.point(lambda value: value / 256).convert("L")
    return image.convert("L")


def believable(image: Image.Image) -> tuple[float, float]:
    """The image's resolution, or whatever makes it nearest to A4."""
    said = image.info.get("dpi") or (0, 0)
    across, down = float(said[0] or 0), float(said[1] or 0)
    if 72 < across <= 2400 and 72 < down <= 2400:
        return across, down
    guess = min(_USUAL_DPI, key=lambda dpi: abs(max(image.size) / dpi - _A4_LONG_INCHES))
    return float(guess), float(guess)
