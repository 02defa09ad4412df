"""What the stage `ocr` promises about pages, pixels and text; run as the daemon runs it."""

import json
import os
import subprocess
import sys
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pikepdf
import pypdfium2 as pdfium
import pytest
from pikepdf import pdfa
from PIL import Image, ImageDraw, ImageFont

from archived.api import Postpone, Refuse, Role
from archived.testing import StageContract
from archived.testing.kit import run_stage_below, take_in
from archived.testing.samples.containers import pack
from archived_ocr import Ocr, OcrOptions

FONT = "/usr/share/fonts/truetype/croscore/Tinos-Regular.ttf"
SMALL = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
TEXT = ("Căn cứ Nghị định số 30", "về công tác văn thư", "Ủy ban nhân dân tỉnh")


def page(mode="L", size=(1000, 700), lines=TEXT, dpi=200):
    """A small page of Vietnamese text as scanned at `dpi`."""
    image = Image.new("L", size, 250)
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(FONT, round(14 * dpi / 72))
    for n, line in enumerate(lines):
        draw.text((80, 80 + n * round(dpi / 3)), line, fill=20, font=font)
    if mode == "RGB":
        tint = Image.new("L", size, 235)
        return Image.merge("RGB", (image, image, Image.composite(tint, image, image)))
    return image.convert(mode, dither=Image.Dither.NONE) if mode != "L" else image


def saved(path: Path, image: Image.Image, **kind) -> Path:
    image.save(path, dpi=(200, 200), **kind)
    return path


def text_of(done):
    [text] = [a for a in done.add if a.role == Role.TEXT]
    return text.path.read_text(encoding="utf-8")


def pictures(path):
    with pikepdf.open(path) as pdf:
        found = []
        for one in pdf.pages:
            for image in one.get_images().values():
                found.append((image.read_raw_bytes(), pikepdf.PdfImage(image).as_pil_image()))
        return found


class TestOcrKeepsEveryStagesPromises(StageContract):
    stage = Ocr
    sample = "tiny.tif"


def test_a_scan_becomes_a_searchable_pdfa_with_a_text_beside_it(run_stage, sample):
    done = run_stage(Ocr, sample("tiny.tif"))

    main = done.replace_main
    assert (main.name, main.media_type, main.role) == (
        "document.pdf",
        "application/pdf",
        Role.ACCESS,
    )
    assert pdfa.validate_written(main.path, "2b").passed
    text = text_of(done)
    assert "PHIẾU NHẬN SỐ" in text
    assert text == unicodedata.normalize("NFC", text)
    layer = pdfium.PdfDocument(main.path)[0].get_textpage().get_text_range()
    assert "Người nộp" in unicodedata.normalize("NFC", layer)
    facts = done.facts
    assert facts["pages"] == 1 and facts["pdfa"] == "2b" and facts["text"] == "ocr"
    assert facts["languages"] == "vie" and facts["reading_copy"] is False
    assert facts["confidence"][0] > 80 and facts["words"][0] >= 10
    assert done.tools["tesseract"].startswith("5.") and "ocrmypdf" in done.tools


def test_words_lie_where_they_are_printed_also_on_a_crooked_page(run_stage, tmp_path):
    """The engine reads a levelled copy; the places must be those of the page as it is."""
    level = page(size=(1400, 1000), lines=[*TEXT] * 3)
    crooked = level.rotate(2.0, Image.Resampling.BICUBIC, fillcolor=250)
    done = run_stage(Ocr, saved(tmp_path / "crooked.png", crooked))

    document = pdfium.PdfDocument(done.replace_main.path)
    drawn = np.asarray(document[0].render(scale=200 / 72, grayscale=True).to_pil()) < 128
    text = document[0].get_textpage()
    hits = ink = 0
    for index in range(text.count_chars()):
        left, bottom, right, top = (v * 200 / 72 for v in text.get_charbox(index))
        if text.get_text_range(index, 1).isspace():
            continue
        height = drawn.shape[0]
        box = drawn[round(height - top) : round(height - bottom), round(left) : round(right)]
        hits += bool(box.any())
        ink += 1
    assert ink > 100 and hits / ink > 0.9
    assert "Nghị định số 30" in text_of(done)


@pytest.mark.parametrize("angle", [90, 180])
def test_a_page_scanned_the_wrong_way_up_is_turned(run_stage, tmp_path, angle):
    image = page(size=(1654, 2339), lines=[*TEXT] * 8).rotate(angle, expand=True)
    done = run_stage(Ocr, saved(tmp_path / "turned.png", image))

    assert "Nghị định số 30" in text_of(done)
    assert "turned-pages" in done.facts["flags"] and "1" in done.facts["turned_pages"]
    shown = pdfium.PdfDocument(done.replace_main.path)[0]
    assert shown.get_width() < shown.get_height()
    place = shown.get_textpage()
    boxes = [place.get_charbox(n) for n in range(20)]
    if angle == 180:  # in the page's own units, before it is turned, the top is at the bottom
        assert shown.get_rotation() == 180
        assert boxes[0][3] < shown.get_height() * 0.2


def test_the_bytes_of_a_jpeg_are_not_touched(run_stage, tmp_path):
    scan = saved(tmp_path / "scan.jpg", page("RGB"), quality=80)
    done = run_stage(Ocr, scan)

    [(raw, _)] = pictures(done.replace_main.path)
    assert raw == scan.read_bytes()
    assert done.facts["flags"] == []


@pytest.mark.parametrize(
    ("name", "mode", "kind"),
    [
        ("gray.png", "L", {}),
        ("colour.png", "RGB", {}),
        ("palette.png", "P", {}),
        ("gray16.png", "I;16", {}),
        ("lzw.tif", "RGB", {"compression": "tiff_lzw"}),
        ("fax.tif", "1", {"compression": "group4"}),
        ("raw.tif", "L", {}),
    ],
)
def test_lossless_pages_show_every_pixel_as_it_was(run_stage, tmp_path, name, mode, kind):
    image = page("RGB").quantize(60) if mode == "P" else page("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257 - 3)
    done = run_stage(Ocr, saved(tmp_path / name, image, **kind), images="lossless")

    [(_, shown)] = pictures(done.replace_main.path)
    wanted = image.convert("RGB") if mode == "P" else image
    shown = shown.convert("RGB") if mode == "P" else shown
    assert np.array_equal(np.asarray(shown), np.asarray(wanted))
    assert "Nghị định" in text_of(done)
    assert not {"depth-reduced", "alpha-flattened", "lossy-source"} & set(done.facts["flags"])


def test_no_page_of_a_tiff_is_lost_when_some_are_transparent(run_stage, tmp_path):
    see_through = page("RGB").convert("RGBA")
    see_through.putalpha(page().point(lambda v: 255 - v // 2))
    first, *rest = [page("1"), see_through, page("RGB"), page("L")]
    scan = saved(tmp_path / "mixed.tif", first, save_all=True, append_images=rest)
    done = run_stage(Ocr, scan)

    assert done.facts["pages"] == 4
    assert len(pdfium.PdfDocument(done.replace_main.path)) == 4
    assert text_of(done).count("\f") == 3
    assert all("Nghị" in one for one in text_of(done).split("\f"))
    assert done.facts["flags"] == ["alpha-flattened"] and done.notes
    with pytest.raises(Refuse, match="exactly") as refused:
        run_stage(Ocr, scan, images="lossless")
    assert refused.value.code == "not-lossless"


def test_a_jpeg_inside_a_tiff_loses_nothing_more(run_stage, tmp_path):
    scan = saved(tmp_path / "jpeg.tif", page("RGB"), compression="jpeg", quality=85)
    done = run_stage(Ocr, scan)

    [(_, shown)] = pictures(done.replace_main.path)
    with Image.open(scan) as image:
        assert np.array_equal(np.asarray(shown), np.asarray(image.convert("RGB")))


def test_a_cmyk_jpeg_is_converted_and_that_is_said(run_stage, tmp_path):
    done = run_stage(Ocr, saved(tmp_path / "print.jpg", page("RGB").convert("CMYK")))

    assert done.facts["flags"] == ["colour-converted"]
    assert "CMYK" in done.notes[0]


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.tif"])
def test_a_camera_picture_is_shown_upright(run_stage, tmp_path, name):
    lying = page(size=(1200, 800), lines=[*TEXT] * 2).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to see it upright
    done = run_stage(Ocr, saved(tmp_path / name, lying, exif=exif), turn_pages=False)

    assert "Nghị định" in text_of(done)
    shown = pdfium.PdfDocument(done.replace_main.path)[0]
    assert shown.get_width() > shown.get_height()


def test_an_unbelievable_resolution_is_replaced_and_that_is_said(run_stage, tmp_path):
    image = page(size=(1654, 2339))
    image.save(tmp_path / "nodpi.png")
    done = run_stage(Ocr, tmp_path / "nodpi.png")

    assert "dpi-assumed" in done.facts["flags"]
    shown = pdfium.PdfDocument(done.replace_main.path)[0]
    assert abs(shown.get_height() - 842) < 2  # A4


def test_a_blank_page_is_called_blank(run_stage, tmp_path):
    blank = Image.new("L", (1000, 700), 244)
    scan = saved(tmp_path / "b.tif", page(), save_all=True, append_images=[blank])
    done = run_stage(Ocr, scan)

    assert done.facts["blank_pages"] == [2]
    assert done.facts["confidence"][1] is None and done.facts["words"][1] == 0


def test_ink_without_words_is_not_passed_over_in_silence(run_stage, tmp_path):
    image = Image.new("L", (1000, 700), 250)
    ImageDraw.Draw(image).ellipse((200, 100, 800, 600), fill=90)
    done = run_stage(Ocr, saved(tmp_path / "photo.png", image))

    assert done.facts["words"] == [0] and done.facts["blank_pages"] == []
    assert done.facts["flags"] == ["page-without-text", "unread-content"]
    assert "no words" in done.notes[0]
    [review] = done.reviews
    assert review.code == "unread-content" and review.regions[0].kind == "no-words"


def test_small_print_is_read_at_a_higher_resolution(run_stage, tmp_path):
    words = [
        "Thực",
        "hiện",
        "Quyết",
        "định",
        "của",
        "Thủ",
        "tướng",
        "Chính",
        "phủ",
        "phê",
        "duyệt",
        "Đề",
        "án",
        "phát",
        "triển",
    ]
    image = Image.new("L", (2000, 1000), 250)
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(FONT, round(6 * 400 / 72))
    for n in range(12):
        draw.text((100, 80 + n * 60), " ".join(words), fill=20, font=font)
    image.save(tmp_path / "small.png", dpi=(400, 400))
    done = run_stage(Ocr, tmp_path / "small.png")

    read = text_of(done).split()
    assert sum(read.count(w) for w in set(words)) / (12 * len(words)) > 0.9


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"languages": "vie+xyz"}, "xyz.traineddata"),
        ({"tessdata": "/nowhere"}, "/nowhere"),
    ],
)
def test_missing_language_data_is_found_before_the_first_scan(options, said):
    assert any(said in problem for problem in Ocr().check(OcrOptions(**options)))


def test_a_large_sheet_needs_little_memory(run_stage, tmp_path):
    """An A3 colour sheet at 300 dpi stays far below the stage's own limit."""
    sheet = Image.new("RGB", (4961, 3508), (250, 248, 240))
    sheet.paste(page("RGB"), (300, 300))
    done = run_stage(Ocr, saved(tmp_path / "a3.png", sheet, compress_level=1))

    assert done.usage.peak_memory < 700 * 2**20


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """A file system of its own."""
    disk = folder / f"disk-{kib}"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@SMALL
def test_the_pictures_of_pages_that_were_read_take_up_no_room(tmp_path):
    """Twelve pages unpack to 44 MiB at 200 dpi; there is room for a few of them."""
    sheets = [Image.new("1", (1654, 2339), 1) for _ in range(12)]
    scan = tmp_path / "blank.tif"
    sheets[0].save(
        scan, dpi=(200, 200), compression="group4", save_all=True, append_images=sheets[1:]
    )
    with small_disk(tmp_path, 16 << 10) as disk:
        done = run_stage_below(disk, Ocr, take_in(scan, tmp_path))
        assert done.facts["pages"] == 12
        assert done.facts["pdfa"] == "2b"


@SMALL
def test_a_full_disk_is_never_said_to_be_the_documents_fault(tmp_path):
    """Wherever it is full: OCRmyPDF takes it for a damaged file, or for one that is no PDF/A."""
    noise = np.random.default_rng(1).integers(200, 256, (700, 1000, 3), dtype=np.uint8)
    scan = saved(tmp_path / "noise.png", Image.fromarray(noise))
    assert 1650 << 10 < scan.stat().st_size < 1800 << 10
    document = take_in(scan, tmp_path)
    for kib in (1800, 3200, 4600, 5300, 6400):
        with small_disk(tmp_path, kib) as disk, pytest.raises(Postpone) as waits:
            run_stage_below(disk, Ocr, document)
        assert waits.value.code == "no-space", kib
    with small_disk(tmp_path, 20_000) as disk:
        assert run_stage_below(disk, Ocr, document).facts["pdfa"] == "2b"


# Programs ----------------------------------------------------------------------------------------


def test_a_page_that_is_stored_as_jbig2_is_read_and_kept(tmp_path, run_stage):
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(pack([page("1")], "pdf-jbig2", 200))
    done = run_stage(Ocr, scan)
    assert "Nghị định" in text_of(done)
    assert done.facts["flags"] == []
    with pikepdf.open(scan) as before, pikepdf.open(done.replace_main.path) as after:
        [came], [went] = (
            [i.read_raw_bytes() for p in pdf.pages for i in p.get_images().values()]
            for pdf in (before, after)
        )
        assert went == came


ALONE = """
import json, sys
from pathlib import Path
from archived.api import Postpone
from archived.testing.kit import run_stage
from archived_ocr import Ocr

for names in json.loads(sys.argv[1]):
    try:
        done = run_stage(Ocr, [Path(name) for name in names])
        print(json.dumps(done.facts["pages"]))
    except Postpone as wait:
        print(json.dumps([wait.code, wait.message, wait.hint]))
"""


def test_without_the_decoder_what_has_jbig2_in_it_waits_and_nothing_else(tmp_path):
    """In one file or one of several, and however it is packed."""
    scan, other = tmp_path / "scan.pdf", saved(tmp_path / "other.png", page("1"))
    scan.write_bytes(pack([page("1")], "pdf-jbig2", 200))
    packed = tmp_path / "packed.pdf"
    with pikepdf.open(scan) as pdf:
        image = pdf.pages[0].Resources.XObject.Im0
        both = pikepdf.Array([pikepdf.Name.FlateDecode, pikepdf.Name.JBIG2Decode])
        image.write(zlib.compress(image.read_raw_bytes()), filter=both)
        pdf.save(packed)
    asked = [[str(name) for name in names] for names in ([scan], [packed], [other, scan], [other])]
    told = subprocess.run(
        [sys.executable, "-c", ALONE, json.dumps(asked)],
        env={"PATH": str(tmp_path / "empty")},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    waits = [
        "program-missing",
        "the program 'jbig2dec' cannot be started: No such file or directory",
        "install the Debian package jbig2dec",
    ]
    assert [json.loads(line) for line in told.stdout.splitlines()] == [waits, waits, waits, 1]
