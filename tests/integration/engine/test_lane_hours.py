"""A scheduler whose lane has hours, on a real catalog; the clock is turned by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from archived.engine.scheduler import Scheduler
from archived.engine.sealing import Sealer
from archived.model.outcome import Ending, Outcome
from archived.model.scheduling import Hours, ZonedHours
from archived.storage.artifacts import ArchiveStorage
from tests.fault.hand_driven_archive import CONTENT, DECK, World


class Inline:
    """A runner as a plug-in may give one: what it is asked to run ends well at once."""

    def __init__(self) -> None:
        self.ran = asyncio.Event()

    async def start(self) -> None:
        """Nothing to start."""

    async def run(self, request: Any, on_progress: Any = None, on_log: Any = None) -> Outcome:
        self.ran.set()
        return Outcome(Ending.FINISHED)

    async def stop(self, grace: float = 0.0) -> None:
        """Nothing to stop."""


async def test_a_lane_outside_its_hours_starts_nothing_and_says_until_when(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.hot / "page.pdf").write_bytes(CONTENT)
    world.sweep()
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    clock = [datetime(tomorrow.year, tomorrow.month, tomorrow.day, 17, 59, 59, tzinfo=UTC)]
    wake, runner = asyncio.Event(), Inline()
    scheduler = Scheduler(
        ArchiveStorage(world.spool, world.store, world.catalog),
        Sealer(world.spool, world.store, world.catalog, ""),
        clock=lambda: clock[0],
        wake=wake,
        tell=lambda _: None,
    )
    night = ZonedHours(Hours.parse("18:00-06:00"), UTC)
    scheduler.use(DECK, {"cpu": runner}, {"cpu": 1}, {"cpu": night})
    opens = clock[0] + timedelta(seconds=1)

    assert scheduler.closed() == {"cpu": opens}
    assert scheduler.open_lanes() == ["seal"]
    assert world.catalog.count_due(clock[0]) == {"cpu": 1}
    await scheduler._start_due(clock[0])
    assert scheduler.active == {}
    assert 0.9 < await scheduler._until_next_due(clock[0]) < 1.1

    clock[0] = opens
    work = asyncio.create_task(scheduler.run())
    await asyncio.wait_for(runner.ran.wait(), 100)
    assert scheduler.closed() == {}

    await scheduler.stop(0)
    await asyncio.wait_for(work, 100)
    world.catalog.close()
