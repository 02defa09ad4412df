"""Layers that are switched off: what stands in them is in the file, and nobody is shown it.

Asked of a renderer: a page is drawn as it is, and with every layer switched on.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pikepdf
import pypdfium2 as pdfium
from numpy.typing import NDArray

_DPI = 60.0
_MOST_PIXELS = 4_000_000
_DIFFERENT = 24
"""Gray levels by which a pixel of the two drawings differs."""
_LEAST = 6
"""Pixels that must differ: a letter's worth."""


def pages(path: Path) -> list[int]:
    """The pages (from 1) of the PDF at `path` that show more once every layer is switched on."""
    with pikepdf.open(path) as pdf:
        if not _switched_off(pdf):
            return []
        usual = pdf.Root.OCProperties.D
        for key in ("/OFF", "/AS"):
            if key in usual:
                del usual[key]
        usual["/BaseState"] = pikepdf.Name.ON
        everything = io.BytesIO()
        pdf.save(everything, encryption=False)
    shown, all_on = pdfium.PdfDocument(path), pdfium.PdfDocument(everything.getvalue())
    try:
        return [n + 1 for n in range(len(shown)) if _differ(shown, all_on, n)]
    finally:
        shown.close()
        all_on.close()


def _switched_off(pdf: pikepdf.Pdf) -> bool:
    layers = pdf.Root.get("/OCProperties")
    usual = layers.get("/D") if isinstance(layers, pikepdf.Dictionary) else None
    if not isinstance(usual, pikepdf.Dictionary):
        return False
    off = usual.get("/OFF")
    return (isinstance(off, pikepdf.Array) and len(off) > 0) or str(
        usual.get("/BaseState", "/ON")
    ) != "/ON"


def _differ(shown: pdfium.PdfDocument, all_on: pdfium.PdfDocument, number: int) -> bool:
    one, other = _drawn(shown, number), _drawn(all_on, number)
    if one.shape != other.shape:
        return True
    return int((np.abs(one - other) > _DIFFERENT).sum()) >= _LEAST


def _drawn(document: pdfium.PdfDocument, number: int) -> NDArray[np.int16]:
    try:
        page = document[number]
    except pdfium.PdfiumError:
        return np.zeros((0, 0), np.int16)
    width, height = page.get_size()
    scale = min(_DPI / 72, (_MOST_PIXELS / max(1.0, width * height)) ** 0.5)
    bitmap = page.render(scale=scale, grayscale=True)
    pixels = np.asarray(bitmap.to_pil().convert("L")).astype(np.int16)
    bitmap.close()
    page.close()
    return pixels
