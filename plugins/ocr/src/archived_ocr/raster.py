"""Turn one PDF page into the gray image the engine reads; the archived image is never touched.

A page that is nothing but one upright image is decoded straight from its bytes; every other page
is rendered by PDFium. Compressing page images between steps is what makes OCR slow: never do it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pypdfium2 as pdfium
from PIL import Image, ImageChops

MAX_PIXELS = 60_000_000
"""The engine gains nothing from more; a huge sheet is read at a lower resolution."""
_COVERS = 0.985
"""An image must cover this share of the page's width and height to be the page."""
_PLAIN_FILTERS = {"/DCTDecode", "/CCITTFaxDecode", "/FlateDecode", "/LZWDecode"}
_QUIET_ANNOTATIONS = {"/Link", "/Popup"}


class Pages:
    """The open PDF whose pages are wanted one after another."""

    def __init__(self, path: Path) -> None:
        self._pikepdf = pikepdf.open(path)
        self._pdfium = pdfium.PdfDocument(path)
        self._pdfium.init_forms()

    def gray(self, index: int, dpi: float) -> tuple[Image.Image, float]:
        """Page `index` (from 0) as people see it, `L`, at most at `dpi`; and the real dpi.

        The dpi counts PDF units of 1/72 inch, whatever /UserUnit says.
        """
        page = self._pdfium[index]
        try:
            width, height = page.get_size()
            whole = self._whole_image(index)
            if whole is not None:
                image, rotate = whole
                # Pillow turns counter-clockwise, /Rotate clockwise.
                image = _shrunk(image, (width, height), dpi, turned=rotate % 180 == 90)
                image = _quarter_turned(image, -rotate)
                return image, image.width * 72.0 / width
            dpi = min(dpi, 72.0 * (MAX_PIXELS / max(1.0, width * height)) ** 0.5)
            bitmap = page.render(scale=dpi / 72.0, grayscale=True)
            # The bitmap's memory is PDFium's: copy before it is closed.
            image = bitmap.to_pil().convert("L").copy()
            bitmap.close()
            if self._is_marked_up(index):
                # A marker drawn over a line must not hide it, nor the line what a note says.
                bitmap = page.render(scale=dpi / 72.0, grayscale=True, draw_annots=False)
                image = ImageChops.darker(image, bitmap.to_pil().convert("L"))
                bitmap.close()
            return image, dpi
        finally:
            page.close()

    def colour(self, index: int, dpi: float) -> Image.Image | None:
        """Page `index` in colour (`RGB`), as `gray` shows it; `None` when it is gray all over."""
        page = self._pdfium[index]
        try:
            width, height = page.get_size()
            if self._is_gray(index):
                return None
            dpi = min(dpi, 72.0 * (MAX_PIXELS / max(1.0, width * height)) ** 0.5)
            bitmap = page.render(scale=dpi / 72.0)
            image: Image.Image = bitmap.to_pil().convert("RGB").copy()
            bitmap.close()
            red, green, blue = (c.astype(np.int16) for c in np.moveaxis(
                np.asarray(image, dtype=np.uint8)[::4, ::4], 2, 0))  # fmt: skip
            spread = np.maximum(abs(red - green), abs(green - blue))
            if float((spread > 24).mean()) < 0.0004:
                return None
            return image
        finally:
            page.close()

    def _is_marked_up(self, index: int) -> bool:
        found = self._pikepdf.pages[index].obj.get("/Annots")
        if not isinstance(found, pikepdf.Array):
            return False
        return any(
            isinstance(a, pikepdf.Dictionary)
            and str(a.get("/Subtype")) not in _QUIET_ANNOTATIONS | {"/Widget"}
            for a in found
        )

    def _is_gray(self, index: int) -> bool:
        """Whether the page is one picture without colour: known without drawing it."""
        try:
            stream = _only_image(self._pikepdf.pages[index])
            return stream is not None and (
                str(stream.get("/ColorSpace")) == "/DeviceGray" or bool(stream.get("/ImageMask"))
                or int(stream.get("/BitsPerComponent", 8)) == 1
            )  # fmt: skip
        except (pikepdf.exceptions.PikepdfError, ValueError, KeyError, AttributeError, TypeError):
            return False

    def _whole_image(self, index: int) -> tuple[Image.Image, int] | None:
        """The page's only image as gray and the page's /Rotate, when it is the whole page."""
        page = self._pikepdf.pages[index]
        try:
            stream = _only_image(page)
            image = _decoded(stream) if stream is not None else None
        except (pikepdf.exceptions.PikepdfError, OSError, ValueError, KeyError, AttributeError,
                TypeError, NotImplementedError):  # fmt: skip
            return None  # PDFium is the judge of what is odd
        if image is None:
            return None
        return image, int(page.rotation) % 360

    def close(self) -> None:
        """Close the file."""
        self._pdfium.close()
        self._pikepdf.close()


def _only_image(page: pikepdf.Page) -> pikepdf.Stream | None:
    """The image that fills `page`, if its content is `q W 0 0 H X Y cm /Name Do Q` and no more."""
    for annotation in page.obj.get("/Annots", []):
        if str(annotation.get("/Subtype")) not in _QUIET_ANNOTATIONS:
            return None
    names: Any = page.resources.get("/XObject", {})
    if len(names) > 50 or len(_content(page)) > 2000:
        return None
    matrix: list[float] | None = None
    name = ""
    for operands, operator in _operations(page):
        if operator == "cm" and matrix is None and not name:
            matrix = [float(o) for o in operands]
        elif operator == "Do" and not name:
            name = str(operands[0])
        elif operator not in ("q", "Q"):
            return None
    if matrix is None or not name or name not in names:
        return None
    a, b, c, d, e, f = matrix
    left, bottom, right, top = (float(v) for v in page.cropbox)
    upright = b == 0 and c == 0 and a > 0 and d > 0
    slack_x, slack_y = (right - left) * (1 - _COVERS), (top - bottom) * (1 - _COVERS)
    fills = (
        abs(e - left) <= slack_x
        and abs(f - bottom) <= slack_y
        and abs(e + a - right) <= slack_x
        and abs(f + d - top) <= slack_y
    )
    found: Any = names[name]
    if not isinstance(found, pikepdf.Stream) or found.get("/Subtype") != "/Image":
        return None
    return found if upright and fills else None


def _content(page: pikepdf.Page) -> bytes:
    contents = page.obj.get("/Contents", None)
    if contents is None:
        return b""
    parts = contents if isinstance(contents, pikepdf.Array) else [contents]
    return b"\n".join(part.read_bytes() for part in parts)


def _operations(page: pikepdf.Page) -> Iterator[tuple[list[pikepdf.Object], str]]:
    for instruction in pikepdf.parse_content_stream(page):
        yield list(instruction.operands), str(instruction.operator)


def _decoded(stream: pikepdf.Stream) -> Image.Image | None:
    """An image XObject as gray, or `None` when only a renderer does it justice."""
    odd = ("/SMask", "/Mask", "/Decode", "/Alternates")
    if any(k in stream for k in odd) or stream.get("/ImageMask", False):
        return None
    filters = stream.get("/Filter")
    names = [str(f) for f in filters] if isinstance(filters, pikepdf.Array) else [str(filters)]
    if not set(names) <= _PLAIN_FILTERS or len(names) > 2:
        return None
    if int(stream.get("/BitsPerComponent", 8)) > 8:
        return None
    if names == ["/DCTDecode"]:
        image: Image.Image = Image.open(io.BytesIO(stream.read_raw_bytes()), formats=["JPEG"])
        if image.mode not in ("L", "RGB"):
            return None
        # The decoder gives the luma plane directly: no colour conversion is needed.
        image.draft("L", image.size)
    else:
        space = stream.get("/ColorSpace")
        kind = str(space[0]) if isinstance(space, pikepdf.Array) else str(space)
        if kind not in ("/DeviceGray", "/DeviceRGB", "/CalRGB", "/CalGray", "/ICCBased"):
            return None
        image = pikepdf.PdfImage(stream).as_pil_image()
    if image.size != (int(stream.Width), int(stream.Height)):
        return None
    return image.convert("L")


def _shrunk(
    image: Image.Image, page: tuple[float, float], dpi: float, *, turned: bool
) -> Image.Image:
    """`image` with square pixels at no more than `dpi`, for a page of `page` PDF units."""
    width, height = (page[1], page[0]) if turned else page
    across, down = image.width * 72.0 / width, image.height * 72.0 / height
    dpi = min(dpi, max(across, down), 72.0 * (MAX_PIXELS / (width * height)) ** 0.5)
    size = max(1, round(width * dpi / 72.0)), max(1, round(height * dpi / 72.0))
    close = all(abs(a - b) <= 0.02 * b for a, b in zip(image.size, size, strict=True))
    if close and abs(across - down) <= 0.01 * across:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


_TURNS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}


def _quarter_turned(image: Image.Image, degrees: int) -> Image.Image:
    turn = _TURNS.get(degrees % 360)
    return image if turn is None else image.transpose(turn)


def turned(image: Image.Image, degrees: int) -> Image.Image:
    """`image` turned counter-clockwise by a multiple of 90 degrees."""
    return _quarter_turned(image, degrees)
