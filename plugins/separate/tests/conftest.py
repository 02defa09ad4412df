"""Sheets printed by the real archivectl, pages with words of their own, and what a scanner does to
both."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import img2pdf
import numpy as np
import pypdfium2 as pdfium
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

DPI = 150
CTL = Path(sys.executable).parent / "archivectl"


def render(pdf: Path, page: int = 0, dpi: int = DPI) -> Image.Image:
    """A page as gray pixels."""
    opened = pdfium.PdfDocument(pdf)
    image = opened[page].render(scale=dpi / 72, grayscale=True).to_pil().convert("L")
    opened.close()
    return image


def letter(word: str, dpi: int = DPI) -> Image.Image:
    """A page of a document: lines of text that nobody takes for a code."""
    page = Image.new("L", (round(8.27 * dpi), round(11.69 * dpi)), 255)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(dpi // 8)
    for line in range(18):
        text = f"{word} {line + 1} the quick brown fox jumps over"
        draw.text((dpi, dpi * (1 + line * 0.5)), text, 0, font)
    return page


def worn(image: Image.Image, seed: int, dpi: int = DPI, skew: float | None = None) -> Image.Image:
    """What a scanner makes of a printed page: crooked, gray, noisy, specked, compressed."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-3, 3) if skew is None else skew
    image = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=255)
    image = image.filter(ImageFilter.GaussianBlur(0.6 * dpi / 200))
    pixels = 50 + 175 * np.asarray(image).astype(np.float32) / 255
    pixels += rng.normal(0, 9, pixels.shape)
    specks = rng.random(pixels.shape) < 0.001
    pixels[specks] = rng.integers(0, 255, int(specks.sum()))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=50)
    return Image.open(file).convert("L")


def pdf_of(path: Path, pages: Sequence[Image.Image], dpi: int = DPI) -> Path:
    """A scan as PDF, one JPEG per page."""
    data = []
    for page in pages:
        file = io.BytesIO()
        page.save(file, "JPEG", quality=80, dpi=(dpi, dpi))
        data.append(file.getvalue())
    path.write_bytes(img2pdf.convert(data))
    return path


def tiff_of(path: Path, pages: Sequence[Image.Image], dpi: int = DPI, **how: Any) -> Path:
    """A scan as TIFF with all pages."""
    how = {"compression": "group4"} | how
    if how["compression"] == "group4":
        pages = [page.convert("1") for page in pages]
    pages[0].save(path, save_all=True, append_images=list(pages[1:]), dpi=(dpi, dpi), **how)
    return path


class Desk:
    """The tools above, for tests: this file cannot be imported by its name."""

    dpi = DPI
    render = staticmethod(render)
    letter = staticmethod(letter)
    worn = staticmethod(worn)
    pdf_of = staticmethod(pdf_of)
    tiff_of = staticmethod(tiff_of)


@pytest.fixture(scope="session")
def desk() -> Desk:
    """What a scanning desk does with paper."""
    return Desk()


@pytest.fixture(scope="session")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`archivectl cover-sheet` with some words; the PDF it wrote, once for the same words."""
    folder = tmp_path_factory.mktemp("printed")
    known: dict[tuple[str, ...], Path] = {}

    def of(*words: str) -> Path:
        if words not in known:
            known[words] = folder / f"{len(known)}.pdf"
            command = [CTL, "cover-sheet", *words, "-o", known[words]]
            subprocess.run(command, check=True, capture_output=True)
        return known[words]

    return of


@pytest.fixture(scope="session")
def plain(printed: Callable[..., Path]) -> Image.Image:
    """A plain separator sheet."""
    return render(printed("--plain"))


@pytest.fixture(scope="session")
def covers(printed: Callable[..., Path]) -> list[Image.Image]:
    """Two numbered covers of the dossier HS.01: four sheets, secrecy Mật."""
    pdf = printed("--dossier", "HS.01", "--sheets", "4", "--secrecy", "mật", "--count", "2")
    return [render(pdf, 0), render(pdf, 1)]
