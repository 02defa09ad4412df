"""Page images become the files a scanner sends: the same bytes for the same pixels.

No dates, no random identifiers. Knows nothing of what the pages show.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops, TiffImagePlugin

if TYPE_CHECKING:
    import pikepdf

MEDIA_TYPES = {
    "pdf": "application/pdf",
    "tif": "image/tiff",
    "jpg": "image/jpeg",
    "png": "image/png",
}
"""File name extension -> media type."""

_PHOTOMETRIC, _STRIP_OFFSETS, _STRIP_COUNTS = 262, 273, 279
_ONE_STRIP = 1 << 30


def pack(pages: Sequence[Image.Image], form: str, dpi: int, quality: int = 78) -> bytes:
    """`form`: `pdf` (JPEG or G4 inside), `pdf-jbig2` (of bilevel pages), `tif-g4`, `tif-lzw`,
    `tif-jpeg`, `png` or `jpg`.

    `png` and `jpg` hold one page; more raise `ValueError`.
    """
    if form in {"pdf", "pdf-jbig2"}:
        return _pdf(pages, dpi, quality, jbig2=form == "pdf-jbig2")
    if form.startswith("tif-"):
        return _tiff(pages, form.removeprefix("tif-"), dpi, quality)
    if len(pages) != 1:
        raise ValueError(f"{form} holds one page, not {len(pages)}")
    if form == "jpg":
        return _jpeg(pages[0], dpi, quality)
    if form == "png":
        out = io.BytesIO()
        pages[0].save(out, "PNG", dpi=(dpi, dpi), compress_level=4)
        return out.getvalue()
    raise ValueError(f"unknown form {form!r}")


def _jpeg(page: Image.Image, dpi: int, quality: int) -> bytes:
    out = io.BytesIO()
    page.save(out, "JPEG", quality=quality, dpi=(dpi, dpi))
    return out.getvalue()


def _tiff(pages: Sequence[Image.Image], compression: str, dpi: int, quality: int) -> bytes:
    names = {"g4": "group4", "lzw": "tiff_lzw", "jpeg": "jpeg"}
    options: dict[str, Any] = {"quality": quality} if compression == "jpeg" else {}
    if compression == "g4":
        pages = [ImageChops.invert(page) for page in pages]
        options = {"strip_size": _ONE_STRIP}
    out = io.BytesIO()
    pages[0].save(
        out,
        "TIFF",
        compression=names[compression],
        dpi=(dpi, dpi),
        save_all=True,
        append_images=list(pages[1:]),
        **options,
    )
    return _white_is_zero(out.getvalue()) if compression == "g4" else out.getvalue()


def _white_is_zero(data: bytes) -> bytes:
    """The little-endian TIFF with every page declared white-is-zero, as scanners send it.

    Pillow writes bilevel pages black-is-zero only; the pixels were inverted beforehand.
    """
    out = bytearray(data)
    (at,) = struct.unpack_from("<I", out, 4)
    while at:
        (entries,) = struct.unpack_from("<H", out, at)
        for entry in range(at + 2, at + 2 + 12 * entries, 12):
            if struct.unpack_from("<H", out, entry)[0] == _PHOTOMETRIC:
                struct.pack_into("<H", out, entry + 8, 0)
        (at,) = struct.unpack_from("<I", out, at + 2 + 12 * entries)
    return bytes(out)


def _g4_strip(page: Image.Image) -> bytes:
    """The page as one CCITT Group 4 strip in which runs begin with white."""
    data = _tiff([page], "g4", 300, 0)
    with Image.open(io.BytesIO(data)) as read:
        assert isinstance(read, TiffImagePlugin.TiffImageFile)
        offsets, counts = read.tag_v2[_STRIP_OFFSETS], read.tag_v2[_STRIP_COUNTS]
    if len(offsets) != 1:
        raise RuntimeError("this Pillow writes Group 4 in another shape than expected")
    return data[offsets[0] : offsets[0] + counts[0]]


def _jbig2(page: Image.Image) -> bytes:
    """The page as an embedded JBIG2 stream (ITU-T T.88): its size, and one generic region.

    The region's pixels are coded as in CCITT Group 4 ("MMR"), which the standard allows.
    """
    size = struct.pack(">II", page.width, page.height)
    whole = size + bytes(8) + b"\0\0\0"  # no resolution, no flags, no stripes
    region = size + bytes(8) + b"\0" + b"\x01" + _g4_strip(page)  # at the corner; OR; MMR
    return b"".join(
        struct.pack(">IBBBI", number, kind, 0, 1, len(data)) + data
        for number, (kind, data) in enumerate([(48, whole), (38, region)])
    )


def _pdf(pages: Sequence[Image.Image], dpi: int, quality: int, *, jbig2: bool = False) -> bytes:
    import pikepdf
    from pikepdf import Dictionary, Name

    pdf = pikepdf.new()
    for page in pages:
        if jbig2:
            stream = pdf.make_stream(_jbig2(page))
            stream.Filter, stream.BitsPerComponent = Name.JBIG2Decode, 1
            stream.ColorSpace = Name.DeviceGray
        elif page.mode == "1":
            stream = pdf.make_stream(_g4_strip(page))
            stream.Filter = Name.CCITTFaxDecode
            stream.DecodeParms = Dictionary(
                K=-1, Columns=page.width, Rows=page.height, BlackIs1=False
            )
            stream.BitsPerComponent, stream.ColorSpace = 1, Name.DeviceGray
        else:
            stream = pdf.make_stream(_jpeg(page, dpi, quality))
            stream.Filter, stream.BitsPerComponent = Name.DCTDecode, 8
            stream.ColorSpace = Name.DeviceRGB if page.mode == "RGB" else Name.DeviceGray
        stream.Type, stream.Subtype = Name.XObject, Name.Image
        stream.Width, stream.Height = page.width, page.height
        _show(pdf, stream, page.width * 72 / dpi, page.height * 72 / dpi)
    return save(pdf)


def _show(pdf: pikepdf.Pdf, image: pikepdf.Object, width: float, height: float) -> None:
    from pikepdf import Dictionary

    page = pdf.add_blank_page(page_size=(round(width, 2), round(height, 2)))
    page.Resources = Dictionary(XObject=Dictionary(Im0=image))
    page.Contents = pdf.make_stream(b"q %.2f 0 0 %.2f 0 0 cm /Im0 Do Q" % (width, height))


def save(pdf: pikepdf.Pdf) -> bytes:
    """The PDF's bytes, the same every time."""
    out = io.BytesIO()
    pdf.save(out, deterministic_id=True)
    return out.getvalue()
