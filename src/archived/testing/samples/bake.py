"""A recipe and a seed become one file's bytes and the truth about it.

The only module that goes all the way from words to bytes; where files lie is not known here.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import Any

from archived.testing.samples import containers, papers
from archived.testing.samples.born import born_digital
from archived.testing.samples.fonts import Family, Style, family
from archived.testing.samples.layout import Sheet, Text, lay_out
from archived.testing.samples.raster import Mode, Wear, draw, scan

TINY = (252.0, 156.0)
"""Size of a tiny page in points: about a postcard's half."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one sample.

    `kind`: a key of `papers.kinds()`, or `tiny`, or `blank`. `form`: see `containers.pack`, or
    `born` for a PDF with real text. `modes` are given to the pages in turn.
    """

    kind: str
    form: str
    modes: tuple[Mode, ...] = ("gray",)
    pages: int = 1
    dpi: int = 300
    secrecy: str | None = None
    urgency: str | None = None
    clean: bool = False
    turned: int = 0
    """Degrees the page lies turned on the glass."""

    @property
    def extension(self) -> str:
        """`pdf`, `tif`, `jpg` or `png`."""
        return "pdf" if self.form == "born" else self.form.split("-")[0]

    @property
    def media_type(self) -> str:
        """The media type of what comes out."""
        return containers.MEDIA_TYPES[self.extension]


def bake(recipe: Recipe, seed: str) -> tuple[bytes, dict[str, Any]]:
    """The file's bytes and its truth. Same recipe, seed and library versions: same bytes."""
    face = family()
    paper: papers.Paper | None = None
    if recipe.kind == "blank":
        sheets = [Sheet() for _ in range(recipe.pages)]
        fields = _no_fields()
    elif recipe.kind == "tiny":
        sheets, fields = _tiny(seed, face), _no_fields()
    else:
        paper = papers.compose(recipe.kind, seed, recipe.secrecy, recipe.urgency)
        sheets, fields = lay_out(paper, recipe.pages, face), paper.truth()
    if recipe.form == "born":
        if paper is None:
            raise ValueError("only a paper can be born digital")
        sheets = [dataclasses.replace(sheet, seal=None) for sheet in sheets]
        data = born_digital(paper, sheets, face)
    else:
        data = _scanned(recipe, sheets, seed, face)
    truth = {
        "pages": len(sheets),
        "media_type": recipe.media_type,
        "kind": "born-digital" if recipe.form == "born" else "scan",
        "form": recipe.form,
        "modes": [] if recipe.form == "born" else list(recipe.modes),
        "dpi": None if recipe.form == "born" else recipe.dpi,
        **fields,
        "text": [sheet.text for sheet in sheets],
    }
    return data, truth


def _no_fields() -> dict[str, Any]:
    return {
        "system": None,
        "type_name": None,
        "type_abbr": None,
        "number": None,
        "notation": None,
        "code": None,
        "issued_date": None,
        "place": None,
        "organ": None,
        "parent_organ": None,
        "subject": None,
        "signer": None,
        "signer_title": None,
        "secrecy": None,
        "urgency": None,
    }


def _tiny(seed: str, face: Family) -> list[Sheet]:
    """Three short lines that no other seed has."""
    rng = random.Random(f"tiny:{seed}")
    sheet = Sheet(size=TINY)
    lines = (
        f"PHIẾU NHẬN SỐ {rng.randrange(10_000, 100_000)}",
        f"Người nộp: {papers.person(rng)}",
        f"Hồ sơ gồm {rng.randrange(2, 99)} tờ",
    )
    for index, line in enumerate(lines):
        style: Style = "Bold" if index == 0 else "Regular"
        width = face.width(line, style, 15)
        at = ((TINY[0] - width) / 2, 50.0 + 30 * index)
        sheet.texts.append(Text(*at, line, style, 15))
        sheet.lines.append(line)
    return [sheet]


def _scanned(recipe: Recipe, sheets: list[Sheet], seed: str, face: Family) -> bytes:
    wear = Wear(strength=0.5 if recipe.kind == "tiny" else 1.0, clean=recipe.clean)
    pages = []
    for index, sheet in enumerate(sheets):
        mode = recipe.modes[index % len(recipe.modes)]
        page = scan(draw(sheet, recipe.dpi, face), mode, f"{recipe.kind}:{seed}:{index}", wear)
        pages.append(page.rotate(recipe.turned, expand=True) if recipe.turned else page)
    quality = random.Random(f"quality:{seed}").randrange(72, 86)
    return containers.pack(pages, recipe.form, recipe.dpi, quality)
