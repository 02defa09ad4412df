"""Whose turn it is: a fair share for every device, and nothing waits for ever. Pure.

What waits in a lane stands in *lines*: one for each device, priority and place in the pipeline,
each first come, first served. Lines of one device and priority take turns together.

- Higher priority goes first; among equals, the device that was served longest ago.
- What has waited longer than `ageing` counts as of the highest priority that waits in the lane.
- Of one device and priority, what is nearest to its end goes first; but every fourth time what has
  waited longest, when that is longer than `ageing`.

So between two turns of a device each other one has at most one, and after `ageing` no priority
passes it any more: nothing starves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

_MOST = 4096
"""Devices that are remembered although nothing of theirs waits."""
_OLDEST_EVERY = 4


@dataclass(frozen=True, slots=True)
class Line:
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


class Turns:
    """Remembers who was served when, for one lane. Forgetting it costs nobody more than a turn."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, int], _Served] = {}
        self._count = 0

    def served(self, line: Line) -> None:
        """A document of this line was started."""
        self._count += 1
        self._served[line.turn] = _Served(self._count, self._of(line).starts + 1)

    def next(self, lines: Iterable[Line], now: datetime, ageing: timedelta) -> Line | None:
        """The line whose first document goes next; `None` when there are no lines."""
        waiting: dict[tuple[str, int], list[Line]] = {}
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

    def _of(self, line: Line) -> _Served:
        # Who is new stands behind those who wait already.
        return self._served.setdefault(line.turn, _Served(self._count))

    def _forget(self, waiting: Iterable[tuple[str, int]]) -> None:
        if len(self._served) > _MOST:
            self._served = {turn: self._served[turn] for turn in waiting}
