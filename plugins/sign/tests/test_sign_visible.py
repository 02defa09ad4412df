"""The visible block: where it stands, how it reads, and that the file stays PDF/A."""

from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path

import pikepdf
import pikepdf.pdfa
import pytest
from fontTools.ttLib import TTFont
from PIL import Image, ImageChops, ImageFilter, ImageStat

from archived_sign.appearance import (
    A4,
    Page,
    draw,
    find_font,
    missing_letters,
    page_of,
    place,
    text_width,
    vietnamese_letters,
)
from archived_sign.keys import KeyFile
from archived_sign.options import SignOptions
from archived_sign.pades import Signature, Visible, append_signature, first_page

LINES = ("Trung tâm Lưu trữ lịch sử tỉnh", "2026-01-02T03:04:05+07:00")


def stamped(source: Path, folder: Path, pki) -> Path:
    """A signed copy with a fixed time, so that renderings can be compared."""
    options = SignOptions.model_validate(pki.key_options())
    signer = KeyFile(options.key, options.passphrase).open().signer
    font, page = find_font(None), first_page(source)
    block = place(page, text_width(font, LINES))
    drawing = folder / "block.pdf"
    draw(drawing, font, LINES, block, page.rotate)
    path = folder / "signed.pdf"
    path.write_bytes(source.read_bytes())
    moment = datetime.fromisoformat(LINES[1])
    visible = Visible(drawing, block.box)
    append_signature(path, Signature(moment, "f", 32768, visible=visible), signer, None)
    return path


def rendered(path: Path, dpi: int = 144) -> Image.Image:
    base = path.with_suffix("")
    subprocess.run(
        ["pdftoppm", "-r", str(dpi), "-gray", "-singlefile", "-png", str(path), str(base)],
        check=True,
        timeout=60,
    )
    with Image.open(base.with_suffix(".png")) as image:
        return image.convert("L")


def ink(image: Image.Image) -> tuple[int, int, int, int]:
    box = image.point(lambda grey: 255 if grey < 128 else 0).getbbox()
    assert box is not None
    return box


@pytest.fixture(scope="module")
def upright(pki, make_pdfa, tmp_path_factory) -> Image.Image:
    folder = tmp_path_factory.mktemp("upright")
    return rendered(stamped(make_pdfa(), folder, pki))


def test_the_block_stands_top_right_on_the_first_page(upright):
    """Within 170 x 30 pt, 8 pt from the edges of A4; two lines, centred."""
    corner = upright.crop((upright.width // 2, 0, upright.width, 100))
    left, top, right, bottom = (n / 2 for n in ink(corner))
    page_right = corner.width / 2
    assert page_right - 178.5 <= left < right <= page_right - 7.5
    assert 7.5 <= top < bottom <= 38.5
    centre = page_right - 8 - 85
    assert (left + right) / 2 == pytest.approx(centre, abs=1.5)


@pytest.mark.parametrize("rotate", [90, 180, 270])
def test_the_block_reads_the_same_on_a_turned_page(rotate, upright, pki, make_pdfa, tmp_path):
    turned = {90: (841.89, 595.276), 180: (595.276, 841.89), 270: (841.89, 595.276)}[rotate]
    image = rendered(stamped(make_pdfa(*turned, rotate=rotate), tmp_path, pki))
    assert image.size == upright.size
    box = (upright.width - 360, 0, upright.width, 80)
    want, have = upright.crop(box), image.crop(box)
    shift = [a - b for a, b in zip(ink(want), ink(have), strict=True)]
    assert max(map(abs, shift)) <= 2
    moved = ImageChops.offset(have, shift[0], shift[1])
    turned_text = want.crop(ink(want))
    upside_down = want.copy()
    upside_down.paste(turned_text.rotate(180), ink(want)[:2])
    assert 3 * apart(want, moved) < apart(want, upside_down)


def apart(one: Image.Image, other: Image.Image) -> float:
    """How different two renderings are, without the pixels at the edges of letters."""
    blur = ImageFilter.GaussianBlur(2)
    return ImageStat.Stat(ImageChops.difference(one.filter(blur), other.filter(blur))).mean[0]


def test_the_block_keeps_its_share_of_other_page_sizes():
    a3 = place(Page(0, 0, A4[1], 2 * A4[0]), widest=10).box
    assert a3[2] - a3[0] == pytest.approx(170 * 2**0.5, abs=1)
    assert a3[3] - a3[1] == pytest.approx(30 * 2**0.5, abs=1)
    landscape = place(Page(0, 0, A4[1], A4[0]), widest=10)
    assert landscape.box == (664, 557, 834, 587)
    assert landscape.size == pytest.approx(10)


def test_a_long_name_widens_the_block_and_keeps_size_10():
    block = place(Page(0, 0, *A4), widest=40)
    left, _, right, _ = block.box
    assert right - left >= 400
    assert block.size == 10
    longest = place(Page(0, 0, *A4), widest=100)
    assert longest.box[0] >= 8
    assert longest.size < 6


def test_the_page_is_the_part_that_is_seen():
    inherited = {"/MediaBox": [0, 0, 600, 800], "/Rotate": -90}
    page = page_of({"/Parent": inherited, "/CropBox": [700, 700, 100, 50]})
    assert page == Page(100, 50, 500, 650, 270)
    assert page.seen == (650, 500)


def test_the_font_has_every_vietnamese_letter():
    letters = vietnamese_letters()
    assert set("ăâđêôơưĂÂĐÊÔƠƯếệộợữỳỵỷỹẳẵặẩẫậẻẽẹỉĩịỏõọủũụ") <= set(letters)
    assert missing_letters(find_font(None), letters) == ""


def test_no_font_is_an_error_in_words():
    with pytest.raises(ValueError, match="every Vietnamese letter"):
        find_font(None, candidates=())


@pytest.fixture
def visible(pki, make_pdfa, sign):
    return sign(make_pdfa(), visible="top-right", **pki.key_options())


def appearance(pdf: pikepdf.Pdf) -> tuple[pikepdf.Object, pikepdf.Object]:
    (widget,) = pdf.pages[0].Annots
    (drawing,) = widget.AP.N.Resources.XObject.values()
    return widget, drawing


def test_the_facts_say_where_the_block_is(visible):
    with pikepdf.open(visible.replace_main.path) as pdf:
        widget, _ = appearance(pdf)
        assert [float(n) for n in widget.Rect] == visible.facts["appearance"]["box"]
        assert [float(n) for n in widget.AP.N.BBox] == [0, 30, 170, 0]
    assert visible.facts["appearance"]["page"] == 1
    assert visible.facts["appearance"]["size"] == 10


def test_the_block_embeds_its_font_with_the_widths_of_the_font(visible, tmp_path):
    """ISO 19005-2, 6.2.11.4 and 6.2.11.5: what PDF/A asks of every font."""
    with pikepdf.open(visible.replace_main.path) as pdf:
        _, drawing = appearance(pdf)
        (font,) = drawing.Resources.Font.values()
        (descendant,) = font.DescendantFonts
        embedded = tmp_path / "font.ttf"
        embedded.write_bytes(descendant.FontDescriptor.FontFile2.read_bytes())
        glyph_of = descendant.CIDToGIDMap.read_bytes()
        assert "/ToUnicode" in font
        widths = width_of_cid(descendant.W)
    assert len(widths) >= len(set("".join(LINES))) // 2
    with TTFont(embedded) as opened:
        unit, metrics = opened["head"].unitsPerEm, opened["hmtx"]
        for cid, width in widths.items():
            glyph = int.from_bytes(glyph_of[2 * cid : 2 * cid + 2], "big")
            advance, _ = metrics[opened.getGlyphName(glyph)]
            assert width == pytest.approx(advance * 1000 / unit, abs=1)


def width_of_cid(array: pikepdf.Object) -> dict[int, float]:
    items, widths = list(array), {}
    while items:
        first, second = int(items.pop(0)), items.pop(0)
        if isinstance(second, pikepdf.Array):
            widths.update({first + n: float(w) for n, w in enumerate(second)})
        else:
            width = float(items.pop(0))
            widths.update(dict.fromkeys(range(first, int(second) + 1), width))
    return widths


def test_the_widget_has_nothing_pdfa_forbids(visible):
    """ISO 19005-2, 6.3 and 6.4: printed, not hidden, no actions, one appearance, no XFA."""
    with pikepdf.open(visible.replace_main.path) as pdf:
        widget, _ = appearance(pdf)
        flags = int(widget.F)
        assert flags & 4
        assert not flags & (1 | 2 | 32)
        assert set(widget.AP.keys()) == {"/N"}
        assert not {"/A", "/AA"} & set(widget.keys())
        form = pdf.Root.AcroForm
        assert not {"/XFA", "/NeedAppearances"} & set(form.keys())


def test_what_is_drawn_passes_a_pdfa_validator(visible, tmp_path):
    """That validator knows no signatures, so the block is judged as content of the page."""
    plain = tmp_path / "plain.pdf"
    with pikepdf.open(visible.replace_main.path) as pdf:
        widget, drawing = appearance(pdf)
        page = pdf.pages[0]
        name = page.add_resource(drawing, pikepdf.Name.XObject)
        left, bottom = (float(n) for n in list(widget.Rect)[:2])
        page.contents_add(f"q 1 0 0 1 {left} {bottom} cm {name} Do Q".encode())
        del page.Annots
        for key in ("/AcroForm", "/Extensions"):
            if key in pdf.Root:
                del pdf.Root[key]
        pdf.remove_unreferenced_resources()
        report = pikepdf.pdfa.save(pdf, plain, flavour="2b", repair=False)
    assert report.passed


def test_signing_leaves_the_description_as_it_was(pki, make_pdfa, sign):
    """An entry without a text among it: written anew, it would not be PDF/A any more."""
    source = make_pdfa()
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        told = pdf.Root.Metadata.read_bytes().replace(
            b"</rdf:RDF>",
            b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">'
            b'<dc:description><rdf:Alt><rdf:li xml:lang="x-default"/></rdf:Alt></dc:description>'
            b"</rdf:Description></rdf:RDF>",
        )
        pdf.Root.Metadata.write(told)
        pdf.save(source, fix_metadata_version=False)
    signed = sign(source, **pki.key_options()).replace_main.path
    with pikepdf.open(signed) as pdf:
        assert pdf.Root.Metadata.read_bytes() == told


@pytest.mark.judge
def test_verapdf_says_the_signed_files_are_still_pdfa(pki, make_pdfa, sign, tsa_url, verapdf):
    sources, signed = [], []
    for where in ("none", "top-right"):
        for rotate in (0, 90):
            sources.append(make_pdfa(rotate=rotate))
            options = {"visible": where, "timestamp": {"url": tsa_url}, **pki.key_options()}
            signed.append(sign(sources[-1], **options).replace_main.path)
    told = verapdf([*sources, *signed])
    assert [sentence.why for sentence in told] == [""] * 8
    assert all(sentence.conforms for sentence in told)


@pytest.mark.judge
def test_verapdf_rejects_what_is_no_pdfa(tmp_path, verapdf):
    """The judge can say no."""
    plain = tmp_path / "plain.pdf"
    with pikepdf.Pdf.new() as pdf:
        pdf.add_blank_page()
        pdf.save(plain)
    (sentence,) = verapdf([plain])
    assert not sentence.conforms
    assert sentence.why.startswith("6.")
