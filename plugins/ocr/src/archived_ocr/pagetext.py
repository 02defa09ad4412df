"""The text a PDF already holds, page by page, and whether a page has to be read by the engine.

A page counts as text only when people see text on it, in letters that mean something, and nothing
beside it that looks like more. Hidden text is a layer of an earlier reading, not the page's own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pypdfium2 as pdfium

from archived_ocr import errors, language, legacy_encodings, page_content
from archived_ocr.page_content import Box, Content, Run

_WORD = re.compile(r"\w*[^\W\d_]\w*|\d+")
_LINE_ENDS = re.compile(r"\r\n?|\x0b|\x0c|\x85|\u2028|\u2029")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
COVERED = 0.5
"""A page whose pictures cover this share of it looks like a scan."""
UNMAPPED = 0.3
"""Share of meaningless characters above which a page's text is called unreadable."""


@dataclass(frozen=True, slots=True)
class PageText:
    """What stands on a page as text. `hidden`: words of an invisible or covered text layer."""

    text: str
    """All of it that may be taken for what the page says."""
    visible: int
    hidden: int
    covered: float
    """Share of the page that pictures cover, 0 to 1."""
    marked: bool
    """There is anything at all on the page."""
    unmapped: float
    """Share of characters that have no meaning in Unicode."""
    own: str = ""
    """The text that can be seen."""
    printed: tuple[Box, ...] = ()
    """Where that stands."""
    unread: bool = False
    """There are marks beside the text that look like more of it."""
    layer_fits: bool = True
    """The hidden text accounts for the marks it lies on."""
    layer: tuple[Run, ...] = ()
    encoding: str = ""
    """What the text was converted from: `tcvn3`, `vni`."""
    senseless: bool = False
    """The letters say no words of any language that is expected."""

    def needs_reading(self, overlay_words: int) -> bool:
        """Whether the engine must read the page. See `overlay_words` in the stage's options."""
        if self.senseless or self.unmapped > UNMAPPED:
            return True
        if self.hidden:
            return not self.layer_fits
        if self.unread:
            return True
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
        if min(page.get_size()) <= 0:
            raise errors.damaged(f"page {index + 1} has no size")
        found = page.get_textpage()
        everything = found.get_text_range() if found.count_chars() > 0 else ""
        found.close()
        content = page_content.of(page)
    finally:
        page.close()
    return _told(everything, content)


def _told(everything: str, content: Content) -> PageText:
    hidden_runs = tuple(r for r in content.runs if not r.seen and r.text.strip())
    seen = [r for r in content.runs if r.seen]
    own = everything if not hidden_runs else _joined(seen)
    hidden = _joined(hidden_runs)
    # U+00AD is a letter in TCVN3: convert before anything is tidied.
    own, encoding = legacy_encodings.converted(own, content.fonts)
    if not encoding and any(map(legacy_encodings.of_font, content.fonts)):
        encoding = "unknown" if language.possible_share(own) is None else ""
    odd = sum(1 for c in own if _is_odd(c))
    letters = max(1, sum(1 for c in own if not c.isspace()))
    wordless = _is_wordless(own)
    own, layer = plain(own), plain(hidden)
    share = language.possible_share(own)
    many = words(layer)
    fits = content.layer_fits and many > 0 and (language.possible_share(layer) or 1.0) >= 0.6
    return PageText(
        text=f"{own}\n\n{layer}".strip("\n") if fits else own,
        visible=words(own),
        hidden=many,
        covered=content.picture,
        marked=content.marked,
        unmapped=odd / letters,
        own=own,
        printed=tuple(r.box for r in seen),
        unread=_is_unread(content),
        layer_fits=fits,
        layer=hidden_runs,
        encoding=encoding,
        senseless=encoding == "unknown" or wordless or (share is not None and share < 0.45),
    )


def _is_odd(char: str) -> bool:
    """Whether a character stands for a letter that has no meaning in Unicode."""
    if char in "\ufffe\x02":  # PDFium's hyphens at the end of a line
        return False
    return char == "\ufffd" or (
        unicodedata.category(char) in ("Co", "Cn", "Cc") and not char.isspace()
    )


def _is_wordless(text: str) -> bool:
    """Whether hardly any of the characters are letters or digits; rows of dots do not count."""
    said = [c for c in text if not c.isspace() and c not in "._-…*=|/"]
    return len(said) >= 10 and sum(c.isalnum() for c in said) < 0.3 * len(said)


def _is_unread(content: Content) -> bool:
    rows = [g for g in content.left if g.kind == "text" and g.contrast >= 18]
    letters = sum(g.letters for g in rows)
    large = any(g.letters >= 3 and g.height >= 10 for g in rows)
    return letters >= 6 or large or content.picture >= page_content.PICTURE


def _joined(runs: Sequence[Run]) -> str:
    """Runs as text: those of one line with a space between, lines below one another."""
    lines: list[list[Run]] = []
    for run in runs:
        before = lines[-1][-1].box if lines else None
        level = before is not None and min(before[3], run.box[3]) - max(
            before[1], run.box[1]
        ) > 0.5 * min(before[3] - before[1], run.box[3] - run.box[1])
        if level:
            lines[-1].append(run)
        else:
            lines.append([run])
    return "\n".join(" ".join(r.text.strip() for r in line) for line in lines)
