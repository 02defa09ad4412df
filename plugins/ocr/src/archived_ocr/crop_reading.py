"""One page's crops, read again by the engine: levelled, stretched, enlarged, up to a limit.

Knows the engine and pixels; which crops are worth it is asked elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from archived_ocr import ink, language, outlines
from archived_ocr.accepted_words import ADDRESS, SURE
from archived_ocr.ink import MM, FloatBox, Marks
from archived_ocr.merged_lines import covers
from archived_ocr.reading import Line, Reader, Reading, Word
from archived_ocr.shapes import Group

LETTER = 30.0
"""Pixels. The height to which small letters are enlarged for the second look."""
LIKELY = 30.0
"""Confidence from which a syllable beside a sure word counts, and an address."""
MOST_PIXELS = 2_000_000
"""Pixels of a page that the engine looks at again. What is left then is shown to a person."""
MOST_SEARCHED = 40_000_000
"""Pixels of a page's layers in which letters are looked for; so many has a page of A3 at 200 dpi
that is a picture all over. Places beyond are shown to a person."""
WELL = 88.0
"""Confidence from which a word counts as read on a picture."""
GUESSED = 78.0
"""Confidence below which a word of the first reading may be a guess at outlined letters."""
EDGE = 3
"""Pixels from the edge of a crop within which a word may be cut."""
KEPT = 0.8
"""Millimetres round a group that are read with it: its accents."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page as the engine sees it.

    `colour` gives the same page in colour, when asked, and `tint` an eighth of its size of it;
    `None` when it is gray.
    """

    image: Image.Image
    dpi: float
    colour: Callable[[], Image.Image | None]
    tint: Callable[[], Image.Image | None]
    printed: Sequence[FloatBox] = ()
    """Where words stand that are known without reading, in pixels of `image`."""


class Limited:
    """The engine, up to `MOST_PIXELS` of one page; beyond it says that it reads nothing.

    Whoever is told that it reads nothing must name the place: see `shapes.not_examined`.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.left = MOST_PIXELS
        self._unsearched = MOST_SEARCHED

    def may(self, image: Image.Image) -> bool:
        """Whether so large an image is still read."""
        return image.width * image.height <= self.left

    def read_lines(self, image: Image.Image, *, single: bool) -> list[Line]:
        """As `Reader.read_lines`."""
        return self._reader.read_lines(image, single=single) if self._taken(image) else []

    def read_part(self, image: Image.Image, dpi: float) -> list[Line]:
        """As `Reader.read_part`."""
        return self._reader.read_part(image, dpi) if self._taken(image) else []

    def may_search(self, pixels: int) -> bool:
        """Whether letters are still looked for in a layer of so many pixels."""
        if pixels > self._unsearched:
            return False
        self._unsearched -= pixels
        return True

    def _taken(self, image: Image.Image) -> bool:
        if not self.may(image):
            return False
        self.left -= image.width * image.height
        return True


def read_group(
    reader: Limited, image: Image.Image, marks: Marks, group: Group
) -> list[Line] | None:
    """The words of one group of marks, read from a crop of even contrast; `None` at the limit."""
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
    # Pieces of the lines above and below make the engine see no line.
    near = KEPT * MM
    own = (
        (left - near) / scale - crop[0],
        (top - near) / scale - crop[1],
        (right + near) / scale - crop[0],
        (bottom + near) / scale - crop[1],
    )
    part = _only(part, own)
    if group.outlined:
        part = Image.fromarray(outlines.filled(np.asarray(part) < 128) ^ True).convert("L")
    letter = max(4.0, group.height / scale)
    times = min(4.0, max(0.5, LETTER / letter))
    size = max(1, round(part.width * times)), max(1, round(part.height * times))
    if size[0] * size[1] > 12_000_000:
        times = 1.0
        size = part.size
    part = part.resize(size, Image.Resampling.BICUBIC)
    rows = (bottom - top) / max(1.0, group.height)
    if not reader.may(part):
        return None
    lines = reader.read_lines(part, single=rows < 2.4)
    return [
        moved for line in lines if (moved := moved_to(line, times, (crop[0], crop[1]))) is not None
    ]


def _only(image: Image.Image, box: FloatBox) -> Image.Image:
    """What `box` holds of an image, the rest of it white."""
    left, top, right, bottom = (max(0, round(v)) for v in box)
    alone = Image.new("L", image.size, 255)
    part = image.crop((left, top, min(image.width, right), min(image.height, bottom)))
    alone.paste(part, (left, top))
    return alone


def moved_to(line: Line, times: float, origin: tuple[int, int]) -> Line | None:
    """A line read in an enlarged crop, where it lies on the page, if a word of it is sure.

    Without the words that can be none.
    """
    sure = [w for w in line.words if _is_sure(w)]
    if not sure:
        return None
    likely = set(map(id, sure)) | {id(w) for w in line.words if _is_likely(w)}
    words = tuple(
        replace(w, box=shifted(w.box, times, origin)) for w in line.words if id(w) in likely
    )
    return Line(words, shifted(line.box, times, origin), line.slope, line.intercept / times)


def _is_sure(word: Word) -> bool:
    bare = word.text.strip(".,;:()\"'-")
    if word.confidence >= LIKELY and ADDRESS.search(word.text):
        return True
    if word.confidence < SURE or not any(c.isalnum() for c in word.text):
        return False
    if word.confidence >= 85 or language.is_possible(bare) or language.is_short_form(bare):
        return True
    return any(c.isdigit() or c in "-/" for c in word.text)


def _is_likely(word: Word) -> bool:
    bare = word.text.strip(".,;:()\"'-")
    return word.confidence >= LIKELY and len(bare) > 1 and language.is_syllable(bare)


def shifted(box: FloatBox, times: float, origin: tuple[int, int]) -> FloatBox:
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


def outlined_words(image: Image.Image, reading: Reading) -> list[Word]:
    """The words whose letters are outlines: what the engine is not sure of there is a guess."""
    return [
        w
        for w in reading.words
        if w.confidence < GUESSED and len(w.text) > 1 and is_outlined(image, w.box)
    ]


def is_outlined(image: Image.Image, box: FloatBox) -> bool:
    """Whether the letters in a box of the page are drawn as outlines."""
    left, top, right, bottom = box
    crop = image.crop((int(left) - 2, int(top) - 2, int(right) + 3, int(bottom) + 3))
    gray = np.asarray(crop, dtype=np.uint8)
    darkest, paper = ink.percentiles(gray, 3, 60)
    strokes = gray < (darkest + paper) / 2
    return outlines.bodies(strokes, outlines.SURELY_NOT_COMPACT) is not None


def surer(lines: Sequence[Line], before: Sequence[Word]) -> list[Line]:
    """`lines` without the words that stand where something was read well."""
    well = [w for w in before if w.confidence >= WELL]
    kept = ((n, tuple(w for w in n.words if not any(covers(b, w) for b in well))) for n in lines)
    return [replace(n, words=words) for n, words in kept if words]


def whole_words(line: Line, width: int) -> Line:
    """`line` without the words that the edge of a crop cuts."""
    words = tuple(w for w in line.words if w.box[0] > EDGE and w.box[2] < width - EDGE)
    return replace(line, words=words)


def meet(one: FloatBox, other: FloatBox) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
