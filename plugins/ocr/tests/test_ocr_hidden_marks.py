"""Marks where the engine does not look: on pictures, under seals, as outlines, beside a line.

Each is read or shown to a person. What offices put on paper every day stops nothing.
"""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw

from archived.observe.old_reading import is_old
from archived_ocr import Ocr, crop_reading, ink, letter_rows, outlines, shapes
from archived_ocr.accepted_words import accepted
from archived_ocr.colour_layers import STEP
from archived_ocr.language import is_misspelt
from archived_ocr.marks import groups
from archived_ocr.merged_lines import added
from archived_ocr.raster import Pages
from archived_ocr.reading import Line, Reading, Word

from .ocr_scans import (
    BOLD,
    DPI,
    FONT,
    RED,
    folded,
    font,
    letter,
    pattern,
    stamped,
    tried,
)


def seal(image, middle):
    """`image` with a round red seal: rims, words along them, a star, words across."""
    stamp = Image.new("RGB", image.size, "white")
    pen = ImageDraw.Draw(stamp)
    x, y = middle
    for radius, width in ((138, 5), (128, 2), (84, 2)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=RED, width=width)
    for n, sign in enumerate("ỦY BAN NHÂN DÂN TỈNH QUẢNG NGÃI ★ "):
        one = Image.new("L", (40, 40), 0)
        ImageDraw.Draw(one).text((8, 2), sign, fill=255, font=font(24))
        turn = 360 * n / 34
        at = np.array([np.sin(np.radians(turn)), -np.cos(np.radians(turn))]) * 106
        where = round(x + at[0] - 20), round(y + at[1] - 20)
        turned = one.rotate(-turn, Image.Resampling.BICUBIC)
        stamp.paste(Image.new("RGB", (40, 40), RED), where, turned)
    star = [
        (x + r * np.sin(np.pi * k / 5), y - r * np.cos(np.pi * k / 5))
        for k in range(10)
        for r in ((40, 16)[k % 2],)
    ]
    pen.polygon(star, fill=RED)
    return ImageChops.multiply(image, stamp)


def signed(image, at, seed=5):
    """`image` with a signature."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, 200)
    x = at[0] + 340 * t + 25 * np.sin(28 * t + rng.random())
    y = at[1] + 60 * np.sin(17 * t) * (1 - t) - 40 * t
    ImageDraw.Draw(image).line(list(zip(x, y, strict=True)), fill=(20, 30, 110), width=4)
    return image


# -- what must not be passed over ---------------------------------------------------------------


@pytest.mark.parametrize("fill", ["white", "black", "#ffee88"])
@pytest.mark.parametrize("said", ["TUYỆT MẬT", "MẬT"])
def test_print_on_a_picture_is_read(reader, said, fill):
    image = letter()
    image.paste(pattern((430, 220), seed=len(said)), (300, 700))
    ImageDraw.Draw(image).text((390, 780), said, fill=fill, font=font(44, FONT))

    found = tried(reader, image)
    # Without tones: on a picture the engine itself takes one for another now and then.
    assert folded(said) in folded(found.reading.text) and not found.ink.reason


def test_print_on_a_picture_that_touches_other_marks_is_read(reader):
    image = signed(letter(), (150, 760))
    image.paste(pattern((430, 220), seed=8), (300, 700))
    ImageDraw.Draw(image).text((390, 780), "Không sao chụp", fill="white", font=font(36, FONT))

    assert "Không sao chụp" in tried(reader, image).reading.text


@pytest.mark.parametrize("said", ["HỎA TỐC", "ĐÃ THU HỒI", "MẬT"])
def test_print_under_a_stamp_is_read_whole_and_in_its_order(reader, said):
    image = letter()
    place = font(40)
    wide = place.getbbox(said)[2]
    ImageDraw.Draw(image).text((480 - wide / 2, 800), said, fill=(20, 20, 25), font=place)

    found = tried(reader, stamped(image, (480, 825)))
    # Without tones: where a stroke crossed one, the engine takes it for another.
    assert folded(said) in folded(found.reading.text)


def test_what_lies_under_a_stamp_and_is_no_word_stops_the_document(reader):
    image = letter()
    place = font(40)
    text = Image.new("L", (400, 60), 0)
    ImageDraw.Draw(text).text((20, 5), "WHQ KXZ", fill=255, font=place)
    upside = text.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    image.paste(Image.new("RGB", upside.size, (20, 20, 25)), (300, 800), upside)
    found = tried(reader, stamped(image, (450, 830)))

    assert found.ink.reason == "text"
    assert any(g.box[0] < 225 < g.box[2] and g.box[1] < 418 < g.box[3] for g in found.ink.unread)


@pytest.mark.parametrize("said", ["TỐI MẬT", "ĐÃ THU HỒI", "Không sao chụp"])
@pytest.mark.parametrize(("size", "width"), [(34, 1), (46, 2)])
def test_outlined_letters_are_shown_to_a_person_and_read_if_possible(reader, said, size, width):
    image = letter()
    ImageDraw.Draw(image).text(
        (400, 800), said, fill="white", font=font(size), stroke_width=width, stroke_fill=(60,) * 3
    )
    found = tried(reader, image)

    assert said in found.reading.text or found.ink.reason == "text"


def test_outlined_letters_beside_a_line_are_no_doubtful_word_of_it(reader):
    image = letter()
    draw = ImageDraw.Draw(image)
    draw.text((120, 800), "Kính gửi Ủy ban nhân dân tỉnh", fill=20, font=font(39, FONT))
    draw.text(
        (700, 795), "XQZW", fill="white", font=font(40), stroke_width=2, stroke_fill=(60,) * 3
    )

    assert tried(reader, image).ink.reason == "text"


@pytest.mark.parametrize("italic", [False, True])
def test_letters_that_touch_under_a_stamp_are_read_by_their_colour(reader, italic):
    image = letter()
    name = BOLD.replace("Bold", "Italic") if italic else BOLD
    ImageDraw.Draw(image).text((465, 832), "MẬT", fill=20, font=font(36, name))
    found = tried(reader, stamped(image, (500, 850)))

    assert "MẬT" in found.reading.text or found.ink.reason == "text"


@pytest.mark.parametrize("outlined", [False, True])
def test_letters_beside_a_seal_are_no_part_of_it(reader, outlined):
    image = seal(signed(letter(), (560, 860)), (520, 840))
    kind = {"fill": "white", "stroke_width": 1, "stroke_fill": 20} if outlined else {"fill": 20}
    ImageDraw.Draw(image).text((662, 930), "WXKQZV", font=font(36, FONT), **kind)
    found = tried(reader, image)

    [box] = {g.box for g in found.ink.unread if g.kind == "text"} or [(0, 0, 0, 0)]
    assert "WXKQZV" in found.reading.text or (box[2] > 660 / 2 and box[1] < 970 / 2)


def test_black_print_within_a_seal_is_no_print_of_the_seal(reader):
    image = seal(letter(), (520, 840))
    ImageDraw.Draw(image).text((470, 825), "WKXQ", fill=20, font=font(34))
    found = tried(reader, image)

    assert "WKXQ" in found.reading.text or found.ink.reason == "text"


def test_what_is_left_of_a_row_that_was_read_in_part_stops_the_document(reader):
    image = letter()
    image.paste(pattern((430, 220), seed=8), (300, 700))
    ImageDraw.Draw(image).text((350, 780), "TUYỆT XQZ", fill="white", font=font(44, FONT))
    found = tried(reader, image)

    assert "XQZ" in found.reading.text or found.ink.reason == "text"


def test_filled_outlines_keep_the_middle_of_an_o():
    rings = Image.new("L", (120, 120), 0)
    draw = ImageDraw.Draw(rings)
    draw.ellipse((10, 10, 110, 110), outline=255, width=3)
    draw.ellipse((40, 40, 80, 80), outline=255, width=3)
    solid = outlines.filled(np.asarray(rings) > 0)

    assert solid[60, 25] and not solid[60, 60] and not solid[2, 2]


def alone(said, size, *, page=(1654, 2339), at=(800, 1000), fill=30):
    image = Image.new("RGB", page, "white")
    ImageDraw.Draw(image).text(at, said, fill=(fill,) * 3, font=font(size))
    return image


@pytest.mark.parametrize("said", ["7", "A"])
def test_a_page_of_one_small_sign_is_not_called_blank(reader, said):
    found = tried(reader, alone(said, 40))

    assert not found.ink.blank and (said in found.reading.text or found.ink.reason)


def test_what_fills_a_tiny_page_is_no_shadow_of_its_edge(reader):
    found = tried(
        reader,
        alone("WXKQ", 44, page=(200, 60), at=(2, 2)).transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    )

    assert not found.ink.blank and (found.reading.words or found.ink.reason)


def test_what_the_engine_is_not_given_any_more_stops_the_document(reader, monkeypatch):
    monkeypatch.setattr(crop_reading, "MOST_PIXELS", 1000)
    image = letter()
    image.paste(pattern((430, 220), seed=8), (300, 700))
    ImageDraw.Draw(image).text((390, 780), "Không sao chụp", fill="white", font=font(36, FONT))
    found = tried(reader, image)

    assert "Không sao chụp" in found.reading.text or found.ink.reason == "text"


@pytest.mark.parametrize(("drawn", "row"), [("MẬT", True), ("TUYỆT MẬT", True), ("", False)])
def test_a_row_of_letters_is_told_before_the_engine_is_asked(drawn, row):
    image = Image.new("L", (400, 120), 255)
    draw = ImageDraw.Draw(image)
    draw.text((40, 30), drawn, fill=0, font=font(44))
    for n in range(6):  # strokes of a pen
        draw.line((10 + 50 * n, 118, 60 + 30 * n, 5 + 10 * n), fill=90, width=3)

    assert (letter_rows.longest(np.asarray(image) < 60, 2.0) >= letter_rows.ROW) == row


def test_a_faded_word_of_three_letters_is_no_row_of_empty_boxes(reader):
    image = letter()
    ImageDraw.Draw(image).text((560, 900), "MẬT", fill=(205,) * 3, font=font(36, FONT))
    found = tried(reader, image)

    assert "MẬT" in found.reading.text or found.ink.reason == "text"


# -- what must stop nothing ---------------------------------------------------------------------


def ordinary(kind):
    image = letter()
    draw = ImageDraw.Draw(image)
    if kind == "seal and signature":
        draw.text((560, 700), "CHỦ TỊCH", fill=20, font=font(38))
        draw.text((520, 960), "Nguyễn Hoàng Giang", fill=20, font=font(38))
        return seal(signed(image, (560, 860)), (520, 840))
    if kind == "seal over a name":
        draw.text((450, 880), "Đặng Văn Minh", fill=20, font=font(38))
        return seal(image, (440, 800))
    if kind == "signature":
        return signed(signed(image, (300, 800)), (340, 830), seed=9)
    if kind == "photograph":
        image.paste(pattern((430, 320), seed=21, cells=(14, 20)), (300, 700))
    elif kind == "pattern":
        image.paste(pattern((600, 320), seed=4, cells=(40, 70)), (300, 700))
    elif kind == "logo":
        draw.ellipse((300, 700, 500, 900), fill=(0, 90, 160))
        draw.polygon([(400, 720), (480, 860), (320, 860)], fill="white")
        draw.rectangle((540, 740, 720, 860), outline=(0, 90, 160), width=12)
    elif kind == "boxes of a form":
        for n in range(12):
            draw.rectangle((200 + 50 * n, 780, 240 + 50 * n, 820), outline=20, width=2)
            draw.ellipse((200 + 50 * n, 880, 240 + 50 * n, 920), outline=20, width=2)
    elif kind == "electronic signature":
        draw.rectangle((500, 760, 1000, 940), outline=RED, width=3)
        for n, line in enumerate(
            ("Ký bởi: Sở Nội vụ", "Cơ quan: Tỉnh Quảng Ngãi", "Ngày ký: 19-02-2025 08:20:12")
        ):
            draw.text((520, 780 + 50 * n), line, fill=RED, font=font(26, FONT))
    return image


@pytest.mark.parametrize(
    "kind",
    [
        "seal and signature",
        "seal over a name",
        "signature",
        "photograph",
        "pattern",
        "logo",
        "boxes of a form",
        "electronic signature",
    ],
)
def test_what_is_on_paper_every_day_stops_nothing(reader, kind):
    found = tried(reader, ordinary(kind))

    assert found.ink.reason == "", [(g.kind, g.letters, g.box) for g in found.ink.unread]


def test_a_wide_shadow_with_dust_beside_it_is_the_shadow_of_an_edge():
    shade = np.full((2339, 1654), 250.0, np.float32)
    shade[:, :40] += np.linspace(-120, 0, 40)
    shade += np.random.default_rng(3).normal(0, 2.0, shade.shape)
    image = Image.fromarray(np.clip(shade, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((44, 900, 58, 912), fill=80)
    draw.ellipse((48, 1500, 64, 1509), fill=60)
    marks = ink.find(image, DPI)

    assert not any(g.kind == "strokes" for g in groups(marks, marks.any, image))


# -- words that count as read -------------------------------------------------------------------


def reading(*words):
    """One line with words of (text, confidence)."""
    placed = tuple(
        Word(text, (100.0 * n, 0.0, 100.0 * n + 90, 30.0), sure)
        for n, (text, sure) in enumerate(words)
    )
    line = Line(placed, (0, 0, 100.0 * len(words), 30), 0.0, 0.0)
    return Reading(" ".join(w.text for w in placed), ((line,),), (1000, 400))


@pytest.mark.parametrize("word", ["HĐND", "27/2017/NQ-HĐND", "QUYÉT", "260/QĐÐ-UBND", "ĐBQH"])
def test_short_forms_codes_and_a_wrong_hook_are_words(word):
    assert not is_misspelt(word) or "/" in word
    assert [w.text for w in accepted(reading((word, 90)))] == [word]


@pytest.mark.parametrize(
    "words", [[("MÄ", 81)], [("TIÖA", 58)], [("IIRIỮ", 95)], [("2>", 34)], [("CC)", 21), ("3", 40)]]
)
def test_nonsense_and_a_lone_doubtful_figure_are_no_words(words):
    assert accepted(reading(*words)) == []


def test_words_that_were_read_later_go_into_the_line_they_are_part_of():
    first = reading(("Độ", 96), ("IỆI", 20), ("hỏa", 96))
    later = Line((Word("mật", (101.0, 1.0, 189.0, 30.0), 92.0),), (101, 1, 189, 30), 0.0, 0.0)

    assert added(first, [later]).text == "Độ mật hỏa"


# -- the page in colour, cheaply ----------------------------------------------------------------


@pytest.mark.parametrize("rotate", [0, 90])
def test_the_small_page_in_colour_shows_what_the_whole_one_does(tmp_path, rotate):
    import pikepdf

    image = seal(letter(), (520, 840))
    image.save(tmp_path / "page.pdf", "PDF", resolution=DPI, quality=92)
    with pikepdf.open(tmp_path / "page.pdf", allow_overwriting_input=True) as pdf:
        pdf.pages[0].rotate(rotate, relative=False)
        pdf.save(tmp_path / "page.pdf")
    pages = Pages(tmp_path / "page.pdf")
    tint, whole = pages.tint(0, DPI, STEP), pages.colour(0, DPI)
    pages.close()

    assert whole.size == (image.size if not rotate else image.size[::-1])
    small = np.asarray(whole.resize(tint.size, Image.Resampling.BOX), np.int16)
    assert np.abs(small - np.asarray(tint, np.int16)).mean() < 4


def test_a_gray_page_has_no_colour(tmp_path):
    letter().convert("L").save(tmp_path / "gray.pdf", "PDF", resolution=DPI)
    letter().save(tmp_path / "rgb.pdf", "PDF", resolution=DPI)
    for name in ("gray.pdf", "rgb.pdf"):
        pages = Pages(tmp_path / name)
        assert pages.tint(0, DPI, STEP) is None
        pages.close()


def test_the_version_tells_these_rules_from_the_old_ones():
    declared = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())

    assert Ocr.version == declared["project"]["version"]
    assert not is_old(Ocr.version)


@pytest.mark.parametrize(
    ("boxes", "letters"),
    [
        ([(0, 0, 24, 26), (30, 0, 52, 26), (58, 0, 78, 26)], True),  # MẬT
        ([(0, 0, 20, 26), (25, 0, 46, 26), (50, 0, 56, 26)], True),  # TỐI
        # A seal's star, a pen's stroke across it and the rim, cut where a word was read.
        ([(0, 0, 28, 26), (32, 0, 38, 27), (44, 0, 49, 27)], False),
        ([(0, 0, 5, 26), (9, 0, 15, 26), (20, 0, 26, 26)], False),
    ],
)
def test_pieces_of_a_seal_and_of_a_pen_are_no_row_of_letters(boxes, letters):
    assert shapes._are_letters(np.array(boxes, np.int32)) is letters
