"""What the first reading left over is looked at again: contrast stretched, inverted, by colour.

Takes the marks of a page that no word accounts for, reads those that look like text once more
where they stand, and says what remains. Knows the engine and pixels, nothing of PDF files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archived_ocr import ink, language
from archived_ocr.ink import Box, Marks, Mask
from archived_ocr.marks import groups
from archived_ocr.reading import Line, Reader, Reading, Word
from archived_ocr.shapes import MM, Group

READ = 50.0
"""Confidence from which a word of the first reading counts as read by itself."""
CERTAIN = 80.0
"""Confidence from which a word counts as read though its letters make no syllable."""
SURE = 60.0
"""Confidence from which a word of a second look counts as read."""
LETTER = 36.0
"""Pixels. The height to which small letters are enlarged for the second look."""
COVERED = 0.6
"""Share of a group's marks that words must cover for it to be read."""
WEAK = 18
"""Contrast below which marks beside print are the other side of the sheet, or the scanner's."""
MOST_CROPS = 12
"""Second looks at single groups of one page; a page with more is looked at as a whole."""
_ADDRESS = re.compile(r"\w@\w|\w\.(?:vn|com|gov|org|net)\b|^(?:www|https?)\b")
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_FIGURES = re.compile(r"[\W_]*\d[\d\W_]*")
_CODE = re.compile(r"\W*(?:\d+)?[/-]?[A-ZĐa-z]{1,8}(?:[/-][A-ZĐa-z0-9]{1,8})+\W*|/[A-ZĐ]{1,8}\W*")
_COLOURED = 48
"""Difference of the channels from which a pixel is coloured."""

FloatBox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Page:
    """One page as the engine sees it. `colour` gives the same page in colour, when asked."""

    image: Image.Image
    dpi: float
    colour: Callable[[], Image.Image | None]
    printed: Sequence[FloatBox] = ()
    """Where words stand that are known without reading, in pixels of `image`."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A page after the second look."""

    reading: Reading
    marks: Marks
    groups: tuple[Group, ...]
    """What no word accounts for, by kind."""
    read: int
    """Marked pixels that words account for."""


def without_words(marks: Marks, boxes: Iterable[FloatBox]) -> Mask:
    """The marks outside of `boxes`, which are in pixels of the page's image."""
    rest = marks.any.copy()
    for box in boxes:
        left, top, right, bottom = (v * marks.scale for v in box)
        pad = min(max(2.0, 0.2 * (bottom - top)), 0.8 * MM + 2)
        rest[
            max(0, int(top - pad)) : int(bottom + pad) + 1,
            max(0, int(left - pad)) : int(right + pad) + 1,
        ] = False
    return rest


def accepted(words: Iterable[Word], at_least: float = READ) -> list[Word]:
    """The words that count as read: surely, or so in the middle of a line that was."""
    return [w for w in words if _is_read(w, at_least) or _is_likely(w)]


def _is_read(word: Word, at_least: float) -> bool:
    if any(map(language.is_misspelt, _LETTERS.findall(word.text))):
        return False
    if word.confidence >= CERTAIN:
        return True
    if word.confidence >= 30 and _FIGURES.fullmatch(word.text):
        return True
    if word.confidence >= 40 and _CODE.fullmatch(word.text):
        return True
    judged = language.counted(word.text)
    return word.confidence >= at_least and all(map(language.is_syllable, judged))


def _is_likely(word: Word) -> bool:
    """Whether a word that the engine doubts has the shape of one: a syllable, an address."""
    text = word.text.strip(".,;:()")
    if word.confidence < 25 or len(text) < 3:
        return False
    return bool(_ADDRESS.search(text)) or (word.confidence >= 30 and language.is_syllable(text))


def is_text(reading: Reading) -> bool | None:
    """Whether a reading can be what somebody wrote; `None` when it has too few words to tell."""
    sure = [w for w in reading.words if w.confidence >= SURE]
    share = language.possible_share(w.text for w in reading.words)
    if share is None:
        return None
    if (reading.confidence or 0.0) >= 75:
        return share >= 0.3
    return share >= language.LIKELY and len(sure) >= 0.3 * len(reading.words)


def look(
    reader: Reader,
    page: Page,
    reading: Reading,
    marks: Marks,
    known: tuple[Mask, list[Group]] | None = None,
) -> Looked:
    """Look again at whatever `reading` does not account for, group by group.

    `known`: what `left_over` said of the same reading.
    """
    residue, left = known or left_over(page, reading, marks)
    found: list[Line] = []
    # Beside print, what is this weak is the other side of the sheet.
    weakest = WEAK if accepted(reading.words) else 0
    rows = [g for g in left if g.kind == "text" and g.contrast >= weakest]
    for group in rows[:MOST_CROPS]:
        found += read_group(reader, page.image, marks, group)
    for group in [g for g in left if g.kind == "picture"][:2]:
        for light in (False, True):
            found += read_group(reader, page.image, marks, replace(group, light=light))
    coloured = [g for g in left if _may_hide(g) and not _covered(marks, residue, g, found)]
    colour = page.colour() if coloured else None
    if colour is not None:
        boxes = [w.box for w in accepted(reading.words)] + list(page.printed)
        found += _by_colour(reader, colour, page.dpi, marks, coloured[:3], boxes, found)
    if found:
        reading = added(reading, found)
        residue, left = left_over(page, reading, marks)
    total = int(marks.any.sum())
    return Looked(reading, marks, tuple(left), total - int(residue.sum()))


def left_over(page: Page, reading: Reading, marks: Marks) -> tuple[Mask, list[Group]]:
    """The marks that no word of `reading` accounts for, and their groups."""
    boxes = [w.box for w in accepted(reading.words)] + list(page.printed)
    residue = without_words(marks, boxes)
    return residue, groups(marks, residue, page.image)


def _may_hide(group: Group) -> bool:
    """Whether print may lie under a seal or another colour there."""
    width, height = group.size
    large = min(width, height) > 2.5 * MM and max(width, height) > 8 * MM
    return group.kind in ("text", "strokes", "picture") and large


def _covered(marks: Marks, residue: Mask, group: Group, lines: Sequence[Line]) -> bool:
    left, top, right, bottom = group.box
    before = residue[top:bottom, left:right]
    words = [w.box for n in lines for w in n.words]
    after = without_words(marks, words)[top:bottom, left:right] & before
    return int(after.sum()) < (1 - COVERED) * int(before.sum())


def read_group(reader: Reader, image: Image.Image, marks: Marks, group: Group) -> list[Line]:
    """The words of one group of marks, read from a crop of even contrast."""
    scale = marks.scale
    pad = 2 * MM
    left, top, right, bottom = group.box
    crop = (
        max(0, int((left - pad) / scale)),
        max(0, int((top - pad) / scale)),
        min(image.width, int((right + pad) / scale) + 1),
        min(image.height, int((bottom + pad) / scale) + 1),
    )
    part = even(image.crop(crop), light=group.light, contrast=group.contrast)
    letter = max(4.0, group.height / scale)
    times = min(4.0, max(0.5, LETTER / letter))
    size = max(1, round(part.width * times)), max(1, round(part.height * times))
    if size[0] * size[1] > 12_000_000:
        times = 1.0
        size = part.size
    part = part.resize(size, Image.Resampling.BICUBIC)
    rows = (bottom - top) / max(1.0, group.height)
    lines = reader.read_lines(part, single=rows < 2.4)
    return [
        moved
        for line in lines
        if (moved := _moved(line, times, (crop[0], crop[1]))) is not None
    ]  # fmt: skip


def _moved(line: Line, times: float, origin: tuple[int, int]) -> Line | None:
    """A line read in an enlarged crop, where it lies on the page, with its sure words only."""
    words = tuple(
        replace(w, box=_shifted(w.box, times, origin))
        for w in line.words
        if w.confidence >= SURE and any(c.isalnum() for c in w.text)
        and (w.confidence >= 85 or language.is_possible(w.text.strip(".,;:()\"'-"))
             or any(c.isdigit() for c in w.text) or _ADDRESS.search(w.text)
             or "-" in w.text or "/" in w.text)
    )  # fmt: skip
    if not words:
        return None
    return Line(words, _shifted(line.box, times, origin), line.slope, line.intercept / times)


def _shifted(box: FloatBox, times: float, origin: tuple[int, int]) -> FloatBox:
    x, y = origin
    return box[0] / times + x, box[1] / times + y, box[2] / times + x, box[3] / times + y


def even(image: Image.Image, *, light: bool, contrast: float) -> Image.Image:
    """Gray `image` as black on white with full contrast: its ground levelled, its ink stretched."""
    gray = np.asarray(image, dtype=np.uint8)
    if light:
        gray = 255 - gray
    size = min(61, max(3, (min(gray.shape) // 2) * 2 - 1))
    slide = ink.slide
    ground = slide(slide(gray, size, np.maximum), size, np.minimum)
    depth = (ground - gray).astype(np.float32)
    full = max(float(np.percentile(depth, 97)), contrast * 0.8, 8.0)
    # Below this it is paper's noise, or a picture's texture: weaker than the letters on it.
    floor = min(0.5 * full, max(0.15 * full, 1.7 * float(np.percentile(depth[::4, ::4], 40))))
    stretched = 255.0 - np.clip((depth - floor) * (255.0 / (full - floor)), 0, 255)
    return Image.fromarray(stretched.astype(np.uint8))


def _by_colour(
    reader: Reader,
    colour: Image.Image,
    dpi: float,
    marks: Marks,
    coloured: Sequence[Group],
    boxes: Sequence[FloatBox],
    found: Sequence[Line],
) -> list[Line]:
    """Read black print under coloured ink, and coloured print, each without the other."""
    lines: list[Line] = []
    known = list(boxes) + [w.box for n in found for w in n.words]
    for group in coloured:
        left, top, right, bottom = group.box
        crop: Box = (
            max(0, int((left - 3 * MM) / marks.scale)),
            max(0, int((top - 3 * MM) / marks.scale)),
            min(colour.width, int((right + 3 * MM) / marks.scale)),
            min(colour.height, int((bottom + 3 * MM) / marks.scale)),
        )
        pixels = np.asarray(colour.crop(crop), dtype=np.uint8)
        most, least = pixels.max(axis=2), pixels.min(axis=2)
        if float(((most - least) > _COLOURED).mean()) < 0.01:
            continue
        own = [(b[0] - crop[0], b[1] - crop[1], b[2] - crop[0], b[3] - crop[1]) for b in known]
        for layer in (_black(most, most - least), 255 - (most - least)):
            for line in _layer(reader, layer, dpi, own):
                moved = _moved(line, 1.0, (crop[0], crop[1]))
                if moved is not None:
                    lines.append(moved)
                    own += [w.box for w in line.words]
    return lines


def _black(most: NDArray[np.uint8], spread: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is black, with coloured ink made as white as paper."""
    ink_level = float(np.percentile(most[spread > _COLOURED], 25))
    black: NDArray[np.uint8] = np.clip(most * (255.0 / max(80.0, ink_level)), 0, 255).astype(
        np.uint8
    )
    return black


def _layer(
    reader: Reader, layer: NDArray[np.uint8], dpi: float, known: Sequence[FloatBox]
) -> list[Line]:
    image = Image.fromarray(np.ascontiguousarray(layer))
    marks = ink.find(image, dpi)
    inside = [b for b in known if b[2] > 0 and b[3] > 0 and b[0] < image.width
              and b[1] < image.height]  # fmt: skip
    left = groups(marks, without_words(marks, inside), image)
    lines: list[Line] = []
    for group in [g for g in left if g.kind == "text"][:4]:
        lines += read_group(reader, image, marks, group)
    return lines


def added(reading: Reading, lines: Sequence[Line]) -> Reading:
    """`reading` with further lines, each a paragraph where it stands on the page."""
    paragraphs = list(reading.paragraphs)
    for line in sorted(lines, key=lambda n: n.box[1]):
        own = {id(w) for w in line.words}
        doubtful = [w for p in paragraphs for n in p for w in n.words if _same_place(w, line)]
        gone = {id(w) for w in doubtful} - own
        paragraphs = [q for p in paragraphs if (q := _less(p, gone))]
        middle = (line.box[1] + line.box[3]) / 2
        at = next(
            (k for k, p in enumerate(paragraphs) if min(n.box[1] for n in p) > middle),
            len(paragraphs),
        )
        paragraphs.insert(at, (line,))
    text = "\n\n".join(
        "\n".join(" ".join(w.text for w in n.words) for n in p) for p in paragraphs
    )  # fmt: skip
    return replace(reading, paragraphs=tuple(paragraphs), text=text)


def _same_place(word: Word, line: Line) -> bool:
    """A word of the first reading that was not sure, where the second look read `line`."""
    if word.confidence >= READ:
        return False
    x, y = (word.box[0] + word.box[2]) / 2, (word.box[1] + word.box[3]) / 2
    return any(w.box[0] <= x <= w.box[2] and w.box[1] <= y <= w.box[3] for w in line.words)


def _less(paragraph: tuple[Line, ...], gone: set[int]) -> tuple[Line, ...]:
    if not gone:
        return paragraph
    lines = []
    for line in paragraph:
        kept = tuple(w for w in line.words if id(w) not in gone)
        if kept:
            lines.append(replace(line, words=kept) if len(kept) < len(line.words) else line)
    return tuple(lines)
