"""A limit of what is looked at on a page is never silent: what it leaves out stops the document."""

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw

from archived_ocr import (
    crop_reading,
    ink,
    layer_reading,
    letter_rows,
    marks,
    print_on_pictures,
    unread_content,
)

from .ocr_scans import BOLD, FONT, LINES, folded, font, letter, pattern, sheet, stamped, tried

A4 = (1654, 2339)
WORDS = (
    "TUYỆT MẬT",
    "TỐI MẬT",
    "HỎA TỐC",
    "THƯỢNG KHẨN",
    "ĐÃ THU HỒI",
    "BÍ MẬT",
    "NỘI BỘ",
    "KHÔNG SAO",
)


def shown(found, place):
    """Whether a person is shown `place`, a box in pixels of the page."""
    left, top, right, bottom = (v * found.marks.scale for v in place)
    return any(
        g.box[0] < right and left < g.box[2] and g.box[1] < bottom and top < g.box[3]
        for g in found.ink.unread
    )


def test_print_under_every_one_of_many_stamps_is_read_or_shown(reader):
    image = sheet(lines=LINES[1:] * 2, size=A4).convert("RGB")
    places = [(350 + 850 * (n % 2), 850 + 380 * (n // 2)) for n in range(len(WORDS))]
    for said, (x, y) in zip(WORDS, places, strict=True):
        ImageDraw.Draw(image).text((x - 130, y - 20), said, fill=20, font=font(36))
    for middle in places:
        image = stamped(image, middle, lines=11)
    found = tried(reader, image)

    for said, (x, y) in zip(WORDS, places, strict=True):
        read = folded(said) in folded(found.reading.text)
        assert read or shown(found, (x - 130, y - 20, x + 130, y + 20)), said


def test_print_on_every_part_of_a_large_picture_is_read_or_shown(reader):
    image = sheet(lines=LINES[1:] * 2, size=A4).convert("RGB")
    image.paste(pattern((1400, 1450), cells=(60, 60)), (127, 800))
    places = [(240, 900), (1050, 900), (240, 2120), (1050, 2120)]
    for said, place in zip(WORDS, places, strict=False):
        ImageDraw.Draw(image).text(place, said, fill="white", font=font(44, FONT))
    found = tried(reader, image)

    for said, (x, y) in zip(WORDS, places, strict=False):
        read = folded(said) in folded(found.reading.text)
        assert read or shown(found, (x, y, x + 300, y + 50)), said


def test_the_pieces_of_a_picture_cover_all_of_it():
    image = sheet(lines=(), size=A4).convert("RGB")
    image.paste(pattern((1400, 1450), cells=(60, 60)), (127, 800))
    found = ink.find(image.convert("L"), 200)
    [group] = [g for g in marks.groups(found, found.any, image.convert("L")) if min(g.size) > 400]
    seen = np.zeros(found.gray.shape, np.bool_)
    for (left, top, right, bottom), _ in print_on_pictures.areas(found, [group]):
        seen[top:bottom, left:right] = True

    assert seen[420:1110, 80:750].mean() > 0.98


@pytest.mark.parametrize("limit", ["pixels of the engine", "pixels of layers", "a large region"])
def test_a_place_beyond_a_limit_is_named_and_stops_the_document(reader, monkeypatch, limit):
    if limit == "pixels of the engine":
        monkeypatch.setattr(crop_reading, "MOST_PIXELS", 1000)
    elif limit == "pixels of layers":
        monkeypatch.setattr(crop_reading, "MOST_SEARCHED", 1000)
    else:
        monkeypatch.setattr(layer_reading, "LARGEST", 1000)
    image = letter()
    ImageDraw.Draw(image).text((400, 830), "TUYỆT MẬT", fill=20, font=font(36))
    found = tried(reader, stamped(image, (500, 850), lines=11))

    assert folded("TUYỆT MẬT") in folded(found.reading.text) or found.ink.reason == "text"
    if limit != "pixels of the engine":
        [group] = [g for g in found.ink.unread if g.kind == "unexamined"]
        assert "not-examined" in [m["kind"] for m in unread_content.marks_of(found.ink)]
        assert shown(found, (400, 830, 640, 870)) and group.box[2] > group.box[0]


def test_marks_beyond_the_groups_that_are_told_apart_are_named(monkeypatch, reader):
    image = letter()
    draw = ImageDraw.Draw(image)
    for n in range(12):
        draw.rectangle((150 + 70 * n, 700, 190 + 70 * n, 760), fill=40)
    draw.text((300, 900), "xqzwkjf", fill=90, font=font(20, FONT))
    monkeypatch.setattr(marks, "_MOST", 8)
    found = tried(reader, image)

    assert shown(found, (300, 900, 380, 920)) or "xqzwkjf" in found.reading.text


def test_a_row_among_more_letters_than_are_compared_at_once_is_told():
    image = Image.new("L", (1600, 1600), 255)
    draw = ImageDraw.Draw(image)
    rng = np.random.default_rng(3)
    for n in range(900):  # lone marks of a letter's size
        x, y = 50 * (n % 30) + 20, 50 * (n // 30) + int(rng.integers(0, 12))
        draw.rectangle((x, y, x + 10, y + 14 + n % 5), fill=0)
    none = letter_rows.longest(np.asarray(image) < 60, 2.0)
    draw.rectangle((600, 600, 1000, 700), fill=255)
    draw.text((620, 620), "TUYỆT MẬT", fill=0, font=font(44, BOLD))

    assert none < letter_rows.ROW <= letter_rows.longest(np.asarray(image) < 60, 2.0)


def test_a_small_mark_beside_print_that_shines_through_is_not_taken_for_it(reader):
    front = sheet(lines=LINES * 4, size=A4).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    from PIL import ImageFilter

    soft = np.asarray(front.filter(ImageFilter.GaussianBlur(2.5)), np.float32)
    back = Image.fromarray((248 - (250 - soft) * 0.1).astype(np.uint8))
    mark = Image.new("L", A4, 255)
    ImageDraw.Draw(mark).text(
        (500, 1500), "TỐI MẬT", fill=255, font=font(40), stroke_width=2, stroke_fill=200
    )
    found = tried(reader, ImageChops.multiply(back, mark))

    assert folded("TỐI MẬT") in folded(found.reading.text) or shown(found, (500, 1500, 700, 1550))
