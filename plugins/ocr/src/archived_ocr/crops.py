"""Crops of a page that a person must look at, as PNG files."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

from archived_ocr.coverage import Ink
from archived_ocr.ink import MM

PER_PAGE = 4
"""Crops of one page; a page that has more to look at is shown whole."""
_MARGIN = 12 * MM
_WHOLE = 1400
"""Pixels of the longer side of a page shown whole."""


def of(image: Image.Image, found: Ink) -> list[bytes]:
    """A picture for each of the page's unread groups; one of the page when they are many."""
    unread = found.unread
    if found.reason != "text" or len(unread) > PER_PAGE:
        whole = image.copy()
        whole.thumbnail((_WHOLE, _WHOLE))
        return [_png(whole)]
    times = image.width / max(1, found.size[0])
    made = []
    for group in unread:
        left, top, right, bottom = group.box
        crop = image.crop(
            (
                max(0, int((left - _MARGIN) * times)),
                max(0, int((top - _MARGIN) * times)),
                min(image.width, int((right + _MARGIN) * times)),
                min(image.height, int((bottom + _MARGIN) * times)),
            )
        )
        crop.thumbnail((_WHOLE, _WHOLE))
        made.append(_png(crop))
    return made


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=128)
    image.save(data, "PNG", compress_level=6)
    return data.getvalue()
