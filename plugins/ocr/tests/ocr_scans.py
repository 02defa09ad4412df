"""Scans for the tests of `ocr`: pages of Vietnamese text as images and as PDF files."""

import io
import unicodedata
from pathlib import Path

import numpy as np
import pikepdf
from fpdf import FPDF
from PIL import Image, ImageChops, ImageDraw, ImageFont

from archived.api import Role
from archived_ocr import ink
from archived_ocr.colour_layers import STEP
from archived_ocr.coverage import examine
from archived_ocr.crop_reading import Page

FONT = "/usr/share/fonts/truetype/croscore/Tinos-Regular.ttf"
BOLD = "/usr/share/fonts/truetype/croscore/Tinos-Bold.ttf"
LINES = ("TUYỆT MẬT", "Căn cứ Nghị định số 30", "về công tác văn thư", "Ủy ban nhân dân tỉnh")
A5 = (1165, 1654)
DPI = 200
RED = (214, 40, 57)
TESSDATA = Path("/usr/share/tesseract-ocr/5/tessdata")


def sheet(ink=20, paper=250, lines=LINES, size=A5, points=14):
    """A page of Vietnamese text at 200 dpi."""
    image = Image.new("L", size, paper)
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(FONT, round(points * 200 / 72))
    for n, line in enumerate(lines):
        draw.text((120, 120 + n * 80), line, fill=ink, font=font)
    return image


def saved(path: Path, image: Image.Image) -> Path:
    image.save(path, dpi=(200, 200))
    return path


def text_of(done):
    [text] = [a for a in done.add if a.role == Role.TEXT]
    return text.path.read_text(encoding="utf-8")


def scan_pdf(path, image=None, box=(0, 0, 420, 595), rotate=0, form=False, crop=None):
    """A scan that fills a page whose boxes are `box` and `crop`, perhaps inside a form."""
    data = io.BytesIO()
    (image or sheet()).save(data, "JPEG", quality=90)
    with pikepdf.Pdf.new() as pdf:
        left, bottom, right, top = crop or box
        picture = pikepdf.Stream(
            pdf,
            data.getvalue(),
            Type=pikepdf.Name.XObject,
            Subtype=pikepdf.Name.Image,
            Width=A5[0],
            Height=A5[1],
            ColorSpace=pikepdf.Name.DeviceGray,
            BitsPerComponent=8,
            Filter=pikepdf.Name.DCTDecode,
        )
        place = b"%f 0 0 %f %f %f cm" % (right - left, top - bottom, left, bottom)
        resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(I=picture))
        content = b"q %s /I Do Q" % place
        if form:
            inner = pikepdf.Stream(
                pdf,
                b"/I Do",
                Type=pikepdf.Name.XObject,
                Subtype=pikepdf.Name.Form,
                BBox=[0, 0, 1, 1],
                Resources=resources,
            )
            resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(I=inner))
        page = pdf.add_blank_page(page_size=(420, 595))
        page.obj.MediaBox = list(box)
        if crop:
            page.obj.CropBox = list(crop)
        if rotate:
            page.obj.Rotate = rotate
        page.obj.Resources = resources
        page.obj.Contents = pikepdf.Stream(pdf, content)
        pdf.save(path)
    return path


def printed_over(path, text, size=9, at=(60, 540), mode=None):
    """Print a line of text over page 1 of the PDF at `path`."""
    over = FPDF(unit="pt", format=(420, 595))
    over.add_font("T", fname=FONT)
    over.add_page()
    over.set_font("T", size=size)
    if mode is not None:
        over.text_mode = mode
    over.text(at[0], at[1], text)
    with (
        pikepdf.open(path, allow_overwriting_input=True) as pdf,
        pikepdf.open(io.BytesIO(over.output())) as layer,
    ):
        page = pdf.pages[0]
        left, bottom, right, top = (float(v) for v in page.cropbox)
        page.add_overlay(layer.pages[0], pikepdf.Rectangle(left, bottom, right, top))
        pdf.save(path)
    return path


def tried(reader, image):
    """What the stage makes of a page at 200 dpi."""
    colour = image.convert("RGB")
    gray = colour.convert("L")
    marks = ink.find(gray, DPI)
    page = Page(gray, DPI, lambda: colour, lambda: colour.reduce(STEP))
    return examine(reader, page, reader.read(gray, DPI, marks), marks)


def folded(text):
    plain = unicodedata.normalize("NFD", text.replace("Đ", "D"))
    return "".join(c for c in plain if not unicodedata.combining(c))


def letter():
    """An ordinary letter in colour, with room below its text."""
    return sheet(lines=LINES[1:] * 2, size=(1165, 1100)).convert("RGB")


def font(size=40, name=BOLD):
    return ImageFont.truetype(name, size)


def pattern(size, seed=3, cells=(9, 13)):
    """A picture full of edges: a photograph of foliage, a patterned cover."""
    noise = np.random.default_rng(seed).integers(0, 255, (*cells, 3), np.uint8)
    picture = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    return Image.blend(picture, Image.new("RGB", size, (120, 130, 140)), 0.55)


def stamped(image, middle, lines=8):
    """`image` with a red stamp and strokes through it."""
    stamp = Image.new("RGB", image.size, "white")
    pen = ImageDraw.Draw(stamp)
    x, y = middle
    for radius in (120, 110, 60):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=RED, width=4)
    for n in range(lines):
        pen.line((x - 200, y - 100 + n * 26, x + 200, y - 110 + n * 29), fill=RED, width=5)
    return ImageChops.multiply(image, stamp)
