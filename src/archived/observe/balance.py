"""The balance sheet as `archivectl account` asks for it: a selection, by folder, device and day.

A day is the archive's, and a file belongs to the day on which it was first seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from archived.errors import ArchivedError
from archived.locale.dates import read_day
from archived.message import Message
from archived.model.reconciliation import BalanceSheet, ReconciledFile

_MOST_DIFFERENCES = 100


class BalanceSelection:
    """Which files are asked for: `since`, `until`, `folder`, `device`, and the `zone` of days.

    Raises `ArchivedError` for an instant or zone that is none.
    """

    def __init__(self, arguments: Mapping[str, str]) -> None:
        self.zone = zone_of(arguments.get("zone", "UTC"))
        self.since = _instant(arguments, "since", self.zone)
        self.until = _instant(arguments, "until", self.zone)
        self.folder = arguments.get("folder")
        self.device = arguments.get("device")

    def wants(self, file: ReconciledFile) -> bool:
        """Whether a file is part of what is asked for."""
        return (
            self.folder in {None, file.hotfolder}
            and self.device in {None, file.device}
            and (self.since is None or self.since <= file.seen)
            and (self.until is None or file.seen < self.until)
        )

    def day(self, file: ReconciledFile) -> str:
        """The day a file belongs to, `YYYY-MM-DD`."""
        return file.seen.astimezone(self.zone).date().isoformat()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return (self.folder, self.device, self.since, self.until) == (None, None, None, None)


def balance_sheet(
    files: Iterable[ReconciledFile], asked: BalanceSelection, folders: Collection[str] = ()
) -> dict[str, Any]:
    """The sheet in JSON values. `folders`: configured ones, shown though nothing ever came."""
    of: dict[str, dict[str, BalanceSheet]] = {"hotfolder": {}, "device": {}, "day": {}}
    if asked.everything:
        of["hotfolder"] = {name: BalanceSheet() for name in folders}
    total = BalanceSheet()
    differences: list[dict[str, Any]] = []
    for file in files:
        if not asked.wants(file):
            continue
        total.add(file)
        for by, name in (
            ("hotfolder", file.hotfolder),
            ("device", file.device),
            ("day", asked.day(file)),
        ):
            of[by].setdefault(name, BalanceSheet()).add(file)
        if file.why and len(differences) < _MOST_DIFFERENCES:
            differences.append(
                {
                    "arrival": file.arrival,
                    "hotfolder": file.hotfolder,
                    "name": file.name,
                    "seen": file.seen,
                    "why": file.why,
                }
            )
    sums = total.as_json()
    del sums["rules"]
    return {
        "balanced": total.unaccounted == 0 and total.seen == sum(total.columns.values()),
        "since": asked.since,
        "until": asked.until,
        "zone": asked.zone,
        "folders": _lines("hotfolder", of["hotfolder"]),
        "devices": _lines("device", of["device"]),
        "days": _lines("day", of["day"]),
        "total": sums,
        "differences": differences,
    }


def _lines(by: str, sheets: Mapping[str, BalanceSheet]) -> list[dict[str, Any]]:
    return [{by: name, **sheets[name].as_json()} for name in sorted(sheets)]


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. Raises `ArchivedError`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ArchivedError(
            Message("{name!r} is not a time zone", name=name), code="bad-question"
        ) from None


def _instant(arguments: Mapping[str, str], name: str, zone: ZoneInfo) -> datetime | None:
    """A day stands for its beginning, or, for `until`, for its end; without a zone it is ours."""
    text = arguments.get(name)
    if text is None:
        return None
    try:
        if len(text) <= len("2026-11-22"):
            day = read_day(text) + timedelta(days=name == "until")
            return datetime.combine(day, time(), zone).astimezone(UTC)
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ArchivedError(
            Message("{name}: {text!r} is neither a day nor an instant", name=name, text=text),
            hint=Message('write "2026-11-22" or "2026-11-22T13:00"'),
            code="bad-question",
        ) from None
