"""Lays out the split plan: what was seen on the pages goes in, the plan comes out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from archived.api import Message, Sheet, SheetError, SheetKind, check_dossier
from archived_separate import covers
from archived_separate.patch import UPSIDE_DOWN
from archived_separate.plan import Plan, Rules, Seen, Segment, Separator

_LONGEST = 600
"""Characters of a code that are compared with somebody's pattern."""


def lay_out(pages: Sequence[Seen], rules: Rules) -> Plan:
    """The plan for these pages."""
    made = Plan(len(pages))
    pattern = re.compile(rules.payload) if rules.payload else None
    found = {
        number: separator
        for number, seen in enumerate(pages, 1)
        if (separator := _separator(number, seen, rules, pattern, made)) is not None
    }
    made.separators = list(found.values())
    backs = set(_backs(pages, found, made)) if rules.sides == "two" else set()
    _cut(found, backs, rules, made)
    covers.judge(made, rules)
    _judge_lengths(made, rules)
    return made


def _separator(
    number: int, seen: Seen, rules: Rules, pattern: re.Pattern[str] | None, made: Plan
) -> Separator | None:
    sheets = dict.fromkeys(_sheets(number, seen, made))
    covers = [sheet for sheet in sheets if sheet.kind is SheetKind.COVER]
    if len(covers) > 1:
        made.suspect("sheet-conflict", "two different cover sheets are on one page", number)
    if covers:
        cover = covers[0]
        return Separator(number, "cover", cover.text(), cover, cover.dossier)
    if any(sheet.kind is SheetKind.PLAIN for sheet in sheets):
        return Separator(number, "sheet")
    for _, text in seen.codes:
        match = pattern.fullmatch(text) if pattern is not None and len(text) <= _LONGEST else None
        if match is not None:
            return _foreign(number, text, match, made)
    wanted = {twin for name in rules.patches for twin in (name, UPSIDE_DOWN[name])}
    for name in seen.patches:
        # With a damaged cover sheet's bars alone nobody knows which dossier begins.
        if name in wanted and not sheets:
            if seen.unread:
                made.suspect("separator-unread", seen.unread, number)
            return Separator(number, "patch", name)
    if sheets:  # a mark, and no cover to go with it
        made.suspect("separator-unread", "a cover sheet's QR code cannot be read", number)
    elif seen.unread:
        made.suspect("separator-unread", seen.unread, number)
    return Separator(number, "blank") if rules.blank_pages and seen.blank else None


def _sheets(number: int, seen: Seen, made: Plan) -> Iterator[Sheet]:
    for _, text in seen.codes:
        try:
            sheet = Sheet.read(text)
        except SheetError as error:
            made.suspect(error.code, f"a sheet's code cannot be believed: {error}", number)
            continue
        if sheet is not None:
            yield sheet


def _foreign(number: int, text: str, match: re.Match[str], made: Plan) -> Separator:
    dossier = match.groupdict().get("dossier") or ""
    if dossier:
        try:
            check_dossier(dossier)
        except SheetError as error:
            made.suspect("sheet-invalid", str(error), number)
            dossier = ""
    return Separator(number, "code", text[:200], dossier=dossier)


def _backs(pages: Sequence[Seen], found: Mapping[int, Separator], made: Plan) -> Iterator[int]:
    """The other sides of separators, where nothing is on them."""
    for number in found:
        other = number + 1 if number % 2 else number - 1
        if other in found or other > len(pages):
            continue
        if pages[other - 1].blank:
            yield other
        else:
            made.notes.append(
                Message(
                    "page {other} is the other side of a separator and not empty: it was kept",
                    other=other,
                )
            )


def _cut(found: Mapping[int, Separator], backs: set[int], rules: Rules, made: Plan) -> None:
    here: list[int] = []
    begun: Separator | None = None
    dossier = ""

    def close() -> None:
        nonlocal here
        kept = [begun.page] if rules.keep and begun is not None and here else []
        if here:
            step = rules.every or len(here)
            for start in range(0, len(here), step):
                head = kept if start == 0 else []
                pages = (*head, *here[start : start + step])
                by = begun.page if begun is not None and start == 0 else None
                made.segments.append(Segment(pages, by, dossier))
        elif begun is not None and begun.kind != "cover":
            made.notes.append(
                Message("no page follows the separator on page {page}", page=begun.page)
            )
        here = []

    for number in range(1, made.pages + 1):
        if number in found:
            close()
            begun = found[number]
            dossier = begun.dossier or dossier
        elif number not in backs:
            here.append(number)
    close()
    kept = {page for segment in made.segments for page in segment.pages}
    made.dropped = [n for n in range(1, made.pages + 1) if n not in kept]


def _judge_lengths(made: Plan, rules: Rules) -> None:
    if made.separators and not made.segments:
        made.suspect("only-separators", "there are separators and no pages of a document")
    if len(made.segments) > rules.max_parts:
        made.suspect(
            "too-many-parts",
            f"{len(made.segments)} documents, more than the {rules.max_parts} allowed",
        )
    if len(made.segments) < 2 and not made.separators:
        return
    for segment in made.segments:
        count = len(segment.pages) - (segment.separator in segment.pages)
        where = f"pages {segment.pages[0]} to {segment.pages[-1]}"
        if count < rules.min_pages:
            made.suspect(
                "segment-too-short",
                f"{where}: {count} of at least {rules.min_pages} pages",
                segment.pages[0],
            )
        if rules.max_pages_each and count > rules.max_pages_each:
            made.suspect(
                "segment-too-long",
                f"{where}: {count} of at most {rules.max_pages_each} pages",
                segment.pages[0],
            )
