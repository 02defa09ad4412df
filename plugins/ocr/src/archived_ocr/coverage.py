"""Each page's ink is accounted for: what was read, what it is instead, and what nobody read.

The verdict on one page. A page whose marks look like text and were not read is never passed over;
"blank" is said only of a page without any mark on which the engine found nothing either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import ImageFilter, ImageOps

from archived_ocr import crop_reading, seals, second_look
from archived_ocr.accepted_words import accepted, doubted, is_doubtful, is_text, rows_of, within
from archived_ocr.crop_reading import Page
from archived_ocr.ink import MM, Marks, Mask
from archived_ocr.reading import Reader, Reading
from archived_ocr.second_look import left_over
from archived_ocr.shapes import LEAST_LETTERS, WEAK, Group, stops
from archived_ocr.show_through import is_blurred, is_mirrored

MANY = 8
"""Groups of text that were not read, from which the whole page is read once more."""
FAINT = 90
"""Contrast below which print may be that of the other side of the sheet."""
FIRM = 40
"""Contrast from which a lone small mark may be a letter or a figure."""
OWN = 1.5
"""By how much marks are stronger than most of what shines through, to be this side's own."""
WORD = 12 * MM
"""The longer side from which marks that are no letters may be a word, among print that shines
through."""
TINY = 60 * MM
"""A side of a page below which what touches its edge is no shadow of a scanner."""
PART = 0.25
"""Share of a page that a picture may cover beside its text."""
NAMES = {
    "text": "unread-text",
    "strokes": "handwriting",
    "mark": "mark",
    "picture": "picture",
    "rule": "rule",
    "edge": "edge-shadow",
    "hole": "punch-hole",
    "dust": "dust",
    "seal": "seal",
    "doubtful": "doubtful-word",
    "unexamined": "not-examined",
    "show-through": "show-through",
}
"""Kind of a group -> how facts and reviews call it."""
_QUIET = {"edge", "hole", "dust", "rule", "show-through"}
"""Kinds that are no content of a page."""


@dataclass(frozen=True, slots=True)
class Ink:
    """What became of one page's marks. `groups` in pixels of an image of `size`."""

    size: tuple[int, int]
    groups: tuple[Group, ...] = ()
    blank: bool = False
    reason: str = ""
    """Why a person must look: `text`, `no-words`, `no-language`, `mostly-unread`; or empty."""
    share: float = 0.0
    """Share of the page's marks that nobody read and that are no known kind of non-text."""

    @property
    def unread(self) -> tuple[Group, ...]:
        """What a person must look at."""
        if not self.reason:
            return ()
        if self.reason == "text":
            return tuple(g for g in self.groups if stops(g))
        return tuple(g for g in self.groups if g.kind not in _QUIET) or self.groups[:1]


@dataclass(frozen=True, slots=True)
class Examined:
    """A page after everything was tried."""

    reading: Reading
    ink: Ink
    marks: Marks


def examine(
    reader: Reader, page: Page, reading: Reading, marks: Marks, behind: Sequence[Mask] = ()
) -> Examined:
    """Account for the ink of a page. `behind`: the marks of pages it may share a sheet with."""
    outlined = crop_reading.outlined_words(page.image, reading)
    reading = doubted(reading, outlined)
    known = left_over(page, reading, marks)
    left, first = known[1], reading
    lines = [g for g in left if g.kind == "text"]
    sensible = is_text(reading)
    content = [g for g in left if g.kind not in _QUIET and not _is_stain(g)]
    faint = bool(content) and _strength(content) <= FAINT
    unsure = sensible is not True and not any(w.confidence >= 80 for w in reading.words)
    # Of print in a mirror the engine is sure of a letter here and there, and makes no language.
    through = (unsure or sensible is False) and _shows_through(marks, content, behind)
    if not through and (
        len(lines) > MANY or sensible is False or (content and unsure and (lines or faint))
    ):
        reading, through = _reread(reader, page, reading, marks, content)
    if through:
        return _other_side(reader, page, reading, marks, behind)
    same = known if reading is first else None
    looked = second_look.look(reader, page, reading, marks, same, rows_of(outlined, marks.scale))
    left = [_named(g, looked.reading, marks) for g in looked.groups]
    left += [
        g
        for g in looked.hidden
        if g.kind == "unexamined" or not is_doubtful(g, looked.reading, marks.scale)
    ]
    return Examined(looked.reading, _judged(looked.reading, page, marks, left), marks)


def _other_side(
    reader: Reader, page: Page, reading: Reading, marks: Marks, behind: Sequence[Mask]
) -> Examined:
    """A page on which the sheet's other side shines through, and perhaps something of its own."""
    nothing = replace(reading, text="", paragraphs=())
    residue, left = left_over(page, nothing, marks)
    content = [g for g in left if g.kind not in _QUIET and not _is_stain(g)]
    # Print that shines through is of one strength, and not always soft.
    least = max(WEAK, OWN * _strength(content))
    own = [g for g in content if g.contrast >= least and _is_own(g, page, marks, behind)]
    kept = set(map(id, own))
    through = [
        replace(g, kind="show-through") if g.kind not in _QUIET else g
        for g in left
        if id(g) not in kept
    ]
    if not own:
        return Examined(nothing, _ink(marks, through), marks)
    mine = within(reading, [g.box for g in own], marks.scale)
    looked = second_look.look(reader, page, mine, marks, (residue, own))
    left = [*through, *(_named(g, looked.reading, marks) for g in looked.groups), *looked.hidden]
    return Examined(looked.reading, _judged(looked.reading, page, marks, left), marks)


def _is_own(group: Group, page: Page, marks: Marks, behind: Sequence[Mask]) -> bool:
    """Whether marks among print that shines through are this side's: sharp, and in no mirror."""
    if group.kind != "text" and (max(group.size) < WORD or group.letters < LEAST_LETTERS):
        return False  # a hole with a speck beside it, or with a line that shines through
    if _shows_through(marks, [group], behind):
        return False
    return not is_blurred(page.image, page.dpi, [group], marks)


def _ink(marks: Marks, left: Sequence[Group], *, blank: bool = False, reason: str = "") -> Ink:
    left = tuple(dict.fromkeys(left))  # a row is found among weak marks and among strong ones
    total = max(1, int(marks.any.sum()))
    unread = sum(
        g.area
        for g in left
        if g.kind not in _QUIET | {"doubtful"} and not _is_plain_picture(g, marks)
    )
    height, width = marks.gray.shape
    return Ink((width, height), tuple(left), blank, reason, min(1.0, unread / total))


def _is_plain_picture(group: Group, marks: Marks) -> bool:
    """A picture on a part of the page. Whether words stand on it was looked at by itself."""
    width, height = group.size
    return group.kind == "picture" and width * height < PART * marks.gray.size


def _judged(reading: Reading, page: Page, marks: Marks, left: Sequence[Group]) -> Ink:
    sure = accepted(reading)
    content = [g for g in left if g.kind not in _QUIET and not _is_stain(g)]
    if min(marks.gray.shape) < TINY:
        content += [g for g in left if g.kind == "edge"]
    if not sure and not page.printed:
        if not content and not _solid(marks) > 0.02 and _rules(left) < 0.004 * marks.gray.size:
            quiet = not reading.words and not any(g.kind == "show-through" for g in left)
            return _ink(marks, left, blank=quiet)
        return _ink(marks, left, reason="no-words")
    if is_text(reading) is False:
        return _ink(marks, left, reason="no-language")
    told = _ink(marks, left)
    if told.share > 0.6 and sum(g.area for g in content) > 0.02 * marks.gray.size:
        return replace(told, reason="mostly-unread")
    if any(stops(g) for g in left):
        return replace(told, reason="text")
    return told


def _solid(marks: Marks) -> float:
    """Share of the page that is dark or coloured as a whole, its rim aside."""
    rim = round(7 * MM)
    return float(marks.solid[rim:-rim, rim:-rim].mean()) if min(marks.gray.shape) > 3 * rim else 0.0


def _rules(left: Sequence[Group]) -> int:
    return sum(g.area for g in left if g.kind == "rule")


def _is_stain(group: Group) -> bool:
    """A spot that says nothing: too small, too weak or too round for a letter."""
    width, height = group.size
    if group.kind == "mark" and max(width, height) < 3.5 * MM:
        spot = group.area > 0.6 * width * height and max(width, height) < 2 * min(width, height)
        return spot or max(width, height) < 1.8 * MM or group.contrast < FIRM
    return group.contrast < 14 and group.area < 12 * MM * MM


def _named(group: Group, reading: Reading, marks: Marks) -> Group:
    """`group` with a kind that takes account of where it stands."""
    if group.kind == "text" and is_doubtful(group, reading, marks.scale):
        return replace(group, kind="doubtful")
    return replace(group, kind="seal") if seals.is_seal(group, marks) else group


def _reread(
    reader: Reader, page: Page, reading: Reading, marks: Marks, content: Sequence[Group]
) -> tuple[Reading, bool]:
    """The better of `reading` and one of the page with even contrast; whether it shows through."""
    strong = _strength(content)
    light = sum(g.area for g in content if g.light) > 0.5 * sum(g.area for g in content)
    faint = bool(content) and strong <= FAINT and is_text(reading) is not True
    blurred = faint and is_blurred(page.image, page.dpi, content, marks)
    image = page.image
    if blurred:  # what shines through paper has no fine detail, its noise has
        image = image.filter(ImageFilter.GaussianBlur(1.2 * page.dpi / 200))
    clear = crop_reading.even(image, light=light, contrast=strong)
    again = reader.read(clear, page.dpi, marks)
    if is_text(again) and again.weight > reading.weight:
        return again, False
    if not faint:
        return _weightier(reading, again), False
    if not blurred or any(g.kind == "text" for g in content):
        mirrored = reader.read(ImageOps.mirror(clear), page.dpi)
        straight = max(reading.weight, again.weight)
        better = mirrored.weight > max(2 * straight, 200.0)
        if is_text(reading) is False and is_text(again) is not True:
            better = better or mirrored.weight > 1.4 * straight + 100.0
        if is_text(mirrored) or better:
            return reading, True
        if again.weight > 1.5 * mirrored.weight + 300:
            return again, False
    return _weightier(reading, again), blurred


def _strength(content: Sequence[Group]) -> float:
    """The contrast that most of the ink of `content` has."""
    if not content:
        return 0.0
    areas = np.array([g.area for g in content], np.float64)
    order = np.argsort([g.contrast for g in content])
    half = int(np.searchsorted(np.cumsum(areas[order]), 0.75 * areas.sum()))
    return float(content[int(order[min(half, len(content) - 1)])].contrast)


def _weightier(reading: Reading, again: Reading) -> Reading:
    return again if again.weight > reading.weight * 1.2 else reading


def _shows_through(marks: Marks, content: Sequence[Group], behind: Sequence[Mask]) -> bool:
    """Whether `content` is the mirror image of what stands on the sheet's other side."""
    if not content or not behind or np.percentile([g.contrast for g in content], 90) > 190:
        return False
    own = np.zeros(marks.gray.shape, np.bool_)
    for group in content:
        left, top, right, bottom = group.box
        own[top:bottom, left:right] |= marks.any[top:bottom, left:right]
    return is_mirrored(own, behind)
