"""The number line and the place-and-date line. Anchored and first match: never a cited document's.

A number written by hand or stamped is often misread; what is not plainly digits is no number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from archived_classify.profile import NumberForm
from archived_classify.reading import Field, missing, read
from archived_classify.text import Line, fold, squeeze

_SO = r"^[^A-Z0-9]{0,4}(?:(?P<lead>[A-Z][A-Z ]{2,30}?)\s+)?S[O06Q](?![B-Z])\s*[:.;,]?\s*"
_TAIL = r"(?:\s?-\s?[A-Z0-9&.]{1,15}(?:,[A-Z0-9&.]{1,12})*){0,4}"
_YEAR = r"(?P<year>(?:19|20)\d{2})\s*/\s*"
_STATE = re.compile(
    _SO + rf"(?P<num>[^/\n]{{0,12}}?)(?P<gap>[\s./]*)/\s*(?:{_YEAR})?"
    rf"(?P<notation>[A-Z]{{1,10}}\d{{0,3}}(?:&[A-Z]+)?{_TAIL})"
)
_PARTY = re.compile(
    _SO + r"(?P<num>[^/\n-]{0,10}?)(?P<gap>[\s.]*)-\s*"
    r"(?P<notation>[A-Z]{1,5}\s*/\s*[A-Z0-9.&]{1,15}(?:\s?-\s?[A-Z0-9.&]{1,12}){0,2})"
)
# "Số" itself lost: only with digits and a code right at the line's start.
_BARE = re.compile(
    r"^[^A-Z0-9]{0,3}(?P<num>\d{1,5})(?P<gap>\s*)/\s*"
    rf"(?:{_YEAR})?(?P<notation>[A-Z]{{1,6}}\s?-\s?[A-Z0-9&.]{{2,15}})"
)
# The slash lost: digits and a code in one. Which digit is the slash, nobody knows.
_FUSED = re.compile(
    _SO + r"(?P<num>\d{1,5})(?P<gap>\s?)(?P<notation>[A-Z]{1,5}\s?-\s?[A-Z0-9&.]{2,15})"
)
_DIGITS = str.maketrans("OQDILS|!", "00011511")
_DRAFT = re.compile(r"[\s._:…-]*")


@dataclass(frozen=True, slots=True)
class Number:
    """The number line, taken apart."""

    line: Line
    form: NumberForm
    number: Field
    notation: Field
    code: Field
    end: int
    """Where, within the line, the notation ends."""
    year: str = ""
    lead: str = ""
    """Folded words before "số", as in "LUAT SO:"."""
    draft: bool = False

    @property
    def head(self) -> str:
        """The notation up to its first joint, folded: perhaps a type's code."""
        return re.split(r"[-/]", self.notation.value or "")[0]


def find_number(lines: Iterable[Line]) -> Number | None:
    """The first number line, or `None`."""
    bare: Number | None = None
    for line in lines:
        for pattern in (_PARTY, _STATE):
            match = pattern.match(line.folded)
            if match and _plausible(line, match):
                return _number(line, match, party=pattern is _PARTY)
        for pattern in (_BARE, _FUSED):
            match = pattern.match(line.folded)
            if match and bare is None and line.text[match.start("notation")].isupper():
                bare = _unsure(_number(line, match, party=False))
    return bare


def _unsure(number: Number) -> Number:
    seen, code = number.number, number.code
    return replace(
        number,
        number=replace(seen, confidence=min(seen.confidence, 0.4)),
        code=replace(code, confidence=min(code.confidence, 0.4)),
    )


def _plausible(line: Line, match: re.Match[str]) -> bool:
    printed = line.text[match.start("notation") : match.end("notation")]
    if not printed[0].isupper() or sum(c.islower() for c in printed) > len(printed) // 3:
        return False
    # A cited number in a wrapped sentence goes on in small letters: "số 12/QĐ-UBND ngày 3/2 của".
    # With "Số:" a date may follow at once.
    until = line.text[match.start() : match.start("notation")]
    lead = match["lead"] or ""
    if lead and not until.lstrip()[0].isupper():
        return False
    after = line.text[match.end("notation") :].lstrip(" .,;)|_-—–")
    return (":" in until and not lead) or not after or not after[0].islower()


def _number(line: Line, match: re.Match[str], *, party: bool) -> Number:
    groups = match.groupdict()
    year = groups.get("year") or ""
    form: NumberForm = "party" if party else ("state-year" if year else "state")
    start, end = match.span("num")
    number = _digits(line, start, end, filled=bool(match["gap"]))
    first, last = match.span("notation")
    printed = re.sub(r"\s*[-–—−‐‑]\s*", "-", squeeze(line.text[first:last])).replace(" ", "")
    printed = printed.rstrip(".,")
    where = line.part(first, first + len(line.text[first:last].rstrip(" .,")))
    notation = read(where, 0.9, printed)
    code = missing("the number is not established", line.part(0, last))
    if number.value:
        joint = "-" if party else "/"
        whole = joint.join(p for p in (number.value, year, printed) if p)
        code = read(line.part(start, last), number.confidence, whole)
    return Number(
        line=line,
        form=form,
        number=number,
        notation=notation,
        code=code,
        end=last,
        year=year,
        lead=(groups.get("lead") or "").strip(),
        draft=number.value is None and bool(_DRAFT.fullmatch(line.text[start:end])),
    )


def _digits(line: Line, start: int, end: int, *, filled: bool) -> Field:
    raw = line.text[start:end]
    if _DRAFT.fullmatch(raw):
        return missing(
            "the place of the number is empty: a draft, or the number was written or stamped where "
            "the text does not reach",
            line,
        )
    part = line.part(start, end)
    plain = re.sub(r"[\s.:_]", "", part.text)
    if re.fullmatch(r"\d", plain):
        # Numbers below ten are written with a 0 before (Decree 30, Appendix I): a digit may be
        # lost, and where a gap shows that it was filled in by hand or stamp, surely is.
        if filled:
            return missing(f"only the digit {plain!r} was read in the place of the number", part)
        return read(part, 0.4, plain)
    if re.fullmatch(r"\d{1,5}[A-Za-z]?", plain):
        # A gap before the slash was left to be filled by hand or stamp: less sure.
        return read(part, 0.5 if filled else 0.95, plain)
    swapped = plain.upper().translate(_DIGITS)
    if re.fullmatch(r"\d{2,5}", swapped) and re.search(r"\d", plain):
        return read(part, 0.4, swapped)
    return missing(f"{squeeze(raw)!r} is not a number: written by hand or misread", part or line)


_DATE = re.compile(
    r"NG[AE]Y(?P<d>.{0,8}?)T\s?H?[AE]NG(?P<m>.{0,6}?)N[AE]M\s*[:.]?\s*(?P<y>[12IL][0-9OQILSB|]{3})"
)
_DATE_FIGURES = re.compile(
    r"NG[AE]Y\s*(?P<d>\d{1,2})\s*[-/.]\s*(?P<m>\d{1,2})\s*[-/.]\s*(?P<y>(?:19|20)\d{2})(?!\d)"
)
_DAY = str.maketrans("OQILSB|!", "00115811")


@dataclass(frozen=True, slots=True)
class PlaceDate:
    """Where and when a document was issued."""

    line: Line
    start: int
    """Where, within the line, the place (or else the date) begins."""
    place: Field
    issued: Field
    draft: bool = False


def find_place_date(lines: Sequence[Line], number: Number | None) -> PlaceDate | None:
    """The first date in the header that stands where a date line stands, or `None`."""
    for line in lines:
        after = number.end if number and number.line.start == line.start else 0
        match = _DATE.search(line.folded, after) or _DATE_FIGURES.search(line.folded, after)
        if match is None:
            continue
        place = _place(line, after, match.start())
        if place is None and not _lone(line, match, after):
            continue
        issued, draft = _issued(line, match)
        if place is None:
            nowhere = missing("no place stands before the date", line)
            return PlaceDate(line, match.start(), nowhere, issued, draft)
        return PlaceDate(line, place.start - line.start, read(place, 0.9), issued, draft)
    return None


def _lone(line: Line, match: re.Match[str], after: int) -> bool:
    return not re.search(r"[A-Z0-9]", line.folded[after : match.start()])


def _place(line: Line, after: int, until: int) -> Line | None:
    before = line.text[after:until]
    if not re.search(r"[,.;]\s*$", before) and len(before.split()) > 8:
        return None
    # Column rules and the left column's words may stand before: the place is the last
    # run of words that begin with a capital, and words in capitals alone are not one.
    words = [*re.finditer(r"[^\s,.;:|_]+", before)]
    run: list[re.Match[str]] = []
    for word in reversed(words):
        text = word.group()
        if (
            (text[0].isupper() and (len(text) == 1 or not text.isupper() or text in ("TP", "H")))
            or fold(text) == "PHO"
            or (text in ("-", "–") and run)
        ):
            run.insert(0, word)
        else:
            break
    while run and not run[0].group()[0].isupper():
        run.pop(0)
    if not run or len(run) > 8:
        return None
    part = line.part(after + run[0].start(), after + run[-1].end())
    return part if len(part.text) > 2 else None


def _figure(raw: str) -> int | None:
    plain = re.sub(r"[\s.,:;_'`-]", "", raw).upper()
    if re.fullmatch(r"\d{1,2}", plain):
        return int(plain)
    swapped = plain.translate(_DAY)
    return int(swapped) if re.fullmatch(r"\d{1,2}", swapped) else None


def _issued(line: Line, match: re.Match[str]) -> tuple[Field, bool]:
    part = line.part(match.start(), match.end())
    # The text, not its fold: "8ổ" must stay unreadable and not become 80.
    day, month = (_figure(line.text[slice(*match.span(name))]) for name in ("d", "m"))
    year = int(match["y"].translate(_DAY))
    raw_day = line.text[match.start("d") : match.end("d")]
    empty = not re.search(r"[^\s.…_,-]", raw_day)
    if day is None or month is None:
        known = f"{year:04}" + (f"-{month:02}" if month and 1 <= month <= 12 else "")
        if empty:
            return missing(f"the place of the day is empty; read: {known}", part), True
        return missing(f"day or month is written by hand or misread; read: {known}", part), False
    try:
        issued = date(year, month, day)
    except ValueError:
        return missing(f"{squeeze(part.text)!r} is no date of the calendar", part), False
    if not 1900 <= year <= 2199:
        return missing(f"the year {year} is not believed", part), False
    sure = match["d"].strip(" _.").isdigit() and match["m"].strip(" _.").isdigit()
    return read(part, 0.9 if sure else 0.5, issued.isoformat()), False
