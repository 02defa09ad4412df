"""How days and instants are written for people: one form in each language, everywhere.

English: `2026-11-22 14:05`. Vietnamese: `22/11/2026 14:05`. Names of files, arguments of commands
and `--json` have `2026-11-22` whatever is spoken.
"""

from __future__ import annotations

import re
from datetime import date, datetime, tzinfo

VIETNAMESE_DAY = "%d/%m/%Y"
"""How a day is written in a text that is Vietnamese and English at once, Vietnamese first."""

_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d:\d\d)(:\d\d)?)?( UTC)?")
_VIETNAMESE = re.compile(r"(\d\d?)/(\d\d?)/(\d{4})")


def moment(at: datetime, zone: tzinfo, day_form: str, *, seconds: bool = False) -> str:
    """An instant on `zone`'s clock, with its day in `day_form`."""
    clock = "%H:%M:%S" if seconds else "%H:%M"
    return at.astimezone(zone).strftime(f"{day_form} {clock}")


def rewritten(text: str, day_form: str) -> str:
    """A day or instant that stands in ISO 8601, in `day_form`; any other text as it is."""
    found = _ISO.fullmatch(text)
    if found is None:
        return text
    year, month, day, clock, seconds, zone = found.groups()
    try:
        told = date(int(year), int(month), int(day)).strftime(day_form)
    except ValueError:
        return text
    return told + (f" {clock}" if clock else "") + (seconds or "") + (zone or "")


def read_day(text: str) -> date:
    """A day as a person types it: `2026-11-22` or `22/11/2026`. Raises `ValueError`."""
    if found := _VIETNAMESE.fullmatch(text.strip()):
        day, month, year = map(int, found.groups())
        return date(year, month, day)
    return date.fromisoformat(text)
