"""When a lane is open, and which document it takes next. Pure.

`Hours` is a window of the day in a time zone. `FairQueue` shares a lane between devices. Waiting
documents form lines: one for each device, priority and position in the pipeline, first come first
served. Lines of one device and priority take turns together.

- Higher priority goes first; among equals, the device that was served longest ago.
- What has waited longer than `ageing` counts as of the highest priority that waits in the lane.
- Of one device and priority, what is nearest to its end goes first; but every fourth time what has
  waited longest, when that is longer than `ageing`.

So between two turns of a device each other one has at most one, and after `ageing` no priority
passes it any more: nothing starves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
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
            (
                max(min(closes, until) - max(opens, since), timedelta())
                for opens, closes in self._windows(first - timedelta(1), last)
            ),
            timedelta(),
        )

    def _windows(self, first: date, last: date) -> Iterator[tuple[datetime, datetime]]:
        """Those that begin from one day to another, UTC."""
        over = timedelta(days=1) if self.hours.end < self.hours.start else timedelta()
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            if day.weekday() in self.hours.days:
                opens = datetime.combine(day, self.hours.start, self.zone)
                closes = datetime.combine(day + over, self.hours.end, self.zone)
                yield opens.astimezone(UTC), closes.astimezone(UTC)


_MOST = 4096
"""Devices that are remembered although nothing of theirs waits."""
_OLDEST_EVERY = 4


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """Documents that wait for one place in the pipeline; `since`: when its first became due."""

    device: str
    priority: int
    position: int
    since: datetime

    @property
    def turn(self) -> tuple[str, int]:
        """Those who share turns."""
        return self.device, self.priority


@dataclass(slots=True)
class _Served:
    last: int
    """Number of the lane's start that was its last; when it never had one, of the one before."""
    starts: int = 0


class FairQueue:
    """Remembers who was served when, for one lane. Forgetting it costs nobody more than a turn."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, int], _Served] = {}
        self._count = 0

    def served(self, line: WaitingLine) -> None:
        """A document of this line was started."""
        self._count += 1
        self._served[line.turn] = _Served(self._count, self._of(line).starts + 1)

    def next(
        self, lines: Iterable[WaitingLine], now: datetime, ageing: timedelta
    ) -> WaitingLine | None:
        """The line whose first document goes next; `None` when there are no lines."""
        waiting: dict[tuple[str, int], list[WaitingLine]] = {}
        for line in lines:
            self._of(line)
            waiting.setdefault(line.turn, []).append(line)
        if not waiting:
            return None
        top = max(priority for _, priority in waiting)

        def order(turn: tuple[str, int]) -> tuple[int, int, int]:
            aged = any(now - line.since > ageing for line in waiting[turn])
            return -top if aged else -turn[1], self._served[turn].last, -turn[1]

        self._forget(waiting)
        mine = waiting[min(waiting, key=order)]
        oldest = min(mine, key=lambda line: line.since)
        due_for_oldest = self._of(oldest).starts % _OLDEST_EVERY == _OLDEST_EVERY - 1
        if due_for_oldest and now - oldest.since > ageing:
            return oldest
        return max(mine, key=lambda line: line.position)

    def _of(self, line: WaitingLine) -> _Served:
        # Who is new stands behind those who wait already.
        return self._served.setdefault(line.turn, _Served(self._count))

    def _forget(self, waiting: Iterable[tuple[str, int]]) -> None:
        if len(self._served) > _MOST:
            self._served = {turn: self._served[turn] for turn in waiting}
