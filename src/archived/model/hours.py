"""When something is open: a window of the day, on all days or some, on a zone's clock. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
"""As in systemd.time(7); their place is what `date.weekday` gives."""
_ALL = frozenset(range(7))
_LONGEST = timedelta(days=366)
"""Further back no time is counted."""


@dataclass(frozen=True, slots=True)
class Hours:
    """From `start` to `end`, over midnight when `end` is the earlier; `end` itself is outside.

    `days`: on which it begins, 0 for Monday.
    """

    start: time
    end: time
    days: frozenset[int] = _ALL

    @classmethod
    def parse(cls, text: str) -> Hours:
        """`"18:00-06:00"` or `"Mon-Fri 07:30-17:00"`. Raises `ValueError`."""
        match = re.fullmatch(
            r"(?:(\S+)\s+)?(\d{1,2}):(\d\d)\s*[-–]\s*(\d{1,2}):(\d\d)", text.strip()
        )
        try:
            if match is None:
                raise ValueError  # noqa: TRY301 - one sentence for all that can be wrong
            days = _ALL if match[1] is None else _days(match[1])
            start, end = time(int(match[2]), int(match[3])), time(int(match[4]), int(match[5]))
        except ValueError:
            raise ValueError(
                'write a window of the day, like "18:00-06:00" or "Mon-Fri 07:30-17:00"'
            ) from None
        if start == end:
            raise ValueError("begins and ends at the same time; leave it out for the whole day")
        return cls(start, end, days)

    def __str__(self) -> str:
        window = f"{self.start:%H:%M}-{self.end:%H:%M}"
        if self.days == _ALL:
            return window
        return f"{','.join(DAYS[day] for day in sorted(self.days))} {window}"


ALWAYS = Hours(time.min, time.max)
"""The whole day, but for its last microsecond."""


def _days(text: str) -> frozenset[int]:
    """`"Mon-Fri,Sun"`. Raises `ValueError`."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.replace("–", "-").partition("-")
        begin = DAYS.index(first.capitalize())
        end = DAYS.index(last.capitalize()) if dash else begin
        found.update((begin + n) % 7 for n in range((end - begin) % 7 + 1))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class ZonedHours:
    """Hours on the clock of a zone."""

    hours: Hours
    zone: tzinfo

    def works_at(self, now: datetime) -> bool:
        """Whether it is open at an instant."""
        today = now.astimezone(self.zone).date()
        return any(
            opens <= now < closes for opens, closes in self._windows(today - timedelta(1), today)
        )

    def opens(self, now: datetime) -> datetime:
        """When it opens next after an instant, UTC."""
        today = now.astimezone(self.zone).date()
        for opens, _ in self._windows(today, today + timedelta(days=8)):
            if opens > now:
                return opens
        raise AssertionError("no day of a week is in the set")

    def open_between(self, since: datetime, until: datetime) -> timedelta:
        """For how long it was open from one instant to another, at most over a year."""
        since = max(since, until - _LONGEST)
        first, last = (at.astimezone(self.zone).date() for at in (since, until))
        return sum(
            (max(min(closes, until) - max(opens, since), timedelta())
             for opens, closes in self._windows(first - timedelta(1), last)),
            timedelta(),
        )  # fmt: skip

    def _windows(self, first: date, last: date) -> Iterator[tuple[datetime, datetime]]:
        """Those that begin from one day to another, UTC."""
        over = timedelta(days=1) if self.hours.end < self.hours.start else timedelta()
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            if day.weekday() in self.hours.days:
                opens = datetime.combine(day, self.hours.start, self.zone)
                closes = datetime.combine(day + over, self.hours.end, self.zone)
                yield opens.astimezone(UTC), closes.astimezone(UTC)
