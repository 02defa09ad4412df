"""Further inputs of the kinds that once passed unread, and how each must end.

Most of them are asked of the part that decides; a document runs where the whole way matters.
"""

from __future__ import annotations

import io

import img2pdf
import numpy as np
import pikepdf
import pytest
from fpdf import FPDF
from pikepdf import Array, Dictionary, Name, String
from PIL import Image

from archived.api import Refuse
from archived_ocr import (
    Ocr,
    hidden_layers,
    inspect_document,
    legacy_encodings,
    pagetext,
    trailing_data,
)

from .ocr_scans import FONT, LINES, printed_over, scan_pdf, sheet, text_of

STAMP = "Sở Nội vụ - Trung tâm Lưu trữ - tr. 1"
TYPES = {"pdf": "application/pdf", "tif": "image/tiff", "jpg": "image/jpeg", "png": "image/png"}


def typed(path, lines, *, size=11, draw=None):
    """A born-digital page of `lines`; `draw` draws on it first."""
    source = FPDF(unit="pt", format=(420, 595))
    source.add_font("T", fname=FONT)
    source.add_page()
    source.set_font("T", size=size)
    if draw:
        draw(source)
    for n, line in enumerate(lines):
        source.text(50, 60 + 18 * n, line)
    path.write_bytes(bytes(source.output()))
    return path


def changed(path, edit):
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        edit(pdf)
        pdf.save(path)
    return path


def packed(kind):
    data = io.BytesIO()
    sheet(size=(300, 400)).save(
        data, {"pdf": "PNG", "tif": "TIFF", "jpg": "JPEG"}.get(kind, kind), dpi=(72, 72)
    )
    return img2pdf.convert(data.getvalue()) if kind == "pdf" else data.getvalue()


# -- a second file under one name ---------------------------------------------------------------


@pytest.mark.parametrize("second", TYPES)
@pytest.mark.parametrize("first", TYPES)
def test_any_file_behind_any_other_is_found(tmp_path, first, second):
    path = tmp_path / "both"
    for between in (b"", b"\r\n\0" * 3000, b"--boundary--" * 9):
        path.write_bytes(packed(first) + between + packed(second))
        assert trailing_data.found(path, TYPES[first]), between[:8]


@pytest.mark.parametrize("kind", TYPES)
def test_what_transfers_leave_behind_the_end_is_no_second_file(tmp_path, kind):
    path = tmp_path / "one"
    for behind in (b"", b"\0" * 9000, b"<html><body>transfer complete</body></html>"):
        path.write_bytes(packed(kind) + behind)
        assert not trailing_data.found(path, TYPES[kind]), behind[:8]


def test_a_file_attached_by_a_later_revision_lies_in_the_document(tmp_path):
    later = b"\n9 0 obj\n<</Type/EmbeddedFile/Length 20>>\nstream\n%PDF-1.4 attached!\n"
    path = tmp_path / "revised.pdf"
    path.write_bytes(packed("pdf") + later + b"endstream\nendobj\nstartxref\n0\n%%EOF\n")
    assert not trailing_data.found(path, TYPES["pdf"])


# -- what is painted ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {"rotate": 90},
        {"form": True, "rotate": 270},
        {"box": (0, 0, 900, 900), "crop": (100, 100, 520, 695), "rotate": 90},
    ],
)
def test_few_lines_of_a_sideways_scan_beside_a_stamp_are_to_be_read(tmp_path, how):
    path = printed_over(scan_pdf(tmp_path / "s.pdf", **how), STAMP)
    [page] = pagetext.of(path)
    assert page.needs_reading(40) and page.visible


def hidden_text(how, said):
    """Draws five lines of `said` so that nobody sees them."""

    def draw(pdf):
        if how == "white":
            pdf.set_text_color(255, 255, 255)
        elif how == "speck":
            pdf.set_font("T", size=0.3)
        for n in range(5):
            pdf.text(50, 300 + 20 * n, said)
        if how == "covered":
            pdf.set_fill_color(255, 255, 255)
            pdf.rect(30, 280, 380, 140, style="F")
        pdf.set_text_color(0, 0, 0)
        pdf.set_font("T", size=11)

    return draw


@pytest.mark.parametrize("how", ["white", "speck", "covered"])
def test_text_that_nobody_sees_on_a_typed_page_is_not_what_it_says(tmp_path, how):
    hidden = hidden_text(how, "lời bịa đặt không ai thấy trên trang này")
    path = typed(tmp_path / "t.pdf", LINES, draw=hidden)
    [page] = pagetext.of(path)

    assert "bịa đặt" not in page.text and "Nghị định số 30" in page.text
    assert not page.layer_fits


def test_text_without_a_mapping_is_read_from_the_page(run_stage, tmp_path):
    def unmap(pdf):
        for item in pdf.objects:
            if isinstance(item, Dictionary) and "/ToUnicode" in item:
                del item["/ToUnicode"]

    path = changed(typed(tmp_path / "t.pdf", LINES * 2, size=14), unmap)
    done = run_stage(Ocr, path)

    assert "TUYỆT MẬT" in text_of(done) and "unmapped-text" in done.facts["flags"]
    [dots] = pagetext.of(typed(tmp_path / "d.pdf", ["Họ và tên: " + "." * 60] * 4))
    assert not dots.senseless and not dots.needs_reading(40)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("tuyÖt mËt", "tuyệt mật"),
        ("MËt", "Mật"),
        (
            "Céng hßa x· héi chñ nghÜa ViÖt Nam\nTheo đề nghị của giám đốc sở",
            "Cộng hòa xã hội chủ nghĩa Việt Nam\nTheo đề nghị của giám đốc sở",
        ),
        ("Café Noël", "Café Noël"),
        ("Tôi yêu em", "Tôi yêu em"),
    ],
)
def test_few_words_and_single_lines_of_an_old_code_are_converted(stored, said):
    assert legacy_encodings.converted(stored)[0] == said


# -- layers, notes, attachments -----------------------------------------------------------------


def layered(pdf, *, off=True):
    layer = pdf.make_indirect(Dictionary(Type=Name.OCG, Name=String("Dấu")))
    usual = Dictionary(Order=[layer])
    if off:
        usual.OFF = Array([layer])
    pdf.Root.OCProperties = Dictionary(OCGs=[layer], D=usual)
    page = pdf.pages[0]
    page.obj.Resources.Properties = Dictionary(MC0=layer)
    page.contents_add(b"/OC /MC0 BDC", prepend=True)
    page.contents_add(b"EMC")


def test_what_stands_on_a_layer_that_is_switched_off_stops_the_document(run_stage, tmp_path):
    path = changed(scan_pdf(tmp_path / "off.pdf"), layered)
    done = run_stage(Ocr, path)

    assert "hidden-layers" in done.facts["flags"]
    assert [r.code for r in done.reviews] == ["unread-content"]
    shown = changed(scan_pdf(tmp_path / "on.pdf"), lambda pdf: layered(pdf, off=False))
    empty = changed(scan_pdf(tmp_path / "e.pdf", Image.new("L", (1165, 1654), 255)), layered)
    assert hidden_layers.pages(path) == [1]
    assert hidden_layers.pages(shown) == hidden_layers.pages(empty) == []


def noted(pdf):
    """A note as LibreOffice writes it, and a picture with keys that PDF/A forbids."""
    note = pdf.make_indirect(
        Dictionary(
            Type=Name.Annot,
            Subtype=Name.Text,
            Rect=[142.25, 502, 142.3, 517],
            Contents=String("xem hộp 14"),
        )
    )
    note.Popup = pdf.make_indirect(Dictionary(Type=Name.Annot, Subtype=Name.Popup, Parent=note))
    pdf.pages[0].obj.Annots = Array([note, note.Popup])
    picture = pdf.pages[0].obj.Resources.XObject.I
    picture.OPI = Dictionary({"/2.0": Dictionary(F=String("x"))})
    picture.Intent = Name.Nonsense
    picture.Metadata = pdf.make_stream(b"<x/>", Type=Name.Metadata, Subtype=Name.XML)


def test_notes_and_pictures_get_what_pdfa_asks_of_them(run_stage, tmp_path):
    done = run_stage(Ocr, changed(scan_pdf(tmp_path / "n.pdf"), noted))

    assert done.facts["pdfa"] == "2b", done.notes
    assert done.facts["flags"] == [] and "TUYỆT MẬT" in text_of(done)
    with pikepdf.open(done.replace_main.path) as pdf:
        [note] = [a for a in pdf.pages[0].Annots if a.Subtype == "/Text"]
        assert str(note.Contents) == "xem hộp 14" and "/N" in note.AP


def hybrid(pdf):
    pdf.trailer["/AdditionalStreams"] = Array(
        [Name("/application#2Fvnd.oasis.opendocument.text"), pdf.make_stream(b"PK..")]
    )


def pinned(pdf):
    file = Dictionary(F=pdf.make_stream(b"phu luc", Type=Name.EmbeddedFile))
    pdf.pages[0].obj.Annots = Array(
        [
            pdf.make_indirect(
                Dictionary(
                    Type=Name.Annot,
                    Subtype=Name.FileAttachment,
                    F=4,
                    Rect=[10, 10, 30, 30],
                    FS=Dictionary(Type=Name.Filespec, F=String("a"), EF=file),
                )
            )
        ]
    )


def by_name(pdf):
    pdf.attachments["phu-luc.txt"] = b"..."


@pytest.mark.parametrize("edit", [hybrid, pinned, by_name])
def test_files_inside_a_document_are_counted_wherever_they_are_kept(tmp_path, edit):
    path = changed(typed(tmp_path / "a.pdf", LINES), edit)
    seen = inspect_document.look(path, 10, 100)

    assert seen.attachments == 1
    assert seen.lost_by_copying(scanned=False) == "it has attached files"


# -- what the copy says of itself ---------------------------------------------------------------


def spot_coloured(pdf):
    """The scan in one spot colour, as PDF/A, PDF 2.0: nothing that the judge knows."""
    tint = pdf.make_stream(
        b"{ dup dup dup }", FunctionType=4, Domain=[0, 1], Range=[0, 1, 0, 1, 0, 1, 0, 1]
    )
    page = sheet(size=(840, 1190), lines=LINES[:2]).convert("1")
    picture = pdf.make_stream(
        b"", Type=Name.XObject, Subtype=Name.Image, Width=840, Height=1190, BitsPerComponent=1
    )
    data = io.BytesIO()
    page.save(data, "TIFF", compression="group4", tiffinfo={262: 0, 278: 1190})
    with Image.open(data) as tiff:
        place, length = tiff.tag_v2[273][0], tiff.tag_v2[279][0]  # type: ignore[attr-defined]  # a TIFF's
    picture.write(
        data.getvalue()[place : place + length],
        filter=Name.CCITTFaxDecode,
        decode_parms=Dictionary(K=-1, Columns=840, Rows=1190),
    )
    picture.ColorSpace = Array([Name.DeviceN, Array([Name.Black]), Name.DeviceCMYK, tint])
    picture.Decode = Array([1, 0])
    pdf.pages[0].obj.Resources.XObject.I = picture
    with pdf.open_metadata() as metadata:
        metadata["pdfaid:part"], metadata["pdfaid:conformance"] = "2", "B"


def test_a_copy_that_is_no_pdfa_does_not_claim_to_be_one(run_stage, tmp_path):
    done = run_stage(Ocr, changed(scan_pdf(tmp_path / "s.pdf"), spot_coloured))

    assert done.facts["pdfa"] is None and "DeviceN" in done.facts["pdfa_why"]
    with pikepdf.open(done.replace_main.path) as pdf:
        assert not pdf.open_metadata().pdfa_status


def test_a_copy_is_never_linearised_and_of_a_version_that_pdfa_knows(run_stage, tmp_path):
    pixels = np.asarray(sheet().convert("RGB"), np.int16)
    grain = np.random.default_rng(1).integers(-3, 4, pixels.shape)
    image = Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
    image.save(tmp_path / "n.png", dpi=(200, 200))
    path = tmp_path / "n.pdf"
    path.write_bytes(img2pdf.convert((tmp_path / "n.png").read_bytes()))
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        pdf.save(path, force_version="2.0")
    done = run_stage(Ocr, path)

    assert done.facts["pdfa"] == "2b", done.notes
    assert done.replace_main.path.stat().st_size > 1_000_000, "from here OCRmyPDF would linearise"
    with pikepdf.open(done.replace_main.path) as pdf:
        assert not pdf.is_linearized and pdf.pdf_version <= "1.7"


def test_a_page_without_a_size_is_damage(tmp_path):
    path = scan_pdf(tmp_path / "s.pdf", box=(0, 0, 420, 595), crop=(500, 700, 600, 800))
    with pytest.raises(Refuse) as told:
        pagetext.of(path)
    assert told.value.code == "damaged"
