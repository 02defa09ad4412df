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
from archived.model.account import Settled, Sheet

_MOST_DIFFERENCES = 100


class Asked:
    """Which files are asked for: `since`, `until`, `folder`, `device`, and the `zone` of days.

    Raises `ArchivedError` for an instant or zone that is none.
    """

    def __init__(self, arguments: Mapping[str, str]) -> None:
        self.zone = zone_of(arguments.get("zone", "UTC"))
        self.since = _instant(arguments, "since", self.zone)
        self.until = _instant(arguments, "until", self.zone)
        self.folder = arguments.get("folder")
        self.device = arguments.get("device")

    def wants(self, file: Settled) -> bool:
        """Whether a file is part of what is asked for."""
        return (
            self.folder in {None, file.hotfolder}
            and self.device in {None, file.device}
            and (self.since is None or self.since <= file.seen)
            and (self.until is None or file.seen < self.until)
        )

    def day(self, file: Settled) -> str:
        """The day a file belongs to, `YYYY-MM-DD`."""
        return file.seen.astimezone(self.zone).date().isoformat()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return (self.folder, self.device, self.since, self.until) == (None, None, None, None)


def balance_sheet(
    files: Iterable[Settled], asked: Asked, folders: Collection[str] = ()
) -> dict[str, Any]:
    """The sheet in JSON values. `folders`: configured ones, shown though nothing ever came."""
    of: dict[str, dict[str, Sheet]] = {"hotfolder": {}, "device": {}, "day": {}}
    if asked.everything:
        of["hotfolder"] = {name: Sheet() for name in folders}
    total = Sheet()
    differences: list[dict[str, Any]] = []
    for file in files:
        if not asked.wants(file):
            continue
        total.add(file)
        for by, name in (("hotfolder", file.hotfolder), ("device", file.device),
                         ("day", asked.day(file))):  # fmt: skip
            of[by].setdefault(name, Sheet()).add(file)
        if file.why and len(differences) < _MOST_DIFFERENCES:
            differences.append(
                {"arrival": file.arrival, "hotfolder": file.hotfolder, "name": file.name,
                 "seen": file.seen, "why": file.why}
            )  # fmt: skip
    sums = total.as_json()
    del sums["rules"]
    return {
        "balanced": total.unaccounted == 0 and total.seen == sum(total.columns.values()),
        "since": asked.since, "until": asked.until, "zone": asked.zone,
        "folders": _lines("hotfolder", of["hotfolder"]),
        "devices": _lines("device", of["device"]),
        "days": _lines("day", of["day"]),
        "total": sums,
        "differences": differences,
    }  # fmt: skip


def _lines(by: str, sheets: Mapping[str, Sheet]) -> list[dict[str, Any]]:
    return [{by: name, **sheets[name].as_json()} for name in sorted(sheets)]


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. Raises `ArchivedError`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ArchivedError(f"{name!r} is not a time zone", code="bad-question") from None


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
            f"{name}: {text!r} is neither a day nor an instant",
            hint='write "2026-11-22" or "2026-11-22T13:00"', code="bad-question",
        ) from None  # fmt: skip
