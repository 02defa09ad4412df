"""The visible block: which font, where on the page, and the one-page PDF that is drawn there.

Knows pages and letters, nothing of keys. The block is a page of our own with its font embedded,
because an appearance that borrows a font from the reader's machine is not PDF/A.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fontTools.ttLib import TTFont, TTLibError
from fpdf import FPDF

FONTS = (
    "/usr/share/fonts/truetype/croscore/Tinos-Regular.ttf",
    "/usr/share/fonts/truetype/liberation2/LiberationSerif-Regular.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSerif-Regular.ttf",
)
"""Metric-compatible with Times New Roman, in Debian's `fonts-croscore` and `fonts-liberation*`."""

A4 = (595.276, 841.89)
BLOCK = (170.0, 30.0)
MARGIN = 8.0
SIDE = 2.0
SIZE = 10.0
"""Points on A4: the block, its distance from the page's edges, room beside the text, the text."""

_LINE = 1.2


def vietnamese_letters() -> str:
    """Every letter of the Vietnamese alphabet with every tone, both cases, digits and signs."""
    vowels = "aăâeêioôơuưy"
    tones = ["", "\u0300", "\u0301", "\u0303", "\u0309", "\u0323"]
    lower = "".join(unicodedata.normalize("NFC", v + t) for v in vowels for t in tones)
    lower += "bcdđghklmnpqrstvx" + "fjwz"
    return lower + lower.upper() + "0123456789 .,:;+-–()/&'\""


def missing_letters(font: Path, text: str) -> str:
    """The letters of `text` for which `font` has no glyph. Raises `OSError`, `ValueError`."""
    try:
        with TTFont(font, lazy=True) as opened:
            known = opened.getBestCmap() or {}
    except (TTLibError, AssertionError) as error:
        raise ValueError(f"{font} is not a TrueType font: {error}") from error
    return "".join(sorted({c for c in text if ord(c) not in known}))


def find_font(wanted: Path | None, candidates: Iterable[str] = FONTS) -> Path:
    """The configured font, or the first candidate with every Vietnamese letter.

    Raises `ValueError` with a sentence for the administrator.
    """
    if wanted is not None:
        try:
            missing = missing_letters(wanted, vietnamese_letters())
        except OSError as error:
            raise ValueError(f"the font cannot be read: {error}") from error
        if missing:
            raise ValueError(f"{wanted} lacks letters: {missing}")
        return wanted
    for candidate in map(Path, candidates):
        if candidate.is_file() and not missing_letters(candidate, vietnamese_letters()):
            return candidate
    raise ValueError("no Times-like font with every Vietnamese letter is installed")


@dataclass(frozen=True)
class Page:
    """The visible part of a page in its own coordinates (points), and how it is turned."""

    left: float
    bottom: float
    width: float
    height: float
    rotate: int = 0

    @property
    def seen(self) -> tuple[float, float]:
        """Width and height as a reader sees them."""
        return (self.height, self.width) if self.rotate in (90, 270) else (self.width, self.height)


def page_of(page: Any) -> Page:
    """The visible part of a PDF page dictionary, its inherited entries included."""
    media = _rectangle(_inherited(page, "/MediaBox")) or (0.0, 0.0, *A4)
    crop = _rectangle(_inherited(page, "/CropBox")) or media
    left, bottom = max(media[0], crop[0]), max(media[1], crop[1])
    right, top = min(media[2], crop[2]), min(media[3], crop[3])
    if right <= left or top <= bottom:
        left, bottom, right, top = media
    rotate = int(_inherited(page, "/Rotate") or 0) % 360
    return Page(left, bottom, right - left, top - bottom, rotate - rotate % 90)


@dataclass(frozen=True)
class Block:
    """Where the block goes on its page (left, bottom, right, top; the page's own coordinates,
    whole points) and the text size in points."""

    box: tuple[int, int, int, int]
    size: float


def place(page: Page, widest: float) -> Block:
    """Top right as the reader sees it, in proportion to A4.

    `widest` is the width of the longest line at size 1. The letters keep their size and the
    block grows to the left for a long name; only a name wider than the page gets smaller.
    """
    width, height = page.seen
    scale = min(min(width, height) / A4[0], max(width, height) / A4[1])
    margin, side, size = MARGIN * scale, 2 * SIDE * scale, SIZE * scale
    # The signing library cuts an appearance to whole points, so the block has whole points.
    room = max(1, math.floor(width - 2 * margin))
    across = min(room, math.ceil(max(BLOCK[0] * scale, widest * size + side)))
    up = max(1, round(BLOCK[1] * scale))
    size = min(size, (across - side) / widest)
    right, top = width - margin, height - margin
    corners = (_to_page(page, right - across, top - up), _to_page(page, right, top))
    left, bottom = (round(min(c[axis] for c in corners)) for axis in (0, 1))
    if page.rotate in (90, 270):
        across, up = up, across
    return Block((left, bottom, left + across, bottom + up), size)


def text_width(font: Path, lines: Sequence[str]) -> float:
    """The width of the widest line at size 1."""
    pdf = FPDF(unit="pt")
    pdf.add_font("block", fname=font)
    pdf.set_font("block", size=100)
    return max(pdf.get_string_width(line) for line in lines) / 100


def draw(path: Path, font: Path, lines: Sequence[str], block: Block, rotate: int) -> None:
    """Write a PDF whose only page is the block: `lines` centred, black, upright to the reader."""
    left, bottom, right, top = block.box
    width, height = right - left, top - bottom
    pdf = FPDF(unit="pt", format=(width, height))
    pdf.set_auto_page_break(False)
    pdf.set_margin(0)
    pdf.add_page()
    pdf.add_font("block", fname=font)
    pdf.set_font("block", size=block.size)
    up = width if rotate in (90, 270) else height
    line = min(block.size * _LINE, up / len(lines))
    first = (height - line * len(lines)) / 2
    with pdf.rotation(rotate, width / 2, height / 2):
        for number, text in enumerate(lines):
            # Not a cell: its coordinates count from the other side when they are negative.
            left_of_text = (width - pdf.get_string_width(text)) / 2
            pdf.text(left_of_text, first + (number + 0.5) * line + 0.3 * block.size, text)
    pdf.output(str(path))


def _to_page(page: Page, x: float, y: float) -> tuple[float, float]:
    width, height = page.seen
    turned = {
        0: (x, y),
        90: (height - y, x),
        180: (width - x, height - y),
        270: (y, width - x),
    }[page.rotate]
    return page.left + turned[0], page.bottom + turned[1]


def _inherited(page: Any, key: str) -> Any:
    # A page tree in a hostile file may be a circle.
    for _ in range(64):
        if key in page:
            return page[key]
        if "/Parent" not in page:
            break
        page = page["/Parent"]
    return None


def _rectangle(value: Any) -> tuple[float, float, float, float] | None:
    if value is None or len(value) != 4:
        return None
    numbers = [float(n) for n in value]
    xs, ys = sorted(numbers[::2]), sorted(numbers[1::2])
    return xs[0], ys[0], xs[1], ys[1]
