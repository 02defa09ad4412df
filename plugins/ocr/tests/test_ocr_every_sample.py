"""Each page's ink is accounted for, on every sample that is made here.

Looked at from outside: what the stage delivers is drawn again, and what is drawn is taken away
where the text layer has a word or a fact names a mark. No row of letters may be left on a page
that nobody was asked to look at. The marks are found here in a way of their own.
"""

from __future__ import annotations

import ctypes
import os
import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import pypdfium2 as pdfium
import pytest
from PIL import Image, ImageFilter

from archived.api import Refuse, Role
from archived.testing import samples
from archived.testing.samples.catalogue import CATALOGUE
from archived_ocr import Ocr

from .ocr_scans import sheet

DPI = 100
MM = DPI / 25.4
BLOCK = 10
"""Pixels; 2.5 mm."""
ROW = 8
"""Blocks in a row, 2 cm, that look like letters."""
RIM = round(8 * MM)
QUICK = ("blank.tif", "born-digital.pdf", "secret.pdf", "tiny.jpg")
READABLE = {".pdf", ".tif", ".jpg", ".png"}
MUCH_READ = 0.9


@dataclass(frozen=True)
class Seen:
    """One page as it is delivered: its picture and the boxes that are accounted for, in pixels."""

    gray: Image.Image
    boxes: list[tuple[float, float, float, float]]


def marks(gray):
    """What differs from its surroundings, dark or light, without long rules."""
    values = np.asarray(gray, np.int16)
    ground = np.asarray(gray.filter(ImageFilter.MedianFilter(15)), np.int16)
    found = np.abs(values - ground) > 45
    for axis in (0, 1):
        run = found.copy()
        for shift in (1, 2, 4, 8, 8):  # what goes on for 24 pixels is a rule, or a solid patch
            run &= np.roll(run, shift, axis)
        found &= ~grown(run, 24)
    return found


def grown(mask, by):
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.filter(ImageFilter.MaxFilter(2 * (by // 2) + 1))) > 0


def rows_left(page):
    """Runs of blocks with ink like that of letters, which nothing accounts for."""
    left = marks(page.gray)
    height, width = left.shape
    pad = 1.2 * MM
    for x1, y1, x2, y2 in page.boxes:
        left[max(0, int(y1 - pad)) : int(y2 + pad), max(0, int(x1 - pad)) : int(x2 + pad)] = False
    left = left[RIM : height - RIM, RIM : width - RIM]
    h, w = (n // BLOCK * BLOCK for n in left.shape)
    share = left[:h, :w].reshape(h // BLOCK, BLOCK, w // BLOCK, BLOCK).mean((1, 3))
    lines = ["".join("x" if 0.08 < v < 0.7 else " " for v in row) for row in share]
    return [run for line in lines for run in re.findall(rf"x{{{ROW},}}", line)]


def looked_at(path, facts):
    """Every page of a delivered PDF."""
    document = pdfium.PdfDocument(path)
    for number, page in enumerate(document, 1):
        gray = page.render(scale=DPI / 72, grayscale=True).to_pil().convert("L")
        layer = page.get_textpage()
        boxes = []
        for n in range(layer.count_rects()):
            (x1, y1), (x2, y2) = corners(page, gray.size, layer.get_rect(n))
            boxes.append((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))
        for mark in facts.get("ink", {}).get(str(number), {}).get("marks", ()):
            sides = zip(mark["box"], gray.size * 2, strict=True)
            boxes.append(tuple(share * side for share, side in sides))
        yield number, Seen(gray, boxes)
    document.close()


def corners(page, size, box):
    for x, y in (box[:2], box[2:]):
        at_x, at_y = ctypes.c_int(), ctypes.c_int()
        pdfium.raw.FPDF_PageToDevice(page, 0, 0, *size, 0, x, y, at_x, at_y)
        yield at_x.value, at_y.value


def unaccounted(done):
    """Page -> rows of letters that neither a word nor a mark nor a person accounts for.

    Of a document that stays as it came it is known how many words were read, not where they are.
    """
    stopped = {region.page for review in done.reviews for region in review.regions}
    stays = done.replace_main is None
    path = done.document.main.path if stays else done.replace_main.path
    found = {}
    for number, page in looked_at(path, done.facts):
        rows = rows_left(page)
        if stays and done.facts["words"][number - 1]:
            rows = []
        if number in done.facts.get("blank_pages", ()) and is_marked(page):
            rows.append("called blank")
        if rows and number not in stopped:
            found[number] = rows
    return found


def is_marked(page):
    return marks(page.gray)[RIM:-RIM, RIM:-RIM].mean() > 0.002


def syllables(text):
    plain = unicodedata.normalize("NFC", text).lower()
    return re.findall(r"[^\W\d_]{2,}", plain)


def words_of(done):
    [text] = [a for a in done.add if a.role == Role.TEXT]
    return [syllables(page) for page in text.path.read_text(encoding="utf-8").split("\f")]


every_sample = pytest.mark.skipif(
    not os.environ.get("ARCHIVED_READING"), reason="./run reading tries this; it takes longer"
)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=every_sample) for n in CATALOGUE]
)
def test_each_pages_ink_is_accounted_for(run_stage, sample, name):
    done = run_stage(Ocr, sample(name))

    assert unaccounted(done) == {}
    stopped = {region.page for review in done.reviews for region in review.regions}
    pages = zip(samples.truth(name)["text"], words_of(done), strict=True)
    for number, (true, read) in enumerate(pages, 1):
        wanted = syllables(true)
        got = sum(word in set(read) for word in wanted)
        assert got >= MUCH_READ * len(wanted) or number in stopped, (number, got, len(wanted))


@every_sample
def test_each_pages_ink_of_bad_input_is_accounted_for(run_stage, tmp_path):
    samples.nasty(tmp_path / "bad")
    ends = {}
    for path in sorted((tmp_path / "bad").iterdir()):
        if path.suffix not in READABLE:
            continue
        try:
            ends[path.name] = unaccounted(run_stage(Ocr, path))
        except Refuse as refusal:
            ends[path.name] = {} if refusal.code else "no code"
        except ValueError as error:  # the core would skip it: it is no scan
            assert "does not accept" in str(error)
    assert len(ends) > 15
    assert {name: rows for name, rows in ends.items() if rows} == {}


def test_a_line_that_nothing_accounts_for_is_found():
    """The judge of the tests above: it must see what they say is not there."""
    gray = sheet().resize((583, 827))
    line = (55, 95, 300, 120)
    others = [(0, 0, 583, 90), (0, 125, 583, 827)]
    assert rows_left(Seen(gray, others))
    assert not rows_left(Seen(gray, [*others, line]))
    light = Image.eval(gray, lambda v: 255 - v)
    assert rows_left(Seen(light, others))
