"""Each page's ink is accounted for: read, told apart as no text, or shown to a person."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from fpdf import FPDF
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from archived.api import Role
from archived_ocr import Ocr, legacy_encodings
from archived_ocr.language import is_syllable, possible_share

from .ocr_scans import BOLD, FONT, LINES, printed_over, saved, scan_pdf, sheet, text_of

SHARED = Path(
    os.environ.get("ARCHIVED_SHARED_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")
)
MOTTO = "Cộng hòa xã hội chủ nghĩa Việt Nam Độc lập"


def back(seed=1):
    """The back of a printed sheet: print that shines through, holes, a shadow, dust."""
    front = sheet(lines=LINES * 4).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    soft = np.asarray(front.filter(ImageFilter.GaussianBlur(2.5)), np.float32)
    noise = np.random.default_rng(seed).normal(0, 1.5, soft.shape)
    paper = Image.fromarray(np.clip(245 - (250 - soft) * 0.08 + noise, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(paper)
    for y in (600, 1100):
        draw.ellipse((70, y, 114, y + 44), fill=30)
    draw.rectangle((0, 0, 9, 1654), fill=90)
    for n in range(20):
        draw.ellipse((150 + 37 * n, 90 + 71 * n % 1500, 152 + 37 * n, 92 + 71 * n % 1500), fill=60)
    return paper


@pytest.mark.parametrize("ink", [150, 170, 195, 215])
def test_faded_print_is_read(run_stage, tmp_path, ink):
    done = run_stage(Ocr, saved(tmp_path / "faded.png", sheet(ink=ink, paper=255)))

    assert "TUYỆT MẬT" in text_of(done) and "Nghị định số 30" in text_of(done)
    assert done.facts["blank_pages"] == [] and not done.reviews


def test_a_negative_is_read(run_stage, tmp_path):
    done = run_stage(Ocr, saved(tmp_path / "film.png", ImageChops.invert(sheet())))

    assert "TUYỆT MẬT" in text_of(done) and not done.reviews


@pytest.mark.parametrize("words", ["HẾT", "Mật", "- 12 -", "(Đã thu hồi)"])
def test_a_page_of_few_words_is_read_or_shown_and_never_called_blank(run_stage, tmp_path, words):
    done = run_stage(Ocr, saved(tmp_path / "few.png", sheet(lines=(words,), points=12)))

    assert done.facts["blank_pages"] == []
    assert words.strip("- ()") in text_of(done) or done.reviews


def test_an_ordinary_back_stops_nothing(run_stage, tmp_path):
    done = run_stage(Ocr, saved(tmp_path / "back.png", back()))

    assert done.reviews == () or list(done.reviews) == []
    assert done.facts["words"] == [0] and text_of(done) == ""
    kinds = {mark["kind"] for mark in done.facts["ink"]["1"]["marks"]}
    assert "punch-hole" in kinds and "unread-text" not in kinds


def test_outlined_letters_that_are_not_read_stop_the_document_with_a_picture(run_stage, tmp_path):
    image = sheet(lines=("", "Căn cứ Nghị định số 30", "về công tác văn thư"))
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(BOLD, 70)
    draw.text((300, 900), "XQWZKJ", fill=250, font=font, stroke_width=2, stroke_fill=40)
    done = run_stage(Ocr, saved(tmp_path / "outlined.png", image))

    [review] = done.reviews
    assert review.code == "unread-content" and "unread-content" in done.facts["flags"]
    region = review.regions[0]
    left, top, right, bottom = region.box
    assert left < 0.4 < right and top < 0.57 < bottom, "the box is where the letters are"
    [shown] = [a for a in done.add if a.name == region.picture]
    assert shown.role == Role.METADATA and shown.media_type == "image/png"
    with Image.open(shown.path) as picture:
        assert min(picture.convert("L").getdata()) < 100
    assert done.facts["ink"]["1"]["reason"] == "text"


@pytest.mark.parametrize("where", ["negative", "picture", "colour"])
def test_a_mark_beside_the_text_is_read_wherever_it_is_printed(run_stage, tmp_path, where):
    image = sheet(lines=LINES[1:] * 3).convert("RGB")
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(BOLD, 46)
    box = (300, 1150, 900, 1350)
    if where == "negative":
        draw.rectangle(box, fill=(40, 40, 40))
        draw.text((420, 1220), "TUYỆT MẬT", fill="white", font=font)
    elif where == "picture":
        noise = np.random.default_rng(3).integers(60, 190, (8, 20, 3), np.uint8)
        image.paste(Image.fromarray(noise).resize((600, 200), Image.Resampling.BICUBIC), box[:2])
        draw.text((420, 1220), "TUYỆT MẬT", fill="white", font=font)
    else:
        draw.text((420, 1220), "TUYỆT MẬT", fill=(230, 160, 0), font=font)
    done = run_stage(Ocr, saved(tmp_path / "mark.png", image))

    assert "TUYỆT MẬT" in text_of(done) or done.reviews


def test_black_print_under_a_red_stamp_is_read_by_its_colour(run_stage, tmp_path):
    image = sheet(lines=LINES[1:]).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.text((330, 1000), "TUYỆT MẬT", fill=(25, 25, 25), font=ImageFont.truetype(BOLD, 46))
    stamp = Image.new("RGB", image.size, "white")
    pen = ImageDraw.Draw(stamp)
    for radius in (170, 158, 90):
        box = (450 - radius, 1020 - radius, 450 + radius, 1020 + radius)
        pen.ellipse(box, outline=(214, 40, 57), width=5)
    for n in range(9):
        pen.line((280, 880 + 34 * n, 640, 870 + 36 * n), fill=(214, 40, 57), width=5)
    done = run_stage(Ocr, saved(tmp_path / "s.png", ImageChops.multiply(image, stamp)))

    assert "TUYỆT MẬT" in text_of(done)


def test_letters_that_make_no_words_are_shown_to_a_person(run_stage, tmp_path):
    mirrored = sheet(lines=LINES * 4).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    done = run_stage(Ocr, saved(tmp_path / "m.png", mirrored))

    [review] = done.reviews
    assert review.regions[0].kind in ("no-language", "no-words", "unread-text")


# -- what is painted ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {"box": (-420, -595, 0, 0)},
        {"box": (0, 0, 1400, 1800), "crop": (700, 900, 1120, 1495)},
        {"form": True},
        {"box": (100, 200, 520, 795)},
    ],
)
def test_a_stamped_scan_is_read_whatever_its_page_boxes_are(run_stage, tmp_path, how):
    path = printed_over(
        scan_pdf(tmp_path / "s.pdf", **how), "Sở Nội vụ - Trung tâm Lưu trữ - tr. 1"
    )
    done = run_stage(Ocr, path)

    text = text_of(done)
    assert "TUYỆT MẬT" in text and "Nghị định số 30" in text
    assert text.count("Trung tâm Lưu trữ") == 1


def test_two_hidden_words_are_no_layer_of_a_page_of_text(run_stage, tmp_path):
    path = printed_over(scan_pdf(tmp_path / "s.pdf"), "BOX 0012", mode=3)
    done = run_stage(Ocr, path)

    assert "TUYỆT MẬT" in text_of(done) and "BOX" not in text_of(done)
    assert {"prior-ocr", "ocr-replaced"} <= set(done.facts["flags"])


@pytest.mark.parametrize("left_out", [False, True])
def test_an_earlier_layer_without_the_mark_of_secrecy_is_not_the_text_of_the_page(
    run_stage, tmp_path, left_out
):
    lines = LINES[:1] + LINES[1:] * 5
    path = scan_pdf(tmp_path / "s.pdf", sheet(lines=lines))
    for n, line in enumerate(lines):
        if n or not left_out:
            printed_over(path, line, size=14, at=(43, 56 + 28.8 * n), mode=3)
    done = run_stage(Ocr, path)

    assert "TUYỆT MẬT" in text_of(done)
    assert ("ocr-replaced" in done.facts["flags"]) == left_out


def test_text_printed_under_the_scan_is_never_taken_for_the_page(run_stage, tmp_path):
    source = FPDF(unit="pt", format=(420, 595))
    source.add_font("T", fname=FONT)
    source.add_page()
    source.set_font("T", size=11)
    for n in range(12):
        source.text(60, 60 + 20 * n, f"lời văn bịa đặt không ai thấy được ở dòng số {n}")
    data = io.BytesIO()
    sheet(lines=LINES * 3).save(data, "JPEG", quality=90)
    source.image(data, 0, 0, 420, 595)
    (tmp_path / "under.pdf").write_bytes(bytes(source.output()))
    done = run_stage(Ocr, tmp_path / "under.pdf")

    assert "bịa đặt" not in text_of(done) and "TUYỆT MẬT" in text_of(done)
    assert done.facts["text"] == "ocr" and "prior-ocr" in done.facts["flags"]


def test_a_letter_that_is_a_picture_between_printed_lines_is_read(run_stage, tmp_path):
    source = FPDF(unit="pt", format=(420, 595))
    source.add_font("T", fname=FONT)
    source.add_page()
    source.set_font("T", size=9)
    source.text(60, 40, "Cổng thông tin điện tử của tỉnh")
    data = io.BytesIO()
    sheet(lines=LINES, size=(1000, 500)).save(data, "PNG")
    source.image(data, 30, 150, 360, 180)
    (tmp_path / "letter.pdf").write_bytes(bytes(source.output()))
    done = run_stage(Ocr, tmp_path / "letter.pdf")

    text = text_of(done)
    assert "TUYỆT MẬT" in text and text.count("Cổng thông tin điện tử") == 1


def test_a_document_in_an_old_code_is_converted_and_that_is_said(run_stage, tmp_path):
    said = "Cộng hòa xã hội chủ nghĩa Việt Nam, độc lập tự do hạnh phúc"
    tcvn3 = {v: k for k, v in legacy_encodings._TCVN3.items() if v.islower()}
    source = FPDF(unit="pt", format=(420, 595))
    source.add_font("T", fname=FONT)
    source.add_page()
    source.set_font("T", size=11)
    source.text(60, 100, "".join(tcvn3.get(c, c) for c in said))
    (tmp_path / "old.pdf").write_bytes(bytes(source.output()))
    done = run_stage(Ocr, tmp_path / "old.pdf")

    assert said in text_of(done) and "legacy-encoding" in done.facts["flags"]
    assert done.facts["converted_from"] == {"1": "tcvn3"}


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("Coäng hoøa xaõ hoäi chuû nghóa Vieät Nam Ñoäc laäp", MOTTO),
        ("Céng hßa x· héi chñ nghÜa ViÖt Nam §éc lËp", MOTTO),
    ],
)
def test_texts_of_before_unicode_are_recognised_by_their_letters(stored, said):
    assert legacy_encodings.converted(stored)[0] == said
    assert legacy_encodings.converted(said) == (said, "")
    english = "The quick brown fox jumps over the lazy dog and runs away"
    assert legacy_encodings.converted(english) == (english, "")


def test_syllables_are_told_from_what_is_none():
    assert all(map(is_syllable, ["nghiêng", "khuyến", "quốc", "giữ", "yêu", "ướt", "Thượng"]))
    assert not any(map(is_syllable, ("JSUp", "qjDp", "nghÜa", "chñ", "bcd")))
    assert (possible_share("Căn cứ Luật tổ chức chính quyền") or 0) > 0.9
    assert possible_share("Số 12") is None


@pytest.mark.shared
def test_every_shared_fault_of_a_page_passed_over_is_read(run_stage):
    faults = SHARED / "faults"
    if not faults.is_dir():
        pytest.skip(f"the shared faults are not at {faults}")
    for name in ("blank-few-words/few-words-3.png", "secrecy-not-seen/mark-offset-stamp.pdf"):
        done = run_stage(Ocr, faults / name)
        assert "mật" in text_of(done).lower() or done.reviews
