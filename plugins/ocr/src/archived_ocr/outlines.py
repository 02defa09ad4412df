"""Letters that are drawn as outlines: told by the ground that their strokes close in, and filled.

The engine takes outlined letters for brackets and bars. Filled they are ordinary print.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archived_ocr.ink import Mask, boxes_of, components

_CLOSED_IN = 0.45
"""Ground that outlined letters close in, by their strokes; printed ones have less."""
_COMPACT = 0.7
"""Share of its box that the body of a letter does not fill; a form's square or ring, and the
middle of a printed O, do."""

SURELY_NOT_COMPACT = 0.58
"""The same beside print: the ground in a printed a, b or e fills three fifths of its box or more,
the body of a letter half."""

_LEAST_BODIES = 2
"""Bodies beside the ground round everything that are no row yet."""

Labels = NDArray[np.int32]


def filled(strokes: Mask) -> Mask:
    """`strokes` with the ground that one stroke closes in filled; within a second one it stays.

    The body of an outlined O is filled, the middle of it is not.
    """
    _, areas, grounds = _grounds(strokes)
    return strokes | _closed_in(strokes, grounds, len(areas))[1:-1, 1:-1]


def _grounds(strokes: Mask) -> tuple[Labels, Labels, Labels]:
    """The pieces of ground, with a rim of a pixel: boxes, areas and labels."""
    ground = np.ones((strokes.shape[0] + 2, strokes.shape[1] + 2), np.bool_)
    ground[1:-1, 1:-1] = ~strokes
    return components(ground, corners=False)


def _closed_in(strokes: Mask, grounds: Labels, count: int) -> Mask:
    """The ground (with a rim of a pixel) that an odd number of strokes closes in."""
    ink = np.zeros(grounds.shape, np.bool_)
    ink[1:-1, 1:-1] = strokes
    _, areas, labels = components(ink)
    depth = _depths(grounds, labels, count, len(areas))
    inside: Mask = np.append(depth % 2 == 1, False)[grounds]
    return inside


def _depths(grounds: Labels, strokes: Labels, count: int, inks: int) -> NDArray[np.int64]:
    """By how many strokes each piece of ground is separated from the ground round everything."""
    pairs = np.concatenate(
        [
            np.stack([a[touch], b[touch]], axis=1)
            for a, b in _sides(grounds, strokes)
            if (touch := (a >= 0) & (b >= 0)).any()
        ]
        or [np.zeros((0, 2), np.int32)]
    )
    keys = pairs[:, 0].astype(np.int64) * inks + pairs[:, 1]
    keys = np.unique(keys[np.flatnonzero(np.diff(keys, prepend=-1))])
    pairs = np.stack([keys // inks, keys % inks], axis=1) if inks else pairs
    depth = np.full(count, -1, np.int64)
    of_stroke = np.full(inks, -1, np.int64)
    depth[grounds[0, 0]] = 0
    step = 0
    while True:
        near = (depth[pairs[:, 0]] == step) & (of_stroke[pairs[:, 1]] < 0)
        of_stroke[pairs[near, 1]] = step
        beyond = (of_stroke[pairs[:, 1]] == step) & (depth[pairs[:, 0]] < 0)
        if not beyond.any():
            break
        step += 1
        depth[pairs[beyond, 0]] = step
    return depth


def _sides(one: Labels, other: Labels) -> list[tuple[Labels, Labels]]:
    return [
        (one[:, :-1], other[:, 1:]),
        (one[:, 1:], other[:, :-1]),
        (one[:-1], other[1:]),
        (one[1:], other[:-1]),
    ]


def bodies(strokes: Mask, compact: float = _COMPACT) -> Mask | None:
    """The bodies of the letters that `strokes` are the outlines of; `None` when they are none.

    Outlines of neighbours may touch, their bodies do not.
    """
    drawn = int(strokes.sum())
    ground_boxes, ground_areas, grounds = _grounds(strokes)
    # Most print closes in too little ground, and no body: then nobody needs to know what is within.
    outer = int(grounds[0, 0])
    held = np.arange(len(ground_areas)) != outer
    open_shapes = held & (_shares(ground_boxes, ground_areas) < compact)
    if not drawn or ground_areas[held].sum() < _CLOSED_IN * drawn or open_shapes.sum() < 2:
        return None
    inside = _closed_in(strokes, grounds, len(ground_areas))[1:-1, 1:-1]
    if int(inside.sum()) < _CLOSED_IN * drawn:
        return None
    boxes, areas = boxes_of(inside)
    large = areas >= 0.2 * areas.max()
    share = _shares(boxes[large], areas[large])
    if (share < compact).sum() < max(2, 0.5 * len(share)):
        return None
    return inside


def bodies_among(strokes: Mask) -> Mask:
    """What may be the bodies of outlined letters, among other marks."""
    # Without so many open shapes in the ground there is no row of bodies.
    ground = _grounds(strokes)
    if int((_shares(ground[0], ground[1]) < _COMPACT).sum()) <= _LEAST_BODIES:
        return np.zeros_like(strokes)
    inside = _closed_in(strokes, ground[2], len(ground[1]))[1:-1, 1:-1]
    boxes, areas, labels = components(inside & ~strokes)
    return np.append(_shares(boxes, areas) < _COMPACT, False)[labels]


def _shares(boxes: NDArray[np.int32], areas: NDArray[np.int32]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = areas / np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return share
