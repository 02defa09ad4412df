"""The text a PDF already holds, page by page, and whether a page has to be read by the engine.

Knows PDFium's text extraction. A page counts as text only when people put text on it: a stamp
over a scan, a signature's appearance or a page number does not.
"""

from __future__ import annotations

import ctypes
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pypdfium2 as pdfium
from pypdfium2 import raw

_WORD = re.compile(r"\w*[^\W\d_]\w*|\d+")
_LINE_ENDS = re.compile(r"\r\n?|\x0b|\x0c|\x85|\u2028|\u2029")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
COVERED = 0.5
"""A page whose images cover this share of it looks like a scan."""


@dataclass(frozen=True, slots=True)
class PageText:
    """What stands on a page as text. `hidden`: words of an earlier, invisible text layer."""

    text: str
    visible: int
    hidden: int
    covered: float
    """Share of the page that images cover, 0 to 1."""
    marked: bool
    """There is anything at all on the page."""
    unmapped: float
    """Share of characters that have no meaning in Unicode."""

    def needs_reading(self, overlay_words: int) -> bool:
        """Whether the engine must read the page. See `overlay_words` in the stage's options."""
        if self.hidden:
            return False
        if self.covered >= COVERED:
            return self.visible < overlay_words
        return self.visible == 0 and self.marked


def plain(text: str) -> str:
    """Text as the sidecar keeps it: NFC, line feeds, no form feeds, nothing unprintable."""
    text = _LINE_ENDS.sub("\n", text)
    # PDFium writes U+FFFE for a hyphen at a line's end; U+00AD is the typesetter's own.
    text = text.replace("\ufffe", "-").replace("\u00ad", "-")
    text = _UNPRINTABLE.sub("", text)
    lines = [line.rstrip() for line in unicodedata.normalize("NFC", text).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def words(text: str) -> int:
    """How many words or numbers there are."""
    return len(_WORD.findall(text))


def of(path: Path) -> list[PageText]:
    """The text of every page. Raises `pdfium.PdfiumError` when the file cannot be opened."""
    document = pdfium.PdfDocument(path)
    try:
        return [_page(document, index) for index in range(len(document))]
    finally:
        document.close()


def _page(document: pdfium.PdfDocument, index: int) -> PageText:
    try:
        page = document[index]
    except pdfium.PdfiumError:
        # PDFium cannot make sense of this page: let the engine see whatever can be drawn.
        return PageText("", 0, 0, 0.0, True, 0.0)
    try:
        found = page.get_textpage()
        text = found.get_text_range() if found.count_chars() > 0 else ""
        covered, marked, hidden_share = _objects(page, found)
        found.close()
    finally:
        page.close()
    odd = sum(1 for c in text if c == "\ufffd" or unicodedata.category(c) in ("Co", "Cn"))
    odd -= text.count("\ufffe")
    text = plain(text)
    count = words(text)
    # Without a picture below it, invisible text is no text layer of a scan.
    hidden = round(count * hidden_share) if covered >= COVERED else 0
    return PageText(text, count - hidden, hidden, covered, marked, max(0, odd) / max(1, len(text)))


def _objects(page: pdfium.PdfPage, text: pdfium.PdfTextPage) -> tuple[float, bool, float]:
    """Coverage by images, whether anything is drawn, and the invisible share of the text."""
    width, height = page.get_size()
    area = hidden = shown = 0.0
    marked = False
    for item in page.get_objects(max_depth=4):
        marked = True
        if item.type == raw.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = item.get_bounds()
            across = max(0.0, min(right, width) - max(left, 0.0))
            area += across * max(0.0, min(top, height) - max(bottom, 0.0))
        elif item.type == raw.FPDF_PAGEOBJ_TEXT:
            length = raw.FPDFTextObj_GetText(item, text, ctypes.POINTER(ctypes.c_ushort)(), 0)
            if raw.FPDFTextObj_GetTextRenderMode(item) == raw.FPDF_TEXTRENDERMODE_INVISIBLE:
                hidden += length
            else:
                shown += length
    covered = min(1.0, area / max(1.0, width * height))
    return covered, marked, hidden / max(1.0, hidden + shown)
