"""Whether marks on a page are print of the sheet's other side that shines through the paper.

Told by the other side, where it is known, and by softness: paper spreads light by some tenths of a
millimetre, print has an edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archived_ocr.ink import Marks, Mask
from archived_ocr.shapes import Group

SOFT = 0.026
"""Energy of the second differences by that of differences over four pixels, at 200 dpi and once
smoothed by a pixel: print has 0.03 and more, what is spread by two pixels 0.01 to 0.02."""
_ROUNDING = 0.003
"""What rounding to gray levels adds to the first."""
_PIXELS = 2_000_000
_ENOUGH = 400
"""Pixels about which something can be said."""

Samples = tuple[NDArray[np.float32], NDArray[np.float32]]


def is_blurred(image: Image.Image, dpi: float, content: Sequence[Group], marks: Marks) -> bool:
    """Whether the edges of `content` are too soft for print, paper's noise taken off."""
    noise = _noise(image, marks, dpi)
    fine = coarse = 0.0
    count = 0
    for group in sorted(content, key=lambda g: -g.area)[:12]:
        left, top, right, bottom = (int(v / marks.scale) for v in group.box)
        pad = round(4 * dpi / 200)
        part = image.crop((max(0, left - pad), max(0, top - pad), right + pad, bottom + pad))
        if part.width * part.height > _PIXELS:
            part = part.crop((0, 0, min(part.width, 1600), min(part.height, 1200)))
        second, fourth = _differences(np.asarray(part, dtype=np.float32), dpi, group.contrast)
        fine += float((second**2).sum())
        coarse += float((fourth**2).sum())
        count += second.size
    if count < _ENOUGH:
        return False
    fine, coarse = fine / count - noise[0] - _ROUNDING, coarse / count - noise[1]
    if coarse < 0.5:
        return True
    return fine < SOFT * coarse


def _differences(gray: NDArray[np.float32], dpi: float, contrast: int) -> Samples:
    """Second differences, and those over four pixels, of what is no stronger than `contrast`."""
    step = max(1, round(dpi / 200))
    if gray.shape[1] <= 6 * step + 4 or gray.shape[0] < 6:
        empty = np.zeros(0, np.float32)
        return empty, empty
    # Dust is sharp wherever it lies.
    paper = float(np.median(gray))
    strange = np.abs(gray - paper) > 1.5 * contrast + 6
    second, fourth = _both(_smooth(gray), step)
    width = fourth.shape[1]
    strange = strange[2:-2, 2:-2]
    fair = ~strange[:, :width]
    for shift in range(1, 4 * step + 1):
        fair &= ~strange[:, shift : shift + width]
    return second[fair], fourth[fair]


def _noise(image: Image.Image, marks: Marks, dpi: float) -> tuple[float, float]:
    """What clean paper has of both kinds of differences."""
    times = max(1, round(1 / marks.scale))
    gray = _smooth(np.asarray(image, dtype=np.float32), horizontal=False)[::3]
    clean = ~np.repeat(np.repeat(marks.any, times, axis=0), times, axis=1)[2::3]
    height, width = min(gray.shape[0], clean.shape[0]), min(gray.shape[1], clean.shape[1])
    clean = clean[:height, 2 : width - 2]
    step = max(1, round(dpi / 200))
    second, fourth = _both(_smooth(gray[:height, :width], vertical=False), step)
    calm = clean[:, : fourth.shape[1]].copy()
    for shift in range(1, 4 * step + 1):
        calm &= clean[:, shift : shift + calm.shape[1]]
    if calm.sum() < 1000:
        return 0.0, 0.0
    return float(np.mean(second[calm] ** 2)), float(np.mean(fourth[calm] ** 2))


def _smooth(
    gray: NDArray[np.float32], *, horizontal: bool = True, vertical: bool = True
) -> NDArray[np.float32]:
    """Smoothed by a pixel; two pixels shorter on either side."""
    if vertical:
        sides = gray[:-4] + gray[4:] + 4 * (gray[1:-3] + gray[3:-1])
        gray = ((sides + 6 * gray[2:-2]) / 16).astype(np.float32)
    if horizontal:
        sides = gray[:, :-4] + gray[:, 4:] + 4 * (gray[:, 1:-3] + gray[:, 3:-1])
        gray = ((sides + 6 * gray[:, 2:-2]) / 16).astype(np.float32)
    return gray


def _both(gray: NDArray[np.float32], step: int) -> Samples:
    second = gray[:, 2 * step :] - 2 * gray[:, step:-step] + gray[:, : -2 * step]
    fourth = gray[:, 4 * step :] - gray[:, : -4 * step]
    return second[:, : fourth.shape[1]], fourth


def shrunk(mask: Mask) -> Mask:
    """A mask at an eighth of its size (12.5 dpi), for comparing pages with one another."""
    step = 8
    height, width = (s // step * step for s in mask.shape)
    blocks = mask[:height, :width].reshape(height // step, step, width // step, step)
    dense: Mask = blocks.mean(axis=(1, 3)) > 0.06
    return dense


def is_mirrored(own: Mask, behind: Sequence[Mask]) -> bool:
    """Whether the marks `own` lie where those of one of `behind` (shrunk) are, seen in a mirror."""
    small = shrunk(own)
    return int(small.sum()) >= 4 and any(_is_mirror(small, other) for other in behind)


def _is_mirror(small: Mask, other: Mask) -> bool:
    share = 0.0
    chance = 1.0
    for turned in (other[:, ::-1], other[::-1, :]):
        for dy in range(-4, 5, 2):
            for dx in range(-4, 5, 2):
                place = _placed(turned, small.shape, dy, dx)
                hit = float((small & place).sum()) / float(small.sum())
                if hit > share:
                    share, chance = hit, float(place.mean())
    return share > 0.85 and share > 2.2 * chance


def _placed(mask: Mask, shape: tuple[int, ...], dy: int, dx: int) -> Mask:
    wide = np.zeros((shape[0] + 24, shape[1] + 24), np.bool_)
    height, width = min(mask.shape[0], shape[0] + 8), min(mask.shape[1], shape[1] + 8)
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:, 1:] |= mask[:, :-1]
    wide[12 + dy : 12 + dy + height, 12 + dx : 12 + dx + width] = grown[:height, :width]
    return wide[12 : 12 + shape[0], 12 : 12 + shape[1]]
