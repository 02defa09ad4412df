"""The boxes of a page: the access copy's pages are as large as what is shown of the original's."""

from __future__ import annotations

from pathlib import Path

import pikepdf


def trim(path: Path, pages: frozenset[int]) -> list[int]:
    """Make `pages` of the PDF at `path` as large as what is shown of them; say which were larger.

    What places the text layer knows the MediaBox only. What lies outside of the CropBox is not
    shown before or afterwards.
    """
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        cropped = _trim(pdf, pages)
        if cropped:
            pdf.save(path)
    return cropped


def _trim(pdf: pikepdf.Pdf, pages: frozenset[int]) -> list[int]:
    cropped = []
    for index in sorted(pages):
        page = pdf.pages[index]
        try:
            media = [float(v) for v in page.mediabox]
            crop = [float(v) for v in page.cropbox]
        except (TypeError, ValueError, AttributeError):
            continue
        box = _within(crop, media)
        if box is None:  # no reader knows what to do with it
            box = _ordered(media)
        if not any(abs(a - b) > 0.01 for a, b in zip(box, media, strict=True)):
            continue
        cropped.append(index + 1)
        page.obj["/MediaBox"] = pikepdf.Array(box)
        for key in ("/CropBox", "/BleedBox", "/TrimBox", "/ArtBox"):
            if key in page.obj:
                del page.obj[key]
    return cropped


def _ordered(box: list[float]) -> list[float]:
    return [min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])]


def _within(inner: list[float], outer: list[float]) -> list[float] | None:
    one, other = _ordered(inner), _ordered(outer)
    left, bottom = max(one[0], other[0]), max(one[1], other[1])
    right, top = min(one[2], other[2]), min(one[3], other[3])
    return [left, bottom, right, top] if right - left > 1 and top - bottom > 1 else None
