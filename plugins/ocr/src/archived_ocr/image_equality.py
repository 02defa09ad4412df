"""Prove that OCR and PDF/A conversion left every image as it was. A check, not a hope."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pikepdf


class ImagesChanged(RuntimeError):
    """An image in the finished file is not the one that went in: the stage's fault."""


def check(before: Path, after: Path) -> int:
    """Raise `ImagesChanged` unless every image on `before`'s pages is in `after`.

    Compares the stored bytes; where a stream was only packed anew, its unpacked pixels. Returns
    the number of images compared.
    """
    with pikepdf.open(before) as first, pikepdf.open(after) as second:
        kept = list(_images(second))
        raw = {_raw(image) for image in kept}
        pixels: set[str] | None = None
        count = 0
        for image in _images(first):
            count += 1
            if _raw(image) in raw:
                continue
            if pixels is None:
                pixels = {p for p in map(_pixels, kept) if p is not None}
            own = _pixels(image)
            if own is None or own not in pixels:
                width, height = image.get("/Width"), image.get("/Height")
                raise ImagesChanged(
                    f"an image of {width} x {height} pixels is not what it was after OCR; "
                    "nothing was delivered"
                )
    return count


def _images(pdf: pikepdf.Pdf) -> Iterator[pikepdf.Stream]:
    seen: set[tuple[int, int]] = set()
    todo = [page.obj.get("/Resources") for page in pdf.pages]
    while todo:
        resources = todo.pop()
        if not isinstance(resources, pikepdf.Dictionary):
            continue
        parts = resources.get("/XObject")
        if not isinstance(parts, pikepdf.Dictionary):
            continue
        for part in parts.as_dict().values():
            if not isinstance(part, pikepdf.Stream) or part.objgen in seen:
                continue
            seen.add(part.objgen)
            if part.get("/Subtype") == "/Image":
                yield part
            elif part.get("/Subtype") == "/Form":
                todo.append(part.get("/Resources"))


def _shape(image: pikepdf.Stream) -> str:
    return f"{image.get('/Width')}x{image.get('/Height')}"


def _raw(image: pikepdf.Stream) -> str:
    return _shape(image) + hashlib.blake2b(image.read_raw_bytes()).hexdigest()


def _pixels(image: pikepdf.Stream) -> str | None:
    try:
        data = image.read_bytes(pikepdf.StreamDecodeLevel.specialized)
    except pikepdf.PdfError:
        return None
    return _shape(image) + hashlib.blake2b(data).hexdigest()
