"""Print on a picture: what is darkest there, and what is lightest, each by itself.

Letters on a photograph or a pattern are of one tone at an end of the scale. Local contrast, which
finds marks on paper, finds the picture's own edges there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archived_ocr.ink import MM, Box, Marks, Mask, boxes_of
from archived_ocr.language import is_syllable
from archived_ocr.shapes import Group

_DENSE = 0.36
"""Share of marks, averaged over 6 mm, from which an area is a picture: signatures and seals have
less, a photograph or a pattern more."""
_SOLID = 0.5
"""Share of its box that a picture fills; a seal with a signature does not."""
_SMALL = 9 * MM
_LOW = 5 * MM
_BLOCK = 8
_TILE = 84 * MM, 44 * MM
"""Width and height of a piece that is looked at at once: the tones of a large picture differ, and
a line of print is wide."""
_PARTLY = 0.12
"""Share of a block and its neighbours without light ground that belongs to a picture."""
_OVERLAP = 15 * MM
GROUND = 0.5
"""Share of a layer above which its tone is that of the ground, and not of the letters on it."""
_EXTREME = 0.7
"""Percentile that is within the letters, if there are any."""
_REST = 25.0


def areas(marks: Marks, left: Sequence[Group]) -> list[tuple[Box, bool]]:
    """Where pictures are among the groups that are `left`: pieces to look at, in pixels of `ink`,
    and whether each is a piece of a picture for certain.

    That is one without light ground. It is looked at by itself: beside paper, paper is the lightest
    tone and print the darkest. Other groups are looked at where they are as dense as pictures.
    """
    found: list[tuple[Box, bool]] = []
    pictures, taken = _solid_pictures(marks.solid)
    content = [g.box for g in left if g.kind in ("picture", "strokes", "text", "mark")]
    for box in pictures:
        if any(_meet(box, other) for other in content):
            found += [(piece, True) for piece in _tiles(box)]
    for group in left:
        if group.kind in ("picture", "strokes"):
            found += [(piece, False) for piece in _dense_areas(marks, group, taken)]
    return found


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _dense_areas(marks: Marks, group: Group, taken: Mask) -> Iterator[Box]:
    left, top, right, bottom = group.box
    width, height = group.size
    if max(width, height) < _SMALL or min(width, height) < _LOW:
        return
    inside = marks.any[top:bottom, left:right] & ~taken[top:bottom, left:right]
    for x1, y1, x2, y2 in _pieces(_around(_shares(inside)) > _DENSE):
        yield from _tiles((left + x1, top + y1, min(right, left + x2), min(bottom, top + y2)))


def _solid_pictures(solid: Mask) -> tuple[list[Box], Mask]:
    """The pictures that have no light ground, to the pixel; and what they take of the page."""
    taken = np.zeros_like(solid)
    if not solid.any():
        return [], taken
    grown = _around(_shares(solid)) > _PARTLY  # over letters, which are as light as paper
    found: list[Box] = []
    for box in boxes_of(grown)[0].tolist():
        x1, y1, x2, y2 = (v * _BLOCK for v in box)
        part = solid[y1:y2, x1:x2]
        columns, rows = np.flatnonzero(part.any(axis=0)), np.flatnonzero(part.any(axis=1))
        if not len(columns):
            continue
        left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        wide, high = int(right - left), int(bottom - top)
        if max(wide, high) < _SMALL or min(wide, high) < _LOW or part.sum() < _SOLID * wide * high:
            continue
        exact = x1 + int(left), y1 + int(top), x1 + int(right), y1 + int(bottom)
        found.append(exact)
        taken[exact[1] : exact[3], exact[0] : exact[2]] = True
    return found, taken


def _shares(mask: Mask) -> NDArray[np.float64]:
    """The share of marks in each block."""
    rows, columns = (s // _BLOCK for s in mask.shape)
    blocks = mask[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    shares: NDArray[np.float64] = blocks.mean(axis=(1, 3))
    return shares


def _around(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each block and its neighbours."""
    rows, columns = share.shape
    wide = np.pad(share, 1, "edge")
    moved = [wide[y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    mean: NDArray[np.float64] = np.mean(moved, axis=0)
    return mean


def _pieces(dense: Mask) -> Iterator[Box]:
    """The pieces of blocks that fill their box."""
    pieces, areas = boxes_of(dense)
    for n in np.argsort(-areas):
        x1, y1, x2, y2 = (int(v) * _BLOCK for v in pieces[n])
        wide, high = x2 - x1, y2 - y1
        size = int(areas[n]) * _BLOCK * _BLOCK
        if size < _SMALL * _LOW or min(wide, high) < _LOW or size < _SOLID * wide * high:
            continue
        yield x1, y1, x2, y2


def _tiles(box: Box) -> Iterator[Box]:
    left, top, right, bottom = box
    across, down = (int(v - _OVERLAP) for v in _TILE)
    for y in range(top, max(top + 1, bottom - int(_OVERLAP)), down):
        for x in range(left, max(left + 1, right - int(_OVERLAP)), across):
            yield x, y, min(right, x + int(_TILE[0])), min(bottom, y + int(_TILE[1]))


def extreme(gray: NDArray[np.uint8], *, light: bool) -> Image.Image:
    """What is darkest in a picture, or lightest, as black on white."""
    tones = 255 - gray if light else gray
    sample = tones[::2, ::2]
    least, rest = (float(v) for v in np.percentile(sample, (_EXTREME, _REST)))
    full = max(12.0, 0.75 * (rest - least))
    stretched = np.clip((tones.astype(np.float32) - least) * (255.0 / full), 0, 255)
    return Image.fromarray(stretched.astype(np.uint8))


def is_word(text: str) -> bool:
    """Whether the engine's word can be one: what it makes of a pattern is short, or no syllable."""
    letters = "".join(c for c in text if c.isalpha())
    return len(letters) >= 3 and len(letters) >= len(text) - 2 and is_syllable(letters)
