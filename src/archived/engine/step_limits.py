"""How long a step may take, and how much it may use, when its work grows with its document's pages.

The core counts no pages: that takes a parser. What it sees is that a step gets on. So `timeout` is
how long it may go without, and `max_time` the end; and memory grows, inside the step's own process,
with the pages that it tells, up to a limit that the process cannot change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from archived.engine.protocol import StepLimits
from archived.engine.specs import StageSpec

STALLED = "stalled"
"""Why a step was ended that did not get on."""


def longest(spec: StageSpec) -> timedelta:
    """The end of an attempt, however well it gets on."""
    return max(spec.timeout, spec.max_time or timedelta())


def end_beyond(spec: StageSpec) -> float:
    """Seconds of that end where it is later than `timeout`; else 0: the deadline says it all."""
    return longest(spec).total_seconds() if longest(spec) > spec.timeout else 0.0


def limits_of(spec: StageSpec) -> StepLimits:
    """What an attempt may use. It may not use more processor time than wall clock: one page is one
    core's work.
    """
    return StepLimits(
        memory=spec.memory,
        cpu_seconds=max(1, int(longest(spec).total_seconds())),
        network=spec.network,
        system_calls=spec.system_calls,
        memory_per_page=spec.memory_per_page,
        max_memory=spec.max_memory,
    )


class ProgressWatch:
    """One step's: whether it gets on. `begin` when it has its place, `told` at each fraction."""

    def __init__(self, patience: float, max_time: float) -> None:
        self._patience = patience
        self.ends = max(patience, max_time)
        """Seconds after which the step ends in any case."""
        self._furthest = 0.0
        self._moved = time.monotonic()
        self._begun = asyncio.Event()
        self._got_on = asyncio.Event()

    def begin(self) -> None:
        """Its time runs from here."""
        self._moved = time.monotonic()
        self._begun.set()

    def told(self, fraction: float) -> None:
        """The step said how far it is. To say the same again is not to get on."""
        if fraction > self._furthest:
            self._furthest, self._moved = fraction, time.monotonic()
            self._got_on.set()

    async def watch(self, end: Callable[[str], Awaitable[object]]) -> None:
        """End the step when it has not got on for too long. Cancel it when the step has ended."""
        if self.ends <= self._patience:
            return  # its deadline says the same
        await self._begun.wait()
        while (left := self._moved + self._patience - time.monotonic()) > 0:
            self._got_on.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._got_on.wait()
        await end(STALLED)
