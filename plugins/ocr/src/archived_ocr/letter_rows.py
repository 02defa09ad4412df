"""Whether letters stand in a row somewhere in a layer of marks: asked before the engine is.

The engine takes twenty times as long to find that there is nothing to read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archived_ocr.ink import MM, FloatBox, Mask, boxes_of

ROW = 3
"""Letters in a row from which print is possible: "MẬT" has no more."""
_LETTER, _WORD = 1.6, 12.0
"""Width of a letter, and of a word whose letters touch, by its height, at most."""
_USUAL = 0.75
"""Width of a letter by its height in a word whose letters touch."""
_FULL = 0.8
"""Share of a layer above which it is the ground that is drawn and not the letters."""
_AT_ONCE = 400
"""Parts compared with one another at once. A row may be told from half as many of its neighbours:
so many parts do not stand on one line."""


def longest(
    mask: Mask, unit: float, known: Sequence[FloatBox] = (), *, joined: bool = False
) -> int:
    """How many parts of `mask` stand in a row like the letters of a word, at most.

    `unit`: pixels of `mask` for one of `ink`. What lies in boxes of `known` words is left out.
    `joined`: letters that touch count as well, by their width; so does a line of a pen.
    """
    if float(mask.mean()) > _FULL:
        return 0
    boxes, label = _chains(without(mask, known), unit, _WORD if joined else _LETTER)
    if len(boxes) < 2 and not joined:
        return 0
    wide = (boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])
    letters = np.maximum(1, np.rint(wide / _USUAL)) if joined else None
    return int(np.bincount(label, letters).max(initial=0))


def rows(mask: Mask, unit: float, least: int) -> list[NDArray[np.int32]]:
    """The boxes of the parts of each row of at least `least` letters."""
    boxes, label = _chains(mask, unit, _LETTER)
    many = np.flatnonzero(np.bincount(label) >= least) if len(label) else ()
    return [boxes[label == n] for n in many]


def _chains(mask: Mask, unit: float, widest: float) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The parts of letters' size, and by which chain of neighbours each is part of."""
    boxes, areas = boxes_of(mask)
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    mm = MM * unit
    fits = (h >= 1.5 * mm) & (h <= 14 * mm) & (w <= widest * h) & (w >= 0.12 * h)
    fits &= (areas >= 0.12 * w * h) & (areas <= 0.85 * w * h)
    parts = boxes[fits]
    parts = parts[np.argsort(parts[:, 3])]
    pairs = [np.zeros((0, 2), np.int64)]
    for first in range(0, max(1, len(parts) - _AT_ONCE // 2), _AT_ONCE // 2):
        near = _neighbours(parts[first : first + _AT_ONCE].astype(np.float32))
        pairs.append(np.argwhere(near) + first)
    return parts, _joined(np.concatenate(pairs), len(parts))


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


def _joined(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """A label for each part: parts that are neighbours, and theirs, have the same."""
    label = np.arange(count)
    while True:
        now = label.copy()
        np.minimum.at(now, pairs[:, 0], label[pairs[:, 1]])
        if np.array_equal(now, label):
            return label
        label = now
