"""When a lane works: a window of the day on the archive's clock. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo


@dataclass(frozen=True, slots=True)
class Hours:
    """From `start` to `end`, over midnight when `end` is the earlier; `end` itself is outside."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Hours:
        """`"18:00-06:00"`. Raises `ValueError`."""
        match = re.fullmatch(r"(\d{1,2}):(\d\d)\s*[-–]\s*(\d{1,2}):(\d\d)", text.strip())
        try:
            if match is None:
                raise ValueError  # noqa: TRY301 - one sentence for all that can be wrong
            start, end = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
        except ValueError:
            raise ValueError('write a window of the day, like "18:00-06:00"') from None
        if start == end:
            raise ValueError("begins and ends at the same time; leave it out for the whole day")
        return cls(start, end)

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


@dataclass(frozen=True, slots=True)
class LaneHours:
    """A window on the clock of a zone."""

    hours: Hours
    zone: tzinfo

    def works_at(self, now: datetime) -> bool:
        """Whether it is open at an instant."""
        at, start, end = now.astimezone(self.zone).time(), self.hours.start, self.hours.end
        return start <= at < end if start < end else at >= start or at < end

    def opens(self, now: datetime) -> datetime:
        """When it opens next after an instant, UTC."""
        today = now.astimezone(self.zone).date()
        for days in range(3):
            day = today + timedelta(days=days)
            opens = datetime.combine(day, self.hours.start, self.zone).astimezone(UTC)
            if opens > now:
                return opens
        raise AssertionError("some day is longer than two")
