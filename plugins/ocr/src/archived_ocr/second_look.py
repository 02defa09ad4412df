"""What the first reading left over is looked at again: contrast stretched, inverted, by colour.

Takes the marks of a page that no word accounts for, reads those that look like text once more
where they stand, and says what remains. Knows the engine and pixels, nothing of PDF files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from archived_ocr import language, print_on_pictures, seals
from archived_ocr.accepted_words import CERTAIN, accepted, is_doubtful
from archived_ocr.crop_reading import (
    KEPT,
    WELL,
    Limited,
    Page,
    is_outlined,
    meet,
    read_group,
    surer,
)
from archived_ocr.ink import MM, Box, Marks, Mask
from archived_ocr.layer_reading import colours_of, on_picture, under_colours
from archived_ocr.marks import groups
from archived_ocr.merged_lines import added, replaced
from archived_ocr.reading import Line, Reader, Reading, Word
from archived_ocr.shapes import LEAST_LETTERS, WEAK, Group, not_examined, stops

COVERED = 0.7
"""Share of the width of a group under another colour that words must cover for it to be read."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A page after the second look."""

    reading: Reading
    groups: tuple[Group, ...]
    """What no word accounts for, by kind."""
    hidden: tuple[Group, ...]
    """Letters on a picture or under another colour that were not read, and places that a limit
    kept from being looked at."""


def look(
    reader: Reader,
    page: Page,
    reading: Reading,
    marks: Marks,
    known: tuple[Mask, list[Group]] | None = None,
    doubted: Sequence[Group] = (),
) -> Looked:
    """Look again at whatever `reading` does not account for, group by group.

    `known`: what `left_over` said of the same reading. `doubted`: outlined words of it.
    """
    _, left = known or left_over(page, reading, marks)
    limited = Limited(reader)
    sure = accepted(reading)
    # Beside print, what is this weak is the other side of the sheet.
    weakest = WEAK if sure else 0
    rows = [
        g
        for g in left
        if g.kind == "text" and g.contrast >= weakest and not is_doubtful(g, reading, marks.scale)
    ]
    rows = [replace(g, outlined=True) if _looks_outlined(page, marks, g) else g for g in rows]
    # Filled outlines are a guess, and so is what is read of them: a person looks as well.
    outlined = [g for g in rows if g.outlined]
    outlined += [g for g in doubted if not any(meet(g.box, n.box) for n in outlined)]
    tries: list[tuple[Group, Group, Callable[[list[Line]], list[Line]]]] = [
        *((g, g, list) for g in rows),
        *((g, _as_line(g, marks), _surely) for g in left if _may_be_word(g, weakest)),
        *((g, _widened(g, marks), lambda lines: surer(lines, sure)) for g in outlined),
    ]
    found: list[Line] = []
    hidden: list[Group] = []
    for group, crop, kept in tries:
        lines = read_group(limited, page.image, marks, crop)
        if lines is None:
            hidden.append(not_examined(group.box))
        else:
            found += kept(lines)
    for group, crop in _ends(left, _words(found), marks):
        found += surer(read_group(limited, page.image, marks, crop) or [], sure)
        if not _is_read(group, _words(found), marks.scale):
            hidden.append(replace(group, kind="text"))
    below: list[Line] = []
    colours = colours_of(page, marks, left)
    if colours is not None:
        words = sure + _words(found)
        below, more, unread = under_colours(limited, page, marks, colours, left, words)
        # What was read without the other colour is surer than what was read through it.
        found = surer(found, _words(below)) + more
        hidden += unread
    reading, read = replaced(reading, below), _words(below)
    said = [*read, *_words(found), *sure]
    well = [w for w in said if w.confidence >= WELL]
    of_seals = [g.box for g in left if seals.is_seal(g, marks)]
    for area, certain in print_on_pictures.areas(marks, left):
        lines, unread = on_picture(limited, page, marks, area, said, certain=certain)
        found += surer(lines, well)
        seal = any(meet(area, box) for box in of_seals)
        hidden += [g for g in unread if not seal or g.kind == "unexamined"]
    if found or read:
        reading = added(reading, found)
        left = _still_left(page, reading, marks, left, sure)
        reading, left = _once_more(limited, page, reading, marks, left)
    # Letters on a picture are found by their contrast, read or not.
    now = accepted(reading)
    left = [g for g in left if g.kind != "text" or not _is_read(g, now, marks.scale)]
    left = _with_rests(left, [g for g in rows if stops(g)], now, marks.scale)
    if colours is not None:
        left = [
            replace(g, kind="seal") if g.kind == "text" and colours.is_print_of_seal(g.box) else g
            for g in left
        ]
        hidden = [
            g for g in hidden if g.kind == "unexamined" or not colours.is_print_of_seal(g.box)
        ]
    read += _words(found) + [w for w in sure if w.confidence >= WELL]
    hidden = [g for g in hidden if g.kind == "unexamined" or not _is_read(g, read, marks.scale)]
    left = seals.named(left, colours.is_coloured if colours else None)
    return Looked(reading, tuple(left), (*hidden, *outlined))


def _words(lines: Sequence[Line]) -> list[Word]:
    return [w for n in lines for w in n.words]


def _with_rests(
    left: Sequence[Group], rows: Sequence[Group], words: Sequence[Word], scale: float
) -> list[Group]:
    """`left` with what stopped the document before words were read, as far as it was not read.

    What is left of a row is as much part of it as the rest: two letters, or a word between marks
    that were taken for others afterwards.
    """
    now = [g for g in left if g.kind == "text"]
    rest: list[Group] = []
    for row in rows:
        if _is_read(row, words, scale):
            continue
        pieces = [g for g in now if meet(g.box, row.box)]
        if not pieces:
            rest.append(row)
        rest += [replace(g, level=1.0) for g in pieces if g.letters >= LEAST_LETTERS]
    changed = [g.box for g in rest]
    return [*(g for g in left if g.kind != "text" or g.box not in changed), *rest]


def _looks_outlined(page: Page, marks: Marks, group: Group) -> bool:
    """Whether a row is one of outlines: those that touch are seen by the ground in them."""
    x1, y1, x2, y2 = group.box
    box = x1 / marks.scale, y1 / marks.scale, x2 / marks.scale, y2 / marks.scale
    return group.outlined or (group.is_one_line and is_outlined(page.image, box))


def _still_left(
    page: Page, reading: Reading, marks: Marks, left: list[Group], before: Sequence[Word]
) -> list[Group]:
    """`left` once more, after words were read where some of its groups stand."""
    old = marks.without([w.box for w in before] + list(page.printed))
    now = marks.without([w.box for w in accepted(reading)] + list(page.printed))
    if (now & ~old).any():
        return groups(marks, now, page.image)
    changed = old & ~now
    touched = [g.box for g in left if changed[g.box[1] : g.box[3], g.box[0] : g.box[2]].any()]
    rest: list[Group] = left
    while True:
        near = [g for g in rest if any(meet(g.box, b) for b in touched)]
        if not near:
            break
        touched += [g.box for g in near]
        rest = [g for g in rest if not any(g is n for n in near)]
    own = np.zeros_like(now)
    for box in touched:
        own[box[1] : box[3], box[0] : box[2]] = True
    made = groups(marks, now & own, page.image) if touched else []
    return sorted([*rest, *made], key=lambda g: -g.area)


def _may_be_word(group: Group, weakest: int) -> bool:
    """Whether strokes may be a word of few letters, or of letters that touch."""
    width, height = group.size
    return (
        group.kind in ("strokes", "picture")
        and group.contrast >= weakest
        and 2 * MM <= height <= 16 * MM
        and 1.2 * height <= width <= 15 * height
    )


def _as_line(group: Group, marks: Marks) -> Group:
    """`group` as one line of letters; a dark box with a lighter ground round it is a negative."""
    box = _dark_box(group, marks)
    if box is None:
        return replace(group, height=0.75 * group.size[1])
    left, top, right, bottom = box
    high = bottom - top
    rim = round((KEPT + 0.4) * MM)
    return replace(
        group, box=(left + rim, top + rim, right - rim, bottom - rim), height=0.6 * high, light=True
    )


def _dark_box(group: Group, marks: Marks) -> Box | None:
    """The part of a group that is a dark box, whatever print touches it; `None` when none is."""
    left, top, right, bottom = group.box
    dark = marks.gray[top:bottom, left:right] < float(np.median(marks.gray)) - 60
    for axis in (1, 0, 1):
        share = dark.mean(axis=axis)
        full = np.flatnonzero(share > 0.55 * share.max(initial=0.0))
        if not len(full):
            return None
        first, last = int(full[0]), int(full[-1]) + 1
        if axis == 1:
            dark, top, bottom = dark[first:last], top + first, top + last
        else:
            dark, left, right = dark[:, first:last], left + first, left + last
    if min(dark.shape) < 4 * MM or float(dark.mean()) <= 0.5:
        return None
    return left, top, right, bottom


def _ends(left: Sequence[Group], words: Sequence[Word], marks: Marks) -> list[tuple[Group, Group]]:
    """Pairs of letters that stand in a row with one of `words`, and both as one line.

    Two letters are no row by themselves: of "ĐÃ THU HỒI" the first word is left then.
    """
    found = []
    for group in left:
        if group.kind not in ("strokes", "mark") or group.letters != LEAST_LETTERS - 1:
            continue
        one = group.box
        for word in words:
            other = tuple(round(v * marks.scale) for v in word.box)
            tall = other[3] - other[1]
            level = abs(one[3] - other[3]) < 0.25 * tall and 0.6 < group.size[1] / tall < 1.5
            if level and -0.2 * tall < max(other[0] - one[2], one[0] - other[2]) < 0.8 * tall:
                box = (
                    min(one[0], other[0]),
                    min(one[1], other[1]),
                    max(one[2], other[2]),
                    max(one[3], other[3]),
                )
                found.append((group, replace(group, box=box, height=group.height or 0.7 * tall)))
                break
    return found


def _surely(lines: Sequence[Line]) -> list[Line]:
    """Of `lines`, the syllables that are certain: what is made of a pen's strokes seldom is."""
    kept = (
        (
            n,
            tuple(
                w
                for w in n.words
                if w.confidence >= CERTAIN and len(w.text) > 1 and language.is_syllable(w.text)
            ),
        )
        for n in lines
    )
    return [replace(n, words=words) for n, words in kept if words]


def _widened(group: Group, marks: Marks) -> Group:
    """A group as wide as a line: of outlined letters, the first reading may have taken some."""
    left, top, right, bottom = group.box
    more = round(8 * group.height)
    width = marks.gray.shape[1]
    return replace(group, box=(max(0, left - more), top, min(width, right + more), bottom))


def _once_more(
    reader: Limited, page: Page, reading: Reading, marks: Marks, left: list[Group]
) -> tuple[Reading, list[Group]]:
    """Read again what is left of lines of which a part was read now: the engine drops ends."""
    rows = [
        g
        for g in left
        if g.kind == "text" and g.contrast >= WEAK and not is_doubtful(g, reading, marks.scale)
    ]
    found = [n for g in rows for n in read_group(reader, page.image, marks, g) or ()]
    before = accepted(reading)
    found = surer(found, before)
    if not found:
        return reading, left
    reading = added(reading, found)
    return reading, _still_left(page, reading, marks, left, before)


def left_over(page: Page, reading: Reading, marks: Marks) -> tuple[Mask, list[Group]]:
    """The marks that no word of `reading` accounts for, and their groups."""
    boxes = [w.box for w in accepted(reading)] + list(page.printed)
    residue = marks.without(boxes)
    return residue, groups(marks, residue, page.image)


def _is_read(group: Group, words: Sequence[Word], scale: float) -> bool:
    """Whether words lie on most of a group's width."""
    left, top, right, bottom = (v / scale for v in group.box)
    middle = (top + bottom) / 2
    spans = [
        (max(left, w.box[0]), min(right, w.box[2])) for w in words if w.box[1] <= middle <= w.box[3]
    ]
    return sum(max(0.0, b - a) for a, b in spans) >= COVERED * (right - left)
