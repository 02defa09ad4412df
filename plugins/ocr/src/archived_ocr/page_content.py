"""What is painted on a PDF page: text that can be seen, hidden text, and marks that are no text.

Asked of a renderer, never of page boxes: a page is drawn with and without its text. Text that
makes no difference is hidden, whatever hides it; what is left without text is picture or outline.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pypdfium2 as pdfium
from numpy.typing import NDArray
from PIL import Image
from pypdfium2 import raw

from archived_ocr import ink
from archived_ocr.ink import MM, Mask
from archived_ocr.marks import groups
from archived_ocr.shapes import Group, stops

_DEEP = 12
_SEEN = 0.04
"""Share of a run's box that text must change to be seen. Letters change a tenth or more, and white
ones that cross other print a few hundredths."""
_LEGIBLE = 1.6
"""Pixels at `ink.DPI`. Lower text (about 1 point) is a line of dust on the page."""
_ON_MARKS = 0.02
"""Share of a hidden run's box that is marked when it is the text of what stands there."""
_MOST_PIXELS = 8_000_000
_UNITS = 1_000_000
PICTURE = 0.05
"""Share of a page's marks' boxes from which a picture is worth reading."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of the page as it is displayed."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of text on one line. `seen`: it changes how the page looks."""

    text: str
    box: Box
    seen: bool


@dataclass(frozen=True, slots=True)
class Content:
    """A page's content. `left`: the groups of marks that no visible text makes."""

    runs: tuple[Run, ...]
    fonts: frozenset[str]
    left: tuple[Group, ...]
    picture: float
    """Share of the page that pictures and large marks cover."""
    layer_fits: bool
    """The hidden text lies where the marks are, and leaves no text-like marks out."""
    marked: bool


def of(page: pdfium.PdfPage) -> Content:
    """Look at one page. It is left without its text: close it afterwards."""
    text = page.get_textpage()
    try:
        count = text.count_rects() if text.count_chars() > 0 else 0
        boxes = [text.get_rect(n) for n in range(count)]
        said = [text.get_text_bounded(*box) for box in boxes]
    finally:
        text.close()
    if not count:  # it will be read, whatever it is
        marked = any(True for _ in page.get_objects(max_depth=1)) or _is_annotated(page)
        return Content((), frozenset(), (), 1.0 if marked else 0.0, True, marked)
    scale = _scale(page)
    whole = _drawn(page, scale)
    fonts = set()
    for item in page.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT], max_depth=_DEEP):
        fonts.add(_font(item))
        raw.FPDFPageObj_SetIsActive(item, False)
    bare = _drawn(page, scale)
    changed = np.abs(whole.astype(np.int16) - bare) > ink.LEAST_CONTRAST
    runs = tuple(_runs(page, boxes, said, changed))
    dpi = scale * 72.0
    left, picture, fits = _rest(bare, dpi, runs)
    marked = bool(left) or any(r.seen for r in runs)
    return Content(runs, frozenset(fonts - {""}), left, picture, fits, marked)


def _is_annotated(page: pdfium.PdfPage) -> bool:
    return int(raw.FPDFPage_GetAnnotCount(page)) > 0


def _scale(page: pdfium.PdfPage) -> float:
    width, height = page.get_size()
    return float(min(ink.DPI / 72.0, (_MOST_PIXELS / max(1.0, width * height)) ** 0.5))


def _drawn(page: pdfium.PdfPage, scale: float) -> NDArray[np.uint8]:
    bitmap = page.render(scale=scale, grayscale=True)
    pixels: NDArray[np.uint8] = np.asarray(bitmap.to_pil().convert("L")).copy()
    bitmap.close()
    return pixels


def _font(item: pdfium.PdfObject) -> str:
    font = raw.FPDFTextObj_GetFont(item)
    if not font:
        return ""
    buffer = ctypes.create_string_buffer(128)
    raw.FPDFFont_GetBaseFontName(font, buffer, 128)
    return buffer.value.decode("latin-1")


def _runs(page: pdfium.PdfPage, boxes: list[Box], said: list[str], changed: Mask) -> Iterator[Run]:
    height, width = changed.shape
    for (left, bottom, right, top), text in zip(boxes, said, strict=True):
        place = _displayed(page, left, bottom, right, top)
        x1, y1 = int(place[0] * width), int(place[1] * height)
        x2, y2 = int(place[2] * width) + 2, int(place[3] * height) + 2
        inside = changed[max(0, y1 - 1) : max(0, y2), max(0, x1 - 1) : max(0, x2)]
        seen = inside.size > 0 and float(inside.mean()) > _SEEN and int(inside.sum()) > 1
        seen = seen and (place[3] - place[1]) * height >= _LEGIBLE
        yield Run(text, place, bool(seen))


def _displayed(page: pdfium.PdfPage, left: float, bottom: float, right: float, top: float) -> Box:
    """A box in the page's own units, as shares of what is displayed."""
    xs, ys = [], []
    for x, y in ((left, bottom), (right, top)):
        at_x, at_y = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(page, 0, 0, _UNITS, _UNITS, 0, x, y, at_x, at_y)
        xs.append(at_x.value / _UNITS)
        ys.append(at_y.value / _UNITS)
    return min(xs), min(ys), max(xs), max(ys)


def _rest(
    bare: NDArray[np.uint8], dpi: float, runs: tuple[Run, ...]
) -> tuple[tuple[Group, ...], float, bool]:
    image = Image.fromarray(bare)
    hidden = [r.box for r in runs if not r.seen]
    if min(bare.shape) < 30:
        return (), 0.0, not hidden
    marks = ink.find(image, dpi)
    if not marks.any.any() and not marks.solid.any():
        return (), 0.0, not hidden
    left = tuple(groups(marks, marks.any, image))
    left += _sideways(bare, dpi, left)
    area = float(bare.size) * marks.scale**2
    large = [g for g in left if g.kind in ("text", "strokes", "picture") and min(g.size) > 1.5 * MM]
    picture = min(1.0, sum(g.size[0] * g.size[1] for g in large) / max(1.0, area))
    picture = max(picture, float(marks.solid.mean()))
    if not hidden:
        return left, picture, True
    if not _lie_on_marks(hidden, marks.any | marks.solid):
        return left, picture, False
    rest = marks.any.copy()
    height, width = rest.shape
    pad = round(0.8 * MM)
    for box in hidden:
        rest[
            max(0, int(box[1] * height) - pad) : int(box[3] * height) + pad,
            max(0, int(box[0] * width) - pad) : int(box[2] * width) + pad,
        ] = False
    after = groups(marks, rest, image)
    letters = sum(g.letters for g in left if g.kind == "text")
    missing = sum(g.letters for g in after if g.kind == "text" and g.letters >= 4)
    share = float(rest.sum()) / float(max(1, marks.any.sum()))
    fits = missing <= max(3, 0.03 * letters) and share < 0.5
    # A mark of secrecy is eight letters: what would stop a page that was read makes it be read.
    return left, picture, fits and not any(map(stops, after))


def _sideways(bare: NDArray[np.uint8], dpi: float, left: Sequence[Group]) -> tuple[Group, ...]:
    """Rows of letters that run up or down, where upright ones are not most of what is `left`.

    Their boxes are those on the page turned by 90 degrees.
    """
    upright = sum(g.letters for g in left if g.kind == "text")
    if sum(g.letters for g in left if g.kind == "strokes" and g.letters >= 3) <= upright:
        return ()
    image = Image.fromarray(np.ascontiguousarray(np.rot90(bare)))
    marks = ink.find(image, dpi)
    return tuple(g for g in groups(marks, marks.any, image) if g.kind == "text")


def _lie_on_marks(boxes: Sequence[Box], marks: Mask) -> bool:
    """Whether there is something to be seen where most of the hidden text stands."""
    height, width = marks.shape
    on = 0
    for left, top, right, bottom in boxes:
        x1, y1 = int(left * width), int(top * height)
        inside = marks[max(0, y1) : int(bottom * height) + 1, max(0, x1) : int(right * width) + 1]
        on += inside.size > 0 and float(inside.mean()) > _ON_MARKS
    return 2 * on >= len(boxes)
