"""Seals: a rim of a seal's size, and the words of its own print within it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from archived_ocr.ink import MM, Box, Marks, Mask, components
from archived_ocr.shapes import Group

_SMALLEST, _LARGEST = 16 * MM, 60 * MM
_RIM = 28 * MM
"""The smallest rim of a seal that other ink touches; round seals of offices have 30 mm and more."""
_SECTORS = 24
_ROUND = 0.08
"""Spread of the radius of a rim by its mean: a disc has less, a square 0.1 and more."""
_TURNS, _ROUNDED, _OPEN, _BEYOND = 48, 0.9, 0.2, 3
"""Points of a circle that are looked at, the share of them that is drawn on a rim, and at most so
many pixels beyond it."""
_ARC = 0.3
"""Share of a rim that must be seen of a part of a seal."""
_EDGE, _STRIP = 8 * MM, 8 * MM
"""How near the side of its page such a part lies, and how wide it is at least."""
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

    `red` has `step` of those for one of its own. A frame with words in it is no disc. A seal that
    other red ink touches, as the stamp with a name often does, is known by the circle of its rim;
    so is one that lies over the edges of several pages, of which each shows a part.
    """
    boxes, _, labels = components(red)
    found = []
    for n, (left, top, right, bottom) in enumerate(boxes.tolist()):
        wide, high = (right - left) * step, (bottom - top) * step
        beside = left * step < _EDGE or (red.shape[1] - right) * step < _EDGE
        part = beside and wide > _STRIP and high > _RIM
        if max(wide, high) > 4 * _LARGEST or not (part or min(wide, high) > _SMALLEST):
            continue
        mine = labels[top:bottom, left:right] == n
        if min(wide, high) > _SMALLEST and _is_disc(mine, wide, high):
            edges = [(left, top, right, bottom)]
        else:
            edges = [
                (left + x - r, top + y - r, left + x + r, top + y + r)
                for x, y, r in _circles(mine, step, part=part)
            ]
        found += [tuple(int(v * step) for v in edge) for edge in edges]
    return found  # type: ignore[return-value]


def _is_disc(mask: Mask, wide: float, high: float) -> bool:
    if max(wide, high) >= min(_LARGEST, 1.35 * min(wide, high)):
        return False
    ys, xs = np.nonzero(mask)
    x, y = xs - (mask.shape[1] - 1) / 2, ys - (mask.shape[0] - 1) / 2
    sector = ((np.arctan2(y, x) + np.pi) / (2 * np.pi) * _SECTORS).astype(np.int64) % _SECTORS
    rim = np.zeros(_SECTORS)
    np.maximum.at(rim, sector, np.hypot(x, y))
    return float(rim.std()) < _ROUND * float(rim.mean())


def _circles(mask: Mask, step: float, *, part: bool) -> Iterator[tuple[int, int, int]]:
    """Circles of a seal's size that ink lies along all round and hardly beyond: x, y, radius.

    Of a `part` of a seal, as far as it is seen. One of each size and place, the fullest first.
    """
    least = int(_RIM / 2 / step)
    largest = int(min(_LARGEST / 2 / step, max(mask.shape) / 2 + 1))
    out = largest if part else 0
    pad = largest + _BEYOND + 1 + out
    shape = mask.shape[0] + 2 * out, mask.shape[1] + 2 * out
    turns = np.arange(_TURNS) * (2 * np.pi / _TURNS)

    def along(ink: Mask, radius: float) -> NDArray[np.int16]:
        wide = np.pad(ink, pad).astype(np.uint8)
        total = np.zeros(shape, np.int16)
        for dx, dy in zip(np.cos(turns) * radius, np.sin(turns) * radius, strict=True):
            y, x = pad - out + round(dy), pad - out + round(dx)
            total += wide[y : y + shape[0], x : x + shape[1]]
        return total

    radii = range(least, largest + _BEYOND + 1)
    rims = {r: along(mask, r) for r in radii}
    seen = {r: along(np.ones_like(mask), r) if part else np.int16(_TURNS) for r in radii}
    best: list[tuple[int, int, int, int]] = []
    for r in range(least, largest + 1):
        fits = (rims[r + _BEYOND] <= _OPEN * seen[r + _BEYOND]) & (rims[r] >= _ROUNDED * seen[r])
        fits &= seen[r] >= _ARC * _TURNS
        score = np.where(fits, rims[r], 0)
        at = int(np.argmax(score))
        best.append((int(score.flat[at]), r, at % shape[1] - out, at // shape[1] - out))
    taken: list[tuple[int, int, int]] = []
    for count, r, x, y in sorted(best, reverse=True):
        if not count:
            break
        if all(np.hypot(x - a, y - b) > c for a, b, c in taken):
            taken.append((x, y, r))
            yield x, y, r


def named(left: Sequence[Group], is_coloured: Callable[[Box], bool] | None) -> list[Group]:
    """`left` with the words that are part of a seal's own print called so.

    They have the ink of its rim: on a page in colour they are coloured, as `is_coloured` says; on
    a gray one a document's print below a seal is darker.
    """
    seals = [g for g in left if g.kind == "seal"]

    def of_a_seal(group: Group) -> bool:
        x, y = (group.box[0] + group.box[2]) / 2, (group.box[1] + group.box[3]) / 2
        return any(
            s.box[0] < x < s.box[2]
            and s.box[1] < y < s.box[3]
            and group.size[0] < s.size[0]
            and (is_coloured or abs(group.contrast - s.contrast) < 0.2 * s.contrast)
            for s in seals
        ) and (is_coloured is None or is_coloured(group.box))

    return [replace(g, kind="seal") if g.kind == "text" and of_a_seal(g) else g for g in left]
