"""What the access copy keeps, where its text lies, and what happens when PDF/A cannot be judged."""

import ctypes
import difflib
import io
import re

import img2pdf
import numpy as np
import pikepdf
import pypdfium2 as pdfium
import pytest
import tesserocr
from pikepdf import pdfa
from PIL import Image
from pypdfium2 import raw

from archived_ocr import Ocr

from .ocr_scans import A5, LINES, printed_over, scan_pdf, sheet, text_of

TESSDATA = "/usr/share/tesseract-ocr/5/tessdata"


def words_in_place(path, most=6):
    """The share of the longest words of page 1's text layer that stand where it says."""
    document = pdfium.PdfDocument(path)
    page = document[0]
    layer = page.get_textpage()
    text = layer.get_text_range()
    shown = page.render(scale=200 / 72, grayscale=True).to_pil().convert("L")
    found = sorted(re.finditer(r"\S{4,}", text), key=lambda m: -len(m.group()))[:most]
    right = 0
    with tesserocr.PyTessBaseAPI(path=TESSDATA, lang="vie", psm=tesserocr.PSM.SINGLE_LINE) as api:
        for match in found:
            xs, ys = [], []
            for n in range(match.start(), match.end()):
                left, bottom, right_, top = layer.get_charbox(n)
                for x, y in ((left, bottom), (right_, top)):
                    at_x, at_y = ctypes.c_int(), ctypes.c_int()
                    raw.FPDF_PageToDevice(page, 0, 0, *shown.size, 0, x, y, at_x, at_y)
                    xs.append(at_x.value)
                    ys.append(at_y.value)
            pad = (max(ys) - min(ys)) // 4 + 4
            crop = shown.crop((min(xs) - 5, min(ys) - pad, max(xs) + 5, max(ys) + pad))
            api.SetImage(Image.eval(crop, lambda v: v))
            read = api.GetUTF8Text().strip()
            alike = difflib.SequenceMatcher(None, read.lower(), match.group().lower()).ratio()
            right += alike > 0.55
    return right / max(1, len(found))


@pytest.mark.parametrize(
    "how",
    [
        {"box": (0, 0, 420, 595)},
        {"box": (-420, -595, 0, 0)},
        {"box": (0, 0, 1400, 1800), "crop": (700, 900, 1120, 1495)},
        {"box": (100, 100, 900, 1100), "crop": (200, 300, 620, 895)},
        {"box": (0, 0, 700, 900), "crop": (50, 60, 470, 655), "rotate": 90},
        {"box": (0, 0, 420, 595), "rotate": 270},
        {"box": (10, 20, 430, 615), "rotate": 180},
    ],
)
def test_the_text_layer_lies_where_the_words_are(run_stage, tmp_path, how):
    done = run_stage(Ocr, scan_pdf(tmp_path / "s.pdf", sheet(lines=LINES * 3), **how))

    assert "TUYỆT MẬT" in text_of(done)
    assert words_in_place(done.replace_main.path) == 1.0


@pytest.mark.parametrize("way", [2, 4, 5, 7])
def test_a_mirrored_jpeg_is_shown_upright_and_keeps_its_bytes(run_stage, tmp_path, way):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        7: Image.Transpose.TRANSVERSE,
    }[way]
    stored = sheet(lines=LINES * 3).transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = way
    path = tmp_path / "m.jpg"
    stored.save(path, dpi=(200, 200), quality=90, exif=exif)
    done = run_stage(Ocr, path)

    assert "TUYỆT MẬT" in text_of(done) and done.facts["flags"] == ["mirrored"]
    with pikepdf.open(done.replace_main.path) as pdf:
        [image] = pdf.pages[0].get_images().values()
        assert image.read_raw_bytes() == path.read_bytes()
        assert float(pdf.pages[0].mediabox[3]) > float(pdf.pages[0].mediabox[2])


def test_a_16_bit_tiff_whose_zero_is_white_is_shown_black_on_white(run_stage, tmp_path):
    pixels = np.asarray(sheet(), np.uint16) * 257
    path = tmp_path / "w.tif"
    Image.fromarray(np.uint16(65535) - pixels).save(path, dpi=(200, 200), tiffinfo={262: 0})
    with Image.open(path) as check:
        assert check.tag_v2[262] == 0  # type: ignore[attr-defined]  # a TIFF's
    done = run_stage(Ocr, path)

    assert "TUYỆT MẬT" in text_of(done)
    shown = pdfium.PdfDocument(done.replace_main.path)[0].render(grayscale=True).to_pil()
    assert np.median(np.asarray(shown)) > 200


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "pdf"])
def test_a_second_file_behind_the_first_stops_the_document(run_stage, tmp_path, kind):
    parts = []
    for n, line in enumerate(("VĂN BẢN MỘT", "VĂN BẢN HAI")):
        path = tmp_path / f"{n}.{kind}"
        image = sheet(lines=(line, *LINES[1:]))
        if kind == "pdf":
            data = io.BytesIO()
            image.save(data, "PNG", dpi=(200, 200))
            path.write_bytes(img2pdf.convert(data.getvalue()))
        else:
            image.save(path, dpi=(200, 200))
        parts.append(path.read_bytes())
    both = tmp_path / f"both.{kind}"
    both.write_bytes(b"".join(parts))
    done = run_stage(Ocr, both)

    assert "more-behind-end" in done.facts["flags"]
    assert [r.code for r in done.reviews] == ["unread-content"]
    alone = run_stage(Ocr, tmp_path / f"0.{kind}")
    assert "more-behind-end" not in alone.facts["flags"] and not alone.reviews


def test_a_date_without_a_zone_gets_that_of_the_archive(run_stage, tmp_path):
    path = scan_pdf(tmp_path / "d.pdf")
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        pdf.docinfo["/CreationDate"] = "D:20140526101500"
        pdf.save(path)
    for zone, said in (("+07:00", "2014-05-26T10:15:00+07:00"), ("-03:30", "-03:30")):
        done = run_stage(Ocr, path, date_zone=zone)
        with pikepdf.open(done.replace_main.path) as pdf, pdf.open_metadata() as metadata:
            assert said in str(metadata["xmp:CreateDate"])


def test_what_leads_to_the_pages_of_a_scan_stays_in_the_copy(run_stage, tmp_path):
    path = scan_pdf(tmp_path / "b.pdf")
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        with pdf.open_outline() as outline:
            outline.root.append(pikepdf.OutlineItem("Quyết định", 0))
        pdf.Root.PageLabels = pikepdf.Dictionary(
            Nums=[0, pikepdf.Dictionary(S=pikepdf.Name.r, St=3)]
        )
        place = pikepdf.Array([pdf.pages[0].obj, pikepdf.Name.Fit])
        pdf.Root.Names = pikepdf.Dictionary(
            Dests=pikepdf.Dictionary(Names=[pikepdf.String("phu-luc"), place])
        )
        pdf.docinfo["/Subject"] = "Phông UBND tỉnh, hộp 12"
        pdf.save(path)
    done = run_stage(Ocr, path)

    assert done.facts["pdfa"] == "2b" and done.facts["flags"] == []
    with pikepdf.open(done.replace_main.path) as pdf:
        with pdf.open_outline() as outline:
            assert [item.title for item in outline.root] == ["Quyết định"]
        assert "/PageLabels" in pdf.Root and "/Dests" in pdf.Root.Names
        assert str(pdf.docinfo["/Subject"]) == "Phông UBND tỉnh, hộp 12"


def test_a_hidden_note_that_pdfa_forbids_is_told_with_its_text(run_stage, tmp_path):
    path = scan_pdf(tmp_path / "n.pdf")
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        pdf.pages[0].obj.Annots = pikepdf.Array(
            [
                pdf.make_indirect(
                    pikepdf.Dictionary(
                        Type=pikepdf.Name.Annot,
                        Subtype=pikepdf.Name.Text,
                        F=2,
                        Rect=[300, 500, 320, 520],
                        Contents=pikepdf.String("xem hộp 14"),
                    )
                )
            ]
        )
        pdf.save(path)
    done = run_stage(Ocr, path)

    assert "notes-dropped" in done.facts["flags"]
    assert done.facts["notes_dropped"] == ["xem hộp 14"]


@pytest.mark.parametrize("key", ["trailer", "page", "catalog", "place"])
def test_a_key_that_says_nothing_does_not_keep_a_scan_from_pdfa(run_stage, tmp_path, key):
    path = scan_pdf(tmp_path / "k.pdf")
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        if key == "trailer":
            pdf.trailer["/DocChecksum"] = pikepdf.Name("/0123456789ABCDEF")
        elif key == "page":
            pdf.pages[0].obj.Trans = pikepdf.Dictionary(S=pikepdf.Name.Wipe)
        elif key == "catalog":
            pdf.Root.PieceInfo = pikepdf.Dictionary()
            pdf.Root.LastModified = pikepdf.String("D:20140526101500Z")
        else:
            pdf.Root.OpenAction = pikepdf.Array([pdf.pages[0].obj, pikepdf.Name.Fit])
        pdf.save(path)
    done = run_stage(Ocr, printed_over(path, "Lưu: VT"))

    assert done.facts["pdfa"] == "2b" and done.facts["flags"] == []


def test_layers_that_are_all_visible_become_one_and_hidden_ones_stay_hidden(run_stage, tmp_path):
    for off, flags in ((False, {"layers-merged"}), (True, {"pdfa-unchecked"})):
        path = printed_over(scan_pdf(tmp_path / f"l{off}.pdf"), "DL-2014-000145")
        with pikepdf.open(path, allow_overwriting_input=True) as pdf:
            layer = pdf.make_indirect(
                pikepdf.Dictionary(Type=pikepdf.Name.OCG, Name=pikepdf.String("Bates"))
            )
            usual = pikepdf.Dictionary(Order=[layer])
            if off:
                usual.OFF = pikepdf.Array([layer])
            pdf.Root.OCProperties = pikepdf.Dictionary(OCGs=[layer], D=usual)
            page = pdf.pages[0]
            page.obj.Resources.Properties = pikepdf.Dictionary(MC0=layer)
            page.contents_add(b"/OC /MC0 BDC", prepend=True)
            page.contents_add(b"EMC")
            pdf.save(path)
        done = run_stage(Ocr, path)
        assert flags <= set(done.facts["flags"]), done.notes
        assert (done.facts["pdfa"] == "2b") is not off, done.notes


@pytest.mark.parametrize("own_space", [False, True])
def test_a_scan_whose_pictures_cannot_be_judged_is_searchable_and_says_why(
    run_stage, tmp_path, own_space
):
    data = io.BytesIO()
    sheet(lines=LINES * 3).save(data, "JPEG2000", quality_mode="rates", quality_layers=[8])
    path = tmp_path / "jpx.pdf"
    with pikepdf.Pdf.new() as pdf:
        page = pdf.add_blank_page(page_size=(420, 595))
        picture = pikepdf.Stream(
            pdf,
            data.getvalue(),
            Type=pikepdf.Name.XObject,
            Subtype=pikepdf.Name.Image,
            Width=A5[0],
            Height=A5[1],
            ColorSpace=pikepdf.Name.DeviceGray,
            BitsPerComponent=8,
            Filter=pikepdf.Name.JPXDecode,
        )
        if own_space:  # that of the JPEG 2000 data
            del picture.ColorSpace
        page.obj.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(I=picture))
        page.obj.Contents = pikepdf.Stream(pdf, b"q 420 0 0 595 0 0 cm /I Do Q")
        pdf.save(path)
    done = run_stage(Ocr, path)

    assert done.facts["pdfa"] is None and "JPEG 2000" in done.facts["pdfa_why"], done.notes
    assert "pdfa-unchecked" in done.facts["flags"], done.notes
    layer = pdfium.PdfDocument(done.replace_main.path)[0].get_textpage().get_text_range()
    assert "TUYỆT" in layer
    assert not pdfa.validate_written(done.replace_main.path, "2b").passed


@pytest.mark.judge
def test_verapdf_says_that_every_kind_of_copy_is_pdfa(run_stage, sample, tmp_path, verapdf):
    form, turned, colour = (tmp_path / f"{name}.pdf" for name in ("form", "turned", "colour"))
    scan_pdf(form, form=True)
    scan_pdf(turned, crop=(50, 60, 470, 655), box=(0, 0, 700, 900), rotate=90)
    scan_pdf(colour, sheet().convert("RGB"))
    bitonal = tmp_path / "bitonal.tif"
    sheet().convert("1").save(bitonal, dpi=(200, 200), compression="group4")
    jpeg, gray16 = tmp_path / "page.jpg", tmp_path / "gray16.tif"
    sheet().convert("CMYK").save(jpeg, dpi=(200, 200))
    Image.fromarray(np.asarray(sheet(), np.uint16) * 257).save(gray16, dpi=(200, 200))
    sources = [form, turned, colour, bitonal, jpeg, gray16, sample("tiny.tif")]
    done = [run_stage(Ocr, source) for source in sources]

    assert {one.facts["pdfa"] for one in done} == {"2b"}, [one.facts["pdfa"] for one in done]
    told = verapdf([one.replace_main.path for one in done])
    assert [sentence.why for sentence in told] == [""] * len(sources)
    assert all(sentence.conforms for sentence in told)
