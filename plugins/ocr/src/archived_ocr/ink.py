"""Marks on a page image, found by local contrast: what differs from its surroundings is ink.

Dark marks on light ground and light marks on dark ground alike, however weak; no threshold over
the whole page. Knows pixels only, neither words nor PDF files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

DPI = 100.0
"""The resolution at which marks are looked for: a letter of 6 point is 4 pixels high."""
MM = DPI / 25.4
"""Pixels of a millimetre at that resolution."""
GROUND = 25
"""Pixels. Ground is what is seen again within a square of this size (6 mm)."""
LEAST_CONTRAST = 6
"""Gray levels. Less is what a scanner's lamp does to white paper."""
SOLID_CONTRAST = 40
_NOISE = 7.0
"""Times the spread of paper: what differs more is no noise."""

Mask = NDArray[np.bool_]
Gray = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""
FloatBox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of a page at about `DPI`. `solid`: dark or coloured areas too large for a mark."""

    gray: Gray
    dark: Mask
    light: Mask
    contrast: Gray
    """By how much a pixel differs from its ground, either way."""
    closed: Gray
    """The light ground round every pixel."""
    opened: Gray
    """The dark ground round every pixel."""
    scale: float
    """Pixels here for a pixel of the image that was looked at."""
    threshold: int
    """The contrast from which a pixel counts as a mark."""
    solid: Mask

    @property
    def any(self) -> Mask:
        """Dark or light."""
        return self.dark | self.light

    def without(self, boxes: Iterable[tuple[float, float, float, float]]) -> Mask:
        """The marks outside of `boxes` of words, which are in pixels of the image looked at."""
        rest = self.any
        for box in boxes:
            left, top, right, bottom = (v * self.scale for v in box)
            pad = min(max(2.0, 0.2 * (bottom - top)), 0.8 * DPI / 25.4 + 2)
            rest[
                max(0, int(top - pad)) : int(bottom + pad) + 1,
                max(0, int(left - pad)) : int(right + pad) + 1,
            ] = False
        return rest


def find(image: Image.Image, dpi: float) -> Marks:
    """The marks of a gray (`L`) image of `dpi`."""
    factor = max(1, round(dpi / DPI))
    small = image.reduce(factor) if factor > 1 else image
    gray = np.asarray(small, dtype=np.uint8)
    closed, opened = grounds(gray)
    below, above = closed - gray, gray - opened
    threshold = max(_threshold(below), _threshold(above))
    # What is darker than its ground, or lighter: the ground is what there is more of. Bold print
    # blackens up to half of its surroundings.
    on_light = _mean(small) >= opened + (closed - opened) // 9 * 4
    light = (above >= threshold) & ~on_light
    dark = (below >= threshold) & ~light
    paper = int(np.median(gray))
    far = [np.abs(g.astype(np.int16) - paper) > SOLID_CONTRAST for g in (closed, opened)]
    solid = far[0] & far[1]
    return Marks(
        gray, dark, light, np.maximum(below, above), closed, opened, 1.0 / factor, threshold, solid
    )


def grounds(gray: Gray) -> tuple[Gray, Gray]:
    """The light and the dark ground round every pixel: marks smaller than `GROUND` filled in."""
    height, width = gray.shape
    even = np.pad(gray, [(0, height % 2), (0, width % 2)], "edge")
    found = []
    for first, second in ((np.maximum, np.minimum), (np.minimum, np.maximum)):
        # By blocks of two: ground is smooth, and a quarter of the pixels tells as much.
        rows = first(even[0::2], even[1::2])
        half = first(rows[:, 0::2], rows[:, 1::2])
        half = slide(slide(half, GROUND // 2 + 1, first), GROUND // 2 + 1, second)
        whole = np.repeat(np.repeat(half, 2, axis=0), 2, axis=1)[:height, :width]
        found.append(first(whole, gray))
    return found[0], found[1]


def _mean(image: Image.Image) -> Gray:
    """The mean of the surroundings of every pixel."""
    step = GROUND // 5
    blurred = np.asarray(image.reduce(step).filter(ImageFilter.BoxBlur(1)), dtype=np.uint8)
    whole = np.repeat(np.repeat(blurred, step, axis=0), step, axis=1)
    return whole[: image.height, : image.width]


def _threshold(contrast: Gray) -> int:
    """What counts as a mark: paper's own spread is told by its quieter half."""
    sample = np.ascontiguousarray(contrast[::3, ::2]).ravel()
    counts = np.bincount(sample, minlength=256)
    below = np.cumsum(counts) / sample.size
    middle = int(np.searchsorted(below, 0.4))
    low = int(np.searchsorted(below, 0.1))
    return int(max(LEAST_CONTRAST, middle + _NOISE / 2 * (middle - low + 1)))


def slide(pixels: Gray, size: int, best: np.ufunc) -> Gray:
    """The `best` (greatest or least) of the square of `size` round every pixel."""
    half = size // 2
    for axis in (0, 1):
        padded = np.pad(pixels, [(half, half) if a == axis else (0, 0) for a in (0, 1)], "edge")
        span = 1
        while span < size:
            step = min(span, size - span)
            length = padded.shape[axis] - step
            first = padded[:length] if axis == 0 else padded[:, :length]
            other = padded[step:] if axis == 0 else padded[:, step:]
            padded = best(first, other)
            span += step
        pixels = padded
    return pixels


def percentiles(values: NDArray[np.generic], *shares: float) -> list[float]:
    """As `numpy.percentile` gives them; much sooner for few values."""
    flat = values.ravel()
    places = [(flat.size - 1) * share / 100 for share in shares]
    ends = sorted({min(flat.size - 1, int(p) + more) for p in places for more in (0, 1)})
    order = np.partition(flat, ends)
    low = [(float(order[int(p)]), float(order[min(flat.size - 1, int(p) + 1)])) for p in places]
    return [a + (b - a) * (p - int(p)) for (a, b), p in zip(low, places, strict=True)]


def runs(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The unbroken runs of marks, row by row: row, start and end (outside) of each."""
    height, width = mask.shape
    span = width + 1
    flat = np.zeros(height * span + 1, np.bool_)
    flat[1:].reshape(height, span)[:, :width] = mask
    steps = np.flatnonzero(flat[1:] != flat[:-1])
    first, last = steps[0::2], steps[1::2]
    rows = first // span
    return rows, first - rows * span, last - rows * span


@dataclass(frozen=True, slots=True)
class _Connected:
    """The runs of a mask, and which connected marks each is part of."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    label: NDArray[np.int64]
    roots: NDArray[np.int64]
    """The first run of each."""

    @property
    def count(self) -> int:
        return len(self.roots)

    def boxes(self) -> NDArray[np.int32]:
        left, right = self.starts[self.roots], self.ends[self.roots]
        np.minimum.at(left, self.label, self.starts)
        np.maximum.at(right, self.label, self.ends)
        bottom = np.zeros(self.count, np.int64)
        bottom[self.label] = self.rows + 1  # rows come in order: the last one stays
        return np.stack([left, self.rows[self.roots], right, bottom], axis=1).astype(np.int32)

    def areas(self) -> NDArray[np.int32]:
        return np.bincount(self.label, self.ends - self.starts, self.count).astype(np.int32)

    def by_pixel(self, shape: tuple[int, ...]) -> NDArray[np.int32]:
        labels = np.full(shape[0] * shape[1], -1, np.int32)
        lengths = self.ends - self.starts
        flat = np.repeat(self.rows * shape[1] + self.starts - np.cumsum(lengths) + lengths, lengths)
        labels[flat + np.arange(len(flat))] = np.repeat(self.label, lengths)
        return labels.reshape(shape)


def _connected(mask: Mask, *, corners: bool) -> _Connected:
    rows, starts, ends = runs(mask)
    count = len(rows)
    span = mask.shape[1] + 2
    first_key, last_key = rows * span + starts, rows * span + ends
    # Runs of the next row that touch: with corners, start <= end of ours and end >= our start.
    sides: tuple[Literal["left", "right"], ...] = (
        ("left", "right") if corners else ("right", "left")
    )
    low = np.searchsorted(last_key, (rows + 1) * span + starts, sides[0])
    high = np.searchsorted(first_key, (rows + 1) * span + ends, sides[1])
    touching = np.maximum(0, high - low)
    left = np.repeat(np.arange(count), touching)
    offset = np.arange(len(left)) - np.repeat(np.cumsum(touching) - touching, touching)
    right = np.repeat(low, touching) + offset
    label = np.arange(count)
    while len(left):
        of_left, of_right = label[left], label[right]
        apart = of_left != of_right
        if not apart.any():
            break
        left, right, of_left, of_right = (v[apart] for v in (left, right, of_left, of_right))
        # Whole trees are joined at their roots; the least run of each component is its root.
        np.minimum.at(label, np.maximum(of_left, of_right), np.minimum(of_left, of_right))
        while not np.array_equal(label, higher := label[label]):
            label = higher
    roots = label == np.arange(count)
    return _Connected(rows, starts, ends, (np.cumsum(roots) - 1)[label], np.flatnonzero(roots))


def components(
    mask: Mask, *, corners: bool = True
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Connected marks: boxes (n x 4), areas, and labels (from 0) by pixel, -1 where there is none.

    `corners`: pixels that touch with a corner only are connected.
    """
    found = _connected(mask, corners=corners)
    return found.boxes(), found.areas(), found.by_pixel(mask.shape)


def boxes_of(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Boxes and areas of connected marks, as `components` gives them with the labels."""
    found = _connected(mask, corners=True)
    return found.boxes(), found.areas()
