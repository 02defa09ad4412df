"""Which due step starts next, and when.

The catalog says what is due; lanes say how much may run at once; `step_execution` runs it and
`step_recording` makes its end permanent. Nothing is decided here that a restart would not decide
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

import structlog

from archived.engine.attempt import ActiveStep, StepEnded
from archived.engine.disk_reservation import DiskReservations
from archived.engine.lane_assignment import AGEING, Queue, due_again, redirect
from archived.engine.sealing import Sealer
from archived.engine.specs import SEAL_LANE, Specs
from archived.engine.step_execution import NO_SPACE, ROOM_PAUSE, Runner, StepExecutor
from archived.errors import CatalogError
from archived.model.scheduling import ZonedHours
from archived.storage.artifacts import ArchiveStorage
from archived.storage.rows import DocumentRow

_log = structlog.get_logger("archived.engine")

LONGEST_SLEEP = 30.0
"""Seconds after which the scheduler looks at the catalog though nobody woke it."""


class Scheduler:
    """Owns the steps in work. `wake` is set by whoever makes work; `tell` hears of each end."""

    def __init__(
        self,
        storage: ArchiveStorage,
        sealer: Sealer,
        *,
        clock: Callable[[], datetime],
        wake: asyncio.Event,
        tell: Callable[[StepEnded], None],
        seal_width: int = 2,
    ) -> None:
        self._catalog = storage.catalog
        self._clock = clock
        self._wake = wake
        self._executor = StepExecutor(storage, sealer, clock=clock, tell=tell)
        self._seal_width = seal_width
        self._queue = Queue(self._catalog)
        self._hours: Mapping[str, ZonedHours] = {}
        self._widths: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    @property
    def specs(self) -> Specs:
        """What is configured now."""
        return self._executor.specs

    @property
    def active(self) -> Mapping[str, ActiveStep]:
        """Document -> its step in work."""
        return self._executor.active

    @property
    def room(self) -> DiskReservations:
        """Room on disks that steps in work have reserved."""
        return self._executor.room

    @property
    def waiting_for_room(self) -> int:
        """Documents whose next step does not fit on a disk now."""
        return len(self._executor.waiting_for_room)

    @property
    def widths(self) -> Mapping[str, int]:
        """Lane -> how many steps may run at once."""
        return self._widths

    def use(
        self,
        specs: Specs,
        runners: Mapping[str, Runner],
        widths: Mapping[str, int],
        hours: Mapping[str, ZonedHours] | None = None,
        ageing: timedelta = AGEING,
    ) -> Mapping[str, Runner]:
        """Start new steps with this from now on; returns the runners that were used before."""
        before = self._executor.use(specs, runners)
        self._widths = {**widths, SEAL_LANE: self._seal_width}
        self._hours = hours or {}
        self._queue.ageing = ageing
        self._wake.set()
        return before

    def closed(self) -> Mapping[str, datetime]:
        """Lane -> when it opens, for the lanes whose hours it is not."""
        now = self._clock()
        return {
            lane: hours.opens(now)
            for lane, hours in self._hours.items()
            if lane in self._widths and not hours.works_at(now)
        }

    def open_lanes(self) -> list[str]:
        """Lanes in which a step may start now, as far as the clock is concerned."""
        closed = self.closed()
        return [lane for lane in self._widths if lane not in closed]

    def redirect(self) -> None:
        """Give waiting documents the lanes of the specs in use. Blocking; raises `CatalogError`.

        Call it after `use`, when nobody admits by the old specs any more.
        """
        redirect(self._catalog, self.specs, self._clock())

    async def run(self) -> None:
        """Start due steps until `stop`; never ends by itself."""
        while not self._stopping:
            self._wake.clear()
            now = self._clock()
            try:
                await self._start_waiting_again()
                await self._start_due(now)
                pause = await self._until_next_due(now)
            except CatalogError as error:
                _log.error(
                    "the catalog cannot be read", action="catalog-unreadable", error=str(error)
                )
                pause = 5.0
            except Exception:  # noqa: BLE001 - ours, and documents must not stop for good
                _log.exception("the core failed to start steps", action="scheduling-failed")
                pause = 5.0
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def stop(self, grace: float) -> None:
        """Start nothing more; what runs ends or is requeued; everything that ended is on record."""
        self._stopping = True
        self._wake.set()
        await self._executor.stop(grace)
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _start_due(self, now: datetime) -> None:
        for lane in self.open_lanes():
            if self._executor.has_no_room(lane):
                continue
            busy = sum(active.lane == lane for active in self.active.values())
            free = self._widths.get(lane, 0) - busy
            if free <= 0 or (lane != SEAL_LANE and lane not in self._executor.runners):
                continue
            taken = frozenset(self._tasks)
            rows = await asyncio.to_thread(self._queue.next, lane, now, free, taken)
            if self._stopping:  # since it was asked: `stop` waits for the steps it knows
                return
            for row in rows:
                self._start(row, lane)

    def _start(self, row: DocumentRow, lane: str) -> None:
        stage = self._executor.begin(row, lane)
        task = asyncio.create_task(self._executor.attempt(row, stage), name=f"{stage} {row.id}")
        self._tasks[row.id] = task
        task.add_done_callback(partial(self._ended, row.id))

    def _ended(self, document: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(document, None)
        self._executor.end(document)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            _log.error(
                "a step could not be recorded",
                action="step-unrecorded",
                document=document,
                exc_info=task.exception(),
            )

    async def _start_waiting_again(self) -> None:
        """Documents that wait for room are due again as soon as there is some for them."""
        if fit := await self._executor.those_that_fit():
            await asyncio.to_thread(due_again, self._catalog, fit, NO_SPACE, self._clock())
            self._executor.waits_no_more(fit)

    async def _until_next_due(self, since: datetime) -> float:
        # What was due by then waits for a place in its lane; the step that ends will wake us.
        opens = list(self.closed().values())
        if self._executor.waiting_for_room:
            opens.append(self._clock() + timedelta(seconds=ROOM_PAUSE))
        due = await asyncio.to_thread(self._catalog.next_due, self.open_lanes(), since)
        next_time = min([*opens, *([due] if due else [])], default=None)
        if next_time is None:
            return LONGEST_SLEEP
        seconds = (next_time - self._clock()).total_seconds()
        return min(LONGEST_SLEEP, max(0.0, seconds) + 0.01)
