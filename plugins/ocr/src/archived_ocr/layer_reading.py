"""Layers of a page that are read by themselves: by colour under a stamp, by tone on a picture.

What is seen there and is not read is given as groups, to be shown to a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from archived_ocr import colour_layers, letter_rows, print_on_pictures
from archived_ocr.accepted_words import SURE
from archived_ocr.colour_layers import Colours
from archived_ocr.crop_reading import (
    WELL,
    Limited,
    Page,
    meet,
    moved_to,
    read_group,
    shifted,
    surer,
    whole_words,
)
from archived_ocr.ink import MM, Box, Marks
from archived_ocr.merged_lines import covers
from archived_ocr.reading import Line, Word
from archived_ocr.shapes import Group, not_examined

SUREST = 97.0
"""Confidence from which a word counts as read though another colour lies over it."""
PRINTED = 0.66
"""How level letters under another colour must stand to be print: a pen's strokes may seem so."""
UNSURE = 50.0
"""Confidence from which a word on a picture is taken for one that is there."""
LARGEST = 12_000_000
"""Pixels of a region of coloured ink whose layers are made; larger ones are shown to a person."""
_HIGH = 4 * MM


def colours_of(page: Page, marks: Marks, left: Sequence[Group]) -> Colours | None:
    """The page in colour, where it has any and print may be hidden by it."""
    tint = page.tint() if any(map(_may_hide, left)) else None
    return Colours(tint, page.colour, page.image.size, marks.scale) if tint else None


def under_colours(
    reader: Limited,
    page: Page,
    marks: Marks,
    colours: Colours,
    left: Sequence[Group],
    words: Sequence[Word],
) -> tuple[list[Line], list[Line], list[Group]]:
    """What is read of the page's layers by colour: black print, coloured print, and not read.

    `words`: what was read so far.
    """
    below: list[Line] = []
    lines: list[Line] = []
    hidden: list[Group] = []
    coloured = [g for g in left if _may_hide(g)]
    for region in colours.regions(coloured):
        pixels = (region[2] - region[0]) * (region[3] - region[1])
        if pixels > LARGEST or not reader.may_search(2 * pixels):
            hidden.append(not_examined(_scaled(region, marks.scale)))
            continue
        black, other, unread = _by_colour(reader, colours, page, marks.scale, region, words)
        below += black
        lines += other
        hidden += unread
    return below, lines, hidden


def _by_colour(
    reader: Limited,
    colours: Colours,
    page: Page,
    scale: float,
    region: Box,
    words: Sequence[Word],
) -> tuple[list[Line], list[Line], list[Group]]:
    """Read black print under coloured ink, and coloured print; and what of the black was not."""
    x, y = region[0], region[1]
    near = [w for w in words if meet(w.box, region)]
    # Of print that was read through another colour, letters may be wrong: it is read again.
    plain = [
        w
        for w in near
        if w.confidence >= WELL
        and len(w.text) > 1
        and (w.confidence >= SUREST or not colours.covers(w.box))
    ]
    lines: dict[bool, list[Line]] = {True: [], False: []}
    unread: list[Group] = []
    for black, layer in colours.layers(region):
        if not reader.may(layer):  # what was read counts, and the rest is shown
            plain = near
        boxes = [w.box for w in (plain if black else near)]
        boxes += [b for b in page.printed if meet(b, region)]
        boxes += [w.box for n in lines[True] for w in n.words]
        own = [(b[0] - x, b[1] - y, b[2] - x, b[3] - y) for b in boxes]
        # Strokes that were taken away leave gaps in letters.
        least = letter_rows.ROW - 1 if black else letter_rows.ROW
        row = letter_rows.longest(np.asarray(layer) < 140, 1 / scale, own, joined=black)
        if row < least:
            continue
        if black:
            again = (
                moved_to(whole_words(n, layer.width), 1.0, (x, y))
                for n in reader.read_part(layer, page.dpi)
            )
            lines[True] += surer([n for n in again if n is not None], plain)
            own += [
                (b[0] - x, b[1] - y, b[2] - x, b[3] - y)
                for n in lines[True]
                for b in (w.box for w in n.words)
            ]
        found, left = colour_layers.text_in(layer, page.dpi, own)
        for one in left:
            again_lines = read_group(reader, layer, found, one)
            moved = (moved_to(n, 1.0, (x, y)) for n in again_lines or ())
            lines[black] += [n for n in moved if n is not None]
            print_like = not _is_cut(one, found) and one.level >= PRINTED and one.is_one_line
            if print_like and (black or again_lines is None):
                unread.append(_placed(one, found.scale, (x, y), scale))
    return lines[True], lines[False], unread


def _scaled(box: Box, scale: float) -> Box:
    left, top, right, bottom = (round(v * scale) for v in box)
    return left, top, right, bottom


def _may_hide(group: Group) -> bool:
    """Whether print may lie under a seal or another colour there."""
    width, height = group.size
    large = min(width, height) > 2.5 * MM and max(width, height) > 8 * MM
    return group.kind in ("text", "strokes", "picture") and large


def on_picture(
    reader: Limited, page: Page, marks: Marks, area: Box, known: Sequence[Word], *, certain: bool
) -> tuple[list[Line], list[Group]]:
    """What stands on a picture in its darkest or its lightest tone: lines, and what is unsure.

    `certain`: it is a picture, and no seal that is as dense as one. Of a name under a seal the
    engine often doubts one word.
    """
    left, top, right, bottom = (int(v / marks.scale) for v in area)
    if not reader.may_search(2 * (right - left) * (bottom - top)):
        return [], [not_examined(area)]
    gray = np.asarray(page.image.crop((left, top, right, bottom)), dtype=np.uint8)
    # A piece of a word that was guessed on a picture hides the rest of it.
    boxes = [w.box for w in known if w.confidence >= WELL]
    boxes = [b for b in boxes if meet(b, (left, top, right, bottom))]
    own = [(b[0] - left, b[1] - top, b[2] - left, b[3] - top) for b in boxes]
    times = min(2.0, max(1.0, 300.0 / page.dpi))
    size = max(1, round(gray.shape[1] * times)), max(1, round(gray.shape[0] * times))
    lines: list[Line] = []
    unsure: list[Group] = []
    for light in (False, True):
        layer = print_on_pictures.extreme(gray, light=light)
        row = np.asarray(layer) < 140
        if float(row.mean()) > print_on_pictures.GROUND:
            continue
        letters = letter_rows.longest(row, 1 / marks.scale, own, joined=True)
        if letters < letter_rows.ROW:
            continue
        layer = layer.resize(size, Image.Resampling.BICUBIC)
        if not reader.may(layer):
            unsure.append(Group("text", area, 1, 255, max(5, letters), _HIGH, light))
            continue
        for found in reader.read_lines(layer, single=False):
            line = whole_words(found, layer.width)
            words = [w for w in line.words if print_on_pictures.is_word(w.text)]
            best = max((w.confidence for w in words), default=0.0)
            if best < UNSURE:
                continue
            moved = moved_to(line, times, (left, top)) if best >= SURE else None
            if moved is not None:
                lines.append(moved)
                rest = _rest(words, times, (left, top), [*known, *moved.words]) if certain else []
                unsure += [_unread([w], times, (left, top), marks.scale, light) for w in rest]
            else:
                unsure.append(_unread(words, times, (left, top), marks.scale, light))
    return lines, unsure


def _rest(
    words: Sequence[Word], times: float, origin: tuple[int, int], known: Sequence[Word]
) -> list[Word]:
    """Those of `words` (of an enlarged crop) where no `known` word of the page stands."""
    return [
        w
        for w in words
        if not any(covers(replace(w, box=shifted(w.box, times, origin)), k) for k in known)
    ]


def _unread(
    words: Sequence[Word], times: float, origin: tuple[int, int], scale: float, light: bool
) -> Group:
    """A group for what the engine saw and was not sure of."""
    boxes = np.array([shifted(w.box, times, origin) for w in words])
    corners = *boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)
    left, top, right, bottom = (round(float(v) * scale) for v in corners)
    letters = sum(len(w.text) for w in words)
    return Group(
        "text",
        (left, top, right, bottom),
        (right - left) * (bottom - top) // 3,
        255,
        letters,
        float(bottom - top),
        light,
    )


def _is_cut(group: Group, marks: Marks) -> bool:
    """Whether a group goes on outside of the crop, where it was looked at as a whole."""
    height, width = marks.gray.shape
    left, top, right, bottom = group.box
    return left <= 1 or top <= 1 or right >= width - 1 or bottom >= height - 1


def _placed(group: Group, scale: float, origin: tuple[int, int], page_scale: float) -> Group:
    """A group found in a crop, where it lies on the page."""
    left, top, right, bottom = (v / scale for v in group.box)
    box = left + origin[0], top + origin[1], right + origin[0], bottom + origin[1]
    x1, y1, x2, y2 = (round(v * page_scale) for v in box)
    return replace(group, box=(x1, y1, x2, y2), height=group.height / scale * page_scale)
