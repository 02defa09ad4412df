"""Kinds of marks: what a group of marks on a page looks like, told by its shape and place.

Text-like marks are rows of letters' size and regularity. Everything else is told apart so that a
person who looks through the facts finds it: rules, seals, handwriting, pictures, dust.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archived_ocr.ink import MM, Box, Marks, Mask, boxes_of, components
from archived_ocr.shapes import LEAST_LETTERS, Group, Shapes, not_examined

_SPECK = 0.25 * MM * MM
_RULE_LONG, _RULE_THICK = 8 * MM, 1.3 * MM
_MOST = 2000
"""Groups whose shapes are told on one page, the largest first. Of the others those that may be
letters are named as not examined."""


def groups(marks: Marks, residue: Mask, image: Image.Image) -> list[Group]:
    """The groups of marks within `residue`, the largest first; dust is one group of its own.

    `image` is what `marks` were found in: letters are told from one another at its own resolution.
    """
    found: list[Group] = []
    mask, rules = _without_rules(residue)
    if rules.any():
        height, width = residue.shape
        for values, area in zip(*boxes_of(rules), strict=True):
            box = _box(values)
            near = min(box[0], box[1], width - box[2], height - box[3])
            flat = min(box[2] - box[0], box[3] - box[1]) < 3 * MM
            kind = "edge" if near < 3 * MM and flat else "rule"
            found.append(Group(kind, box, int(area), 0))
    boxes, areas, labels = components(mask)
    if not len(areas):
        return found
    small = (areas < _SPECK) | (np.max(boxes[:, 2:] - boxes[:, :2], axis=1) < 0.9 * MM)
    joined = _joined(mask, labels, small)
    group_boxes, _, group_labels = components(joined)
    owner = group_labels.ravel()[_first_pixels(labels, len(areas))]
    weight = np.bincount(owner[owner >= 0], areas[owner >= 0], len(group_boxes))
    dust = int(areas[owner < 0].sum())
    shapes = Shapes(marks, image)
    order = np.argsort(-weight)
    for index in order[:_MOST]:
        parts = np.nonzero(owner == index)[0]
        box = _around(boxes[parts])
        if weight[index] < 2 * _SPECK or max(box[2] - box[0], box[3] - box[1]) < 1.4 * MM:
            dust += int(weight[index])
            continue
        left, top, right, bottom = box
        inside = np.isin(labels[top:bottom, left:right], parts)
        found += shapes.told(box, inside, int(weight[index]))
    rest = np.isin(owner, order[_MOST:])
    found += _not_told(boxes[rest], owner[rest])
    if dust:
        found.append(Group("dust", (0, 0, 0, 0), dust, 0))
    return sorted(found, key=lambda g: -g.area)


def _not_told(boxes: NDArray[np.int32], owner: NDArray[np.int32]) -> list[Group]:
    """What the smallest groups of a page are, when there are too many: a place not examined."""
    height = boxes[:, 3] - boxes[:, 1]
    parts = np.bincount(owner[height >= 0.9 * MM]) if len(owner) else np.zeros(0, np.int64)
    letters = np.isin(owner, np.flatnonzero(parts >= LEAST_LETTERS))
    return [not_examined(_around(boxes[letters]))] if letters.any() else []


def _around(boxes: NDArray[np.int32]) -> Box:
    return _box(np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)]))


def _first_pixels(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    flat = labels.ravel()
    present = np.flatnonzero(flat >= 0)
    first = np.zeros(count, np.int64)
    first[flat[present][::-1]] = present[::-1]
    return first


def _box(values: NDArray[np.int32]) -> Box:
    left, top, right, bottom = (int(v) for v in values)
    return left, top, right, bottom


def _without_rules(residue: Mask) -> tuple[Mask, Mask]:
    """`residue` without straight lines, and the lines."""
    lines = np.zeros_like(residue)
    for axis in (1, 0):
        run = _long_runs(residue, round(_RULE_LONG), axis)
        if not run.any():
            continue
        boxes, areas, labels = components(run)
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        length = width if axis == 1 else height
        thick = areas / np.maximum(1, length)
        thin = (thick <= _RULE_THICK) & (length >= 5 * thick)
        straight = _pixels_of(thin, labels, run)
        if (thin & (np.minimum(width, height) > 2 * _RULE_THICK)).any():
            # A dark area that a line touches, such as a box with light letters, is no part of it.
            straight &= ~_long_runs(straight, round(2 * _RULE_THICK) + 1, 1 - axis)
        lines |= straight
    return residue & ~lines, lines


def _pixels_of(chosen: NDArray[np.bool_], labels: NDArray[np.int32], mask: Mask) -> Mask:
    """The pixels of `mask` whose label is `chosen`."""
    pixels = np.zeros(mask.shape, np.bool_)
    drawn = np.flatnonzero(mask)
    pixels.ravel()[drawn] = chosen[labels.ravel()[drawn]]
    return pixels


def _long_runs(mask: Mask, length: int, axis: int) -> Mask:
    """The pixels that lie in an unbroken run of at least `length` along `axis`."""
    if mask.shape[axis] < length:
        return np.zeros_like(mask)
    starts = _combined(mask, length, axis, np.logical_and)
    if not starts.any():
        return np.zeros_like(mask)
    wide = np.pad(starts, [(length - 1, length - 1) if a == axis else (0, 0) for a in (0, 1)])
    return _combined(wide, length, axis, np.logical_or)


def _joined(mask: Mask, labels: NDArray[np.int32], small: NDArray[np.bool_]) -> Mask:
    """Marks grown together across the gaps between letters; specks join nothing."""
    solid = _pixels_of(~small, labels, mask)
    return _widened(_widened(solid, round(1.4 * MM), 1), round(0.3 * MM), 0)


def _widened(mask: Mask, reach: int, axis: int) -> Mask:
    """`mask` grown by `reach` pixels either way along an axis."""
    wide = np.pad(mask, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)])
    return _combined(wide, 2 * reach + 1, axis, np.logical_or)


def _combined(mask: Mask, length: int, axis: int, both: np.ufunc) -> Mask:
    """Each `length` pixels that follow one another along `axis`, as one; shorter by the rest."""
    span = 1
    while span < length:
        step = min(span, length - span)
        more = mask.shape[axis] - step
        one = mask[:more] if axis == 0 else mask[:, :more]
        mask = both(one, mask[step:] if axis == 0 else mask[:, step:])
        span += step
    return mask
