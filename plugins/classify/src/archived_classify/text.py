"""Pages, lines and the folds they are matched on. Nothing here knows what a record is.

Every offset that leaves this module counts characters of the page's NFC text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_PLAIN = {
    "Đ": "D",
    "đ": "D",
    "Ð": "D",
    "ð": "D",
    "–": "-",
    "—": "-",
    "−": "-",
    "‐": "-",
    "‑": "-",
    "⁄": "/",
    "∕": "/",
    "\u00a0": " ",
    "\u202f": " ",
    "\t": " ",
    "\r": " ",
}
_NOISE = re.compile(r"(?<=[Đđ])[Ðð]")
_SPACE = re.compile(r"\s+")
_EDGE = " \t\r\n.,;:_-–—~*|“”\"'`‘’•·"


def nfc(text: str) -> str:
    """The text in Unicode normalisation form C."""
    return unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """Capitals without marks: one character out for every character in."""
    return "".join(map(_fold_one, text))


def _fold_one(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    base = unicodedata.normalize("NFD", character)[0]
    upper = base.upper()
    return upper if len(upper) == 1 else base


def letters(text: str) -> str:
    """The fold with everything but A-Z dropped."""
    return re.sub(r"[^A-Z]", "", fold(text))


def squeeze(text: str) -> str:
    """White space runs, line breaks included, become one space; none at the ends."""
    return _SPACE.sub(" ", text).strip()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where something was read. `text` is `page_text[start:end]` of the page's NFC text."""

    page: int
    """Counted from 1."""
    start: int
    end: int
    text: str

    def facts(self) -> dict[str, object]:
        """As JSON."""
        return {"page": self.page, "start": self.start, "end": self.end, "text": self.text}


class Page:
    """One page: `nfc` as in the sidecar, `text` without OCR's doubled Đ, `folded` of equal length.

    Matching happens on `text` and `folded`; `evidence` leads back to `nfc`.
    """

    def __init__(self, number: int, raw: str) -> None:
        self.number = number
        self.nfc = nfc(raw)
        dropped = {m.start() for m in _NOISE.finditer(self.nfc)}
        self._where = [i for i in range(len(self.nfc)) if i not in dropped]
        self.text = "".join(self.nfc[i] for i in self._where)
        self.folded = fold(self.text)
        self.lines = tuple(self._lines())

    def _lines(self) -> Iterator[Line]:
        start = 0
        for index, piece in enumerate(self.text.split("\n")):
            yield Line(self, index, start, start + len(piece))
            start += len(piece) + 1

    @property
    def blank(self) -> bool:
        """Whether the page has no letter at all."""
        return not any(c.isalpha() for c in self.nfc)

    def evidence(self, start: int, end: int) -> Evidence:
        """The stretch `text[start:end]` as evidence; `start < end`."""
        first, last = self._where[start], self._where[end - 1] + 1
        return Evidence(self.number, first, last, self.nfc[first:last])


@dataclass(frozen=True, slots=True)
class Line:
    """One line, or a stretch of one: `start` and `end` are offsets into `page.text`."""

    page: Page
    index: int
    start: int
    end: int

    @property
    def text(self) -> str:
        """The characters as read."""
        return self.page.text[self.start : self.end]

    @property
    def folded(self) -> str:
        """Their fold, of equal length."""
        return self.page.folded[self.start : self.end]

    @property
    def key(self) -> str:
        """The fold's letters only."""
        return re.sub(r"[^A-Z]", "", self.folded)

    @property
    def capitals(self) -> bool:
        """Whether nearly all letters are capitals (OCR turns one or two around)."""
        found = [c for c in self.text if c.isalpha()]
        return len(found) >= 2 and sum(c.isupper() for c in found) >= 0.85 * len(found)

    @property
    def evidence(self) -> Evidence:
        """The line as evidence."""
        return self.page.evidence(self.start, self.end)

    def part(self, start: int, end: int | None = None) -> Line:
        """The stretch between two offsets within the line, edges freed of white space and rules."""
        stop = len(self.text) if end is None else end
        while start < stop and self.text[start] in _EDGE:
            start += 1
        while stop > start and self.text[stop - 1] in _EDGE.replace(".", ""):
            stop -= 1
        return Line(self.page, self.index, self.start + start, self.start + stop)

    def __bool__(self) -> bool:
        return bool(self.text.strip())


def pages(text: str) -> tuple[Page, ...]:
    """The sidecar's pages; a form feed ends a page, so a last empty one is none."""
    pieces = text.split("\f")
    if len(pieces) > 1 and not pieces[-1].strip():
        pieces.pop()
    return tuple(Page(number, piece) for number, piece in enumerate(pieces, 1))
