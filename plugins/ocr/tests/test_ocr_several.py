"""What the stage `ocr` promises about documents of several originals: one copy, every page once."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import img2pdf
import pikepdf
import pypdfium2 as pdfium
import pytest
from fpdf import FPDF
from pikepdf import pdfa
from PIL import Image, ImageDraw, ImageFont

from archived.api import Refuse, Role
from archived.testing.kit import take_in
from archived_ocr import Ocr

from .test_ocr_documents import signed

FONT = "/usr/share/fonts/truetype/croscore/Tinos-Regular.ttf"
NAMES = ("một", "hai", "ba", "bốn", "năm", "sáu")


def page(line: str, mode: str = "L") -> Image.Image:
    image = Image.new("L", (900, 400), 250)
    font = ImageFont.truetype(FONT, 44)
    ImageDraw.Draw(image).text((80, 100), f"Tờ trình số {line}", fill=20, font=font)
    return image.convert(mode, dither=Image.Dither.NONE)


def scanned(path: Path, *lines: str) -> Path:
    """The lines as pages of one file, in the format that its name says."""
    pages = [page(line, "1" if path.suffix == ".tif" else "L") for line in lines]
    if path.suffix == ".pdf":
        made = []
        for image in pages:
            image.save(data := io.BytesIO(), "JPEG", dpi=(200, 200), quality=85)
            made.append(data.getvalue())
        path.write_bytes(img2pdf.convert(made))
    elif path.suffix == ".tif":
        pages[0].save(
            path, dpi=(200, 200), compression="group4", save_all=True, append_images=pages[1:]
        )
    else:
        assert len(pages) == 1
        pages[0].save(path, dpi=(200, 200))
    return path


def typed(path: Path, line: str, *, embedded: bool = True) -> Path:
    """A born-digital PDF of one page."""
    made = FPDF(format="A5")
    made.add_page()
    if embedded:
        made.add_font("Tinos", fname=FONT)
    made.set_font("Tinos" if embedded else "Helvetica", size=16)
    made.multi_cell(0, 10, f"{line} " + "and so on " * 20)
    made.output(str(path))
    return path


def pages_of(done) -> list[str]:
    [text] = [a for a in done.add if a.role == Role.TEXT]
    return text.path.read_text(encoding="utf-8").split("\f")


def layer(path: Path) -> list[str]:
    """The text on each page of a PDF, as a reader's search finds it."""
    document = pdfium.PdfDocument(path)
    return [page.get_textpage().get_text_range() for page in document]


def kept(done) -> bool:
    """Whether every original is the one that came."""
    return all(not a.path.stat().st_mode & 0o222 for a in done.document.originals)


def test_files_of_every_kind_become_one_document_in_their_order(run_stage, tmp_path):
    files = [
        scanned(tmp_path / "a.jpg", "một"),
        scanned(tmp_path / "b.tif", "hai", "ba"),
        scanned(tmp_path / "c.pdf", "bốn"),
        typed(tmp_path / "d.pdf", "Phụ lục"),
        scanned(tmp_path / "e.png", "năm"),
    ]
    done = run_stage(Ocr, files)

    main = done.replace_main.path
    assert pdfa.validate_written(main, "2b").passed
    texts, found = pages_of(done), layer(main)
    wanted = ["số một", "số hai", "số ba", "số bốn", "Phụ lục", "số năm"]
    for one, on_page, word in zip(texts, found, wanted, strict=True):
        assert word in one
        assert word in on_page
    facts = done.facts
    assert facts["pages"] == 6
    assert facts["text"] == "mixed"
    assert facts["reading_copy"] is False
    assert facts["flags"] == []
    assert facts["originals"] == [
        {"name": "0001.jpg", "pages": 1},
        {"name": "0002.tif", "pages": 2},
        {"name": "0003.pdf", "pages": 1},
        {"name": "0004.pdf", "pages": 1},
        {"name": "0005.png", "pages": 1},
    ]
    assert "collation" not in facts
    assert len(facts["confidence"]) == len(facts["words"]) == 6
    assert [c is None for c in facts["confidence"]] == [False] * 4 + [True, False]
    with pikepdf.open(main) as pdf:
        [first] = pdf.pages[0].get_images().values()
        assert first.read_raw_bytes() == files[0].read_bytes()
    originals = [a.path.read_bytes() for a in done.document.originals]
    assert originals == [file.read_bytes() for file in files]
    assert kept(done)


def test_two_passes_are_put_together_sheet_by_sheet(run_stage, tmp_path):
    fronts = scanned(tmp_path / "fronts.tif", "một", "ba", "năm")
    backs = scanned(tmp_path / "backs.pdf", "sáu", "bốn", "hai")
    done = run_stage(Ocr, [fronts, backs], collation="two-pass")

    for one, on_page, name in zip(
        pages_of(done), layer(done.replace_main.path), NAMES, strict=True
    ):
        assert f"số {name}" in one
        assert f"số {name}" in on_page
    assert done.facts["collation"] == "two-pass"
    assert done.facts["pages"] == 6


@pytest.mark.parametrize("backs", [("hai",), ("sáu", "bốn", "hai"), None])
def test_sides_that_differ_are_left_to_a_person(run_stage, tmp_path, backs):
    files = [scanned(tmp_path / "fronts.tif", "một", "ba")]
    if backs:
        files.append(scanned(tmp_path / "backs.tif", *backs))
    with pytest.raises(Refuse) as refused:
        run_stage(Ocr, files, collation="two-pass")
    assert refused.value.code == "sides-differ"
    assert "2" in refused.value.message


def test_a_signed_original_stays_and_its_pages_are_a_reading_copy(run_stage, tmp_path):
    deed = signed(scanned(tmp_path / "deed.pdf", "hai"), tmp_path, box=(20, 20, 120, 60))
    files = [scanned(tmp_path / "letter.png", "một"), deed]
    done = run_stage(Ocr, files)

    assert done.facts["reading_copy"] is True
    assert done.facts["signatures"] == 1
    assert done.facts["originals"][1] == {"name": "0002.pdf", "pages": 1, "signed": True}
    assert any(
        note.startswith("original 2 (0002.pdf): The document carries 1") for note in done.notes
    )
    assert [a.path.read_bytes() for a in done.document.originals] == [f.read_bytes() for f in files]
    main = done.replace_main.path
    assert b"/ByteRange" not in main.read_bytes()
    assert pdfa.validate_written(main, "2b").passed
    with pikepdf.open(main) as pdf:
        assert "Reading copy without signatures" in str(pdf.docinfo["/Subject"])
    assert "số hai" in layer(main)[1]


def test_the_same_file_twice_is_both_pages_and_is_told(run_stage, tmp_path):
    scan = scanned(tmp_path / "a.png", "một")
    done = run_stage(Ocr, [scan, scan])

    assert done.facts["pages"] == 2
    assert done.facts["originals"][1]["same_as"] == "0001.png"
    assert "repeated-original" in done.facts["flags"]
    assert [text.strip() for text in pages_of(done)] == ["Tờ trình số một"] * 2


def filled_form(path: Path, source: Path) -> Path:
    with pikepdf.open(source) as pdf:
        look = pikepdf.Stream(pdf, b"/Tx BMC q BT /F1 14 Tf 2 5 Td (Nguyen Van A) Tj ET Q EMC")
        look.stream_dict = pikepdf.Dictionary(
            Type=pikepdf.Name.XObject,
            Subtype=pikepdf.Name.Form,
            BBox=[0, 0, 200, 20],
            Resources=pikepdf.Dictionary(
                Font=pikepdf.Dictionary(
                    F1=pikepdf.Dictionary(
                        Type=pikepdf.Name.Font,
                        Subtype=pikepdf.Name.Type1,
                        BaseFont=pikepdf.Name.Helvetica,
                    )
                )
            ),
        )
        field = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Annot,
                Subtype=pikepdf.Name.Widget,
                FT=pikepdf.Name.Tx,
                T="name",
                V="Nguyen Van A",
                Rect=[40, 40, 240, 60],
                F=4,
                AP=pikepdf.Dictionary(N=look),
            )
        )
        pdf.pages[0].obj["/Annots"] = pikepdf.Array([field])
        pdf.Root["/AcroForm"] = pikepdf.Dictionary(Fields=[field])
        pdf.save(path)
    return path


def layered(path: Path, source: Path) -> Path:
    """With a word on its page that is switched off."""
    with pikepdf.open(source) as pdf:
        group = pdf.make_indirect(pikepdf.Dictionary(Type=pikepdf.Name.OCG, Name="off"))
        page = pdf.pages[0]
        page.obj.Resources["/Properties"] = pikepdf.Dictionary(L1=group)
        page.contents_add(b"/OC /L1 BDC 0 0 300 300 re f EMC")
        pdf.Root["/OCProperties"] = pikepdf.Dictionary(
            OCGs=[group], D=pikepdf.Dictionary(OFF=[group], Name="as made")
        )
        pdf.save(path)
    return path


@pytest.mark.parametrize("kind", ["form", "layers", "fonts"])
def test_what_cannot_be_joined_is_shown_as_a_picture_and_said(run_stage, tmp_path, kind):
    source = typed(tmp_path / "typed.pdf", "Regulation 17", embedded=kind != "fonts")
    odd = tmp_path / "odd.pdf"
    match kind:
        case "form":
            filled_form(odd, source)
        case "layers":
            layered(odd, source)
        case "fonts":
            shutil.copyfile(source, odd)
    done = run_stage(Ocr, [scanned(tmp_path / "a.png", "một"), odd], languages="eng")

    main = done.replace_main.path
    assert pdfa.validate_written(main, "2b").passed
    assert "pictured" in done.facts["flags"]
    assert done.facts["reading_copy"] is True
    assert done.facts["originals"][1]["pictured"] is True
    shown = pdfium.PdfDocument(main)[1].render(scale=1).to_pil().convert("L")
    assert shown.getpixel((20, shown.height - 20)) > 200, "what was switched off stays unseen"
    text = pages_of(done)[1]
    assert text.startswith("Regulation 17 and so on")
    assert text.count("Regulation 17") == 1, "its own text, and not once more as it was read"
    assert "Regulation 17" in layer(main)[1], "the picture can be searched"
    if kind == "form":
        assert "Nguyen Van A" in text
        assert "Nguyen" in layer(main)[1]
    with pytest.raises(Refuse) as refused:
        run_stage(Ocr, [scanned(tmp_path / "a.png", "một"), odd], images="lossless")
    assert refused.value.code == "not-lossless"
    assert refused.value.message.startswith("original 2 (0002.pdf): ")


def test_an_earlier_text_layer_without_its_fonts_is_read_anew(run_stage, tmp_path):
    scan = scanned(tmp_path / "scan.pdf", "hai")
    layered_scan = tmp_path / "ocred.pdf"
    with pikepdf.open(scan) as pdf:
        font = pikepdf.Dictionary(
            Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
        )
        pdf.pages[0].obj.Resources["/Font"] = pikepdf.Dictionary(F1=font)
        pdf.pages[0].contents_add(b"BT 3 Tr /F1 12 Tf 40 90 Td (To trinh so 99) Tj ET")
        pdf.save(layered_scan)
    done = run_stage(Ocr, [scanned(tmp_path / "a.png", "một"), layered_scan])

    assert {"prior-ocr", "ocr-replaced"} <= set(done.facts["flags"])
    assert "pictured" not in done.facts["flags"]
    assert "số hai" in pages_of(done)[1]
    assert "99" not in layer(done.replace_main.path)[1]


def test_a_stamp_in_text_does_not_hide_what_the_scan_below_it_says(run_stage, tmp_path):
    stamped = tmp_path / "stamped.pdf"
    with pikepdf.open(scanned(tmp_path / "scan.pdf", "hai")) as pdf:
        font = pikepdf.Dictionary(
            Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
        )
        pdf.pages[0].obj.Resources["/Font"] = pikepdf.Dictionary(F1=font)
        pdf.pages[0].contents_add(b"BT /F1 9 Tf 200 20 Td (Received 1985) Tj ET")
        pdf.save(stamped)
    done = run_stage(Ocr, [scanned(tmp_path / "a.png", "một"), stamped])

    assert "pictured" in done.facts["flags"]
    text = pages_of(done)[1]
    assert "số hai" in text
    assert "Received 1985" in text
    assert done.facts["confidence"][1] is not None


def test_the_limit_of_pages_counts_for_all_originals_together(run_stage, tmp_path):
    files = [
        scanned(tmp_path / "a.tif", "một", "hai"),
        scanned(tmp_path / "b.jpg", "ba"),
        scanned(tmp_path / "c.pdf", "bốn", "năm"),
    ]
    assert run_stage(Ocr, files, max_pages=5).facts["pages"] == 5
    for limit, name in ((4, "0003.pdf"), (2, "0002.jpg"), (1, "0001.tif")):
        with pytest.raises(Refuse) as refused:
            run_stage(Ocr, files, max_pages=limit)
        assert refused.value.code == "too-many-pages"
        assert name in refused.value.message


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "damaged"),
        (b"just text", "unsupported-type"),
        (b"%PDF-1.7\ngarbage", "damaged"),
        (b"\x89PNG\r\n\x1a\n garbage", "damaged"),
    ],
)
def test_a_refusal_says_which_of_the_originals_it_means(run_stage, tmp_path, content, code):
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(content)
    with pytest.raises(Refuse) as refused:
        run_stage(Ocr, [scanned(tmp_path / "a.png", "một"), bad, bad])
    assert refused.value.code == code
    assert refused.value.message.startswith("original 2 (0002.pdf): ")
    assert refused.value.hint


def test_more_files_than_may_be_open_become_one_document(run_stage, tmp_path):
    blank = tmp_path / "blank.png"
    Image.new("1", (300, 200), 1).save(blank, dpi=(200, 200))
    files = [scanned(tmp_path / "a.png", "một"), *[blank] * 138, scanned(tmp_path / "z.png", "hai")]
    done = run_stage(Ocr, files)

    assert done.facts["pages"] == 140
    texts = pages_of(done)
    assert "một" in texts[0]
    assert "hai" in texts[-1]
    assert set(texts[1:-1]) == {""}
    assert done.facts["blank_pages"] == list(range(2, 140))
    [note] = done.notes
    assert note.startswith("original 3 (0003.png), original 4 (0004.png), ")
    assert note.endswith(" and 117 more: The same bytes as 0002.png; both were made pages.")


def test_a_copy_that_was_made_already_is_not_made_of_the_originals_again(run_stage, tmp_path):
    first = run_stage(Ocr, [scanned(tmp_path / "a.png", "một"), scanned(tmp_path / "b.png", "hai")])
    again = run_stage(Ocr, first.document)
    assert again.replace_main is None
    assert again.facts["pages"] == 2
    assert "already-pdfa" in again.facts["flags"]
    assert "originals" not in again.facts


def test_a_ticket_that_says_another_number_of_pages_is_not_passed_over(run_stage, tmp_path):
    files = [scanned(tmp_path / "a.png", "một"), scanned(tmp_path / "b.tif", "hai", "ba")]
    for sample, right in ((files, 3), (files[1:], 2), ([scanned(tmp_path / "c.pdf", "bốn")], 1)):
        document = take_in(sample, tmp_path)
        claims = replace(document, given={"pages": right})
        assert "pages-differ" not in run_stage(Ocr, claims).facts["flags"]
        claims = replace(document, given={"pages": right + 1})
        with pytest.raises(Refuse, match=f"says that there are {right + 1} pages, and") as refused:
            run_stage(Ocr, claims)
        assert refused.value.code == "pages-differ"
    done = run_stage(Ocr, claims, claimed_pages="note")
    assert "pages-differ" in done.facts["flags"]
    assert "The ticket says that there are 2 pages, and there are 1." in done.notes
    part = replace(claims, facts={"separate": {"part": 1, "of": 2}})
    assert "pages-differ" not in run_stage(Ocr, part).facts["flags"]


def test_a_person_who_looked_at_the_paper_lets_it_go_on(run_stage, tmp_path):
    document = take_in([scanned(tmp_path / "c.pdf", "bốn")], tmp_path)
    claims = replace(document, given={"pages": 2}, answers={"pages-differ": "one sheet was blank"})
    done = run_stage(Ocr, claims)
    assert done.replace_main is not None
    assert "pages-differ" in done.facts["flags"]
    [note] = [note for note in done.notes if "ticket" in note]
    assert "2 pages, and there are 1" in note
    assert "one sheet was blank" in note


@pytest.mark.parametrize("at", [0, 1])
def test_an_original_that_cannot_be_read_is_left_out_and_named(run_stage, tmp_path, at):
    """Wherever it stands; the others are read, and the copy says that it is not all."""
    letter = tmp_path / "letter.txt"
    letter.write_text("Kính gửi")
    files = [scanned(tmp_path / "a.jpg", "một"), scanned(tmp_path / "b.tif", "hai")]
    files.insert(at, letter)
    document = replace(take_in(files, tmp_path), given={"pages": 4})
    done = run_stage(Ocr, document)

    assert pdfa.validate_written(done.replace_main.path, "2b").passed
    for word, text in zip(("một", "hai"), pages_of(done), strict=True):
        assert f"số {word}" in text
    facts = done.facts
    assert (facts["pages"], facts["reading_copy"]) == (2, True)
    assert set(facts["flags"]) == {"left-out", "pages-differ"}
    name = f"000{at + 1}.txt"
    assert facts["originals"][at] == {"name": name, "pages": 0, "left_out": True}
    assert any(
        f"original {at + 1} ({name})" in note and "text/plain" in note for note in done.notes
    )
    with pikepdf.open(done.replace_main.path) as pdf:
        assert "several originals" in str(pdf.docinfo["/Subject"])
    assert kept(done)
    # More pages than the ticket says are too many, whatever was left out.
    with pytest.raises(Refuse) as refused:
        run_stage(Ocr, replace(document, given={"pages": 1}))
    assert refused.value.code == "pages-differ"


def test_fronts_and_backs_are_not_put_together_without_one_of_them(run_stage, tmp_path):
    (tmp_path / "backs.txt").write_text("no scan")
    files = [scanned(tmp_path / "fronts.tif", "một", "ba"), tmp_path / "backs.txt"]
    with pytest.raises(Refuse) as refused:
        run_stage(Ocr, files, collation="two-pass")
    assert refused.value.code == "sides-differ"
