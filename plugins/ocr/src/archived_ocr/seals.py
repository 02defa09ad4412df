"""Seals: a rim of a seal's size, and the words of its own print within it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from archived_ocr.ink import MM, Box, Marks, Mask, components
from archived_ocr.shapes import Group

_SMALLEST, _LARGEST = 16 * MM, 60 * MM
_SECTORS = 24
_ROUND = 0.08
"""Spread of the radius of a rim by its mean: a disc has less, a square 0.1 and more."""
_FULL = 0.36
"""Share of marks in its box above which a group is a picture and no seal."""


def is_seal(group: Group, marks: Marks) -> bool:
    """Whether a group of marks is a seal, perhaps with a signature over it."""
    width, height = group.size
    if group.kind not in ("strokes", "picture") or min(width, height) <= _SMALLEST:
        return False
    full = group.area > _FULL * width * height
    return max(width, height) < _LARGEST and not full and _is_ring(marks, group)


def _is_ring(marks: Marks, group: Group) -> bool:
    """Whether most of a group's marks lie on or within a circle with a rim."""
    left, top, right, bottom = group.box
    ys, xs = np.nonzero(marks.any[top:bottom, left:right])
    if len(xs) < 50:
        return False
    middle_x, middle_y = np.median(xs), np.median(ys)
    radius = np.hypot(xs - middle_x, ys - middle_y)
    rim = float(np.percentile(radius, 80))
    near = float(((radius > 0.75 * rim) & (radius < 1.25 * rim)).mean())
    return near > 0.4 and 7 * MM < rim < 30 * MM


def discs(red: Mask, step: float) -> list[Box]:
    """Where red ink makes a disc of a seal's size: boxes in pixels of `ink`.

    `red` has `step` of those for one of its own. A frame with words in it is no disc.
    """
    boxes, _, labels = components(red)
    found = []
    for n, (left, top, right, bottom) in enumerate(boxes.tolist()):
        wide, high = (right - left) * step, (bottom - top) * step
        if not (
            min(wide, high) > _SMALLEST and max(wide, high) < min(_LARGEST, 1.35 * min(wide, high))
        ):
            continue
        ys, xs = np.nonzero(labels[top:bottom, left:right] == n)
        x, y = xs - (right - left - 1) / 2, ys - (bottom - top - 1) / 2
        sector = ((np.arctan2(y, x) + np.pi) / (2 * np.pi) * _SECTORS).astype(np.int64) % _SECTORS
        rim = np.zeros(_SECTORS)
        np.maximum.at(rim, sector, np.hypot(x, y))
        if float(rim.std()) < _ROUND * float(rim.mean()):
            found.append((int(left * step), int(top * step), int(right * step), int(bottom * step)))
    return found


def named(left: Sequence[Group], is_coloured: Callable[[Box], bool] | None) -> list[Group]:
    """`left` with the words that are part of a seal's own print called so.

    They have the ink of its rim: on a page in colour they are coloured, as `is_coloured` says; on
    a gray one a document's print below a seal is darker.
    """
    seals = [g for g in left if g.kind == "seal"]

    def of_a_seal(group: Group) -> bool:
        x, y = (group.box[0] + group.box[2]) / 2, (group.box[1] + group.box[3]) / 2
        return any(
            s.box[0] < x < s.box[2] and s.box[1] < y < s.box[3] and group.size[0] < s.size[0]
            and (is_coloured or abs(group.contrast - s.contrast) < 0.2 * s.contrast)
            for s in seals
        ) and (is_coloured is None or is_coloured(group.box))  # fmt: skip

    return [replace(g, kind="seal") if g.kind == "text" and of_a_seal(g) else g for g in left]
