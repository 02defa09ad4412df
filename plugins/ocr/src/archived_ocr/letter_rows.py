"""Whether letters stand in a row somewhere in a layer of marks: asked before the engine is.

The engine takes twenty times as long to find that there is nothing to read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archived_ocr.accepted_words import FloatBox
from archived_ocr.ink import Mask, components
from archived_ocr.shapes import MM

ROW = 3
"""Letters in a row from which print is possible: "MẬT" has no more."""
_FULL = 0.8
"""Share of a layer above which it is the ground that is drawn and not the letters."""
_MOST = 600
"""Parts of letters' size; a layer with more is noise or a screen of dots."""


def longest(mask: Mask, unit: float, known: Sequence[FloatBox] = ()) -> int:
    """How many parts of `mask` stand in a row like the letters of a word, at most.

    `unit`: pixels of `mask` for one of `ink`. What lies in boxes of `known` words is left out.
    """
    if float(mask.mean()) > _FULL:
        return 0
    mask = without(mask, known)
    boxes, areas, _ = components(mask)
    if not len(areas):
        return 0
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    mm = MM * unit
    fits = (h >= 1.5 * mm) & (h <= 14 * mm) & (w <= 1.6 * h) & (w >= 0.12 * h)
    fits &= (areas >= 0.12 * w * h) & (areas <= 0.85 * w * h)
    count = int(fits.sum())
    if not 2 <= count <= _MOST:
        return 0
    return _longest_chain(_neighbours(boxes[fits].astype(np.float32)))


def without(mask: Mask, known: Sequence[FloatBox]) -> Mask:
    """`mask` with what lies in the boxes taken away."""
    clear = mask.copy()
    for box in known:
        left, top, right, bottom = (max(0, round(v)) for v in box)
        clear[top:bottom, left:right] = False
    return clear


def _neighbours(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which boxes stand on one line, are of one height and are next to one another."""
    left, bottom, right = boxes[:, 0], boxes[:, 3], boxes[:, 2]
    height = bottom - boxes[:, 1]
    taller = np.maximum(height[:, None], height)
    lower = np.minimum(height[:, None], height)
    gap = np.maximum(left[:, None] - right, left - right[:, None])
    level = np.abs(bottom[:, None] - bottom) <= 0.14 * taller
    near: NDArray[np.bool_] = level & (taller <= 1.5 * lower) & (gap <= 1.2 * lower)
    near &= gap > -0.3 * lower
    return near


def _longest_chain(near: NDArray[np.bool_]) -> int:
    label = np.arange(len(near))
    while True:
        least = np.where(near, label, len(near)).min(axis=1)
        now = np.minimum(label, least)
        if np.array_equal(now, label):
            return int(np.bincount(label).max())
        label = now
