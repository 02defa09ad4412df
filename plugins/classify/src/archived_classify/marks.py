"""Secrecy and urgency marks. A mark counts only where it is all there is: "MẶT TRẬN" is none.

Fails closed: OCR's doubts lead to a mark found, never to a mark overlooked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archived_classify.profile import MarkEntry, Profile
from archived_classify.text import Evidence, Line, Page, letters

_DIGITS = str.maketrans("0156", "OISG")
HEAD_LINES = 40
_COLUMN = re.compile(r" {2,}|\t|\|")


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark that stands on a page."""

    value: str
    rank: int
    evidence: Evidence


def find(pages: Sequence[Page], entries: Sequence[MarkEntry], regime: Sequence[str]) -> Mark | None:
    """The highest mark on any page, the first of equals."""
    keys = {letters(s): entry for entry in entries for s in (entry.value, *entry.also)}
    best: Mark | None = None
    for page in pages:
        for line in page.lines:
            stamped_here = page.number == 1 and line.index < HEAD_LINES
            for piece in _pieces(line, regime):
                entry = _equal(piece, keys, small=stamped_here)
                if entry is not None and (best is None or entry.rank > best.rank):
                    best = Mark(entry.value, entry.rank, piece.evidence)
    return best


def _equal(piece: Line, keys: dict[str, MarkEntry], *, small: bool) -> MarkEntry | None:
    # A stamp is in capitals. Narrow table cells and wrapped sentences leave "Mật" (of "Mật độ")
    # or "mật" alone on a line; "Mật" is believed only where a stamp would be.
    found = [c for c in piece.text if c.isalpha()]
    if not found or not (found[0].isupper() if small else piece.capitals):
        return None
    with_digits = re.sub(r"[^A-Z]", "", piece.folded.translate(_DIGITS))
    return keys.get(piece.key) or keys.get(with_digits)


def _pieces(line: Line, regime: Sequence[str]) -> Iterator[Line]:
    """The line, its columns, and what stands beside the regime's head when columns are merged."""
    if not line:
        return
    yield line.part(0)
    at = 0
    columns = [*_COLUMN.finditer(line.text)]
    for gap in columns:
        yield line.part(at, gap.start())
        at = gap.end()
    if columns:
        yield line.part(at)
    cut = regime_start(line, regime)
    if cut:
        yield line.part(0, cut)


def regime_start(line: Line, regime: Sequence[str]) -> int | None:
    """Where, within the line, the right column's head begins; `None` when it is not there.

    OCR breaks the phrase in many ways, so its first ten letters or its last nine are enough.
    """
    places = [i for i, c in enumerate(line.folded) if "A" <= c <= "Z"]
    key = "".join(line.folded[i] for i in places)
    for phrase in regime:
        at = key.find(phrase[:10])
        if at >= 0:
            return places[at]
        tail = key.find(phrase[-9:])
        if tail >= 0:
            # The head's own beginning was misread: step back by its length, not past the line.
            return places[max(0, tail - (len(phrase) - 9))]
    return None


def rank_of_declared(declared: str, profiles: Sequence[Profile]) -> int:
    """Rank of the hot folder's level. What is not a known mark counts as 0: fail closed."""
    key = letters(declared)
    for profile in profiles:
        for entry in profile.secrecy:
            if key in {letters(s) for s in (entry.value, *entry.also)}:
                return entry.rank
    return 0
