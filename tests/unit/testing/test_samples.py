"""The sample scans keep their promises: reproducible, readable, true, and bad where they should."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import time
import unicodedata
import zlib
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from PIL import Image

from archived.testing import samples
from archived.testing.samples import fonts, papers
from archived.testing.samples.bad_input import flate_bomb, huge_image
from archived.testing.samples.bake import Recipe, bake
from archived.testing.samples.catalogue import CATALOGUE, _cached
from archived.testing.samples.containers import pack

FIELDS = {
    "type_name",
    "type_abbr",
    "number",
    "notation",
    "issued_date",
    "place",
    "organ",
    "parent_organ",
    "subject",
    "signer",
    "signer_title",
    "secrecy",
    "urgency",
    "pages",
    "text",
}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def read(image: Image.Image) -> str:
    import tesserocr

    with tesserocr.PyTessBaseAPI(path="/usr/share/tesseract-ocr/5/tessdata", lang="vie") as engine:
        engine.SetImage(image)
        return str(engine.GetUTF8Text())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        samples.make(tmp_path / name, seed=seed, count=9, pages=1, dpi=60)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert not set(digests(tmp_path / "one").values()) & set(digests(tmp_path / "three").values())


def test_jbig2_pages_are_the_same_pixels_for_two_decoders() -> None:
    page = Image.new("1", (93, 41), 255)
    page.paste(0, (10, 5, 50, 9))
    page.paste(0, (60, 20, 93, 41))
    data = pack([page], "pdf-jbig2", 72)
    with pikepdf.open(io.BytesIO(data)) as pdf:
        image = pdf.pages[0].Resources.XObject.Im0
        assert image.Filter == "/JBIG2Decode"
        ours = pikepdf.PdfImage(image).as_pil_image()  # jbig2dec
        assert ours.convert("L").tobytes() == page.convert("L").tobytes()
    shown = pypdfium2.PdfDocument(data)[0].render(scale=1).to_pil().convert("L")
    assert shown.tobytes() == page.convert("L").tobytes()


def test_every_form_opens_and_has_the_pages_its_truth_says(tmp_path: Path) -> None:
    made = samples.make(tmp_path, seed=2, count=9, dpi=75)
    assert {s.path.suffix for s in made} == {".pdf", ".tif", ".jpg", ".png"}
    for sample in made:
        if sample.media_type == "application/pdf":
            with pikepdf.open(sample.path) as pdf:
                pages = len(pdf.pages)
        else:
            with Image.open(sample.path) as image:
                assert Image.MIME[image.format or ""] == sample.media_type
                pages = getattr(image, "n_frames", 1)
                assert round(image.info["dpi"][0]) == sample.truth["dpi"]
        assert pages == sample.pages == sample.truth["pages"] == len(sample.truth["text"])


def test_the_truth_beside_each_file_holds_every_field_and_the_text_shows_them(
    tmp_path: Path,
) -> None:
    for sample in samples.make(tmp_path, seed=3, count=16, pages=1, dpi=60):
        truth = json.loads((tmp_path / "truth" / f"{sample.path.name}.json").read_text())
        assert truth == sample.truth
        assert truth.keys() >= FIELDS
        text = truth["text"][0]
        for shown in (truth["code"], truth["subject"], truth["signer"], truth["place"]):
            assert shown in text
        for mark in (truth["secrecy"], truth["urgency"]):
            assert mark is None or mark.upper() in text.split("\n")
        assert unicodedata.is_normalized("NFC", json.dumps(truth, ensure_ascii=False))


def test_papers_of_the_state_and_of_the_party_are_numbered_each_in_its_own_way() -> None:
    assert papers.compose("decision", "x").number_line.startswith("Số: ")
    party = papers.compose("party-dispatch", "x")
    assert party.number_line.startswith("Số ")
    assert party.notation.startswith("CV/")
    dispatch = papers.compose("dispatch", "x")
    assert dispatch.kind.code is None
    assert dispatch.subject.startswith("V/v ")


def test_the_benchmark_corpus_has_exactly_the_pages_asked_for_and_no_secrets(
    tmp_path: Path,
) -> None:
    made = samples.corpus(tmp_path, pages=30, dpi=50)
    assert sum(sample.pages for sample in made) == 30
    assert all(sample.truth["secrecy"] is None for sample in made)
    assert {mode for s in made for mode in s.truth["modes"]} == {"colour", "gray", "bilevel"}


def test_the_font_has_every_vietnamese_letter() -> None:
    letters = fonts.vietnamese_letters()
    assert len(set(letters)) == 146
    assert all(not fonts.missing_letters(path) for path in fonts.family().files.values())


def test_a_font_with_the_right_name_but_without_the_letters_is_refused(tmp_path: Path) -> None:
    from fontTools import subset

    font = subset.load_font(str(fonts.family().files["Regular"]), subset.Options())
    worker = subset.Subsetter(subset.Options())
    worker.populate(text="abcdefghijklmnopqrstuvwxyz")
    worker.subset(font)
    (tmp_path / "croscore").mkdir()
    for style in fonts.STYLES:
        font.save(str(tmp_path / "croscore" / f"Tinos-{style}.ttf"))
    with pytest.raises(fonts.FontMissing, match="lacks") as refused:
        fonts.find(tmp_path)
    assert "fonts-croscore" in refused.value.hint


def test_named_samples_are_made_once_even_when_two_processes_ask_together(tmp_path: Path) -> None:
    code = (
        "from archived.testing import samples; p = samples.sample('tiny.tif');"
        "print(p, p.stat().st_ino, samples.truth('tiny.tif')['pages'])"
    )
    environment = {**os.environ, "ARCHIVED_SAMPLES_CACHE": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
        for _ in range(3)
    ]
    answers = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(answers) == 1
    assert not list(tmp_path.rglob(".making-*"))


def test_an_unknown_sample_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(KeyError, match=r"decision-g4\.tif"):
        samples.sample("nothing.pdf")
    assert all(not name.startswith(".") for name in CATALOGUE)
    assert _cached("tiny.jpg") == samples.sample("tiny.jpg").parent


def test_a_scanned_page_can_be_read_with_few_mistakes() -> None:
    data, truth = bake(Recipe("decision", "tif-g4", ("bilevel",), dpi=200), "read")
    told, found = plain(truth["text"][0]), plain(read(Image.open(io.BytesIO(data))))
    assert distance(told, found) / len(told) < 0.08


def test_a_tiny_sample_is_read_in_well_under_a_second() -> None:
    with Image.open(samples.sample("tiny.jpg")) as image:
        start = time.process_time()  # others may be at work on this machine
        found = read(image)
        assert time.process_time() - start < 1.5  # engine start included
    first = samples.truth("tiny.jpg")["text"][0].split("\n")[0]
    assert first in plain(found)


def test_twenty_tiny_documents_are_twenty_different_files(tmp_path: Path) -> None:
    made = samples.tiny(tmp_path, count=20)
    assert len({sample.truth["sha256"] for sample in made}) == 20


def test_a_born_digital_sample_has_its_text_and_its_fonts_embedded() -> None:
    with pypdfium2.PdfDocument(samples.sample("born-digital.pdf")) as pdf:
        text = plain(pdf[0].get_textpage().get_text_bounded())
    truth = samples.truth("born-digital.pdf")
    assert truth["code"] in text
    assert plain(truth["subject"]).split(" - ")[0] in text
    with pikepdf.open(samples.sample("born-digital.pdf")) as pdf:
        fonts_used = [f for page in pdf.pages for f in page.Resources.Font.values()]
        descriptors = [f.DescendantFonts[0].FontDescriptor for f in fonts_used]
        assert descriptors
        assert all("/FontFile2" in d for d in descriptors)


def test_bad_input_is_bad_in_the_way_its_name_says(tmp_path: Path) -> None:
    made = samples.nasty(tmp_path)
    assert made["zero-bytes"].stat().st_size == 0
    with pytest.raises(pikepdf.PasswordError):
        pikepdf.open(made["user-password"])
    with pikepdf.open(made["owner-password"]) as pdf:
        assert pdf.is_encrypted
        assert not pdf.user_password_matched or not pdf.owner_password_matched
    for case in ("truncated-tiff", "truncated-jpeg", "truncated-png"):
        with pytest.raises(OSError), Image.open(made[case]) as image:
            image.load()
    with pytest.raises(pikepdf.PdfError):
        pikepdf.open(made["text-named-pdf"])
    with pikepdf.open(made["zero-pages"]) as pdf:
        assert len(pdf.pages) == 0
    with pikepdf.open(made["portfolio"]) as pdf:
        assert "/Collection" in pdf.Root
        assert len(pdf.attachments) == 2
    with pikepdf.open(made["javascript"]) as pdf:
        assert pdf.Root.OpenAction.S == "/JavaScript"
    with pikepdf.open(made["form"]) as pdf:
        assert len(pdf.Root.AcroForm.Fields) == 1
    with Image.open(made["very-wide"]) as image:
        assert image.width == 30_000
    assert all(path.stat().st_size < 400_000 for path in made.values())


def test_bad_names_reach_the_disk_byte_for_byte(tmp_path: Path) -> None:
    made = samples.nasty(tmp_path)
    raw = {case: os.fsencode(path.name) for case, path in made.items()}
    assert set(raw.values()) == {os.fsencode(path.name) for path in tmp_path.iterdir()}
    assert len(raw["name-255-bytes"]) == 255
    assert b"\n" in raw["name-newline"]
    assert raw["name-leading-dash"].startswith(b"-")
    assert not unicodedata.is_normalized("NFC", raw["name-nfd"].decode())
    with pytest.raises(UnicodeDecodeError):
        raw["name-invalid-utf8"].decode()


def test_the_bombs_are_small_files_that_really_unfold() -> None:
    bomb = flate_bomb(64 << 20)
    assert len(bomb) < 20_000
    start = bomb.index(b"stream\n") + 7
    inner = zlib.decompressobj().decompress(bomb[start:])
    assert len(zlib.decompress(inner)) == 64 << 20
    with pikepdf.open(io.BytesIO(huge_image(3_000))) as pdf:
        image = pikepdf.PdfImage(pdf.pages[0].Resources.XObject.Im0).as_pil_image()
        assert image.size == (3_000, 3_000)
        assert image.convert("L").getextrema() == (255, 255)


def test_importing_the_samples_loads_no_heavy_library() -> None:
    code = (
        "import sys, archived.testing.samples;"
        "heavy = {'PIL', 'numpy', 'pikepdf', 'fpdf', 'fontTools', 'img2pdf'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_command_line_writes_a_folder_and_names_each_file(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "archived.testing.samples", str(tmp_path), "--count", "1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    named = done.stdout.splitlines()
    assert sorted(named) == sorted(str(p) for p in tmp_path.iterdir() if p.is_file())
    assert len(named) == 1
