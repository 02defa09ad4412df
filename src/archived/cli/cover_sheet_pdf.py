"""Draws cover and separator sheets as a PDF. Knows paper, letters and codes, nothing of archives.

The drawing libraries are loaded when something is drawn, so that no other command pays for them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from archived.api.cover_sheet import LEVELS, Sheet, SheetKind
from archived.errors import ArchivedError
from archived.message import Message
from archived.model.secrecy import Level

if TYPE_CHECKING:
    from fpdf import FPDF

FONTS = (
    "/usr/share/fonts/truetype/croscore/Tinos-{}.ttf",
    "/usr/share/fonts/truetype/liberation2/LiberationSerif-{}.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSerif-{}.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSerif{}.ttf",
)
"""With every Vietnamese letter where the letters are looked for; the first complete pair wins."""

BARS = {"T": "0101", "2": "1001", "3": "1010"}
"""Patch codes that separate documents: bars from the top edge down, 1 is wide."""
_WIDE, _NARROW = 0.20 * 25.4, 0.08 * 25.4

_WIDTH, _HEIGHT, _SIDE = 210.0, 297.0, 15.0
_LARGE, _SMALL = 62.0, 46.0
_QUIET = 6.0
"""White around a QR code; four modules are asked for, and ours are at most 1.5 mm."""


class CannotDraw(ArchivedError):
    """The sheets cannot be drawn on this machine, or with these letters."""

    code = "sheet-not-drawn"


@dataclass(frozen=True, slots=True)
class Style:
    """What a sheet shows besides its code. `patch`: a key of `BARS`, or empty."""

    title: str = ""
    patch: str = ""


def draw(sheets: Sequence[Sheet], style: Style) -> bytes:
    """A PDF with one A4 page per sheet. Raises `CannotDraw`."""
    try:
        from fpdf import FPDF
    except ImportError as error:
        raise CannotDraw(
            Message("a library for drawing is not installed: {name}", name=error.name),
            hint=Message("install what archived needs for it: pip install 'archived[sheets]'"),
        ) from error
    pdf = FPDF(unit="mm", format="A4")
    pdf.set_auto_page_break(False)
    pdf.set_margin(0)
    pdf.set_title("Tờ bìa, tờ phân cách / Cover and separator sheets")
    pdf.set_lang("vi")
    letters = "".join([style.title, *(sheet.dossier for sheet in sheets), _OWN_LETTERS])
    for weight, path in zip(("", "B"), _fonts(letters), strict=True):
        pdf.add_font("sheet", style=weight, fname=path)
    for sheet in sheets:
        pdf.add_page()
        _page(pdf, sheet, style)
    return bytes(pdf.output())


def _page(pdf: FPDF, sheet: Sheet, style: Style) -> None:
    if style.patch:
        _patch(pdf, BARS[style.patch], 9.0)
    cover = sheet.kind is SheetKind.COVER
    names = (
        ("TỜ BÌA HỒ SƠ", "Dossier cover sheet") if cover else ("TỜ PHÂN CÁCH", "Separator sheet")
    )
    _text(pdf, names[0], (_SIDE, 46), 26, bold=True)
    _text(pdf, names[1], (_SIDE, 54), 14)
    if sheet.of > 1:
        _text(pdf, f"{sheet.number} / {sheet.of}", (_WIDTH - _SIDE, 48), 30, bold=True, align="R")
    code = _squares(sheet.text())
    _picture(pdf, code, _SIDE, 64, _LARGE)
    _words(pdf, _told(sheet, style) if cover else _PLAIN, _SIDE + _LARGE + _QUIET + 4, 66)
    mark = sheet if not cover else Sheet(SheetKind.MARK)
    _picture(pdf, _stripes(mark.text()), _SIDE + 15, 163, _WIDTH - 2 * _SIDE - 30, 20)
    _text(pdf, mark.text(), (_WIDTH / 2, 188), 8, align="C")
    _picture(pdf, code, _WIDTH - _SIDE - _SMALL, 205, _SMALL)
    _words(pdf, _HOW_COVER if cover else _HOW_PLAIN, _SIDE, 206, wide=112)
    _wrapped(pdf, sheet.text(), (_SIDE, 268), 8, _WIDTH - 2 * _SIDE)
    _text(pdf, "archived", (_SIDE, 283), 8)


Words = Sequence[tuple[str, str]]
"""What is told, line by line: a small heading, and what stands below it."""

_PLAIN: Words = (
    ("Bắt đầu một tài liệu mới", "Trang sau tờ này là trang đầu của tài liệu tiếp theo."),
    ("A new document begins", "The page after this sheet is the first of the next document."),
)
_HOW_COVER: Words = (
    (
        "Cách dùng",
        "Đặt trước trang đầu của hồ sơ; nếu có nhiều tờ, mỗi tờ đặt trước một tài liệu, "
        "theo thứ tự. In đúng cỡ 100 %, không dùng bản phô tô. Số tờ không tính tờ bìa và "
        "tờ phân cách.",
    ),
    (
        "How to use it",
        "Place it before the first page of the dossier; of several, place one "
        "before each document, in order. Print at 100 %, do not copy. Cover and separator sheets "
        "are not counted.",
    ),
)
_HOW_PLAIN: Words = (
    (
        "Cách dùng",
        "Đặt trước trang đầu của mỗi tài liệu. In đúng cỡ 100 %, không dùng bản phô tô. "
        "Dùng lại được khi còn sạch và phẳng.",
    ),
    (
        "How to use it",
        "Place it before the first page of every document. Print at 100 %, do not "
        "copy. It can be used again while it is clean and flat.",
    ),
)
_LABELS = (
    "Mã hồ sơ / Dossier",
    "Tiêu đề hồ sơ / Title",
    "Số tờ / Sheets",
    "Độ mật / Secrecy",
    "không ghi / not said",
)
_OWN_LETTERS = "".join(
    [
        *_LABELS,
        *(w for ws in (_PLAIN, _HOW_COVER, _HOW_PLAIN) for pair in ws for w in pair),
        *(level.printed for level in Level),
        "TỜ BÌA HỒ SƠ PHÂN CÁCH",
    ]
)


def _told(sheet: Sheet, style: Style) -> Words:
    dossier, title, count, secrecy, nothing = _LABELS
    level = Level(LEVELS.index(sheet.secrecy)).printed if sheet.secrecy else nothing
    # The level never stands alone on a line: a sheet that is kept with its pages is no stamp.
    told = [(dossier, sheet.dossier)]
    told += [(title, style.title)] if style.title else []
    told += [(count, str(sheet.sheets or nothing)), (secrecy, f"Độ mật: {level}")]
    return told


def _words(pdf: FPDF, words: Words, left: float, top: float, wide: float = 0.0) -> None:
    wide = wide or _WIDTH - _SIDE - left
    for heading, told in words:
        _text(pdf, heading, (left, top + 3), 9)
        size = 11 if len(told) > 60 else 16
        top = _wrapped(pdf, told, (left, top + 5), size, wide, bold=size > 11) + 3


def _text(
    pdf: FPDF,
    text: str,
    at: tuple[float, float],
    size: float,
    *,
    bold: bool = False,
    align: Literal["L", "C", "R"] = "L",
) -> None:
    """Write one line; `at` is where its beginning, middle or end lies on the baseline (mm)."""
    pdf.set_font("sheet", style="B" if bold else "", size=size)
    width = pdf.get_string_width(text)
    x, baseline = at
    pdf.text(x - {"L": 0.0, "C": width / 2, "R": width}[align], baseline, text)


def _wrapped(
    pdf: FPDF, text: str, at: tuple[float, float], size: float, wide: float, *, bold: bool = False
) -> float:
    """Write lines that fit, six at most, below and right of `at` (mm); returns where they end."""
    from fpdf.enums import WrapMode

    left, top = at
    pdf.set_font("sheet", style="B" if bold else "", size=size)
    line = size * 0.3528 * 1.2
    mode = WrapMode.WORD if " " in text else WrapMode.CHAR
    lines = cast(
        "list[str]",
        pdf.multi_cell(wide, line, text, dry_run=True, output="LINES", align="L", wrapmode=mode),
    )
    if len(lines) > 6:
        lines = [*lines[:5], lines[5].rstrip()[:-1] + "…"]
    for number, each in enumerate(lines):
        pdf.text(left, top + (number + 0.8) * line, each.strip())
    return top + len(lines) * line


def _patch(pdf: FPDF, bars: str, top: float) -> None:
    pdf.set_fill_color(0)
    for bar in bars:
        height = _WIDE if bar == "1" else _NARROW
        pdf.rect(_SIDE, top, _WIDTH - 2 * _SIDE, height, style="F")
        top += height + _NARROW


def _squares(text: str) -> Any:
    import zxingcpp

    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode, ec_level="H")
    return code.to_image(scale=1, add_quiet_zones=False)


def _stripes(text: str) -> Any:
    import zxingcpp

    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.Code128)
    return code.to_image(scale=1, add_quiet_zones=False)


def _picture(pdf: FPDF, code: Any, left: float, top: float, wide: float, high: float = 0.0) -> None:
    """One pixel per module, enlarged by whole numbers: a printer's driver must not smooth it."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(code)
    grown = np.kron(pixels[:1] if high else pixels, np.ones((8, 8), dtype=np.uint8))
    data = io.BytesIO()
    Image.fromarray(grown).convert("1").save(data, "PNG")
    pdf.image(data, left, top, wide, high or wide)


def _fonts(letters: str) -> tuple[Path, Path]:
    from fontTools.ttLib import TTFont

    lacking = ""
    for pattern in FONTS:
        styles = ("", "-Bold") if "DejaVu" in pattern else ("Regular", "Bold")
        pair = Path(pattern.format(styles[0])), Path(pattern.format(styles[1]))
        if not all(path.is_file() for path in pair):
            continue
        missing = set()
        for path in pair:
            with TTFont(path, lazy=True) as font:
                known = font.getBestCmap() or {}
            missing |= {letter for letter in letters if ord(letter) not in known}
        if not missing:
            return pair
        lacking = lacking or "".join(sorted(missing))
    if lacking:
        raise CannotDraw(
            Message("no installed font has the letters {lacking!r}", lacking=lacking),
            hint=Message("leave them out of the title, or install a font that has them"),
        )
    raise CannotDraw(
        Message("no font with Vietnamese letters is installed"),
        hint="apt-get install fonts-croscore",
    )
