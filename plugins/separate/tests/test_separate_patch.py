"""Patch codes, drawn as scanner makers print them and scanned as scanners do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zxingcpp
from PIL import Image, ImageDraw, ImageFont

from archived_separate import page_stats, patch

BARS = {name: bars for bars, name in patch.PATTERNS.items()}
WIDE, NARROW = 0.20, 0.08


def sheet(
    name: str, dpi: int, left: float, top: float, length: float, size: float = 1.0
) -> Image.Image:
    """A page with one patch code; inches."""
    page = Image.new("L", (round(8.27 * dpi), round(11.69 * dpi)), 255)
    draw = ImageDraw.Draw(page)
    for bar in BARS[name]:
        high = (WIDE if bar == "1" else NARROW) * size
        draw.rectangle(
            [left * dpi, top * dpi, (left + length) * dpi - 1, (top + high) * dpi - 1], 0
        )
        top += high + NARROW * size
    return page


def found(page: Image.Image, dpi: int) -> set[str]:
    black = page_stats.dark(page_stats.coarse(np.asarray(page), dpi))
    return set() if black is None else {one.name for one in patch.find(black)}


@pytest.mark.parametrize("dpi", [150, 200, 300, 400])
def test_all_six_are_told_apart_at_every_usual_resolution(desk: Any, dpi: int) -> None:
    for seed, name in enumerate(BARS):
        skew = (-3, -1.4, 0, 1.4, 3, 2)[seed]
        page = sheet(name, dpi, left=0.4 + seed * 0.5, top=0.2 + seed * 0.4, length=2 + seed * 0.5)
        assert found(desk.worn(page, seed, dpi, skew), dpi) == {name}, (name, skew)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_turned_sheets_are_read_as_the_code_or_its_twin(desk: Any, turn: int) -> None:
    for seed, name in enumerate(BARS):
        page = desk.worn(sheet(name, 200, 1, 0.5, 5), seed, 200).rotate(turn, expand=True)
        assert found(page, 200) <= {name, patch.UPSIDE_DOWN[name]}, name
        assert found(page, 200), name


def test_print_that_is_a_little_smaller_or_larger_is_read(desk: Any) -> None:
    for size in (0.9, 0.95, 1.05, 1.1):
        assert found(desk.worn(sheet("T", 200, 1, 0.5, 4, size), 1, 200), 200) == {"T"}


def test_black_and_white_scans_are_read(desk: Any) -> None:
    page = desk.worn(sheet("2", 200, 1, 0.5, 4), 3, 200).point(lambda v: 255 if v > 130 else 0)
    assert found(page, 200) == {"2"}


def test_bars_that_are_too_short_are_none() -> None:
    assert found(sheet("T", 200, 1, 1, 0.8), 200) == set()


def test_text_tables_and_bar_codes_are_none(desk: Any) -> None:
    ruled = desk.letter("ruled", 200)
    draw = ImageDraw.Draw(ruled)
    for row in range(12):
        draw.rectangle([150, 900 + row * 60, 1500, 900 + row * 60 + 6], 0)
    code = zxingcpp.create_barcode("ABCDEF", zxingcpp.BarcodeFormat.Code39)
    bars = np.asarray(code.to_image(scale=1, add_quiet_zones=False))[:1]
    large = np.kron(bars, np.ones((400, 16), np.uint8))
    coded = desk.letter("coded", 200)
    coded.paste(Image.fromarray(large), (30, 700))
    for page in (desk.letter("plain", 200), ruled, coded):
        assert found(page, 200) == set()


def test_a_page_without_contrast_is_blank_and_has_nothing(desk: Any) -> None:
    gray = Image.new("L", (1654, 2339), 90)
    assert page_stats.dark(page_stats.coarse(np.asarray(gray), 200)) is None
    assert page_stats.blank(page_stats.coarse(np.asarray(gray), 200))
    empty = desk.worn(Image.new("L", (1654, 2339), 255), 1, 200)
    assert page_stats.blank(page_stats.coarse(np.asarray(empty), 200))
    numbered = Image.new("L", (1654, 2339), 255)
    ImageDraw.Draw(numbered).text((820, 2200), "17", 0, ImageFont.load_default(40))
    page = desk.worn(numbered, 2, 200, skew=0)
    assert not page_stats.blank(page_stats.coarse(np.asarray(page), 200))
    assert not page_stats.blank(page_stats.coarse(np.asarray(desk.letter("x", 200)), 200))
