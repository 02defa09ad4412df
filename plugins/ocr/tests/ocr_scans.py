"""Scans for the tests of `ocr`: pages of Vietnamese text as images and as PDF files."""

import io
from pathlib import Path

import pikepdf
from fpdf import FPDF
from PIL import Image, ImageDraw, ImageFont

from archived.api import Role

FONT = "/usr/share/fonts/truetype/croscore/Tinos-Regular.ttf"
BOLD = "/usr/share/fonts/truetype/croscore/Tinos-Bold.ttf"
LINES = ("TUYỆT MẬT", "Căn cứ Nghị định số 30", "về công tác văn thư", "Ủy ban nhân dân tỉnh")
A5 = (1165, 1654)


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
        picture = pikepdf.Stream(pdf, data.getvalue(), Type=pikepdf.Name.XObject,
                                 Subtype=pikepdf.Name.Image, Width=A5[0], Height=A5[1],
                                 ColorSpace=pikepdf.Name.DeviceGray, BitsPerComponent=8,
                                 Filter=pikepdf.Name.DCTDecode)  # fmt: skip
        place = b"%f 0 0 %f %f %f cm" % (right - left, top - bottom, left, bottom)
        resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(I=picture))
        content = b"q %s /I Do Q" % place
        if form:
            inner = pikepdf.Stream(pdf, b"/I Do", Type=pikepdf.Name.XObject,
                                   Subtype=pikepdf.Name.Form, BBox=[0, 0, 1, 1],
                                   Resources=resources)  # fmt: skip
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
    over.text(*at, text)
    with (
        pikepdf.open(path, allow_overwriting_input=True) as pdf,
        pikepdf.open(io.BytesIO(over.output())) as layer,
    ):
        page = pdf.pages[0]
        left, bottom, right, top = (float(v) for v in page.cropbox)
        page.add_overlay(layer.pages[0], pikepdf.Rectangle(left, bottom, right, top))
        pdf.save(path)
    return path
