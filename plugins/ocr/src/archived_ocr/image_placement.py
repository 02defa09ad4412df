"""Placing image bytes on a page so that they show what they mean: mirrored, or with tones inverted.

The bytes of a JPEG are never touched: the page's own matrix mirrors and turns it.
"""

from __future__ import annotations

import io

import img2pdf
import numpy as np
import pikepdf
from PIL import Image

MIRRORED = {2, 4, 5, 7}
"""EXIF orientations that a page's /Rotate cannot undo."""
_WHITE_IS_ZERO = 0


def mirrored(data: bytes, layout: img2pdf.FixedSize, way: int) -> bytes:
    """A page that shows a JPEG stored mirrored, for the EXIF orientation `way`, upright."""
    made = img2pdf.convert(
        data,
        layout_fun=layout,
        engine=img2pdf.Engine.pikepdf,
        rotation=img2pdf.Rotation.none,
    )
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(made)) as pdf:
        page = pdf.pages[0]
        width, height = (float(v) for v in page.mediabox[2:])
        [name] = page.get_images()
        matrix = {
            2: (-width, 0.0, 0.0, height, width, 0.0),
            4: (width, 0.0, 0.0, -height, 0.0, height),
            5: (0.0, -height, -width, 0.0, width, height),
            7: (0.0, height, width, 0.0, 0.0, 0.0),
        }[way]
        numbers = b" ".join(b"%.4f" % v for v in matrix)
        page.Contents = pdf.make_stream(b"q %s cm %s Do Q" % (numbers, str(name).encode("ascii")))
        pdf.save(out)
    return out.getvalue()


def upright_tones(image: Image.Image, frame: Image.Image) -> Image.Image:
    """`frame` of `image` with white as its greatest value.

    A TIFF may say that zero is white. Pillow inverts such pixels of 1 and 8 bits, not of 16.
    """
    tags = getattr(image, "tag_v2", {})
    if not frame.mode.startswith("I;16") or tags.get(262) != _WHITE_IS_ZERO:
        return frame
    pixels = np.asarray(frame).astype(np.uint16)
    return Image.fromarray(np.uint16(65535) - pixels)
