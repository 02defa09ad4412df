"""Cover sheets: what is printed says what was asked for, and nothing else can be read as one."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pikepdf
import pypdfium2 as pdfium
import pytest
import zxingcpp
from hypothesis import example, given
from hypothesis import strategies as st

from archived.api import Sheet, SheetError, SheetKind, check_dossier
from archived.api.cover_sheet import LEVELS, LONGEST

CTL = Path(sys.executable).parent / "archivectl"


def _fine(text: str) -> bool:
    try:
        check_dossier(text)
    except SheetError:
        return False
    return True


DOSSIERS = st.text(
    st.characters(categories=["Lu", "Ll", "Nd"], include_characters=" .-_/:,()"),
    min_size=1,
    max_size=80,
).filter(_fine)


def ctl(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(CTL), "cover-sheet", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def codes(pdf: Path) -> list[set[tuple[str, str]]]:
    """Per page: kind and text of every bar code."""
    opened = pdfium.PdfDocument(pdf)
    pages = [page.render(scale=150 / 72, grayscale=True).to_pil() for page in opened]
    return [{(str(c.format), c.text) for c in zxingcpp.read_barcodes(p)} for p in pages]


def words(pdf: Path, page: int = 0) -> str:
    return pdfium.PdfDocument(pdf)[page].get_textpage().get_text_range()


# What a code says --------------------------------------------------------------------------------


@given(
    DOSSIERS,
    st.none() | st.integers(1, 99_999),
    st.sampled_from(["", *LEVELS]),
    st.integers(1, 9_999),
    st.integers(0, 9_000),
)
def test_what_is_written_is_what_is_read(
    dossier: str, sheets: int | None, secrecy: str, number: int, more: int
) -> None:
    of = min(9_999, number + more)
    sheet = Sheet(SheetKind.COVER, dossier, sheets, secrecy, number, of)
    assert Sheet.read(sheet.text()) == sheet
    assert sheet.text().isascii()
    assert sheet.text().isprintable()


@given(st.text(max_size=700))
@example("ARCHIVED:")
@example("ARCHIVED:1:")
@example("ARCHIVED:1:P&c=90CA3C5B\n")
@example("ARCHIVED:1:C&c=" + f"{zlib.crc32(b'ARCHIVED:1:C'):08X}")
@example("ARCHIVED:١:P&c=90CA3C5B")
def test_any_other_text_is_nothing_or_an_error_in_words(text: str) -> None:
    for tried in (text, "ARCHIVED:1:C&d=" + text, "ARCHIVED:" + text):
        try:
            sheet = Sheet.read(tried)
        except SheetError as error:
            assert error.code in ("sheet-invalid", "sheet-newer")
            assert str(error).isprintable()
            assert len(str(error)) < 300
        else:
            assert sheet is None or sheet.text()


@given(DOSSIERS, st.data())
def test_a_slip_of_one_letter_is_noticed(dossier: str, data: st.DataObject) -> None:
    text = Sheet(SheetKind.COVER, dossier, 7, "mat").text()
    place = data.draw(st.integers(len("ARCHIVED:1:"), len(text) - 1))
    other = data.draw(st.sampled_from("ABCDEF0123456789%&=/"))
    if text[place] != other:
        with pytest.raises(SheetError):
            Sheet.read(text[:place] + other + text[place + 1 :])


def sealed(body: str) -> str:
    return f"{body}&c={zlib.crc32(body.encode()):08X}"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("ARCHIVED:1:C", "1 to 80 characters"),
        ("ARCHIVED:1:C&d=..%2F..%2Fetc%2Fpasswd", "names no place"),
        ("ARCHIVED:1:C&d=%2Fetc", "names no place"),
        ("ARCHIVED:1:C&d=a%2F%2Fb", "names no place"),
        ("ARCHIVED:1:C&d=a%2F.%2Fb", "names no place"),
        ("ARCHIVED:1:C&d=a%5Cb", "holds"),
        ("ARCHIVED:1:C&d=a%00b", "holds"),
        ("ARCHIVED:1:C&d=%E2%80%AEcod", "holds"),
        ("ARCHIVED:1:C&d=%20a", "not plain"),
        ("ARCHIVED:1:C&d=e%CC%81", "not plain"),
        ("ARCHIVED:1:C&d=%FF", "not UTF-8"),
        ("ARCHIVED:1:C&d=%4", "percent-encoded"),
        ("ARCHIVED:1:C&d=A&d=B", "twice"),
        ("ARCHIVED:1:C&d=A&n=0", "not a number"),
        ("ARCHIVED:1:C&d=A&n=-3", "not a number"),
        ("ARCHIVED:1:C&d=A&n=123456", "1 to 99999"),
        ("ARCHIVED:1:C&d=A&n=%D9%A3", "not a number"),
        ("ARCHIVED:1:C&d=A&l=secret", "unknown secrecy"),
        ("ARCHIVED:1:C&d=A&q=3", "which sheet"),
        ("ARCHIVED:1:C&d=A&q=3/2", "no sheet 3 of 2"),
        ("ARCHIVED:1:C&d=A&z=1", "unknown field"),
        ("ARCHIVED:1:P&d=A", "only a cover"),
        ("ARCHIVED:1:C&d=" + "A" * LONGEST, "more than the"),
    ],
)
def test_a_sealed_lie_is_not_believed(body: str, why: str) -> None:
    with pytest.raises(SheetError, match=why):
        Sheet.read(sealed(body))


def test_a_newer_version_is_said_to_be_newer() -> None:
    with pytest.raises(SheetError) as caught:
        Sheet.read("ARCHIVED:2:C&what=ever")
    assert caught.value.code == "sheet-newer"


# What is printed ---------------------------------------------------------------------------------


def test_numbered_covers_say_what_was_asked_for_to_machines_and_people(tmp_path: Path) -> None:
    ran = ctl(
        "--dossier",
        "05/QĐ-UBND 2001",
        "--sheets",
        "120",
        "--secrecy",
        "Tối mật",
        "--count",
        "3",
        "--title",
        "Hồ sơ về việc cấp đất ở",
        "-o",
        "c.pdf",
        "--json",
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    texts = [
        Sheet(SheetKind.COVER, "05/QĐ-UBND 2001", 120, "toi-mat", number, 3).text()
        for number in (1, 2, 3)
    ]
    assert json.loads(ran.stdout) == {"file": "c.pdf", "sheets": texts}
    mark = Sheet(SheetKind.MARK).text()
    assert codes(tmp_path / "c.pdf") == [{("QR Code", text), ("Code 128", mark)} for text in texts]
    told = words(tmp_path / "c.pdf", 1)
    for said in ("05/QĐ-UBND 2001", "Hồ sơ về việc cấp đất ở", "120", "Tối mật", "2 / 3"):
        assert said in told


def test_plain_sheets_are_all_the_same_and_say_nothing_of_a_dossier(tmp_path: Path) -> None:
    assert ctl("--plain", "--count", "2", "-o", "p.pdf", cwd=tmp_path).returncode == 0
    text = Sheet(SheetKind.PLAIN).text()
    assert codes(tmp_path / "p.pdf") == [{("QR Code", text), ("Code 128", text)}] * 2


def test_pages_are_a4_and_every_font_is_in_the_file(tmp_path: Path) -> None:
    ctl("--dossier", "HS.01", "-o", "c.pdf", cwd=tmp_path)
    with pikepdf.open(tmp_path / "c.pdf") as pdf:
        (page,) = pdf.pages
        assert [round(float(v)) for v in page.mediabox] == [0, 0, 595, 842]
        fonts = [
            o
            for o in pdf.objects
            if isinstance(o, pikepdf.Dictionary) and o.get("/Type") == "/FontDescriptor"
        ]
        assert fonts
        assert all("/FontFile2" in font or "/FontFile3" in font for font in fonts)


def test_long_titles_stay_on_the_page_beside_the_code(tmp_path: Path) -> None:
    title = "Nghiêng ngả trước gió " * 13
    ctl(
        "--dossier",
        "W" * 80,
        "--title",
        title.strip(),
        "--sheets",
        "9",
        "--secrecy",
        "mat",
        "--count",
        "2",
        "-o",
        "c.pdf",
        cwd=tmp_path,
    )
    text = Sheet(SheetKind.COVER, "W" * 80, 9, "mat", 1, 2).text()
    assert ("QR Code", text) in codes(tmp_path / "c.pdf")[0]
    page = pdfium.PdfDocument(tmp_path / "c.pdf")[0]
    text_page = page.get_textpage()
    boxes = [text_page.get_charbox(i) for i in range(text_page.count_chars())]
    assert all(left > 20 and right < 575 for left, _, right, _ in boxes if right > left)


def test_it_goes_to_standard_output_where_that_is_asked_for(tmp_path: Path) -> None:
    ran = subprocess.run(
        [CTL, "cover-sheet", "--plain", "-o", "-"], cwd=tmp_path, capture_output=True, check=True
    )
    assert ran.stdout.startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([], "either --dossier CODE or --plain"),
        (["--plain", "--dossier", "A"], "either --dossier CODE or --plain"),
        (["--plain", "--sheets", "3"], "said of a dossier"),
        (["--dossier", "../x"], "names no place"),
        (["--dossier", "A", "--sheets", "0"], "1 to 99999"),
        (["--dossier", "A", "--secrecy", "hush"], "unknown secrecy level"),
        (["--dossier", "A", "--title", "a\nb"], "printable"),
    ],
)
def test_mistakes_are_told_and_write_nothing(tmp_path: Path, given: Any, why: str) -> None:
    ran = ctl(*given, "-o", "c.pdf", cwd=tmp_path)
    assert ran.returncode == 2
    assert why in ran.stderr
    assert not (tmp_path / "c.pdf").exists()


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "c.pdf").write_text("dear")
    assert ctl("--plain", "-o", "c.pdf", cwd=tmp_path).returncode == 2
    assert (tmp_path / "c.pdf").read_text() == "dear"


def test_letters_that_no_font_has_are_told(tmp_path: Path) -> None:
    ran = ctl("--dossier", "A", "--title", "表題", "-o", "c.pdf", cwd=tmp_path)
    assert ran.returncode == 1
    assert "no installed font has the letters" in ran.stderr
