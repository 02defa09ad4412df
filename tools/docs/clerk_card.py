"""Draws the card for the scanning desk: `python -m tools.docs.clerk_card OUT.pdf`.

Two sides of A4, Vietnamese and English, from docs/clerk-card/card.toml; to be printed on both sides
and laminated. Legible without colour.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fpdf import FPDF

ROOT = Path(__file__).resolve().parent.parent.parent
TEXTS = ROOT / "docs" / "clerk-card" / "card.toml"
FONTS = Path("/usr/share/fonts/truetype/croscore")
"""Arimo (Debian's fonts-croscore) has every Vietnamese letter."""

WIDTH, HEIGHT, SIDE = 210.0, 297.0, 14.0
INNER = WIDTH - 2 * SIDE
INK, GREEN, RED, PALE, LINE = (
    (25, 32, 44),
    (22, 110, 66),
    (170, 32, 32),
    (240, 243, 246),
    (150, 158, 168),
)
MADE = datetime(2026, 11, 22, tzinfo=UTC)
"""Stands in the file, so that the same texts give the same bytes."""


class Card(FPDF):
    """One side after the other."""

    def __init__(self) -> None:
        super().__init__(format="A4")
        for style, name in (("", "Regular"), ("B", "Bold")):
            self.add_font("card", style, FONTS / f"Arimo-{name}.ttf")
        self.set_auto_page_break(False)
        self.set_creation_date(MADE)
        self.set_text_shaping(True)
        self.set_lang("vi")
        self.set_title("archived: the card for the scanning desk")
        self.c_margin = 0

    def ink(self, colour: tuple[int, int, int]) -> None:
        """What follows is written and drawn in this colour."""
        self.set_text_color(*colour)
        self.set_draw_color(*colour)

    def words(self, x: float, y: float, wide: float, text: str, size: float, line: float) -> float:
        """Text with *bold* words, wrapped; returns where it ends."""
        self.set_font("card", "", size)
        self.set_xy(x, y)
        marked = text.replace("*", "**")
        self.multi_cell(wide, line, marked, markdown=True, align="L", new_x="LMARGIN", new_y="NEXT")
        return float(self.get_y())


def side(card: Card, texts: Mapping[str, Any]) -> None:
    """One side in one language."""
    card.add_page()
    y = _title(card, texts)
    y = _rule(card, texts, y)
    for number, step in enumerate(texts["step"], 1):
        y = _step(card, number, step, y)
    y = _statuses(card, texts, y + 2)
    y = _nevers(card, texts, y + 4)
    _asks(card, texts, y + 5)


def _title(card: Card, texts: Mapping[str, Any]) -> float:
    card.ink(INK)
    card.set_font("card", "B", 25)
    card.set_xy(SIDE, 12)
    card.cell(INNER, 11, texts["title"])
    card.set_font("card", "", 10.5)
    card.set_xy(SIDE, 14)
    card.cell(INNER, 9, texts["lead"], align="R")
    return 27.0


def _rule(card: Card, texts: Mapping[str, Any], y: float) -> float:
    """The one rule, in a frame that cannot be overlooked."""
    card.set_fill_color(*INK)
    card.rect(SIDE, y, INNER, 27, style="F", round_corners=True, corner_radius=3)
    card.set_text_color(255, 255, 255)
    card.set_font("card", "B", 15)
    card.set_xy(SIDE + 6, y + 4)
    card.multi_cell(INNER - 12, 6.6, texts["rule"], align="L", new_x="LMARGIN", new_y="NEXT")
    card.set_font("card", "", 12.5)
    card.set_xy(SIDE + 6, y + 19)
    card.cell(INNER - 12, 5, texts["rule_more"])
    return y + 32


def _step(card: Card, number: int, step: Mapping[str, str], y: float) -> float:
    high = 31.0
    card.set_fill_color(*PALE)
    card.rect(SIDE, y, INNER, high - 3, style="F", round_corners=True, corner_radius=3)
    SIGNS[step["sign"]](card, SIDE + 14, y + (high - 3) / 2)
    card.ink(INK)
    card.set_font("card", "B", 15)
    card.set_xy(SIDE + 32, y + 3)
    card.cell(INNER - 36, 6, f"{number}. {step['what']}")
    card.words(SIDE + 32, y + 10.2, INNER - 37, step["how"], 11.5, 5.1)
    return y + high


def _statuses(card: Card, texts: Mapping[str, Any], y: float) -> float:
    card.ink(INK)
    card.set_font("card", "B", 12.5)
    card.set_xy(SIDE, y)
    card.cell(INNER, 6, texts["status"])
    y += 7.5
    for what, then in texts["statuses"]:
        card.set_draw_color(*LINE)
        card.line(SIDE, y, SIDE + INNER, y)
        card.ink(INK)
        left = card.words(SIDE, y + 1.3, 62, f"*{what}*", 10.5, 4.7)
        right = card.words(SIDE + 66, y + 1.3, INNER - 66, then, 10.5, 4.7)
        y = max(left, right) + 1.3
    card.set_draw_color(*LINE)
    card.line(SIDE, y, SIDE + INNER, y)
    return y


def _nevers(card: Card, texts: Mapping[str, Any], y: float) -> float:
    card.ink(RED)
    card.set_font("card", "B", 12.5)
    card.set_xy(SIDE, y)
    card.cell(INNER, 6, texts["never"])
    y += 7.5
    for each in texts["nevers"]:
        card.ink(RED)
        card.set_line_width(0.8)
        card.line(SIDE + 0.8, y + 1, SIDE + 3.6, y + 3.8)
        card.line(SIDE + 3.6, y + 1, SIDE + 0.8, y + 3.8)
        card.set_line_width(0.2)
        card.ink(INK)
        y = card.words(SIDE + 7, y, INNER - 7, each, 10.8, 4.9) + 0.6
    return y


def _asks(card: Card, texts: Mapping[str, Any], y: float) -> None:
    """Lines to be written on by hand."""
    wide = INNER / len(texts["asks"])
    y = max(y, HEIGHT - 24)
    for index, each in enumerate(texts["asks"]):
        card.set_draw_color(*INK)
        card.line(SIDE + index * wide, y + 6, SIDE + (index + 1) * wide - 6, y + 6)
        card.ink(INK)
        card.set_font("card", "", 9)
        card.set_xy(SIDE + index * wide, y + 7)
        card.cell(wide - 6, 4, each)


# Signs -------------------------------------------------------------------------------------------


def _sheet(card: Card, x: float, y: float, wide: float = 12, high: float = 16) -> None:
    card.ink(INK)
    card.set_fill_color(255, 255, 255)
    card.set_line_width(0.5)
    card.rect(x - wide / 2, y - high / 2, wide, high, style="DF")
    for line in range(4):
        at = y - high / 2 + 3 + 2.6 * line
        card.line(x - wide / 2 + 2, at, x + wide / 2 - (2 if line < 3 else 5), at)


def _scan(card: Card, x: float, y: float) -> None:
    _sheet(card, x, y - 3)
    card.set_fill_color(*INK)
    card.rect(x - 11, y + 3, 22, 6, style="F", round_corners=True, corner_radius=1.5)
    card.set_draw_color(255, 255, 255)
    card.line(x - 7, y + 6, x + 3, y + 6)
    card.set_line_width(0.2)


def _receipt(card: Card, x: float, y: float) -> None:
    _sheet(card, x - 2, y)
    _round(card, x + 5, y + 5, INK)
    _tick(card, x + 5, y + 5)


def _held(card: Card, x: float, y: float) -> None:
    """A triangle with an exclamation mark."""
    card.ink(RED)
    card.set_fill_color(255, 255, 255)
    card.set_line_width(1.4)
    card.polygon([(x, y - 9.5), (x + 10.5, y + 8.5), (x - 10.5, y + 8.5)], style="DF")
    card.set_line_width(1.8)
    card.line(x, y - 3, x, y + 3)
    card.set_fill_color(*RED)
    card.ellipse(x - 1, y + 4.6, 2, 2, style="F")
    card.set_line_width(0.2)


def _safe(card: Card, x: float, y: float) -> None:
    """A box on its shelf, and the tick that allows it."""
    card.ink(GREEN)
    card.set_fill_color(255, 255, 255)
    card.set_line_width(1.2)
    card.rect(x - 10, y - 8, 20, 15, style="DF")
    card.line(x - 10, y - 3.5, x + 10, y - 3.5)
    card.line(x - 11.5, y + 8.6, x + 11.5, y + 8.6)
    _round(card, x, y + 2, GREEN)
    _tick(card, x, y + 2)


def _round(card: Card, x: float, y: float, colour: tuple[int, int, int]) -> None:
    card.set_fill_color(*colour)
    card.ellipse(x - 4.6, y - 4.6, 9.2, 9.2, style="F")


def _tick(card: Card, x: float, y: float) -> None:
    card.set_draw_color(255, 255, 255)
    card.set_line_width(1.2)
    card.line(x - 2.2, y, x - 0.6, y + 1.8)
    card.line(x - 0.6, y + 1.8, x + 2.4, y - 1.8)
    card.set_line_width(0.2)


SIGNS: Mapping[str, Callable[[Card, float, float], None]] = {
    "scan": _scan,
    "receipt": _receipt,
    "held": _held,
    "safe": _safe,
}


def drawn() -> bytes:
    """The card as a PDF."""
    texts = tomllib.loads(TEXTS.read_text("utf-8"))
    card = Card()
    for language in ("vi", "en"):
        side(card, texts[language])
    return bytes(card.output())


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(drawn())
