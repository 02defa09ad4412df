"""Sheets that were printed and scanned are read; those that cannot be are not passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zxingcpp
from PIL import Image

from archived.api import Sheet, SheetKind
from archived_separate import page_scan
from archived_separate.options import SeparateOptions
from archived_separate.pages import Place, Rasters, Source
from archived_separate.plan import Seen

COVER = ("--dossier", "05/QĐ-UBND 2001", "--sheets", "12", "--secrecy", "mat", "--count", "2")
SIDE = ((64, 15, 62), (205, 149, 46))
"""Top, left and side of a sheet's two QR codes, in millimetres."""


@pytest.fixture
def see(desk: Any, tmp_path: Path) -> Any:
    """What is seen on one page."""

    def of(page: Image.Image, dpi: int, **options: Any) -> Seen:
        file = tmp_path / "page.tif"
        page.save(file, dpi=(dpi, dpi))
        with Rasters([Source(file, "image/tiff", [0])]) as rasters:
            given = SeparateOptions(**options)
            return page_scan.view(rasters, [Place(0, 0)], given, lambda _: None)[0]

    return of


@pytest.mark.parametrize("dpi", [150, 200, 300])
def test_a_worn_sheet_is_read_whichever_way_it_lies(
    desk: Any, printed: Any, see: Any, dpi: int
) -> None:
    wanted = Sheet(SheetKind.COVER, "05/QĐ-UBND 2001", 12, "mat", 2, 2).text()
    page = desk.render(printed(*COVER), 1, dpi)
    for seed, turn in enumerate((0, 90, 180, 270)):
        seen = see(desk.worn(page, seed, dpi).rotate(turn, expand=True), dpi)
        assert wanted in [text for _, text in seen.codes], turn
        assert not seen.unread


def test_a_plain_sheet_with_a_patch_code_is_read_in_both_ways(
    desk: Any, printed: Any, see: Any
) -> None:
    page = desk.render(printed("--plain", "--patch", "T"), 0, 200)
    seen = see(desk.worn(page, 1, 200), 200)
    assert ("qr", Sheet(SheetKind.PLAIN).text()) in seen.codes
    assert ("code128", Sheet(SheetKind.PLAIN).text()) in seen.codes
    assert seen.patches == ("T",)


def spoiled(page: Image.Image, dpi: int, how: str) -> Image.Image:
    """Both QR codes made unreadable, and the stripes between them gone."""
    pixels = np.asarray(page).copy()
    rng = np.random.default_rng(3)
    mm = dpi / 25.4
    for top, left, side in SIDE:
        y, x, s = (int(v * mm) for v in (top, left, side))
        area = pixels[y : y + s, x : x + s]
        if how == "torn":
            area[: int(s * 0.7), int(s * 0.3) :] = 255
        elif how == "blotted":
            area[int(s * 0.3) :, : int(s * 0.7)] = 0
        else:
            cell = max(1, int(1.6 * mm))
            spots = np.kron(rng.random((s // cell, s // cell)) < 0.35, np.ones((cell, cell))) > 0
            part = area[: spots.shape[0], : spots.shape[1]]
            part[spots] = 255 - part[spots]
    pixels[int(160 * mm) : int(192 * mm)] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("how", ["torn", "blotted", "spotted"])
def test_a_sheet_that_nobody_can_read_is_suspicious(
    desk: Any, printed: Any, see: Any, how: str
) -> None:
    for words in (COVER, ("--plain",)):
        page = spoiled(desk.render(printed(*words), 0, 200), 200, how)
        seen = see(desk.worn(page, 5, 200), 200)
        assert not [text for _, text in seen.codes if text.startswith("ARCHIVED")]
        assert seen.unread, words


def test_a_documents_own_small_code_is_no_suspicion_read_or_not(desk: Any, see: Any) -> None:
    code = zxingcpp.create_barcode("HD:1;" * 8, zxingcpp.BarcodeFormat.QRCode)
    grid = np.asarray(code.to_image(scale=1, add_quiet_zones=False))
    picture = np.kron(grid, np.ones((5, 5), np.uint8))  # 20 mm
    whole, broken = desk.letter("invoice", 200), desk.letter("invoice", 200)
    whole.paste(Image.fromarray(picture), (1300, 60))
    picture[30:100, 40:140] = 255
    broken.paste(Image.fromarray(picture), (1300, 60))
    assert see(whole, 200).codes == (("qr", "HD:1;" * 8),)
    assert not see(whole, 200).unread
    assert see(broken, 200) == Seen()


def test_kinds_that_are_not_asked_for_are_not_read(desk: Any, printed: Any, see: Any) -> None:
    page = desk.render(printed("--plain", "--patch", "2"), 0, 150)
    assert see(page, 150, codes=(), patches=()) == Seen()
    assert [kind for kind, _ in see(page, 150, codes=("code128",)).codes] == ["code128"]
