"""Put received images on PDF pages, one page per image, without losing a pixel or a frame.

JPEG bytes are placed as they are; everything else is stored losslessly. What cannot be placed
exactly is either refused (`lossless`) or changed in a way that is named.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import img2pdf
import pikepdf
from PIL import Image, ImageOps, ImageSequence

from archived.api import Message, Refuse
from archived_ocr import errors, image_placement, limits
from archived_ocr.image_placement import MIRRORED
from archived_ocr.trailing_data import png_end

FORMATS = {"image/tiff": "TIFF", "image/jpeg": "JPEG", "image/png": "PNG"}
_USUAL_DPI = (100, 150, 200, 240, 300, 400, 600)
_A4_LONG_INCHES = 11.69
_PLAIN_MODES = {"1", "L", "RGB", "I;16", "I;16B"}
SMALLEST = 16
"""Pixels. A smaller image is no page."""
LARGEST_POINTS = 14_400.0
SMALLEST_POINTS = 3.0
"""What a page of a PDF/A may measure."""


@dataclass
class Placed:
    """How the images in `source` were placed. `frames`: those that became pages."""

    source: Path
    frames: list[int] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def tell(self, flag: str, note: str) -> None:
        """Flag something unusual, once."""
        if flag not in self.flags:
            self.flags.append(flag)
            self.notes.append(note)


@dataclass(frozen=True)
class Rules:
    """What the stage's options say about images."""

    lossless: bool
    image_dpi: int
    max_pages: int
    max_megapixels: int
    pages_before: int = 0
    """Pages that the document's other files have."""


def place(source: Path, media_type: str, target: Path, rules: Rules) -> Placed:
    """Write the PDF `target` whose pages are the images in `source`."""
    placed = Placed(source)
    with (
        errors.while_decoding("the image"),
        # An open file, never a path: Pillow maps uncompressed TIFFs it is given by path into
        # memory, which garbles gray pages that lie on their side and dies with a truncated file.
        source.open("rb") as file,
        Image.open(file, formats=[FORMATS[media_type]]) as image,
    ):
        placed.frames = _frames(image, placed, rules)
        if image.format in {"JPEG", "MPO"}:
            parts = [_jpeg(image, placed, rules)]
        else:
            parts = [_stored(image, placed, rules) for _ in _each(image, placed.frames)]
    with pikepdf.Pdf.new() as pdf:
        for part in parts:
            with pikepdf.open(io.BytesIO(part)) as page:
                pdf.pages.extend(page.pages)
        pdf.save(target)
    return placed


def _each(image: Image.Image, frames: list[int]) -> Iterator[int]:
    for index in frames:
        image.seek(index)
        yield index


def _frames(image: Image.Image, placed: Placed, rules: Rules) -> list[int]:
    """The frames that are pages; every one's size is checked before any is decoded."""
    if image.format != "TIFF":
        if getattr(image, "n_frames", 1) > 1:
            placed.tell(
                "extra-frames",
                Message("The image file holds more than one picture; only the first is a page."),
            )
            image.seek(0)
        limits.check_pages(1, rules.max_pages, rules.pages_before)
        _check_size(image, rules)
        return [0]
    pages: list[int] = []
    reduced: list[int] = []
    for index, frame in enumerate(ImageSequence.Iterator(image)):
        limits.check_pages(index + 1, rules.max_pages, rules.pages_before)
        _check_size(frame, rules)
        # NewSubfileType bit 0: a smaller copy of another image in the file.
        small = int(getattr(frame, "tag_v2", {}).get(254, 0)) & 1
        (reduced if small else pages).append(index)
    if reduced and pages:
        placed.tell(
            "reduced-copies",
            f"{len(reduced)} image(s) marked as smaller copies of a page were not made pages.",
        )
    image.seek(0)
    return pages or reduced


def _check_size(image: Image.Image, rules: Rules) -> None:
    width, height = image.size
    limits.check_pixels(width, height, rules.max_megapixels, "The file")
    if min(width, height) < SMALLEST:
        raise Refuse(
            Message(
                "The image is {width} x {height} pixels: too small to be a page",
                width=width,
                height=height,
            ),
            code="too-small",
            hint=Message("Scan the page again; this looks like a fault of the scanner."),
        )


def _layout(
    info: Mapping[Any, Any],
    size: tuple[int, int],
    placed: Placed,
    rules: Rules,
    *,
    turned: bool = False,
) -> img2pdf.FixedSize:
    """The page's size, from a believable resolution. `turned`: the image lies on its side."""
    dpi = info.get("dpi") or (0, 0)
    across, down = (float(dpi[0] or 0), float(dpi[1] or 0))
    if not (72 < across <= 4800 and 72 < down <= 4800):
        across = down = float(rules.image_dpi or _guessed(size))
        placed.tell(
            "dpi-assumed",
            Message(
                "The image does not say its resolution; {across:.0f} dpi was assumed.",
                across=across,
            ),
        )
    width, height = size[0] * 72 / across, size[1] * 72 / down
    if max(width, height) > LARGEST_POINTS or min(width, height) < SMALLEST_POINTS:
        raise Refuse(
            Message(
                "The image would make a page of {width:.2f} x {height:.2f} inches",
                width=width / 72,
                height=height / 72,
            ),
            code="bad-page-size",
            hint=Message("Scan the page again, or correct the resolution in the file."),
        )
    if turned:
        width, height = height, width
    return img2pdf.get_layout_fun((width, height))


def _guessed(size: tuple[int, int]) -> int:
    """The usual resolution that brings the page nearest to A4."""
    return min(_USUAL_DPI, key=lambda dpi: abs(max(size) / dpi - _A4_LONG_INCHES))


def _page(data: bytes, layout: img2pdf.FixedSize) -> bytes:
    made: bytes = img2pdf.convert(
        data,
        layout_fun=layout,
        engine=img2pdf.Engine.pikepdf,
        rotation=img2pdf.Rotation.ifvalid,
    )
    return made


def _jpeg(image: Image.Image, placed: Placed, rules: Rules) -> bytes:
    turned = image.getexif().get(0x0112, 1) in (5, 7)
    layout = _layout(image.info, image.size, placed, rules, turned=turned)
    if rules.lossless:
        placed.tell(
            "lossy-source",
            Message("The scan arrived as JPEG; its bytes were kept, but they were never lossless."),
        )
    image.load()
    if image.mode in ("L", "RGB"):
        way = image.getexif().get(0x0112, 1)
        if way in MIRRORED:
            placed.tell(
                "mirrored",
                Message(
                    "The camera says that the picture is stored mirrored; the page shows "
                    "it upright, and its bytes were kept."
                ),
            )
            return image_placement.mirrored(placed.source.read_bytes(), layout, way)
        return _page(placed.source.read_bytes(), layout)
    return _stored(image, placed, rules)


def _stored(image: Image.Image, placed: Placed, rules: Rules) -> bytes:
    """The current frame as a page, stored losslessly."""
    if _fit_as_it_is(image):
        _note_depth(image, placed, rules)
        image.load()  # finds out whether it is whole
        layout = _layout(image.info, image.size, placed, rules)
        stored = placed.source.read_bytes()
        return _page(stored[: png_end(stored) or None], layout)
    size = image.size
    # Pillow turns TIFF frames upright when it loads them, and others when it is asked to.
    image.load()
    upright = ImageOps.exif_transpose(image)
    layout = _layout(image.info, size, placed, rules, turned=upright.size != size)
    pixels = _plain(image, upright, placed, rules)
    data = io.BytesIO()
    if pixels.mode == "1":
        pixels.save(data, "TIFF", compression="group4")
    else:
        profile = image.info.get("icc_profile") if pixels.mode == image.mode else None
        pixels.save(data, "PNG", compress_level=4, icc_profile=profile)
    return _page(data.getvalue(), layout)


def _fit_as_it_is(image: Image.Image) -> bool:
    """A PNG whose compressed pixels can be placed in a PDF without packing them anew."""
    return (
        image.format == "PNG"
        and image.mode in _PLAIN_MODES | {"P"}
        and not image.has_transparency_data
        and not image.info.get("interlace")
        and image.getexif().get(0x0112, 1) == 1
    )


def _plain(image: Image.Image, frame: Image.Image, placed: Placed, rules: Rules) -> Image.Image:
    """`frame`, which is `image` upright, in a mode a page can show, with every change named."""
    if frame.has_transparency_data:
        frame = _without_alpha(frame, placed, rules)
    if frame.mode == "P":
        return frame.convert("RGB")  # exact: a palette is a list of colours
    if frame.mode in _PLAIN_MODES:
        _note_depth(image, placed, rules)
        return image_placement.upright_tones(image, frame)
    if frame.mode in ("I", "F"):
        low, high = (float(str(v)) for v in frame.getextrema())
        _inexact(
            rules,
            placed,
            "depth-reduced",
            "The image has 32 bits per pixel; its page shows 8 of them. The original keeps all.",
        )
        span = max(1.0, high - low)
        return frame.point(lambda v: (v - low) * (255.0 / span)).convert("L")
    if frame.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        _inexact(
            rules,
            placed,
            "colour-converted",
            f"The image's colours ({frame.mode}) were converted to RGB for the page.",
        )
        return frame.convert("RGB")
    raise errors.unsupported(f"images of kind {frame.mode} cannot be placed on a page")


def _without_alpha(frame: Image.Image, placed: Placed, rules: Rules) -> Image.Image:
    clear = frame.convert("RGBA")
    if clear.getchannel("A").getextrema() != (255, 255):
        _inexact(
            rules,
            placed,
            "alpha-flattened",
            "The image is partly transparent; it was laid on white for the page.",
        )
        white = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        clear = Image.alpha_composite(white, clear)
    gray = frame.mode in ("LA", "La", "L", "1")
    return clear.convert("RGB").convert("L") if gray else clear.convert("RGB")


def _note_depth(image: Image.Image, placed: Placed, rules: Rules) -> None:
    bits = getattr(image, "tag_v2", {}).get(258, (8,))
    if image.format == "PNG" and image.mode == "RGB":
        bits = (_png_depth(placed.source),)
    wide = max(bits if isinstance(bits, tuple) else (bits,)) > 8
    if wide and not image.mode.startswith("I;16"):
        _inexact(
            rules,
            placed,
            "depth-reduced",
            "The image has more than 8 bits per colour; its page shows 8 of them. "
            "The original keeps all.",
        )


def _png_depth(source: Path) -> int:
    with source.open("rb") as file:
        return file.read(25)[24]


def _inexact(rules: Rules, placed: Placed, flag: str, note: str) -> None:
    if rules.lossless:
        raise Refuse(
            Message(
                "The page cannot show the image exactly, as lossless pages must. {note}", note=note
            ),
            code="not-lossless",
            hint=Message(
                'Scan as 8-bit gray or 24-bit colour, or set images = "keep" for this stage.'
            ),
        )
    placed.tell(flag, note)
