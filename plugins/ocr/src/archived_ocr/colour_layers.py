"""Black print under coloured ink, and coloured print: each looked at without the other.

A seal or a pen's line over print joins its letters. Their colours part them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archived_ocr import ink, seals
from archived_ocr.ink import MM, Box, FloatBox, Marks, Mask
from archived_ocr.marks import groups
from archived_ocr.shapes import Group

COLOURED = 48
"""Difference of the channels from which a pixel is coloured."""
_LEAST = 0.01
"""Share of a word's box that must be coloured for it to lie under another colour."""
STEP = 8
"""Pixels for one of the small image in which coloured ink is looked for."""
_TINTED = 20
"""The same difference there: a thin line is one of eight pixels."""
_OWN = 0.7
"""Share of drawn pixels that are coloured in coloured print, and in a seal's own."""
_REACH = 2
_MARGIN, _BESIDE = 2 * MM, 8 * MM
"""Paper round coloured ink: words that it covers in part are whole there."""

Pixels = NDArray[np.uint8]


class Colours:
    """A page in colour, its paper white."""

    def __init__(
        self,
        tint: Image.Image,
        whole: Callable[[], Image.Image | None],
        size: tuple[int, int],
        scale: float,
    ) -> None:
        """`tint`: the page of `size` at an eighth; `whole` gives all of it when it is needed."""
        self._ask = whole
        self._page: Image.Image | None = None
        self._size = size
        self._scale = scale
        small = np.asarray(tint, dtype=np.uint8)
        # Yellowed paper, and a lamp's tint, are no ink.
        self._paper = np.maximum(60, np.median(small.reshape(-1, 3), axis=0)).astype(np.float32)
        white = self._white(small)
        self._tinted = _spread(white) > _TINTED
        self._red = self._tinted & (white.argmax(axis=2) == 0)
        self._seals: list[Box] | None = None

    @property
    def _image(self) -> Image.Image:
        if self._page is None:
            self._page = self._ask() or Image.new("RGB", self._size, "white")
        return self._page

    def _white(self, pixels: Pixels) -> Pixels:
        if self._paper.min() >= 250:
            return pixels
        white: Pixels = np.minimum(255, pixels * (255.0 / self._paper)).astype(np.uint8)
        return white

    def is_print_of_seal(self, box: Box) -> bool:
        """Whether marks (a box in pixels of `ink`) are red ink within a round red seal."""
        if self._seals is None:
            self._seals = seals.discs(_grown(self._red, 1), STEP * self._scale)
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        if not any(s[0] < x < s[2] and s[1] < y < s[3] for s in self._seals):
            return False
        return self.is_coloured(box)

    def is_coloured(self, box: Box) -> bool:
        """Whether the marks in a box (in pixels of `ink`) are coloured ink."""
        left, top, right, bottom = (round(v / self._scale) for v in box)
        pixels = self._white(np.asarray(self._image.crop((left, top, right, bottom)), np.uint8))
        drawn = pixels.min(axis=2) < 160
        return drawn.any() and float((_spread(pixels)[drawn] > COLOURED).mean()) > _OWN

    def regions(self, among: Sequence[Group]) -> list[Box]:
        """Where coloured ink lies on or beside one of `among`: boxes in pixels of the page."""
        if not self._tinted.any():
            return []
        boxes, areas = ink.boxes_of(_grown(self._tinted, _REACH))
        found: list[Box] = []
        wanted = [tuple(v / self._scale for v in g.box) for g in among]
        for n in np.argsort(-areas):
            left, top, right, bottom = (int(v) * STEP for v in boxes[n])
            if any(left < w[2] and w[0] < right and top < w[3] and w[1] < bottom for w in wanted):
                pad, beside = round(_MARGIN / self._scale), round(_BESIDE / self._scale)
                found.append(
                    (
                        max(0, left - beside),
                        max(0, top - pad),
                        min(self._size[0], right + beside),
                        min(self._size[1], bottom + pad),
                    )
                )
        return found

    def layers(self, region: Box) -> Iterator[tuple[bool, Image.Image]]:
        """A region as black on white: whether it is the black layer, and the layer."""
        pixels = self._white(np.asarray(self._image.crop(region), dtype=np.uint8))
        spread = _spread(pixels)
        yield True, Image.fromarray(_black(pixels.max(axis=2), spread))
        yield False, Image.fromarray(255 - spread)

    def covers(self, box: FloatBox) -> bool:
        """Whether coloured ink lies over a word of the page, or beside it, over its next letter."""
        beside = 0.6 * (box[3] - box[1])
        left, top, right, bottom = (
            int(v) for v in (box[0] - beside, box[1], box[2] + beside, box[3])
        )
        left, right = max(0, left), min(self._size[0], right)
        part = self._image.crop((left, top, max(left + 1, right), max(top + 1, bottom)))
        pixels = self._white(np.asarray(part, dtype=np.uint8))
        return float((_spread(pixels) > COLOURED).mean()) > _LEAST


def _spread(pixels: Pixels) -> Pixels:
    most = np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])
    return most - np.minimum(np.minimum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _grown(mask: Mask, reach: int) -> Mask:
    return ink.slide(mask.astype(np.uint8), 2 * reach + 1, np.maximum) > 0


def _black(most: Pixels, spread: Pixels) -> Pixels:
    """What is black, with coloured ink made as white as paper; the very dark is no colour."""
    colour = np.clip((spread.astype(np.float32) - 24.0) / 36.0, 0.0, 1.0)
    colour *= np.clip((most.astype(np.float32) - 70.0) / 40.0, 0.0, 1.0)
    black: Pixels = (255.0 - (255.0 - most) * (1.0 - colour)).astype(np.uint8)
    return black


def text_in(layer: Image.Image, dpi: float, known: Sequence[FloatBox]) -> tuple[Marks, list[Group]]:
    """The marks of a layer, and those groups of letters that lie outside of `known`."""
    marks = ink.find(layer, dpi)
    return marks, [g for g in groups(marks, marks.without(known), layer) if g.kind == "text"]
