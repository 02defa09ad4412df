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
_JPEG = "/DCTDecode"
_KEPT = 16_000_000
"""Pixels of a drawn page that is kept in colour: drawing it unpacks its pictures."""
_TINT, _TINTED = 20, 0.0003
"""Difference of the channels of a pixel that is coloured, and the share of them on a page."""
_ODD = (
    pikepdf.exceptions.PikepdfError,
    OSError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    NotImplementedError,
)
_QUIET_ANNOTATIONS = {"/Link", "/Popup"}


class Pages:
    """The open PDF whose pages are wanted one after another."""

    def __init__(self, path: Path) -> None:
        self._pikepdf = pikepdf.open(path)
        self._pdfium = pdfium.PdfDocument(path)
        self._pdfium.init_forms()
        self._drawn: tuple[int, float, Image.Image] | None = None
        self._size: tuple[int, float, tuple[int, int]] | None = None
        """The size of the gray image that was given last: the one in colour has the same."""

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
                self._size = index, dpi, image.size
                return image, image.width * 72.0 / width
            dpi = min(dpi, 72.0 * (MAX_PIXELS / max(1.0, width * height)) ** 0.5)
            image = self._in_gray(index, page, dpi)
            if self._is_marked_up(index):
                # A marker drawn over a line must not hide it, nor the line what a note says.
                bitmap = page.render(scale=dpi / 72.0, grayscale=True, draw_annots=False)
                image = ImageChops.darker(image, bitmap.to_pil().convert("L"))
                bitmap.close()
            return image, dpi
        finally:
            page.close()

    def _in_gray(self, index: int, page: pdfium.PdfPage, dpi: float) -> Image.Image:
        """A page that must be drawn. What it was in colour is kept until another page is drawn."""
        width, height = page.get_size()
        large = width * height * (dpi / 72.0) ** 2 > _KEPT
        # The bitmap's memory is PDFium's: copy before it is closed.
        if large or (self._drawn is not None and self._drawn[0] == index):
            bitmap = page.render(scale=dpi / 72.0, grayscale=True)
            image: Image.Image = bitmap.to_pil().convert("L").copy()
        else:
            bitmap = page.render(scale=dpi / 72.0)
            self._drawn = index, dpi, bitmap.to_pil().convert("RGB").copy()
            image = self._drawn[2].convert("L")
        bitmap.close()
        return image

    def tint(self, index: int, dpi: float, times: int) -> Image.Image | None:
        """Page `index` in colour at a `times`-th of `dpi`; `None` when it is gray all over.

        Cheap: a JPEG is decoded at an eighth of its size.
        """
        if self._is_gray(index):
            return None
        drawn = self._kept(index, dpi)
        image = drawn.reduce(times) if drawn else self._in_colour(index, dpi, times)
        red, green, blue = (
            c.astype(np.int16) for c in np.moveaxis(np.asarray(image, dtype=np.uint8), 2, 0)
        )
        spread = np.maximum(abs(red - green), abs(green - blue))
        return image if float((spread > _TINT).mean()) >= _TINTED else None

    def colour(self, index: int, dpi: float) -> Image.Image:
        """Page `index` in colour (`RGB`), as `gray` shows it."""
        return self._kept(index, dpi) or self._in_colour(index, dpi)

    def _kept(self, index: int, dpi: float) -> Image.Image | None:
        """The page in colour as it was drawn for `gray`, if it was and is the latest one."""
        if self._drawn is None or self._drawn[:2] != (index, dpi):
            return None
        return self._drawn[2]

    def _in_colour(self, index: int, dpi: float, times: int = 1) -> Image.Image:
        """The page in colour, its size a `times`-th of that at `dpi`."""
        page = self._pdfium[index]
        try:
            width, height = page.get_size()
            if self._size is not None and self._size[:2] == (index, dpi):
                across, down = self._size[2]
            else:
                dpi = min(dpi, 72.0 * (MAX_PIXELS / max(1.0, width * height)) ** 0.5)
                across, down = round(width * dpi / 72.0), round(height * dpi / 72.0)
            size = max(1, across // times), max(1, down // times)
            whole = self._whole_in_colour(index, size)
            if whole is not None:
                if whole.size == size:
                    return whole
                return whole.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)
            bitmap = page.render(scale=max(size[0] / width, size[1] / height))
            image: Image.Image = bitmap.to_pil().convert("RGB").copy()
            bitmap.close()
            return image
        finally:
            page.close()

    def _whole_in_colour(self, index: int, size: tuple[int, int]) -> Image.Image | None:
        """The page's only image in colour, upright and at least of `size`, when it is plain."""
        page = self._pikepdf.pages[index]
        try:
            stream = _only_image(page)
            if stream is None or not _is_plain(stream):
                return None
            rotate = int(page.rotation) % 360
            if _filters(stream) != [_JPEG]:
                image: Image.Image = pikepdf.PdfImage(stream).as_pil_image()
            else:
                image = Image.open(io.BytesIO(stream.read_raw_bytes()), formats=["JPEG"])
                image.draft("RGB", size if rotate % 180 == 0 else size[::-1])
            if image.mode != "RGB":
                return None
            return _quarter_turned(image, -rotate)
        except _ODD:
            return None  # PDFium is the judge of what is odd

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
                str(stream.get("/ColorSpace")) == "/DeviceGray"
                or bool(stream.get("/ImageMask"))
                or int(stream.get("/BitsPerComponent", 8)) == 1
            )
        except (pikepdf.exceptions.PikepdfError, ValueError, KeyError, AttributeError, TypeError):
            return False

    def _whole_image(self, index: int) -> tuple[Image.Image, int] | None:
        """The page's only image as gray and the page's /Rotate, when it is the whole page."""
        page = self._pikepdf.pages[index]
        try:
            stream = _only_image(page)
            image = _decoded(stream) if stream is not None else None
        except _ODD:
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


def _is_plain(stream: pikepdf.Stream) -> bool:
    odd = ("/SMask", "/Mask", "/Decode", "/Alternates")
    return not any(k in stream for k in odd) and not stream.get("/ImageMask", False)


def _filters(stream: pikepdf.Stream) -> list[str]:
    filters = stream.get("/Filter")
    return [str(f) for f in filters] if isinstance(filters, pikepdf.Array) else [str(filters)]


def _decoded(stream: pikepdf.Stream) -> Image.Image | None:
    """An image XObject as gray, or `None` when only a renderer does it justice."""
    if not _is_plain(stream):
        return None
    names = _filters(stream)
    if not set(names) <= _PLAIN_FILTERS or len(names) > 2:
        return None
    if int(stream.get("/BitsPerComponent", 8)) > 8:
        return None
    if names == [_JPEG]:
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
