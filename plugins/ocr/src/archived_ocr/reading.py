"""Read one page image: gray pixels in, words with places and confidences out.

Knows Tesseract (in this process, one thread) and nothing of PDF files or of the stage. The engine
is made when the first page is read, never at import: it must not exist before a fork.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

# Read by libgomp when Tesseract is loaded; more threads per page cost twice the CPU time.
os.environ.setdefault("OMP_THREAD_LIMIT", "1")

import numpy as np
import tesserocr
from numpy.typing import NDArray
from PIL import Image

from archived_ocr import ink
from archived_ocr.ink import Marks

MIN_SKEW = 0.8
"""Degrees. Below this turning the image costs more than it gains."""
MAX_SKEW = 5.0


@dataclass(frozen=True, slots=True)
class Word:
    """`box`: left, top, right, bottom in pixels. `confidence`: 0 to 100."""

    text: str
    box: tuple[float, float, float, float]
    confidence: float


@dataclass(frozen=True, slots=True)
class Line:
    """`slope` and `intercept` of the baseline, from the lower left corner of `box`, y down."""

    words: tuple[Word, ...]
    box: tuple[float, float, float, float]
    slope: float
    intercept: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What stands on one page. `paragraphs` are in reading order; `skew` in degrees.
    `size` in pixels.
    """

    text: str
    paragraphs: tuple[tuple[Line, ...], ...]
    size: tuple[int, int]
    skew: float = 0.0

    @property
    def words(self) -> tuple[Word, ...]:
        """All words, in reading order."""
        return tuple(w for p in self.paragraphs for line in p for w in line.words)

    @property
    def confidence(self) -> float | None:
        """Mean word confidence (0 to 100), `None` without words."""
        words = self.words
        return sum(w.confidence for w in words) / len(words) if words else None

    @property
    def letter_height(self) -> float:
        """Median height of the words in pixels; 0 without words."""
        heights = sorted(w.box[3] - w.box[1] for w in self.words if len(w.text) > 1)
        return heights[len(heights) // 2] if heights else 0.0

    def scaled(self, size: tuple[int, int]) -> Reading:
        """The same reading in the pixels of an image of another size."""
        x, y = size[0] / self.size[0], size[1] / self.size[1]
        moved = tuple(tuple(_scaled(line, x, y) for line in p) for p in self.paragraphs)
        return replace(self, paragraphs=moved, size=size)

    @property
    def is_level(self) -> bool:
        """Whether its words lie rather than stand."""
        long = [w.box for w in self.words if len(w.text) > 2]
        standing = sum(1 for b in long if b[3] - b[1] > 1.2 * (b[2] - b[0]))
        return 2 * standing <= len(long)

    @property
    def weight(self) -> float:
        """How much was read how surely: compares two readings of the same page."""
        return sum(w.confidence for w in self.words if w.confidence > 50 and len(w.text) > 1)


def _print(marks: Marks) -> NDArray[np.bool_]:
    """The marks as strong as a page's print: a crooked page is levelled by them."""
    if not marks.dark.any():
        return marks.light
    mask = marks.dark if marks.dark.sum() >= marks.light.sum() else marks.light
    strong = float(np.percentile(marks.contrast[mask][::7], 90))
    strongest: NDArray[np.bool_] = mask & (marks.contrast > 0.45 * strong)
    return strongest


def skew_of(ink: NDArray[np.bool_]) -> float:
    """The angle (degrees, counter-clockwise) that makes text lines level; 0 when unsure."""
    rows, columns = np.nonzero(ink)
    share = len(rows) / max(1, ink.size)
    if len(rows) < 500 or share > 0.35:
        return 0.0
    if len(rows) > 150_000:
        step = len(rows) // 150_000 + 1
        rows, columns = rows[::step], columns[::step]
    x = columns - ink.shape[1] / 2

    def score(angle: float) -> float:
        y = rows + x * math.tan(math.radians(angle))
        counts = np.bincount((y - y.min()).astype(np.int64))
        return float(np.sum(np.diff(counts.astype(np.float64)) ** 2))

    level = score(0.0)
    coarse = max(np.arange(-MAX_SKEW, MAX_SKEW + 0.1, 0.5), key=lambda a: score(float(a)))
    fine = max(np.arange(coarse - 0.5, coarse + 0.55, 0.1), key=lambda a: score(float(a)))
    if abs(fine) >= MAX_SKEW or score(float(fine)) < level * 1.1:
        return 0.0
    return -float(fine)


class Reader:
    """Tesseract with its models loaded. `languages` as Tesseract writes them: `vie+eng`."""

    def __init__(self, languages: str, tessdata: Path) -> None:
        self.languages = languages
        self._tessdata = str(tessdata)
        self._api = tesserocr.PyTessBaseAPI(
            path=self._tessdata, lang=languages, psm=tesserocr.PSM.AUTO
        )
        self._compass: tesserocr.PyTessBaseAPI | None = None

    def read(self, image: Image.Image, dpi: float, marks: Marks | None = None) -> Reading:
        """Read a gray (`L`) image; `marks` are its own, when they are known.

        Raises `RuntimeError` when the engine fails.
        """
        skew = skew_of(_print(marks or ink.find(image, dpi)))
        if abs(skew) < MIN_SKEW:
            return self._recognise(image, dpi, 0.0)
        # Layout analysis drops whole columns of a page that is 1.5 degrees off level.
        level = image.rotate(skew, Image.Resampling.BILINEAR, fillcolor=255)
        return self._recognise(level, dpi, skew)

    def _recognise(self, image: Image.Image, dpi: float, skew: float) -> Reading:
        width, height = image.size
        self._api.SetImageBytes(image.tobytes(), width, height, 1, width)
        self._api.SetSourceResolution(max(70, round(dpi)))
        try:
            if not self._api.Recognize():
                raise RuntimeError("Tesseract gave up on a page")
            text = self._api.GetUTF8Text()
            lines = tuple(tuple(p) for p in _paragraphs(self._api))
        finally:
            self._api.Clear()
        if skew:
            lines = tuple(tuple(_turned(n, skew, image.size) for n in p) for p in lines)
        return Reading(text, lines, image.size, skew)

    def read_lines(self, image: Image.Image, *, single: bool) -> list[Line]:
        """The lines of a crop of black print on white: a `single` one, or a block of them."""
        mode = tesserocr.PSM.SINGLE_LINE if single else tesserocr.PSM.SINGLE_BLOCK
        self._api.SetPageSegMode(mode)
        try:
            reading = self._recognise(image, 300.0, 0.0)
        finally:
            self._api.SetPageSegMode(tesserocr.PSM.AUTO)
        return [line for paragraph in reading.paragraphs for line in paragraph]

    def read_part(self, image: Image.Image, dpi: float) -> list[Line]:
        """The lines of a part of a level page, whatever their order."""
        return [
            line for paragraph in self._recognise(image, dpi, 0.0).paragraphs for line in paragraph
        ]

    def upright(self, image: Image.Image) -> int:
        """Quarter turns (0, 90, 180, 270 degrees clockwise) the page must be turned by."""
        if self._compass is None:
            self._compass = tesserocr.PyTessBaseAPI(
                path=self._tessdata, lang="osd", psm=tesserocr.PSM.OSD_ONLY
            )
        width, height = image.size
        self._compass.SetImageBytes(image.tobytes(), width, height, 1, width)
        self._compass.SetSourceResolution(150)
        found = self._compass.DetectOrientationScript()
        self._compass.Clear()
        return int(found["orient_deg"]) % 360 if found else 0

    def close(self) -> None:
        """Free the engines."""
        self._api.End()
        if self._compass is not None:
            self._compass.End()


def _paragraphs(api: tesserocr.PyTessBaseAPI) -> Iterator[list[Line]]:
    found = api.GetIterator()
    if found is None:
        return
    level = tesserocr.RIL
    paragraph: list[Line] = []
    words: list[Word] = []
    base = None
    for item in tesserocr.iterate_level(found, level.WORD):
        if item.Empty(level.WORD):
            continue
        if item.IsAtBeginningOf(level.TEXTLINE) and words:
            paragraph.append(_line(words, base))
            words = []
        if item.IsAtBeginningOf(level.PARA) and paragraph:
            yield paragraph
            paragraph = []
        text = item.GetUTF8Text(level.WORD).strip()
        box = item.BoundingBox(level.WORD)
        if not text or box is None or box[2] <= box[0] or box[3] <= box[1]:
            continue
        if not words:
            base = item.Baseline(level.TEXTLINE)
        words.append(Word(text, box, item.Confidence(level.WORD)))
    if words:
        paragraph.append(_line(words, base))
    if paragraph:
        yield paragraph


def _box(words: list[Word]) -> tuple[float, float, float, float]:
    boxes = [w.box for w in words]
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )


def _line(words: list[Word], base: tuple[tuple[int, int], tuple[int, int]] | None) -> Line:
    box = _box(words)
    slope = intercept = 0.0
    if base is not None and base[1][0] > base[0][0]:
        (x1, y1), (x2, y2) = base
        slope = (y2 - y1) / (x2 - x1)
        intercept = y1 + slope * (box[0] - x1) - box[3]
    return Line(tuple(words), box, slope, intercept)


def _scaled(line: Line, x: float, y: float) -> Line:
    def box(b: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        return b[0] * x, b[1] * y, b[2] * x, b[3] * y

    words = tuple(replace(w, box=box(w.box)) for w in line.words)
    return Line(words, box(line.box), line.slope * y / x, line.intercept * y)


def _turned(line: Line, skew: float, size: tuple[int, int]) -> Line:
    """Where a line read on the levelled image lies on the page as it is."""
    radians = math.radians(skew)
    cos, sin = math.cos(radians), math.sin(radians)
    middle_x, middle_y = size[0] / 2, size[1] / 2

    def back(x: float, y: float) -> tuple[float, float]:
        dx, dy = x - middle_x, y - middle_y
        return middle_x + dx * cos - dy * sin, middle_y + dx * sin + dy * cos

    words = []
    for word in line.words:
        left, top, right, bottom = word.box
        x, y = back((left + right) / 2, (top + bottom) / 2)
        half_w, half_h = (right - left) / 2, (bottom - top) / 2
        words.append(
            Word(word.text, (x - half_w, y - half_h, x + half_w, y + half_h), word.confidence)
        )
    box = _box(words)
    start = back(line.box[0], line.box[3] + line.intercept)
    slope = math.tan(math.atan(line.slope) + radians)
    intercept = start[1] + slope * (box[0] - start[0]) - box[3]
    return Line(tuple(words), box, slope, intercept)
