"""Reads QR codes and Code 128 on a gray raster, and tells of codes that are there but damaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import zxingcpp
from numpy.typing import NDArray

Gray = NDArray[np.uint8]

FORMATS = {
    "qr": zxingcpp.BarcodeFormat.QRCode,
    "code128": zxingcpp.BarcodeFormat.Code128,
    "code39": zxingcpp.BarcodeFormat.Code39,
}


@dataclass(frozen=True, slots=True)
class Code:
    """A bar code on a page. `text`: as read; of a damaged one whatever came out. `size`: its
    longest side in millimetres. `square`: its four corners are those of a square."""

    kind: str
    text: str
    size: float
    square: bool = False
    damaged: bool = False


def read(gray: Gray, dpi: float, kinds: Sequence[str], *, whole: bool = False) -> list[Code]:
    """Every code of these kinds, whichever way it lies. `whole`: one threshold for all."""
    if not kinds:
        return []
    found = zxingcpp.read_barcodes(
        gray,
        formats=zxingcpp.BarcodeFormats([FORMATS[kind] for kind in kinds]),
        try_invert=False,
        return_errors=True,
        text_mode=zxingcpp.TextMode.Plain,
        binarizer=zxingcpp.Binarizer.GlobalHistogram if whole else zxingcpp.Binarizer.LocalAverage,
    )
    codes = []
    for one in found:
        kind = next((k for k in kinds if FORMATS[k] == one.format), "qr")
        size, square = _shape(one.position, dpi)
        codes.append(Code(kind, one.text, size, square, damaged=not one.valid))
    return codes


def _shape(position: zxingcpp.Position, dpi: float) -> tuple[float, bool]:
    corners = [position.top_left, position.top_right, position.bottom_right, position.bottom_left]
    places = [complex(corner.x, corner.y) for corner in corners]
    sides = [b - a for a, b in zip(places, places[1:] + places[:1], strict=True)]
    lengths = [abs(side) for side in sides]
    if min(lengths) == 0:
        return max(lengths) * 25.4 / dpi, False
    turns = [(b / a) for a, b in zip(sides, sides[1:] + sides[:1], strict=True)]
    # Each side is the one before it, turned by a right angle.
    square = all(abs(turn / abs(turn) - 1j) < 0.2 and 0.77 < abs(turn) < 1.3 for turn in turns)
    return max(lengths) * 25.4 / dpi, square
