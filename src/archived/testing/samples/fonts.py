"""A Times-like face that really has every Vietnamese letter: judged by glyphs, never by name.

Some releases of the usual free Times replacements lack the letters with two marks and draw boxes,
which would turn ground truth into a lie.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from archived.errors import ArchivedError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Style = Literal["Regular", "Bold", "Italic", "BoldItalic"]
STYLES: tuple[Style, ...] = ("Regular", "Bold", "Italic", "BoldItalic")

FOLDER = Path("/usr/share/fonts/truetype")
CANDIDATES: tuple[str, ...] = (
    "croscore/Tinos-{}.ttf",
    "liberation2/LiberationSerif-{}.ttf",
    "liberation/LiberationSerif-{}.ttf",
)
"""Below `FOLDER`; the first complete family wins."""

_MEASURE = 256.0


class FontMissing(ArchivedError):
    """No installed face can draw Vietnamese."""

    code = "sample-font-missing"


def vietnamese_letters() -> str:
    """The 146 vowels of Vietnamese with every tone, and đ: NFC, both cases."""
    marks = ("", "\u0300", "\u0301", "\u0303", "\u0309", "\u0323")
    vowels = "aăâeêioôơuưy"
    lower = [unicodedata.normalize("NFC", v + m) for v in vowels for m in marks] + ["đ"]
    return "".join(lower + [c.upper() for c in lower])


REQUIRED = vietnamese_letters() + "".join(chr(c) for c in range(0x21, 0x7F)) + "–…“”"


@dataclass(frozen=True, slots=True)
class Family:
    """One face in four styles: style -> file."""

    files: dict[Style, Path]

    def font(self, style: Style, size: float) -> FreeTypeFont:
        """The style at `size` pixels."""
        return _load(self.files[style], size)

    def width(self, text: str, style: Style, size: float) -> float:
        """Advance width of `text`, in the unit of `size`."""
        return self.font(style, _MEASURE).getlength(text) * size / _MEASURE


@functools.lru_cache(maxsize=256)
def _load(path: Path, size: float) -> FreeTypeFont:
    from PIL import ImageFont

    # The basic layout needs no shaping library, so every machine places letters alike.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def missing_letters(path: Path) -> str:
    """Which required characters the font file has no glyph for (or only an empty one)."""
    from fontTools.ttLib import TTFont

    with TTFont(path, lazy=True) as font:
        cmap = font.getBestCmap() or {}
        return "".join(c for c in REQUIRED if cmap.get(ord(c), ".notdef") == ".notdef")


def find(folder: Path = FOLDER, candidates: Iterable[str] = CANDIDATES) -> Family:
    """The first complete family. Raises `FontMissing`, naming the packages to install."""
    seen: list[str] = []
    for pattern in candidates:
        files = {style: folder / pattern.format(style) for style in STYLES}
        if not all(path.is_file() for path in files.values()):
            continue
        lacking = {path.name: gone for path in files.values() if (gone := missing_letters(path))}
        if not lacking:
            return Family(files)
        name, gone = next(iter(lacking.items()))
        seen.append(f"{name} lacks {len(gone)} characters, such as {gone[0]}")
    found = f" ({'; '.join(seen)})" if seen else ""
    raise FontMissing(
        f"no Times-like font with all Vietnamese letters below {folder}{found}",
        hint="run: apt-get install fonts-croscore (or fonts-liberation2)",
    )


@functools.cache
def family() -> Family:
    """`find()` for this machine, once per process."""
    return find()
