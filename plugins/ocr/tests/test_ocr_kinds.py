"""Kinds of marks that lie on or beside one another, each told from the other.

A picture beside print, letters in a dark box that a line touches, a seal with a name stamped over
its rim, a number written into a blank.
"""

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw

from archived_ocr import ink, seals, second_look
from archived_ocr.accepted_words import accepted_of
from archived_ocr.colour_layers import STEP, Colours
from archived_ocr.marks import groups
from archived_ocr.merged_lines import added, replaced
from archived_ocr.reading import Line, Reading, Word
from archived_ocr.shapes import Group, is_filled_in

from .ocr_scans import DPI, FONT, RED, folded, font, letter, pattern, sheet, tried


def spared(image, said, place, *, more=14, size=36):
    """`image` with light letters in a dark box."""
    draw = ImageDraw.Draw(image)
    box = draw.textbbox(place, said, font=font(size))
    draw.rectangle((box[0] - more, box[1] - more, box[2] + more, box[3] + more), fill=(15,) * 3)
    draw.text(place, said, fill="white", font=font(size))
    return box[0] - more, box[1] - more, box[2] + more, box[3] + more


# -- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", ["white", "black", "#ffee88"])
def test_a_picture_that_touches_print_is_looked_at_by_itself(reader, fill):
    image = letter()
    draw = ImageDraw.Draw(image)
    for n in range(5):
        draw.text((140, 690 + 44 * n), "Nguyễn Hoàng Giang", fill=20, font=font(38))
    image.paste(pattern((300, 220), seed=11), (480, 690))
    draw.text((560, 770), "MẬT", fill=fill, font=font(40, FONT))

    assert "MAT" in folded(tried(reader, image).reading.text)


def test_a_line_as_wide_as_a_picture_is_read_whole(reader):
    image = letter()
    image.paste(pattern((800, 240), seed=12, cells=(9, 24)), (200, 700))
    draw = ImageDraw.Draw(image)
    draw.text((240, 770), "TÀI LIỆU ĐÃ THU HỒI", fill="#ffee88", font=font(60))
    found = tried(reader, image)

    assert "DA THU HOI" in folded(found.reading.text) or found.ink.reason == "text"


def test_a_picture_is_found_to_the_pixel():
    solid = np.zeros((400, 400), np.bool_)
    solid[100:220, 60:260] = True
    solid[140:170, 90:220] = False  # letters as light as paper
    solid[300:310, 10:390] = True  # a bar
    from archived_ocr.print_on_pictures import _solid_pictures

    assert _solid_pictures(solid)[0] == [(60, 100, 260, 220)]


def test_a_piece_of_a_word_gives_way_to_the_word():
    piece = Line(
        (Word(")A", (50, 0, 80, 30), 82.0), Word("TỐC", (90, 0, 150, 30), 96.0)),
        (50, 0, 150, 30),
        0.0,
        0.0,
    )
    whole = Line((Word("HỎA", (5, 0, 78, 30), 78.0),), (5, 0, 78, 30), 0.0, 0.0)
    nothing = Reading("", (), (400, 100))

    for lines in ([piece, whole], [whole, piece]):
        assert added(nothing, lines).text == "HỎA TỐC"


@pytest.mark.parametrize(("sure", "kept"), [(6.0, False), (60.0, True)])
def test_a_guess_through_a_stamp_gives_way_to_what_was_read_below_it(sure, kept):
    guess = Line((Word("ATÔC”—", (64, 0, 176, 50), sure),), (64, 0, 176, 50), 0.0, 0.0)
    below = Line(
        (Word("HỎA", (0, 10, 84, 48), 90.0), Word("TỐC", (108, 10, 138, 48), 96.0)),
        (0, 10, 138, 48),
        0.0,
        0.0,
    )
    before = Reading("ATÔC”—", ((guess,),), (400, 100))

    assert ("ATÔC" in replaced(before, [below]).text) is kept


def test_a_guess_that_touches_a_word_read_later_goes():
    guess = Line(
        (Word("'5", (60, 20, 106, 78), 29.0), Word("THU", (116, 20, 180, 52), 81.0)),
        (60, 20, 180, 78),
        0.0,
        0.0,
    )
    later = Line((Word("ĐÃ", (58, 8, 106, 40), 93.0),), (58, 8, 106, 40), 0.0, 0.0)
    before = Reading("'5 THU", ((guess,),), (400, 100))

    assert added(before, [later]).text == "ĐÃ THU"


# -- dark boxes ---------------------------------------------------------------------------------


def test_a_dark_box_that_a_long_line_touches_is_no_part_of_the_line():
    image = sheet(lines=(), size=(1165, 2300)).convert("RGB")
    box = spared(image, "MẬT", (400, 760), size=33)
    ImageDraw.Draw(image).rectangle((box[2], 200, box[2] + 3, 2250), fill=(20,) * 3)
    gray = image.convert("L")
    found = ink.find(gray, DPI)
    rules = [g for g in groups(found, found.any, gray) if g.kind == "rule"]

    assert rules and all(g.size[0] < 10 for g in rules)


def test_light_letters_in_a_dark_box_that_touches_print_are_read(reader):
    image = letter()
    ImageDraw.Draw(image).text(
        (330, 806), "Thực hiện Quyết định số 30", fill=20, font=font(38, FONT)
    )
    spared(image, "HỎA TỐC", (320, 760), size=33)

    assert "HOA TOC" in folded(tried(reader, image).reading.text)


# -- seals --------------------------------------------------------------------------------------


def named_seal(middle, *, name="PHÓ HIỆU TRƯỞNG"):
    """A round red seal with words across it, and a name in red over its rim."""
    stamp = Image.new("RGB", (1165, 1100), "white")
    pen = ImageDraw.Draw(stamp)
    x, y = middle
    for radius, width in ((140, 5), (130, 2), (98, 3)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=RED, width=width)
    for n, line in enumerate(("TRƯỜNG", "ĐẠI HỌC", "CÔNG NGHIỆP", "QUẢNG NGÃI")):
        pen.text((x, y - 54 + 34 * n), line, fill=RED, font=font(24), anchor="mm")
    pen.text((x + 70, y - 80), name, fill=RED, font=font(30, FONT))
    return stamp


def red_of(image):
    colours = Colours(image.reduce(STEP), lambda: image, image.size, 0.5)
    return seals.discs(ink.slide(colours._red.astype(np.uint8), 3, np.maximum) > 0, STEP * 0.5)


def test_a_seal_that_a_stamped_name_touches_is_known_by_its_rim():
    [(left, top, right, bottom)] = red_of(named_seal((500, 700)))

    assert abs(left - 180) < 8 and abs(right - 320) < 8
    assert abs(top - 280) < 8 and abs(bottom - 420) < 8


@pytest.mark.parametrize("middle", [(1165, 700), (1100, 700), (0, 700), (40, 700)])
def test_a_part_of_a_seal_at_the_edge_of_a_page_is_known_by_its_rim(middle):
    [(left, top, right, bottom)] = red_of(named_seal(middle, name=""))

    assert abs((left + right) / 2 - middle[0] / 2) < 12 and abs(right - left - 140) < 16
    assert abs((top + bottom) / 2 - 350) < 8


@pytest.mark.parametrize("left", [10, 905])
def test_a_block_of_red_words_at_the_edge_of_a_page_is_no_part_of_a_seal(left):
    image = Image.new("RGB", (1165, 1100), "white")
    draw = ImageDraw.Draw(image)
    for n in range(10):
        draw.text((left, 300 + n * 27), "Ủy ban nhân dân tỉnh", fill=RED, font=font(26, FONT))

    assert red_of(image) == []


def test_the_words_in_such_a_seal_stop_nothing(reader):
    image = ImageChops.multiply(letter(), named_seal((500, 800)))
    ImageDraw.Draw(image).text((520, 690), "HIỆU TRƯỞNG", fill=20, font=font(38))
    found = tried(reader, image)

    within = [g.box for g in found.ink.unread if g.box[0] > 180 and g.box[2] < 320]
    assert not within


@pytest.mark.parametrize("points", [24, 32, 44])
@pytest.mark.parametrize("framed", [False, True])
def test_a_block_of_red_words_is_no_seal(points, framed):
    image = Image.new("RGB", (900, 900), "white")
    draw = ImageDraw.Draw(image)
    for n in range(330 // points):
        draw.text(
            (200, 200 + n * points),
            "Ký bởi Ủy ban nhân dân tỉnh"[: 700 // points],
            fill=RED,
            font=font(points, FONT),
        )
    if framed:
        draw.rectangle((190, 190, 560, 560), outline=RED, width=4)

    assert red_of(image) == []


# -- a number in a blank ------------------------------------------------------------------------


def parts(tops, *, foot=36, wide=18):
    return np.array([(30 * n, top, 30 * n + wide, foot) for n, top in enumerate(tops)], np.int32)


DOTS = np.array([(7 * n, 31, 7 * n + 5, 36) for n in range(9)], np.int32)
NONE = np.zeros((0, 4), np.int32)


@pytest.mark.parametrize(
    ("letters", "others", "written"),
    [
        (parts((6, 10, 13, 4)), DOTS, True),  # a date by hand on a dotted line
        (parts((6, 10, 13, 4)), NONE, False),  # without a blank there is nothing to fill in
        (parts((6, 6, 7, 6)), DOTS, False),  # figures of a typewriter
        (parts((12, 6, 6)), DOTS, False),
        (parts((6, 10, 13, 4) * 3), DOTS, False),  # a line of words
    ],
)
def test_a_number_written_into_a_blank_is_told_from_print(letters, others, written):
    assert is_filled_in(letters, others) is written


def test_a_date_written_into_a_stamp_stops_nothing_and_is_told_as_handwriting(reader):
    image = letter()
    draw = ImageDraw.Draw(image)
    draw.text((150, 800), "Ngày:", fill=20, font=font(34, FONT))
    for n in range(24):
        draw.ellipse((240 + 9 * n, 832, 244 + 9 * n, 836), fill=20)
    pens = (
        ((250, 812), (262, 803), (268, 814), (252, 835), (272, 833)),
        ((300, 812), (312, 802), (306, 836)),
        ((330, 838), (338, 812)),
        ((360, 815), (374, 806), (366, 835)),
        ((420, 808), (402, 812), (418, 826), (404, 836), (400, 826), (420, 808)),
    )
    for pen in pens:
        draw.line(pen, fill=20, width=4)
    found = tried(reader, image)

    assert not found.ink.reason, found.ink.unread


# -- words that count as read ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sure", "read"),
    [
        ("òngNVVH,NVTDTT,XDNSVHGĐ", 48, True),  # names of offices, run together
        ("SởVH,TT&DL;", 79, True),
        ("NVVH,NVTDTT", 20, False),
        ("bth(0quangngai.gov.", 23, True),  # an address in small print
        ("bth(0quangngai", 23, False),
        (">", 92, False),  # a faded M
        ("/A\\", 61, False),  # an outlined A
        (">", 98, True),
    ],
)
def test_short_forms_and_addresses_in_small_print_count_as_read(text, sure, read):
    word = Word(text, (0, 0, 200, 30), sure)

    assert (accepted_of(Line((word,), word.box, 0.0, 0.0)) == (word,)) is read


# -- what is left of a row ----------------------------------------------------------------------


def test_two_letters_beside_a_word_that_was_read_are_read_with_it():
    marks = ink.find(letter().convert("L"), DPI)
    two = Group("strokes", (300, 500, 344, 528), 500, 86, 2, 21.0)
    word = Word("THU", (706.0, 1006.0, 820.0, 1056.0), 92.0)
    far = Word("THU", (906.0, 1006.0, 1020.0, 1056.0), 92.0)

    [(group, crop)] = second_look._ends([two], [word], marks)
    assert group is two and crop.box == (300, 500, 410, 528)
    assert not second_look._ends([two], [far], marks)


@pytest.mark.parametrize("corners", [True, False])
def test_connected_marks_are_those_that_touch(corners):
    mask = np.random.default_rng(5).random((40, 50)) < 0.45
    boxes, areas, labels = ink.components(mask, corners=corners)
    steps = [(0, 1), (1, 0), *([(1, 1), (1, -1)] if corners else [])]
    for y, x in np.argwhere(mask):
        for down, right in steps:
            if y + down < 40 and 0 <= x + right < 50 and mask[y + down, x + right]:
                assert labels[y, x] == labels[y + down, x + right]
    assert ((labels >= 0) == mask).all() and areas.sum() == mask.sum()
    for n, box in enumerate(boxes.tolist()):
        ys, xs = np.nonzero(labels == n)
        assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
