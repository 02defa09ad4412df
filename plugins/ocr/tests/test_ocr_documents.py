"""What the stage `ocr` promises about PDFs people send: signed, locked, born digital, broken."""

import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import img2pdf
import pikepdf
import pypdfium2 as pdfium
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fpdf import FPDF
from ocrmypdf.pdfinfo import PdfInfo
from pikepdf import pdfa
from PIL import Image, ImageDraw, ImageFont
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import fields, signers

from archived.api import Refuse, Role
from archived.testing import samples
from archived_ocr import Ocr, errors

FONT = "/usr/share/fonts/truetype/croscore/Tinos-Regular.ttf"
SHARED = Path(
    os.environ.get("ARCHIVED_SHARED_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")
)


def scan(path: Path, pages: int = 1) -> Path:
    """A PDF of scanned pages, each with two lines."""
    made = []
    for number in range(pages):
        image = Image.new("L", (1000, 700), 250)
        draw = ImageDraw.Draw(image)
        for n, line in enumerate((f"Quyết định số {number + 11}", "Ủy ban nhân dân tỉnh")):
            draw.text((80, 80 + n * 90), line, fill=20, font=ImageFont.truetype(FONT, 42))
        file = path.with_name(f"{path.stem}-{number}.jpg")
        image.save(file, dpi=(200, 200), quality=85)
        made.append(file.read_bytes())
    path.write_bytes(img2pdf.convert(made))
    return path


def signed(path: Path, folder: Path, *, box=None) -> Path:
    """`path`, signed by pyHanko with a key made for the occasion."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Nguyễn Văn Thử")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    signer = signers.SimpleSigner.load(str(folder / "key.pem"), str(folder / "cert.pem"))
    target = folder / f"signed-{path.name}"
    with path.open("rb") as source, target.open("wb") as out:
        writer = IncrementalPdfFileWriter(source)
        if box:
            fields.append_signature_field(writer, fields.SigFieldSpec("S", box=box))
        signers.sign_pdf(
            writer, signers.PdfSignatureMetadata(field_name="S"), signer=signer, output=out
        )
    return target


def text_of(done) -> str:
    [text] = [a for a in done.add if a.role == Role.TEXT]
    return text.path.read_text(encoding="utf-8")


def signatures(path: Path) -> int:
    with path.open("rb") as file:
        return len(PdfFileReader(file).embedded_signatures)


@pytest.mark.parametrize("flag", ["kept", "missing"])
def test_a_signed_scan_gets_a_labelled_reading_copy_without_any_signature(
    run_stage, tmp_path, flag
):
    """Also when the file's own flag, which OCRmyPDF goes by, is missing."""
    source = signed(scan(tmp_path / "deed.pdf"), tmp_path, box=(200, 40, 340, 90))
    if flag == "missing":
        data = source.read_bytes()
        assert b"/SigFlags 3" in data
        source.write_bytes(data.replace(b"/SigFlags 3", b"/SigFlagz 3"))
    before = source.read_bytes()
    assert signatures(source) == 1
    done = run_stage(Ocr, source)

    assert done.facts["reading_copy"] is True and done.facts["flags"] == ["signed-original"]
    assert done.facts["signatures"] == 1
    copy = done.replace_main.path
    assert signatures(copy) == 0
    with pikepdf.open(copy) as pdf:
        assert not {"/AcroForm", "/Perms", "/DSS"} & set(pdf.Root.keys())
        assert not any(
            isinstance(item, pikepdf.Dictionary) and "/ByteRange" in item for item in pdf.objects
        )
        assert "Reading copy without signatures" in str(pdf.docinfo["/Subject"])
    assert pdfa.validate_written(copy, "2b").passed
    assert "Quyết định số 11" in text_of(done)
    assert source.read_bytes() == before and signatures(source) == 1
    # What the signature showed is still to be seen, and is in the text.
    stamp = pdfium.PdfDocument(copy)[0].render(scale=2).to_pil().convert("L")
    height = stamp.height
    assert stamp.crop((400, height - 180, 680, height - 80)).getextrema()[0] < 120
    assert "Digitally signed" in text_of(done)


def test_pages_with_text_are_kept_and_only_scanned_pages_are_read(run_stage, tmp_path):
    first = run_stage(Ocr, scan(tmp_path / "a.pdf", 1)).replace_main.path
    with pikepdf.open(first) as pdf, pikepdf.open(scan(tmp_path / "b.pdf", 2)) as more:
        pdf.pages.append(more.pages[1])
        pdf.save(tmp_path / "mixed.pdf")
    done = run_stage(Ocr, tmp_path / "mixed.pdf")

    assert done.facts["pages"] == 2
    assert done.facts["confidence"][0] is None and done.facts["confidence"][1] > 70
    assert done.facts["flags"] == ["prior-ocr"]
    one, two = text_of(done).split("\f")
    assert "số 11" in one and "số 12" in two
    shown = pdfium.PdfDocument(done.replace_main.path)
    assert "11" in shown[0].get_textpage().get_text_range()
    assert "12" in shown[1].get_textpage().get_text_range()


def test_a_stamp_over_a_scan_is_no_text_layer(run_stage, tmp_path):
    """The page is read; the stamp's own text is in the sidecar once, exactly as it is."""
    source = scan(tmp_path / "stamped.pdf")
    sheet = FPDF(unit="pt", format=(360, 252))
    sheet.add_font("T", fname=FONT)
    sheet.add_page()
    sheet.set_font("T", size=9)
    sheet.text(180, 200, "SAO Y; VĂN PHÒNG; 25/07/2025 10:25:14")
    with pikepdf.open(source) as pdf, pikepdf.open(io.BytesIO(sheet.output())) as over:
        pdf.pages[0].add_overlay(over.pages[0])  # type: ignore[call-arg]  # may be left out
        pdf.save(tmp_path / "over.pdf")
    done = run_stage(Ocr, tmp_path / "over.pdf")

    assert done.facts["text"] == "ocr" and done.facts["confidence"][0] > 70
    text = text_of(done)
    assert "Quyết định số 11" in text
    assert text.count("SAO Y; VĂN PHÒNG; 25/07/2025 10:25:14") == 1
    layer = pdfium.PdfDocument(done.replace_main.path)[0].get_textpage().get_text_range()
    assert "SAO Y" in layer and "nhân dân" in layer


def test_a_born_digital_document_is_not_read_by_the_engine(run_stage, tmp_path):
    papers = samples.make(tmp_path, count=6, pages=1, dpi=150)
    [made] = [one for one in papers if one.truth["kind"] != "scan"]
    done = run_stage(Ocr, made.path)

    assert done.facts["text"] == "born-digital"
    assert done.facts["confidence"] == [None] and done.facts["words"][0] > 50
    lines = [n for n in made.truth["text"][0].split("\n") if len(n) > 20]
    assert sum(" ".join(n.split()) in " ".join(text_of(done).split()) for n in lines) > 0


def test_what_a_pdfa_would_lose_keeps_the_original_and_its_text_is_delivered(run_stage, tmp_path):
    bad = samples.nasty(tmp_path)
    for name, flag in (("form", "filled-form"), ("portfolio", "portfolio")):
        done = run_stage(Ocr, bad[name])
        assert done.replace_main is None, name
        assert {flag, "no-pdfa"} <= set(done.facts["flags"]), done.facts
        assert "PHIẾU" in text_of(done) and done.facts["pdfa"] is None
        assert len(done.notes) == len(done.facts["flags"])


def test_a_script_is_not_in_the_copy(run_stage, tmp_path):
    done = run_stage(Ocr, samples.nasty(tmp_path)["javascript"])
    assert done.facts["pdfa"] == "2b"
    assert {"javascript", "actions-removed"} <= set(done.facts["flags"])
    assert "PHIẾU" in text_of(done)
    assert b"JavaScript" not in done.replace_main.path.read_bytes()


def test_the_owners_restrictions_are_recorded_or_refused(run_stage, tmp_path):
    restricted = samples.nasty(tmp_path)["owner-password"]
    done = run_stage(Ocr, restricted)

    assert done.facts["reading_copy"] is True and done.facts["flags"] == ["owner-password"]
    assert any("forbids" in note for note in done.notes)
    with pikepdf.open(done.replace_main.path) as pdf:
        assert not pdf.is_encrypted
    with pytest.raises(Refuse) as refused:
        run_stage(Ocr, restricted, owner_password="refuse")
    assert refused.value.code == "owner-password"


def test_what_a_stamp_says_of_itself_in_nonsense_does_not_stop_a_signed_document(
    run_stage, tmp_path
):
    """Flags that are no number hide nothing; a reader would show the stamp as well."""
    source = signed(scan(tmp_path / "deed.pdf"), tmp_path, box=(200, 40, 340, 90))
    assert source.read_bytes().count(b"/F 132") == 1
    source.write_bytes(source.read_bytes().replace(b"/F 132", b"/F ()  "))
    done = run_stage(Ocr, source)
    assert done.facts["reading_copy"] is True
    assert "Digitally signed" in text_of(done)


def test_hostile_and_broken_input_is_refused_with_a_code_and_a_hint(run_stage, tmp_path):
    bad = samples.nasty(tmp_path)
    for name, code in {
        "user-password": "encrypted",
        "zero-pages": "no-pages",
        "text-named-pdf": "unsupported-type",
        "noise-named-jpg": "unsupported-type",
        "huge-image": "too-large",
        "flate-bomb": "decompression-bomb",
        "truncated-pdf": "damaged",
        "truncated-tiff": "damaged",
        "truncated-jpeg": "damaged",
        "truncated-png": "damaged",
        "page-tree-loop": "damaged",
        "deep-page-tree": "damaged",
        "one-pixel": "too-small",
        "zero-bytes": "damaged",
    }.items():
        with pytest.raises(Refuse) as refused:
            run_stage(Ocr, bad[name])
        assert refused.value.code == code, (name, refused.value)
        assert refused.value.hint and "/tmp" not in refused.value.message, name


def _bad_check_sum(pdf):
    [image] = pdf.pages[0].get_images().values()
    raw = image.read_raw_bytes()
    wrong = raw[:-1] + bytes([raw[-1] ^ 1])
    image.write(wrong, filter=image.Filter, decode_parms=image.DecodeParms)


def _no_height(pdf):
    [image] = pdf.pages[0].get_images().values()
    del image["/Height"]


def _no_object(pdf):
    pdf.pages[0].Resources.XObject["/Seal"] = pikepdf.String("x")


def _no_table(pdf):
    pdf.pages[0].Resources.XObject = pikepdf.Array([])


@pytest.mark.parametrize("damage", [_bad_check_sum, _no_height, _no_object, _no_table])
def test_what_a_library_stumbles_over_in_a_document_is_its_damage(run_stage, tmp_path, damage):
    """Each of these was once blamed on the stage, tried again, and held without a reason."""
    image = Image.open(scan(tmp_path / "a.pdf").with_name("a-0.jpg"))
    image.save(tmp_path / "a.png", dpi=(200, 200))
    bad = tmp_path / "bad.pdf"
    with pikepdf.open(io.BytesIO(img2pdf.convert((tmp_path / "a.png").read_bytes()))) as pdf:
        damage(pdf)
        pdf.save(bad)
    with pytest.raises(Refuse) as refused:
        run_stage(Ocr, bad)
    assert refused.value.code == "damaged", refused.value
    assert "/tmp" not in refused.value.message


def test_a_number_that_no_reader_can_hold_is_damage(run_stage, tmp_path):
    source = signed(scan(tmp_path / "deed.pdf"), tmp_path, box=(200, 40, 340, 90))
    source.write_bytes(source.read_bytes().replace(b"/F 132", b"/F 1000000000000"))
    with pytest.raises(Refuse) as refused:
        run_stage(Ocr, source)
    assert refused.value.code == "damaged"


def test_what_says_nothing_of_the_pages_may_be_nonsense(run_stage, tmp_path):
    with pikepdf.open(scan(tmp_path / "a.pdf")) as pdf:
        pdf.Root.MarkInfo = 7
        pdf.save(tmp_path / "odd.pdf")
    assert run_stage(Ocr, tmp_path / "odd.pdf").facts["pdfa"] == "2b"


def test_only_what_readers_of_documents_raise_is_blamed_on_a_document(tmp_path):
    """The same error, raised by ourselves, stays ours."""
    with pytest.raises(ValueError, match="not a Dictionary") as ours:
        pikepdf.Array([1])["/Key"]
    assert errors.blamed(ours.value) is None
    with pikepdf.open(scan(tmp_path / "a.pdf")) as pdf:
        _no_object(pdf)
        pdf.save(tmp_path / "bad.pdf")
    with pytest.raises(ValueError, match="not a Dictionary") as theirs:
        PdfInfo(tmp_path / "bad.pdf")
    assert errors.blamed(theirs.value).code == "damaged"


def test_image_bombs_are_refused_before_a_pixel_is_decoded(run_stage, tmp_path):
    huge = tmp_path / "huge.png"
    Image.new("1", (20_000, 20_000)).save(huge)
    with pytest.raises(Refuse) as refused:
        run_stage(Ocr, huge, memory="600 MiB")
    assert refused.value.code == "too-large"


def test_a_limit_on_pages_is_kept(run_stage, tmp_path):
    with pytest.raises(Refuse) as refused:
        run_stage(Ocr, scan(tmp_path / "three.pdf", 3), max_pages=2)
    assert refused.value.code == "too-many-pages"


def test_a_dynamic_xfa_form_is_refused(run_stage, tmp_path):
    with pikepdf.open(scan(tmp_path / "x.pdf")) as pdf:
        pdf.Root.NeedsRendering = True
        pdf.Root.AcroForm = pikepdf.Dictionary(Fields=[], XFA=pdf.make_stream(b"<xdp/>"))
        pdf.save(tmp_path / "xfa.pdf")
    with pytest.raises(Refuse) as refused:
        run_stage(Ocr, tmp_path / "xfa.pdf")
    assert refused.value.code == "dynamic-xfa"


def test_our_own_output_is_left_alone_unless_it_is_to_be_read_anew(run_stage, tmp_path):
    made = run_stage(Ocr, scan(tmp_path / "a.pdf")).replace_main.path
    again = run_stage(Ocr, made)
    assert again.replace_main is None
    assert {"prior-ocr", "already-pdfa"} == set(again.facts["flags"])
    assert "Quyết định số 11" in text_of(again) and again.facts["confidence"] == [None]

    anew = run_stage(Ocr, made, existing_text="redo")
    assert anew.facts["confidence"][0] > 70 and anew.facts["pdfa"] == "2b"
    layer = pdfium.PdfDocument(anew.replace_main.path)[0].get_textpage().get_text_range()
    assert layer.count("11") == 1 and text_of(anew).count("số 11") == 1


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_page_the_scanner_marked_as_turned_is_read_upright(run_stage, tmp_path, turn):
    """The image lies on its side and the page's own /Rotate sets it right."""
    image = Image.open(scan(tmp_path / "a.pdf").with_name("a-0.jpg"))
    image.rotate(turn, expand=True).save(tmp_path / "lying.jpg", dpi=(200, 200), quality=90)
    with pikepdf.open(io.BytesIO(img2pdf.convert((tmp_path / "lying.jpg").read_bytes()))) as pdf:
        pdf.pages[0].Rotate = turn
        pdf.save(tmp_path / "turned.pdf")
    done = run_stage(Ocr, tmp_path / "turned.pdf")

    assert "Quyết định số 11" in text_of(done) and done.facts["flags"] == []
    page = pdfium.PdfDocument(done.replace_main.path)[0]
    assert page.get_rotation() == turn and page.get_width() > page.get_height()
    page.set_rotation(0)
    drawn = page.render(scale=1, grayscale=True).to_pil()
    text = page.get_textpage()
    boxes = [text.get_charbox(n) for n in range(text.count_chars())]
    inked = [
        drawn.crop(
            (int(b[0]), int(drawn.height - b[3]), int(b[2]) + 1, int(drawn.height - b[1]) + 1)
        )
        for n, b in enumerate(boxes)
        if not text.get_text_range(n, 1).isspace()
    ]
    assert len(inked) > 20
    assert sum(cut.getextrema()[0] < 160 for cut in inked) / len(inked) > 0.9


@pytest.mark.shared
def test_a_real_signed_scan_becomes_a_reading_copy(run_stage):
    source = SHARED / "vn" / "24 TTR.signed_20250510_124908.pdf"
    if not source.is_file():
        pytest.skip(f"the shared corpus is not at {SHARED}")
    done = run_stage(Ocr, source)

    assert done.facts["reading_copy"] is True and done.facts["pdfa"] == "2b"
    assert signatures(done.replace_main.path) == 0
    assert done.facts["mean_confidence"] > 85 and sum(done.facts["words"]) > 300


@pytest.mark.shared
def test_a_real_skewed_page_is_read_whole(run_stage, tmp_path):
    """Without levelling, most of this page is dropped by the engine's layout analysis."""
    source = SHARED / "vn" / "660TBUB.signed_20250219_234149.pdf"
    if not source.is_file():
        pytest.skip(f"the shared corpus is not at {SHARED}")
    with pikepdf.open(source) as pdf:
        one = pikepdf.Pdf.new()
        one.pages.append(pdf.pages[0])
        one.save(tmp_path / "one.pdf")
    done = run_stage(Ocr, tmp_path / "one.pdf")

    assert done.facts["words"][0] > 500 and done.facts["mean_confidence"] > 90
