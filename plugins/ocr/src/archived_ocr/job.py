"""One document being read: its pages as images, what was read on them, and their ink.

Knows neither OCRmyPDF nor the stage. Page numbers count from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from archived_ocr import coverage, crops, ink
from archived_ocr.colour_layers import STEP
from archived_ocr.coverage import Ink
from archived_ocr.crop_reading import Page
from archived_ocr.ink import FloatBox, Marks, Mask
from archived_ocr.raster import Pages, turned
from archived_ocr.reading import Reader, Reading
from archived_ocr.show_through import shrunk

DOUBTFUL = 72.0
"""A mean word confidence below this makes us ask which way up the page is."""
SMALL_PRINT = 0.08
"""Inches. Words lower than this (7 point type) lose letters at 200 dpi."""
CLOSER = 1.5
SPARSE = 0.0005
"""Share of marks below which a page without words has no way up."""
Shares = Sequence[tuple[float, float, float, float]]


@dataclass
class Job:
    """One document being read."""

    reader: Reader
    dpi: float
    printed: Mapping[int, Shares] = field(default_factory=dict)
    """Page -> where text stands that is known without reading, as shares of the page."""
    done: Callable[[int], None] = lambda _: None
    readings: dict[int, Reading] = field(default_factory=dict)
    inks: dict[int, Ink] = field(default_factory=dict)
    pictures: dict[int, list[bytes]] = field(default_factory=dict)
    """Page -> what a person must look at there, as PNG files, in the order of `Ink.unread`."""
    turned: dict[int, int] = field(default_factory=dict)
    """Page -> degrees counter-clockwise it was turned by."""
    looked_closer: set[int] = field(default_factory=set)
    """Pages whose print was too small for the usual resolution."""
    _pages: dict[Path, Pages] = field(default_factory=dict)
    _source: dict[int, Path] = field(default_factory=dict)
    _latest: tuple[tuple[Path, int], tuple[Image.Image, float]] | None = None
    _first: dict[int, tuple[Reading, Marks]] = field(default_factory=dict)
    _before: tuple[int, Mask] | None = None
    """The marks of the page read last: the other side of the sheet, perhaps."""

    def image(self, source: Path, page: int) -> tuple[Image.Image, float]:
        """The page as a gray image, as it came, and its dpi."""
        if source not in self._pages:
            self._pages[source] = Pages(source)
        self._source[page] = source
        # OCRmyPDF asks twice in a row: for the orientation, then for the text.
        if self._latest is None or self._latest[0] != (source, page):
            self._latest = (source, page), self._pages[source].gray(page, self.dpi)
        return self._latest[1]

    def upright(self, page: int) -> tuple[Image.Image, float]:
        """The page as a gray image, turned as it was found to stand, and its dpi."""
        image, dpi = self.image(self._source[page], page)
        return turned(image, self.turned.get(page, 0)), dpi

    def facing(self, page: int) -> int:
        """Degrees counter-clockwise by which the page must be turned to be upright.

        The first reading is the test: only what reads badly is looked at again. A good reading
        is kept, so that an upright page is read once.
        """
        if page in self.readings:  # a second try for PDF/A
            return self.turned.get(page, 0)
        image, dpi = self.image(self._source[page], page)
        marks = ink.find(image, dpi)
        first = self.reader.read(self._masked(page, image, 0), dpi, marks)
        self._first[page] = first, marks
        if (first.confidence or 0.0) >= DOUBTFUL and first.is_level:
            return 0
        if not first.words and float(marks.any.mean()) < SPARSE:
            return 0
        small = image.copy()
        small.thumbnail((1800, 1800))
        angle = self.reader.upright(small)
        if not angle:
            return 0
        again = self.reader.read(turned(self._masked(page, image, 0), angle), dpi)
        # The engine reads lines that run up or down as well, but no text layer can show them.
        needed = first.weight * 1.5 + 300 if first.is_level else first.weight * 0.8
        if again.weight < needed:
            return 0
        self._first.pop(page, None)
        self.turned[page] = angle
        return angle

    def read(self, page: int) -> Reading:
        """The reading of a page that is upright by now, with all of its ink accounted for."""
        if page in self.readings:
            return self.readings[page]
        image, dpi = self.upright(page)
        first = self._first.pop(page, None)
        marks = first[1] if first else ink.find(image, dpi)
        clean = self._masked(page, image, self.turned.get(page, 0))
        reading = first[0] if first else self.reader.read(clean, dpi, marks)
        if 0 < reading.letter_height < SMALL_PRINT * dpi and page not in self.printed:
            reading = self._closer(page, reading, dpi)
        one = Page(
            image,
            dpi,
            lambda: self._colour(page, image.size),
            lambda: self._tint(page, image.size),
            self._boxes(page, image),
        )
        behind = [self._before[1]] if self._before and self._before[0] == page - 1 else []
        examined = coverage.examine(self.reader, one, reading, marks, behind)
        self._before = page, shrunk(marks.any)
        self.inks[page] = examined.ink
        if examined.ink.reason:
            self.pictures[page] = crops.of(image, examined.ink)
        self.readings[page] = examined.reading
        self.done(page)
        return examined.reading

    def _closer(self, page: int, reading: Reading, dpi: float) -> Reading:
        """Small print is read again at a higher resolution, where the page has one."""
        image, finer = self._pages[self._source[page]].gray(page, self.dpi * CLOSER)
        if finer < dpi * 1.2:
            return reading
        again = self.reader.read(turned(image, self.turned.get(page, 0)), finer)
        if again.weight <= reading.weight:
            return reading
        self.looked_closer.add(page)
        return again.scaled(reading.size)

    def _colour(self, page: int, size: tuple[int, int]) -> Image.Image:
        """The page in colour, upright."""
        image = self._pages[self._source[page]].colour(page, self.dpi)
        upright = turned(image, self.turned.get(page, 0))
        return upright if upright.size == size else upright.resize(size)

    def _tint(self, page: int, size: tuple[int, int]) -> Image.Image | None:
        """The same at an eighth of its size; `None` when the page has no colour."""
        image = self._pages[self._source[page]].tint(page, self.dpi, STEP)
        if image is None:
            return None
        upright = turned(image, self.turned.get(page, 0))
        small = max(1, size[0] // STEP), max(1, size[1] // STEP)
        return upright if upright.size == small else upright.resize(small)

    def _boxes(self, page: int, image: Image.Image) -> list[FloatBox]:
        width, height = image.size
        angle = self.turned.get(page, 0)
        return [
            (left * width, top * height, right * width, bottom * height)
            for left, top, right, bottom in (
                displayed(b, angle) for b in self.printed.get(page, ())
            )
        ]

    def _masked(self, page: int, image: Image.Image, angle: int) -> Image.Image:
        """`image` without the print that is known: it is not to be read twice."""
        if page not in self.printed:
            return image
        clean = image.copy()
        paper = int(np.median(np.asarray(image.reduce(4))))
        draw = ImageDraw.Draw(clean)
        width, height = image.size
        for box in self.printed[page]:
            left, top, right, bottom = displayed(box, angle)
            draw.rectangle((left * width, top * height, right * width, bottom * height), fill=paper)
        return clean

    def close(self) -> None:
        """Close what was opened."""
        for pages in self._pages.values():
            pages.close()
        self._pages.clear()
        self.reader.close()


def displayed(box: tuple[float, float, float, float], angle: int) -> FloatBox:
    """A box of shares on the page turned counter-clockwise by `angle`."""
    left, top, right, bottom = box
    if angle == 90:
        return top, 1 - right, bottom, 1 - left
    if angle == 180:
        return 1 - right, 1 - bottom, 1 - left, 1 - top
    if angle == 270:
        return 1 - bottom, left, 1 - top, right
    return box
