"""Print on a picture: what is darkest there, and what is lightest, each by itself.

Letters on a photograph or a pattern are of one tone at an end of the scale. Local contrast, which
finds marks on paper, finds the picture's own edges there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archived_ocr.ink import MM, Box, Marks, Mask, components
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
_TILE = 60 * MM
"""The side of a piece that is looked at at once: the tones of a large picture differ."""
_OVERLAP = 15 * MM
_EXTREME = 0.7
"""Percentile that is within the letters, if there are any."""
_REST = 25.0


def areas(marks: Marks, group: Group) -> list[Box]:
    """Where `group` is as dense as pictures are: pieces to look at, in pixels of `ink`."""
    left, top, right, bottom = group.box
    width, height = group.size
    if max(width, height) < _SMALL or min(width, height) < _LOW:
        return []
    inside = marks.any[top:bottom, left:right]
    rows, columns = height // _BLOCK, width // _BLOCK
    blocks = inside[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    share = np.pad(blocks.mean(axis=(1, 3)), 1, "edge")
    moved = [share[y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    dense: Mask = np.mean(moved, axis=0) > _DENSE
    pieces, areas, _ = components(dense)
    found: list[Box] = []
    for n in np.argsort(-areas):
        x1, y1, x2, y2 = (int(v) * _BLOCK for v in pieces[n])
        wide, high = x2 - x1, y2 - y1
        size = int(areas[n]) * _BLOCK * _BLOCK
        if size < _SMALL * _LOW or min(wide, high) < _LOW or size < _SOLID * wide * high:
            continue
        box = left + x1, top + y1, min(right, left + x2), min(bottom, top + y2)
        found += _tiles(box)
    return found


def _tiles(box: Box) -> Iterator[Box]:
    left, top, right, bottom = box
    step = int(_TILE - _OVERLAP)
    for y in range(top, max(top + 1, bottom - int(_OVERLAP)), step):
        for x in range(left, max(left + 1, right - int(_OVERLAP)), step):
            yield x, y, min(right, x + int(_TILE)), min(bottom, y + int(_TILE))


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
