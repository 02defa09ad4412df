"""What cover sheets say against what was scanned: counts, order, levels, one dossier or another.

Pure; part of planning.
"""

from __future__ import annotations

from itertools import pairwise

from archived.api import Sheet
from archived.api.cover_sheet import LEVELS
from archived_separate.plan import Plan, Rules, Separator


def judge(made: Plan, rules: Rules) -> None:
    """Compare every cover sheet with its neighbours and with the pages after it."""
    if made.separators and rules.sides == "two" and made.pages % 2:
        made.suspect("sheets-uneven", f"{made.pages} pages cannot be both sides of sheets")
    covers: dict[str, list[tuple[Separator, Sheet]]] = {}
    for separator in made.separators:
        if separator.dossier and rules.dossier and separator.dossier != rules.dossier:
            made.suspect(
                "dossier-differs",
                f"the sheet says dossier {separator.dossier}, the "
                f"document belongs to {rules.dossier}",
                separator.page,
            )
        if separator.cover is not None:
            covers.setdefault(separator.dossier, []).append((separator, separator.cover))
    if covers and not rules.dossier:
        _before(made, min(found[0][0].page for found in covers.values()))
    for dossier, found in covers.items():
        _agree(made, dossier, found)
        _in_order(made, dossier, found)
        _count(made, rules, dossier, found)
    levels = [c.secrecy for found in covers.values() for _, c in found if c.secrecy]
    made.secrecy = max(levels, key=LEVELS.index, default="")


def _before(made: Plan, first: int) -> None:
    """Pages before the first cover sheet belong to nobody: most likely a cover was not seen."""
    early = [s for s in made.segments if s.pages[0] < first and not s.dossier]
    if early:
        made.suspect(
            "separators-missing",
            f"pages {early[0].pages[0]} to {early[-1].pages[-1]} come before the first cover sheet",
            early[0].pages[0],
        )


def _agree(made: Plan, dossier: str, found: list[tuple[Separator, Sheet]]) -> None:
    said = {(c.sheets, c.secrecy, c.of) for _, c in found}
    if len(said) > 1:
        made.suspect(
            "sheet-conflict",
            f"the cover sheets of dossier {dossier} say different numbers or levels",
            found[0][0].page,
        )


def _in_order(made: Plan, dossier: str, found: list[tuple[Separator, Sheet]]) -> None:
    """Numbered covers tell which of them was lost: the surest sign of a separator not seen."""
    of = max(c.of for _, c in found)
    if of == 1:
        return
    numbers = [c.number for _, c in found]
    missing = sorted(set(range(1, of + 1)) - set(numbers))
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
        made.suspect(
            "separators-missing",
            f"of the {of} cover sheets of dossier {dossier} these were not seen: {shown}",
            found[0][0].page,
        )
    for (before, earlier), (after, later) in pairwise(found):
        if later.number <= earlier.number:
            made.suspect(
                "separators-out-of-order",
                f"cover sheet {later.number} of dossier "
                f"{dossier} comes after {earlier.number}, which is on page "
                f"{before.page}",
                after.page,
            )
            return


def _count(made: Plan, rules: Rules, dossier: str, found: list[tuple[Separator, Sheet]]) -> None:
    expected = found[0][1].sheets
    separators = {separator.page for separator in made.separators}
    pages = sum(
        len([p for p in s.pages if p not in separators])
        for s in made.segments
        if s.dossier == dossier
    )
    if rules.sides == "unknown":
        made.sheets[dossier] = expected, None
        return
    sheets = pages if rules.sides == "one" else (pages + 1) // 2
    made.sheets[dossier] = expected, sheets
    if expected is not None and sheets != expected:
        code = "sheets-missing" if sheets < expected else "sheets-extra"
        made.suspect(
            code,
            f"dossier {dossier} should have {expected} sheets, {sheets} were scanned",
            found[0][0].page,
        )
