"""The whole stage in the child process that the daemon uses: what is cut, held and left alone."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pypdfium2 as pdfium
import pytest
import zxingcpp
from PIL import Image

from archived.api import Part, Refuse, Result
from archived.testing import StageContract, run_stage
from archived.testing.kit import take_in
from archived_separate import Separate

SHARED = Path(
    os.environ.get("ARCHIVED_SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared/data"
)


def plan_of(made: Result) -> dict[str, Any]:
    (file,) = made.add
    assert file.name == "split-plan.json"
    return json.loads(file.path.read_text())


def images(pdf: Path) -> list[bytes]:
    """The stored image of each page, as it lies in the file."""
    with pikepdf.open(pdf) as opened:
        return [next(iter(page.get_images().values())).read_raw_bytes() for page in opened.pages]


def shown(path: Path, page: int) -> Any:
    pdf = pdfium.PdfDocument(path)
    try:
        return np.asarray(pdf[page].render(scale=1, grayscale=True).to_pil())
    finally:
        pdf.close()


def refused(*sample: Any, **options: Any) -> Refuse:
    with pytest.raises(Refuse) as caught:
        run_stage(Separate, *sample, **options)
    return caught.value


@pytest.fixture(scope="module")
def stack(desk: Any, covers: Any, plain: Any, tmp_path_factory: Any) -> Path:
    """A dossier of four sheets in three documents, as a scanner sends it."""
    first, second = covers
    a, b, c, d = (desk.letter(word) for word in "abcd")
    pages = [desk.worn(p, n) for n, p in enumerate([first, a, b, second, c, plain, d])]
    return desk.pdf_of(tmp_path_factory.mktemp("stack") / "stack.pdf", pages)


class TestSeparate(StageContract):
    stage = Separate
    options = {"min_pages": 1}  # noqa: RUF012 - the contract's shape
    more_codes = frozenset(
        {
            "secrecy-above-declared",
            "sheet-invalid",
            "sheet-newer",
            "sheet-conflict",
            "separator-unread",
            "separators-missing",
            "separators-out-of-order",
            "dossier-differs",
            "sheets-missing",
            "sheets-extra",
            "sheets-uneven",
            "segment-too-short",
            "segment-too-long",
            "only-separators",
            "too-many-parts",
        }
    )

    @pytest.fixture(scope="class")
    @classmethod
    def surroundings(cls, tmp_path_factory, desk, plain):
        folder = tmp_path_factory.mktemp("separate")
        pages = [desk.letter("a", 100), plain.resize((827, 1169)), desk.letter("b", 100)]
        scan = desk.pdf_of(folder / "scan.pdf", pages, 100)
        return folder, take_in(scan, folder), cls.options, {}


def test_a_stack_becomes_its_documents_with_the_plan_beside(stack: Path) -> None:
    made = run_stage(Separate, stack, secrecy="mật")
    parts: list[Part] = list(made.parts)
    assert [part.name for part in parts] == ["stack-001.pdf", "stack-002.pdf", "stack-003.pdf"]
    assert [part.dossier for part in parts] == ["HS.01"] * 3
    before = images(stack)
    after = [images(part.file.path) for part in parts]
    assert after == [before[1:3], before[4:5], before[6:7]]  # the very same bytes
    assert np.array_equal(shown(parts[1].file.path, 0), shown(stack, 4))
    plan = plan_of(made)
    assert plan["decision"] == "cut"
    assert [document["pages"] for document in plan["documents"]] == [[2, 3], [5], [7]]
    assert [document["sha512"] for document in plan["documents"]] == [p.file.sha512 for p in parts]
    assert plan["dropped"] == [1, 4, 6]
    assert plan["sheets"] == {"HS.01": {"expected": 4, "found": 4}}
    assert not plan["suspicions"]
    assert made.facts["documents"] == 3
    assert parts[2].facts["pages"] == "7"
    assert parts[2].facts["separator"]["kind"] == "sheet"


def test_the_same_scan_is_cut_into_the_same_bytes_again(stack: Path) -> None:
    first, second = (run_stage(Separate, stack, secrecy="mật") for _ in range(2))
    assert [p.file.sha512 for p in first.parts] == [p.file.sha512 for p in second.parts]


def test_a_level_above_the_hot_folders_stops_everything_even_a_dry_run(stack: Path) -> None:
    for options in ({}, {"dry_run": True}):
        refusal = refused(stack, **options)
        assert refusal.code == "secrecy-above-declared"
        assert "'mat'" in refusal.message
    assert run_stage(Separate, stack, secrecy="Tuyệt mật").parts


def test_a_dry_run_plans_and_cuts_nothing(desk: Any, covers: Any, tmp_path: Path) -> None:
    pages = [covers[0], desk.letter("a")]
    scan = desk.pdf_of(tmp_path / "scan.pdf", pages)
    made = run_stage(Separate, scan, secrecy="mật", dry_run=True)
    assert not made.parts
    plan = plan_of(made)
    assert plan["decision"] == "dry-run"
    assert {s["code"] for s in plan["suspicions"]} == {"separators-missing", "sheets-missing"}
    refusal = refused(scan, secrecy="mật")
    assert refusal.code == "separators-missing"
    assert "Nothing was cut" in refusal.message


def test_without_separators_the_document_stays_as_it_is(desk: Any, tmp_path: Path) -> None:
    scan = desk.pdf_of(tmp_path / "scan.pdf", [desk.letter("a"), desk.letter("b")])
    made = run_stage(Separate, scan)
    assert not made.parts
    assert "no separator" in made.notes[0]
    assert plan_of(made)["decision"] == "whole"


def test_kept_separators_stand_before_their_documents(
    desk: Any, plain: Any, tmp_path: Path
) -> None:
    scan = desk.pdf_of(tmp_path / "scan.pdf", [plain, desk.letter("a"), plain, desk.letter("b")])
    made = run_stage(Separate, scan, separators="keep")
    before = images(scan)
    assert [images(p.file.path) for p in made.parts] == [before[:2], before[2:]]


def test_a_fax_tiff_stays_a_fax_tiff(desk: Any, plain: Any, tmp_path: Path) -> None:
    pages = [plain, desk.letter("a"), desk.letter("b"), plain, desk.letter("c")]
    scan = desk.tiff_of(tmp_path / "scan.tif", pages)
    made = run_stage(Separate, scan)
    assert [part.file.media_type for part in made.parts] == ["image/tiff"] * 2
    for part, numbers in zip(made.parts, ([1, 2], [4]), strict=True):
        with Image.open(scan) as old, Image.open(part.file.path) as new:
            assert new.n_frames == len(numbers)  # type: ignore[attr-defined]  # a TIFF's
            assert new.info["compression"] == "group4"
            for frame, number in enumerate(numbers):
                new.seek(frame)
                old.seek(number)
                assert np.array_equal(np.asarray(new), np.asarray(old))


def test_several_originals_are_one_stack(desk: Any, plain: Any, tmp_path: Path) -> None:
    files = []
    for number, page in enumerate(
        [plain, desk.letter("a"), plain, desk.letter("b"), desk.letter("c")]
    ):
        files.append(tmp_path / f"scan-{number}.jpg")
        page.save(files[-1], quality=70, dpi=(150, 150))
    made = run_stage(Separate, files)
    one, two = made.parts
    assert one.file.media_type == "image/jpeg"
    assert one.file.path.read_bytes() == files[1].read_bytes()
    assert images(two.file.path) == [files[3].read_bytes(), files[4].read_bytes()]
    assert plan_of(made)["documents"][0]["how"] == "copied byte for byte"


def test_two_passes_are_put_in_order_first(desk: Any, plain: Any, tmp_path: Path) -> None:
    words = ["1", "2", "3", "4"]
    empty = Image.new("L", plain.size, 255)
    fronts = desk.pdf_of(tmp_path / "a.pdf", [plain, desk.letter("1"), plain, desk.letter("3")])
    backs = desk.pdf_of(tmp_path / "b.pdf", [desk.letter("4"), empty, desk.letter("2"), empty])
    made = run_stage(Separate, [fronts, backs], collation="two-pass", sides="two")
    front, back = images(fronts), images(backs)
    assert [images(p.file.path) for p in made.parts] == [[front[1], back[2]], [front[3], back[0]]]
    short = desk.pdf_of(tmp_path / "c.pdf", [desk.letter(w) for w in words[:3]])
    assert refused([fronts, short], collation="two-pass").code == "sides-differ"


def test_a_signed_pdf_is_never_cut(desk: Any, plain: Any, tmp_path: Path) -> None:
    scan = desk.pdf_of(tmp_path / "scan.pdf", [desk.letter("a"), plain, desk.letter("b")])
    with pikepdf.open(scan, allow_overwriting_input=True) as pdf:
        value = pikepdf.Dictionary(Type=pikepdf.Name.Sig, Contents=b"x", ByteRange=[0, 1, 2, 3])
        field = pikepdf.Dictionary(FT=pikepdf.Name.Sig, T="sig", V=pdf.make_indirect(value))
        pdf.Root.AcroForm = pikepdf.Dictionary(Fields=[pdf.make_indirect(field)], SigFlags=3)
        pdf.save(scan, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    assert refused(scan).code == "signed-original"
    made = run_stage(Separate, scan, signed="whole")
    assert not made.parts
    assert "signed" in made.notes[0]


def test_a_part_holds_nothing_of_its_neighbours(desk: Any, plain: Any, tmp_path: Path) -> None:
    """Scanners list all images in one dictionary, and links lead from page to page."""
    scan = desk.pdf_of(tmp_path / "scan.pdf", [desk.letter("a"), plain, desk.letter("b")])
    with pikepdf.open(scan, allow_overwriting_input=True) as pdf:
        every = pikepdf.Dictionary()
        for number, page in enumerate(pdf.pages):
            name = f"/Im{number}"
            every[name] = next(iter(page.get_images().values()))
            old = next(iter(page.get_images()))
            page.Contents = pdf.make_stream(
                page.Contents.read_bytes().replace(old.encode(), name.encode())
            )
        for page in pdf.pages:
            page.Resources = pikepdf.Dictionary(XObject=every)
            page.Annots = [
                pikepdf.Dictionary(
                    Type=pikepdf.Name.Annot,
                    Subtype=pikepdf.Name.Link,
                    Rect=[0, 0, 9, 9],
                    Dest=[pdf.pages[2].obj, pikepdf.Name.Fit],
                )
            ]
        pdf.save(scan)
    made = run_stage(Separate, scan)
    for part, number in zip(made.parts, (0, 2), strict=True):
        with pikepdf.open(part.file.path) as pdf:
            found = [
                o
                for o in pdf.objects
                if isinstance(o, pikepdf.Stream) and o.get("/Subtype") == "/Image"
            ]
            assert len(found) == 1
        assert np.array_equal(shown(part.file.path, 0), shown(scan, number))


def test_a_layer_that_is_hidden_stays_hidden(desk: Any, plain: Any, tmp_path: Path) -> None:
    scan = desk.pdf_of(tmp_path / "scan.pdf", [desk.letter("a"), plain, desk.letter("b")])
    with pikepdf.open(scan, allow_overwriting_input=True) as pdf:
        layer = pdf.make_indirect(pikepdf.Dictionary(Type=pikepdf.Name.OCG, Name="draft"))
        pdf.Root.OCProperties = pikepdf.Dictionary(
            OCGs=[layer], D=pikepdf.Dictionary(OFF=[layer], Order=[layer])
        )
        page = pdf.pages[2]
        page.Resources.Properties = pikepdf.Dictionary(L=layer)
        page.contents_add(b"/OC /L BDC 0 0 300 300 re f EMC", prepend=False)
        pdf.save(scan)
    part = run_stage(Separate, scan).parts[1]
    assert np.array_equal(shown(part.file.path, 0), shown(scan, 2))
    assert shown(part.file.path, 0)[-20:, :20].min() > 200


def test_an_owners_restrictions_are_told_of(desk: Any, plain: Any, tmp_path: Path) -> None:
    scan = desk.pdf_of(tmp_path / "scan.pdf", [plain, desk.letter("a", 100)])
    with pikepdf.open(scan, allow_overwriting_input=True) as pdf:
        pdf.save(scan, encryption=pikepdf.Encryption(owner="o", user=""))
    made = run_stage(Separate, scan)
    assert any("restricts" in note for note in made.notes)
    assert np.array_equal(shown(made.parts[0].file.path, 0), shown(scan, 1))


def sheet_with(text: str, size: int) -> Image.Image:
    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode)
    grid = np.asarray(code.to_image(scale=1, add_quiet_zones=False))
    factor = max(1, size // grid.shape[0])
    page = Image.new("L", (1240, 1754), 255)
    page.paste(Image.fromarray(np.kron(grid, np.ones((factor, factor), np.uint8))), (120, 150))
    return page


HOSTILE = {
    "long": "ARCHIVED:1:C&d=" + "A" * 2500,
    "control": "ARCHIVED:1:C&d=A\x00\x1b[2J&c=00000000",
    "path": "ARCHIVED:1:C&d=..%2F..%2Fetc%2Fpasswd&c=A4C4D1C6",
    "count": "ARCHIVED:1:C&d=A&n=999999999999999999999&c=00000000",
    "version": "ARCHIVED:2:C&d=A",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_code_is_believed_in_nothing_and_quoted_harmlessly(
    desk: Any, tmp_path: Path, kind: str
) -> None:
    pages = [sheet_with(HOSTILE[kind], 1000), desk.letter("a")]
    scan = desk.tiff_of(tmp_path / "scan.tif", pages)
    refusal = refused(scan)
    assert refusal.code == ("sheet-newer" if kind == "version" else "sheet-invalid")
    assert len(refusal.message) < 700
    assert refusal.message.isprintable()


def test_a_strangers_long_code_does_not_matter(desk: Any, tmp_path: Path) -> None:
    pages = [sheet_with("x" * 2900, 1000), desk.letter("a")]
    made = run_stage(Separate, desk.tiff_of(tmp_path / "scan.tif", pages), payload="x{1,100}")
    assert not made.parts


def test_bombs_are_refused_before_they_are_decoded(desk: Any, tmp_path: Path) -> None:
    big = tmp_path / "big.tif"
    Image.new("1", (5000, 5000)).save(big, compression="group4")
    assert refused(big, max_megapixels=20).code == "too-large"
    scan = desk.pdf_of(tmp_path / "scan.pdf", [desk.letter("a", 100)] * 3, 100)
    assert refused(scan, max_pages=2).code == "too-many-pages"
    with pikepdf.open(scan, allow_overwriting_input=True) as pdf:
        image = next(iter(pdf.pages[0].get_images().values()))
        image.Width, image.Height = 100_000, 100_000
        pdf.save(scan)
    assert refused(scan).code == "too-large"


def test_what_cannot_be_opened_is_said_in_words(desk: Any, tmp_path: Path) -> None:
    scan = desk.pdf_of(tmp_path / "scan.pdf", [desk.letter("a", 100)], 100)
    locked = tmp_path / "locked.pdf"
    with pikepdf.open(scan) as pdf:
        pdf.save(locked, encryption=pikepdf.Encryption(owner="o", user="u"))
    assert refused(locked).code == "encrypted"
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7\n" + b"nothing of use\n" * 20)
    assert refused(broken).code == "damaged"
    torn = tmp_path / "torn.jpg"
    file = io.BytesIO()
    desk.letter("a").save(file, "JPEG")
    torn.write_bytes(file.getvalue()[:9000])
    assert refused(torn).code == "damaged"


def test_a_dossier_of_another_folder_is_held(desk: Any, printed: Any, tmp_path: Path) -> None:
    sheet = desk.render(printed("--dossier", "HS.02"))
    scan = desk.pdf_of(tmp_path / "scan.pdf", [sheet, desk.letter("a")])
    document = dataclasses.replace(take_in(scan, tmp_path), dossier="HS.01")
    assert refused(document).code == "dossier-differs"
    assert run_stage(Separate, scan).parts[0].dossier == "HS.02"


def test_policies_turn_a_hold_into_a_note(desk: Any, printed: Any, tmp_path: Path) -> None:
    sheet = desk.render(printed("--dossier", "HS.02", "--sheets", "9"))
    scan = desk.pdf_of(tmp_path / "scan.pdf", [sheet, desk.letter("a")])
    assert refused(scan).code == "sheets-missing"
    made = run_stage(Separate, scan, counts="note")
    assert len(made.parts) == 1
    assert any("sheets-missing" in note for note in made.notes)


@pytest.mark.shared
def test_other_peoples_separator_sheets_are_found(tmp_path: Path) -> None:
    """Real patch sheets, and QR codes of another program."""
    folder = SHARED / "stress" / "intake"
    if not folder.is_dir():
        pytest.skip("the shared corpus is not here")
    for name in ("patch-code-t-middle.pdf", "patch-code-t-middle.tiff"):
        made = run_stage(Separate, shutil.copy(folder / name, tmp_path / name))
        assert made.facts["decision"] == "cut", name
        assert {s["kind"] for s in plan_of(made)["separators"]} == {"patch"}
    scan = shutil.copy(folder / "patch-code-t-qr.pdf", tmp_path / "qr.pdf")
    assert plan_of(run_stage(Separate, scan, payload="PATCHT", dry_run=True))["separators"]


@pytest.mark.shared
def test_a_page_that_cannot_be_drawn_was_not_looked_at_and_is_told(tmp_path: Path) -> None:
    scan = SHARED / "stress" / "pdf-structure" / "pdfjs_boundingBox_invalid.pdf"
    if not scan.is_file():
        pytest.skip("the shared corpus is not here")
    refusal = refused(scan)
    assert refusal.code == "separator-unread"
    assert "cannot be drawn" in refusal.message
