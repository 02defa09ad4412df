"""The head of the first page: where it lies, its organs, the centred title, and the subject.

OCR often merges the two columns of the head into one line; the right one is cut off first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from archived_classify.marks import regime_start
from archived_classify.numbers import Number, PlaceDate, find_number, find_place_date
from archived_classify.profile import Profile, TypeEntry
from archived_classify.reading import Field, missing, span
from archived_classify.text import Line, Page, letters, squeeze

HEAD_LINES = 60
ORGAN_LINES = 8
FORMULAS = ("body_formulas",)
OPENERS = ("body_formulas", "body_openers")


@dataclass(frozen=True, slots=True)
class Title:
    """The centred title line."""

    line: Line
    entry: TypeEntry
    confidence: float
    rest: Line | None = None
    """What follows the type on the same line: the subject's beginning."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of one page as one profile reads it."""

    page: Page
    lines: tuple[Line, ...]
    """The lines above the text proper, gazette heads left out, blank ones kept."""
    regime: int
    """How many of the regime's lines were seen."""
    regime_end: int
    """Where, on the page, the last of them ends."""
    number: Number | None
    place_date: PlaceDate | None
    title: Title | None


def read_head(page: Page, profile: Profile) -> Head:
    """Find number, date and title, each at its first place in the head."""
    lines = _head_lines(page, profile)
    title_at, title = _title(lines, profile)
    body_at = next((i for i, ln in enumerate(lines) if opens_body(ln, profile)), len(lines))
    above = lines[: min(title_at, body_at) if title else body_at]
    number = find_number(above)
    regime = [line for line in above if _is_regime(line, profile)]
    return Head(
        page=page,
        lines=tuple(lines),
        regime=len(regime),
        regime_end=max((line.end for line in regime), default=0),
        number=number,
        place_date=find_place_date(above, number),
        title=title,
    )


_STAMPED = re.compile(r"@|\bGOV\.VN|\d\d[:.]\d\d[:.]\d\d|[-+]\s?0?7[:.]00\b")


def _head_lines(page: Page, profile: Profile) -> list[Line]:
    """The page's first lines, without a gazette's running head and without what a digital
    signature shows of itself above the document's own head."""
    lines = [
        line
        for line in page.lines[: HEAD_LINES * 2]
        if not any(line.key.startswith(g) for g in profile.gazette)
    ][:HEAD_LINES]
    first = next((i for i, ln in enumerate(lines) if _is_regime(ln, profile)), 0)
    shown = [i for i, line in enumerate(lines[:first]) if _is_signature(line, profile)]
    return lines[shown[-1] + 1 :] if shown else lines


def _is_regime(line: Line, profile: Profile) -> bool:
    return regime_start(line, profile.regime) is not None


def _is_signature(line: Line, profile: Profile) -> bool:
    words = profile.words("signature_words")
    return bool(_STAMPED.search(line.folded)) or any(w in line.folded for w in words)


def opens_body(line: Line, profile: Profile, kinds: Sequence[str] = OPENERS) -> bool:
    """Whether the text proper begins with this line."""
    text = line.part(0)
    if not text or not (text.text[0].isupper() or text.text[0].isdigit() or text.text[0] == "("):
        return False
    for opener in (word for kind in kinds for word in profile.words(kind)):
        # A line in capitals is a title or an authority; only an ordinal opens the text there.
        if not text.folded.startswith(opener) or (text.capitals and opener[-1] not in "1I.-"):
            continue
        following = text.folded[len(opener) : len(opener) + 1]
        if not opener[-1].isalpha() or not ("A" <= following <= "Z"):
            return True
    return False


def _title(lines: Sequence[Line], profile: Profile) -> tuple[int, Title | None]:
    for at, line in enumerate(lines):
        if opens_body(line, profile):
            break
        if line and line.capitals:
            title = _title_of(line, profile)
            if title is not None:
                return at, title
    return len(lines), None


def _title_of(line: Line, profile: Profile) -> Title | None:
    key = line.key
    if key in profile.titles:
        return Title(line.part(0), profile.titles[key], 0.95)
    for name, entry in profile.titles.items():
        near = len(name) >= 7 and abs(len(key) - len(name)) <= 1
        if near and SequenceMatcher(None, key, name, autojunk=False).ratio() >= 0.9:
            return Title(line.part(0), entry, 0.7)
    clean = line.part(0)
    for name, entry in profile.titles.items():
        words = r"\W+".join(re.escape(letters(w)) for w in entry.name.split())
        match = re.match(words + r"(?=\s+[A-Z])", clean.folded)
        if match and len(name) >= 4 and not re.search(r"\bSO\b", clean.folded):
            return Title(clean.part(0, match.end()), entry, 0.6, clean.part(match.end()))
    return None


def organs(head: Head, profile: Profile) -> tuple[Field, Field]:
    """The issuing organ and the one above it."""
    parts = _organ_lines(head, profile)
    if not parts:
        why = missing("no organ's name stands in the head")
        return why, why
    groups: list[list[Line]] = []
    for part in parts:
        if groups and not _starts_organ(part, groups[-1][-1], profile):
            groups[-1].append(part)
        else:
            groups.append([part])
    own = joined(head.page, groups[-1])
    if len(groups) == 1:
        return own, missing("the head names one organ only")
    return own, joined(head.page, [line for group in groups[:-1] for line in group])


def _organ_lines(head: Head, profile: Profile) -> list[Line]:
    stop = head.number or head.title
    # With neither, only what stands above or beside the national heading is the head.
    until = stop.line.start if stop else head.regime_end
    found: list[Line] = []
    for line in head.lines:
        if line.start >= until or len(found) == ORGAN_LINES:
            break
        if head.place_date and line.start == head.place_date.line.start:
            line = line.part(0, head.place_date.start)  # noqa: PLW2901 - the same line, cut
        cut = regime_start(line, profile.regime)
        part = line.part(0, cut) if cut is not None else line.part(0)
        part = _with_joint(_capitals_only(part))
        if len(part.key) >= 3 and not _is_mark(part, profile):
            found.append(part)
    return found


def _capitals_only(part: Line) -> Line:
    """Cut at the first word in small letters: the motto's remains."""
    for word in re.finditer(r"\S+", part.text):
        if sum(c.islower() for c in word.group()) > 1:
            return part.part(0, word.start())
    # Specks and rules after a name hold no capital.
    words = [w for w in re.finditer(r"\S+", part.text) if any(map(str.isupper, w.group()))]
    part = part.part(0, words[-1].end() if words else 0)
    return part.part(0, len(re.sub(r"[^\w)\"”’]+$", "", part.text)))


def _with_joint(part: Line) -> Line:
    """Keep a single hyphen at the end: the name of a joint organ goes on in the next line."""
    after = part.page.text[part.end : part.end + 3]
    joint = re.match(r" ?[-–](?=\s)", after)
    return Line(part.page, part.index, part.start, part.end + joint.end()) if joint else part


def _is_mark(part: Line, profile: Profile) -> bool:
    marks = (*profile.secrecy, *profile.urgency)
    return part.key in {letters(s) for m in marks for s in (m.value, *m.also)}


def _begins(line: Line, words: Sequence[str]) -> bool:
    return any(re.match(rf"{re.escape(w)}(?![A-Z])", line.folded) for w in words)


def _starts_organ(part: Line, above: Line, profile: Profile) -> bool:
    if above.folded.endswith((" VA", " CUA", "-", ",")):
        return False
    heads = profile.words("organ_heads")
    if not _begins(part, heads):
        return False
    # "TỈNH ỦY" is an organ, "TỈNH QUẢNG NGÃI" goes on with the line above.
    longest = next(w for w in heads if re.match(rf"{re.escape(w)}(?![A-Z])", part.folded))
    places = [w for w in profile.words("place_heads") if _begins(part, (w,))]
    return not places or len(longest) > len(places[0])


def joined(page: Page, parts: list[Line], confidence: float = 0.85) -> Field:
    """Several lines as one field, joined by a space."""
    return Field(squeeze(" ".join(p.text for p in parts)), confidence, span(page, parts))
