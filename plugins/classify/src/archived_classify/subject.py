"""The subject: what stands below the centred title, or after "V/v" in a dispatch.

Where it ends and the text begins is nowhere printed; a blank line, an opener, or capitals tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from archived_classify.header import FORMULAS, OPENERS, Head, Title, joined, opens_body
from archived_classify.profile import Profile
from archived_classify.reading import Field, missing
from archived_classify.text import Line

LINES = 10
_LEAD = re.compile(r"\bV\s?[/E]\s?[.,]?\s?V(?:IEC)?\b")


def find(head: Head, profile: Profile) -> Field:
    """The subject of a document with this head."""
    if head.title is not None:
        parts = _below_title(head, head.title, profile)
        if not parts:
            why = "no line stands between the title and the text"
            return missing(why, head.title.line)
        return joined(head.page, parts, 0.8)
    parts = _about(head, profile)
    if parts:
        return joined(head.page, parts, 0.75)
    return missing("there is neither a title nor a line that begins with V/v")


def _below_title(head: Head, title: Title, profile: Profile) -> list[Line]:
    parts = [title.rest] if title.rest else []
    for line in head.lines:
        if line.start <= title.line.start or (_blank(line) and not parts):
            continue
        # "Thực hiện ..." may be the subject itself; "Căn cứ ..." never is.
        kinds = OPENERS if parts else FORMULAS
        if _blank(line) or len(parts) >= LINES or opens_body(line, profile, kinds):
            break
        text = line.part(0) if parts else _from_lead(line)
        if parts and text.capitals and not parts[0].capitals and len(text.key) > 5:
            break
        if text:
            parts.append(text)
    return _without_sentence(parts)


def _blank(line: Line) -> bool:
    return not any(c.isalnum() for c in line.text)


def _without_sentence(parts: list[Line]) -> list[Line]:
    """Where no blank line parts them, the text's first sentence follows: it ends with a stop."""
    stops = [i for i, p in enumerate(parts) if i and re.search(r"\w\.\s*$", p.text)]
    if not stops:
        return parts
    begins = [i for i in range(1, stops[0] + 1) if parts[i].text[0].isupper()]
    return parts[: begins[-1]] if begins else parts


def _from_lead(line: Line) -> Line:
    match = _LEAD.search(line.folded)
    return line.part(match.start() if match else 0)


def _about(head: Head, profile: Profile) -> list[Line]:
    parts: list[Line] = []
    for line, start in _after_lead(head):
        if parts and (_blank(line) or opens_body(line, profile)):
            break
        text = line.part(start)
        if head.place_date and head.place_date.line.start == line.start:
            text = Line(line.page, line.index, text.start, line.start + head.place_date.start)
        text = text.part(0)
        if text.key:
            parts.append(text)
        if len(parts) >= LINES:
            break
    return parts


def _after_lead(head: Head) -> Iterator[tuple[Line, int]]:
    """The lines from the one with "V/v" on; the party's begin with a plain "về"."""
    begun = False
    for line in head.lines:
        start = 0
        if not begun:
            match = _LEAD.search(line.folded)
            below = head.number is not None and line.start > head.number.line.start
            if match is None and below:
                match = re.match(r"\W*(?=VE\s)", line.folded)
            if match is None:
                continue
            begun, start = True, match.start()
        yield line, start
