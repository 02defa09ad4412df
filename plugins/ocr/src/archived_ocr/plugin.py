"""The hooks given to OCRmyPDF: how a page becomes an image, and which engine reads it.

The only place that knows OCRmyPDF's hooks. One job per process: the stage sets `job`, runs
OCRmyPDF in the same process, and takes the readings out again.
"""

from __future__ import annotations

import re
from collections.abc import Set
from pathlib import Path
from typing import Any

import pluggy
from ocrmypdf import OcrEngine, OrientationConfidence, hookimpl
from ocrmypdf.builtin_plugins.ghostscript import GhostscriptOptions
from ocrmypdf.builtin_plugins.tesseract_ocr import TesseractOptions
from ocrmypdf.hocrtransform import Baseline, BoundingBox, OcrClass, OcrElement
from PIL import Image
from pydantic import BaseModel

from archived_ocr import page_errors
from archived_ocr.job import Job
from archived_ocr.page_errors import OnPage
from archived_ocr.raster import turned
from archived_ocr.reading import Line, Reading

SURE = 15.0
"""The confidence at which OCRmyPDF's default threshold (14) turns a page."""


job: Job | None = None
"""The document being read in this process."""


on_page: OnPage = page_errors.on_page
"""What surrounds the work on each page; also tells that it begins."""


def _job() -> Job:
    if job is None:
        raise RuntimeError("the OCR plug-in was called outside of the ocr stage")
    return job


def _dpi(path: Path) -> float:
    with Image.open(path) as image:
        return float(image.info["dpi"][0])


def _page_of(path: Path) -> int:
    # OCRmyPDF puts the page's number, from 1, in front of every file it makes for the page.
    match = re.match(r"(\d{6})_", path.name)
    if match is None:
        raise RuntimeError(f"no page number in {path.name}: OCRmyPDF names its files anew")
    return int(match[1]) - 1


class Engine(OcrEngine):
    """Tesseract in this process, through `reading`."""

    @staticmethod
    def version() -> str:
        """The version of the bundled Tesseract."""
        import tesserocr

        return str(tesserocr.tesseract_version().split()[1])

    @staticmethod
    def creator_tag(options: Any) -> str:  # noqa: ARG004
        """How the engine is named in the file's metadata."""
        return f"Tesseract OCR {Engine.version()}"

    def __str__(self) -> str:
        return f"Tesseract OCR {Engine.version()}"

    @staticmethod
    def languages(options: Any) -> Set[str]:
        """Whatever was asked for: the stage has checked it."""
        return set(options.languages)

    @staticmethod
    def get_orientation(input_file: Path, options: Any) -> OrientationConfidence:  # noqa: ARG004
        """Which way to turn the page; reads it on the way."""
        page = _page_of(input_file)
        with on_page(page):
            angle = _job().facing(page)
        _forget(input_file)
        return OrientationConfidence(angle=angle, confidence=SURE)

    @staticmethod
    def get_deskew(input_file: Path, options: Any) -> float:  # noqa: ARG004
        """Never: the page image stays as it was received."""
        return 0.0

    @staticmethod
    def supports_generate_ocr() -> bool:
        """The modern way in: no hOCR in between."""
        return True

    @staticmethod
    def generate_ocr(
        input_file: Path,
        options: Any,  # noqa: ARG004
        page_number: int = 0,
    ) -> tuple[OcrElement, str]:
        """Read one page: our own image of it, on which OCRmyPDF has painted nothing over."""
        dpi = _dpi(input_file)
        with on_page(page_number):
            reading = _job().read(page_number)
        _forget(input_file)
        return _tree(reading, dpi, page_number), reading.text

    @staticmethod
    def generate_hocr(input_file: Path, output_hocr: Path, output_text: Path, options: Any) -> None:
        """Not used by the renderer we choose."""
        raise NotImplementedError

    @staticmethod
    def generate_pdf(input_file: Path, output_pdf: Path, output_text: Path, options: Any) -> None:
        """Not used by the renderer we choose."""
        raise NotImplementedError


def _forget(image: Path) -> None:
    # Uncompressed page images of a long file would fill the work folder; none is read again.
    for path in {image, image.resolve()}:
        path.unlink(missing_ok=True)


def _tree(reading: Reading, dpi: float, page: int) -> OcrElement:
    width, height = reading.size
    root = OcrElement(
        ocr_class=OcrClass.PAGE,
        bbox=BoundingBox(left=0, top=0, right=width, bottom=height),
        dpi=dpi,
        page_number=page,
    )
    for lines in reading.paragraphs:
        paragraph = OcrElement(ocr_class=OcrClass.PARAGRAPH, direction="ltr")
        paragraph.children = [_line(line) for line in lines]
        boxes = [line.box for line in lines]
        paragraph.bbox = BoundingBox(
            min(b[0] for b in boxes),
            min(b[1] for b in boxes),
            max(b[2] for b in boxes),
            max(b[3] for b in boxes),
        )
        root.children.append(paragraph)
    return root


def _line(line: Line) -> OcrElement:
    return OcrElement(
        ocr_class=OcrClass.LINE,
        bbox=BoundingBox(*line.box),
        baseline=Baseline(line.slope, line.intercept),
        direction="ltr",
        children=[
            OcrElement(
                ocr_class=OcrClass.WORD,
                bbox=BoundingBox(*word.box),
                text=word.text,
                confidence=word.confidence / 100.0,
            )
            for word in line.words
        ],
    )


@hookimpl
def initialize(plugin_manager: pluggy.PluginManager) -> None:
    """Keep OCRmyPDF from looking for programs that are not used, and from ever using them."""
    for name in ("ghostscript", "pypdfium", "tesseract_ocr"):
        plugin_manager.set_blocked(f"ocrmypdf.builtin_plugins.{name}")


@hookimpl
def register_options() -> dict[str, type[BaseModel]]:
    """The options of the parts we keep out: OCRmyPDF asks for them all the same."""
    return {"ghostscript": GhostscriptOptions, "tesseract": TesseractOptions}


@hookimpl
def get_ocr_engine(options: Any) -> OcrEngine:  # noqa: ARG001
    """Our engine, always."""
    return Engine()


@hookimpl
def rasterize_pdf_page(
    input_file: Path,
    output_file: Path,
    raster_dpi: Any,
    pageno: int,
    page_dpi: Any,
    rotation: int | None,
) -> Path:
    """The page as an uncompressed gray image, whatever the file is called."""
    with on_page(pageno - 1):
        image, dpi = _job().image(input_file, pageno - 1)
    if rotation:
        image = turned(image, rotation)
    # /UserUnit makes the page larger than its PDF units say.
    unit = float(page_dpi.x) / float(raster_dpi.x) if page_dpi else 1.0
    image.save(output_file, format="TIFF", compression="raw", dpi=(dpi * unit, dpi * unit))
    return output_file
