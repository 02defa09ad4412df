"""Which due step starts next, and what happens when it ends.

The catalog says what is due; lanes say how much may run at once; the runner runs it; `policy`
judges; `commit` makes it permanent. Nothing is decided here that a restart would not decide again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

import structlog

from archived.engine import commit, masters
from archived.engine.attempts import Active, StepEnded
from archived.engine.boundary import DocumentCard, Request, asked_about
from archived.engine.cards import SEAL_LANE, Deck, StageCard
from archived.engine.copies import prove
from archived.engine.core_failures import step_failed, unreadable, unrecordable
from archived.engine.custody import document_card
from archived.engine.ending import runner_lost
from archived.engine.output import check_sealed
from archived.engine.progress import end_beyond, limits_of
from archived.engine.queue import AGEING, Queue
from archived.engine.redirect import due_again, redirect
from archived.engine.room import Room, Shortage, Wanted, wanted
from archived.engine.sealing import Sealer, SearchText, of_os_error, seal_failed
from archived.errors import CatalogBusy, CatalogError, NotNow, StoreError
from archived.model.document import IllegalStep
from archived.model.hours import ZonedHours
from archived.model.outcome import Ending, Outcome, Usage
from archived.model.plan import SEAL, accepts, next_step
from archived.model.policy import decide
from archived.storage.catalog import Catalog
from archived.storage.records import DocumentRow, StepRow
from archived.storage.spool import Spool
from archived.storage.store import Store

_log = structlog.get_logger("archived.engine")

LONGEST_SLEEP = 30.0
"""Seconds after which the scheduler looks at the catalog though nobody woke it."""
NO_SPACE = "no-space"
ROOM_PAUSE = 10.0
"""Seconds after which a lane in which a step found no room tries another."""
_COMMIT_PAUSES = (0.1, 0.5, 2.0, 5.0, 15.0)
_MOST_TRIES = 6
"""Of a write that fails although the catalog is not busy: within 40 seconds."""


class Runner(Protocol):
    """A way to run steps: the local fork server, or what a plug-in gives."""

    async def start(self) -> None: ...
    async def run(
        self, request: Request, on_progress: Callable[[float], None] | None = None,
        on_log: Callable[[str], None] | None = None,
    ) -> Outcome: ...  # fmt: skip
    async def stop(self, grace: float = 0.0) -> None: ...


class Scheduler:
    """Owns the steps in work. `wake` is set by whoever makes work; `tell` hears of each end."""

    def __init__(
        self, spool: Spool, store: Store, catalog: Catalog, sealer: Sealer, *,
        clock: Callable[[], datetime], wake: asyncio.Event, tell: Callable[[StepEnded], None],
        seal_width: int = 2,
    ) -> None:  # fmt: skip
        self._spool = spool
        self._store = store
        self._catalog = catalog
        self._sealer = sealer
        self._clock = clock
        self._wake = wake
        self._tell = tell
        self._seal_width = seal_width
        self._queue = Queue(catalog)
        self._hours: Mapping[str, ZonedHours] = {}
        self._deck = Deck()
        self._runners: Mapping[str, Runner] = {}
        self._widths: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self.active: dict[str, Active] = {}
        self.room = Room()
        self._short: dict[str, Wanted] = {}
        """Documents that wait for room, and how much of it."""
        self._full: dict[str, float] = {}
        """Lane -> until when nothing is started in it, for want of room."""

    @property
    def deck(self) -> Deck:
        """What is configured now."""
        return self._deck

    @property
    def widths(self) -> Mapping[str, int]:
        """Lane -> how many steps may run at once."""
        return self._widths

    def use(
        self, deck: Deck, runners: Mapping[str, Runner], widths: Mapping[str, int],
        hours: Mapping[str, ZonedHours] | None = None, ageing: timedelta = AGEING,
    ) -> Mapping[str, Runner]:  # fmt: skip
        """Start new steps with this from now on; returns the runners that were used before."""
        before, self._runners = self._runners, runners
        self._deck = deck
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
        """Give waiting documents the lanes of the deck in use. Blocking; raises `CatalogError`.

        Call it after `use`, when nobody admits by the old deck any more.
        """
        redirect(self._catalog, self._deck, self._clock())

    async def run(self) -> None:
        """Start due steps until `stop`; never ends by itself."""
        while not self._stopping:
            self._wake.clear()
            now = self._clock()
            try:
                await self._those_that_fit()
                await self._start_due(now)
                pause = await self._until_next_due(now)
            except CatalogError as error:
                _log.error(
                    "the catalog cannot be read", action="catalog-unreadable", error=str(error)
                )
                pause = 5.0
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def stop(self, grace: float) -> None:
        """Start nothing more; what runs ends or is put back; everything that ended is on record."""
        self._stopping = True
        self._wake.set()
        # A plug-in's runner may fail to stop: what has ended is put on record all the same.
        stops = (runner.stop(grace) for runner in self._runners.values())
        await asyncio.gather(*stops, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _start_due(self, now: datetime) -> None:
        for lane in self.open_lanes():
            if self._full.get(lane, 0.0) > time.monotonic():
                continue
            busy = sum(active.lane == lane for active in self.active.values())
            free = self._widths.get(lane, 0) - busy
            if free <= 0 or (lane != SEAL_LANE and lane not in self._runners):
                continue
            taken = frozenset(self._tasks)
            for row in await asyncio.to_thread(self._queue.next, lane, now, free, taken):
                self._start(row, lane)

    def _start(self, row: DocumentRow, lane: str) -> None:
        stage = next_step(row.stages, row.position) or SEAL
        now = self._clock()
        self.active[row.id] = Active(row.id, row.name, stage, lane, row.attempts + 1, now)
        task = asyncio.create_task(self._attempt(row, stage), name=f"{stage} {row.id}")
        self._tasks[row.id] = task
        task.add_done_callback(partial(self._ended, row.id))

    def _ended(self, document: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(document, None)
        self.active.pop(document, None)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            _log.error(
                "a step could not be recorded", action="step-unrecorded", document=document,
                exc_info=task.exception(),
            )  # fmt: skip

    async def _until_next_due(self, since: datetime) -> float:
        # What was due by then waits for a place in its lane; the step that ends will wake us.
        opens = list(self.closed().values())
        if self._short:
            opens.append(self._clock() + timedelta(seconds=ROOM_PAUSE))
        due = await asyncio.to_thread(self._catalog.next_due, self.open_lanes(), since)
        next_time = min([*opens, *([due] if due else [])], default=None)
        if next_time is None:
            return LONGEST_SLEEP
        seconds = (next_time - self._clock()).total_seconds()
        return min(LONGEST_SLEEP, max(0.0, seconds) + 0.01)

    async def _attempt(self, row: DocumentRow, stage: str) -> None:
        step = self._step(row, stage)
        try:
            card = self._deck.stages.get(stage)
            # The pair that belongs together: a reload may replace both while this step waits.
            runner = self._runners.get(card.lane) if card else None
            if stage == SEAL:
                await self._seal(row, step)
            elif card is None or runner is None:
                await self._missing(row, step)
            else:
                await self._run_stage(row, step, card, runner)
        except (NotNow, IllegalStep) as error:
            _log.info(
                "moved on in the meantime", action="step-moot", document=row.id, why=str(error)
            )
        except CatalogError as error:
            _log.error(
                "the catalog cannot be written; the step is tried again", action="catalog-busy",
                document=row.id, error=str(error),
            )  # fmt: skip
            await asyncio.sleep(1.0)
            await self._end_anyhow(row, step, unreadable(error), only_begun=True)
        except Exception as error:  # noqa: BLE001 - ours, and it must not stop other documents
            _log.exception("the core failed to run a step", action="step-failed",
                           document=row.id, stage=stage)  # fmt: skip
            await self._end_anyhow(row, step, step_failed(error), only_begun=False)

    async def _end_anyhow(
        self, row: DocumentRow, step: StepRow, outcome: Outcome, *, only_begun: bool
    ) -> None:
        """Put a failure of our own on record, so that no document stays behind as running."""
        try:
            running = (await asyncio.to_thread(self._catalog.document, row.id)).running
            if running is None and not only_begun:
                await asyncio.to_thread(commit.begin_step, self._catalog, row, step, step.started)
                running = step.id
            if running == step.id:
                await self._commit(row, step, outcome)
        except Exception:  # noqa: BLE001 - the health check tells of it, and the restart finds it
            _log.exception("a step could not be recorded; the restart will find it",
                           action="step-unrecorded", document=row.id, stage=step.stage)  # fmt: skip
            await asyncio.sleep(5.0)  # what fails at once would be started again at once

    async def _run_stage(
        self, row: DocumentRow, step: StepRow, card: StageCard, runner: Runner
    ) -> None:
        sealed = row.object_key is not None
        if sealed and (stopped := await asyncio.to_thread(masters.stops, self._catalog, row)):
            await asyncio.to_thread(commit.begin_step, self._catalog, row, step, step.started)
            await self._commit(row, step, stopped)
            return
        try:
            document = await asyncio.to_thread(
                document_card, self._spool, self._store, self._catalog, row
            )
        except (StoreError, OSError) as error:
            await asyncio.to_thread(commit.begin_step, self._catalog, row, step, step.started)
            await self._commit(row, step, unreadable(error))
            return
        kinds = asked_about(document.document(), any_original=card.any_original)
        if not accepts(card.accepts, *kinds):
            why = f"{card.name} does not accept {', '.join(dict.fromkeys(kinds))}"
            await asyncio.to_thread(commit.skip_step, self._catalog, self._deck, row, step, why)
            self._tell(StepEnded(step.stage, "skipped", "", Usage()))
            return
        size = sum(artifact.size for artifact in document.artifacts)
        space = card.space * self.room.times(row.id)
        async with self._with_room(row, step, wanted(self._spool.work, size, space)) as short:
            await asyncio.to_thread(commit.begin_step, self._catalog, row, step, step.started)
            outcome = short or await self._run_in_child(document, step, card, runner)
            if short is None:
                await asyncio.to_thread(self._clear, step, outcome)
            outcome = check_sealed(outcome) if sealed else outcome
            if outcome.copies:
                outcome = await prove(outcome, document, self._store, self._targets(card), runner)
            await self._commit(row, step, outcome)

    def _targets(self, card: StageCard) -> dict[str, dict[str, Any]]:
        """The places that a stage is given."""
        if not card.targets:
            return {}
        all_targets = self._deck.targets.values()
        return {t.name: {"kind": t.kind, "options": dict(t.options)} for t in all_targets}

    def _clear(self, step: StepRow, outcome: Outcome) -> None:
        self.room.learn(step.document, outgrown=outcome.code == NO_SPACE)
        if outcome.ending is not Ending.FINISHED:
            # Nothing of it is kept, and the catalog that is to say so may need the room.
            with contextlib.suppress(OSError):
                self._spool.end_work(step.id)

    @asynccontextmanager
    async def _with_room(
        self, row: DocumentRow, step: StepRow, needed: Wanted
    ) -> AsyncIterator[Outcome | None]:
        """Room for a step while it runs; the ending it has at once when there is none."""
        short: Shortage | None = None
        with contextlib.suppress(OSError):  # a disk that cannot be asked says why when it is used
            short = await asyncio.to_thread(self.room.reserve, step.id, needed)
        try:
            if short is None:
                yield None
                return
            self._short[row.id] = needed
            self._full[self.active[row.id].lane] = time.monotonic() + ROOM_PAUSE
            yield Outcome(
                Ending.POSTPONED, code=NO_SPACE, message=str(short), after=timedelta(minutes=1),
                hint="make room; it begins by itself as soon as there is enough. `space` of the "
                "stage says how much is kept for it",
            )  # fmt: skip
        finally:
            if short is None:
                self._full.clear()
            await asyncio.to_thread(self.room.give_back, step.id)

    async def _those_that_fit(self) -> None:
        """Documents that wait for room are due again as soon as there is some for them."""
        fit = []
        for document, needed in list(self._short.items()):
            with contextlib.suppress(OSError):
                if await asyncio.to_thread(self.room.fits, needed):
                    fit.append(document)
        if fit:
            await asyncio.to_thread(due_again, self._catalog, fit, NO_SPACE, self._clock())
            for document in fit:
                self._short.pop(document, None)

    @property
    def waiting_for_room(self) -> int:
        """Documents whose next step does not fit on a disk now."""
        return len(self._short)

    async def _run_in_child(
        self, document: DocumentCard, step: StepRow, card: StageCard, runner: Runner
    ) -> Outcome:
        active = self.active[step.document]

        def progress(fraction: float) -> None:
            active.progress = fraction

        def log(text: str) -> None:
            _log.debug(text, action="stage-output", document=step.document, stage=step.stage)

        try:
            folder = await asyncio.to_thread(self._spool.start_work, step.id)
            request = Request(
                step=step.id, stage=card.name, options=card.options, document=document,
                folder=folder, deadline=self._clock() + card.timeout,
                targets=self._targets(card), kept=card.kept,
                limits=limits_of(card), max_time=end_beyond(card),
            )  # fmt: skip
        except OSError as error:
            return of_os_error(error)
        try:
            return await runner.run(request, progress, log)
        except Exception as error:  # noqa: BLE001 - a plug-in's runner may raise anything
            return runner_lost(f"{type(error).__name__}: {error}")

    async def _missing(self, row: DocumentRow, step: StepRow) -> None:
        await asyncio.to_thread(commit.begin_step, self._catalog, row, step, step.started)
        outcome = Outcome(
            Ending.POSTPONED, code="stage-missing",
            message=f'the stage "{step.stage}" is not configured any more',
            hint=f'enable the plug-in that gives "{step.stage}" and reload',
            after=timedelta(minutes=5),
        )  # fmt: skip
        await self._commit(row, step, outcome)

    async def _seal(self, row: DocumentRow, step: StepRow) -> None:
        artifacts = await asyncio.to_thread(self._catalog.artifacts, row.id)
        size = sum(artifact.size for artifact in artifacts)
        async with self._with_room(row, step, wanted(self._store.root, size, 1.0)) as short:
            await asyncio.to_thread(commit.begin_step, self._catalog, row, step, step.started)
            if short is not None:
                await self._commit(row, step, short)
                return
            await self._record_seal(
                row, step, await asyncio.to_thread(self._sealer.seal, row, step)
            )

    async def _record_seal(
        self, row: DocumentRow, step: StepRow, sealed: tuple[dict[str, Any], SearchText] | Outcome
    ) -> None:
        if isinstance(sealed, Outcome):
            await self._commit(row, step, sealed)
            return
        place, words = sealed
        seal = partial(commit.seal, self._spool, self._catalog, self._deck, head=self._store.head)
        usage = Usage(wall=(self._clock() - step.started).total_seconds())
        try:
            await self._insist(lambda: seal(step, place, words, self._clock()))
        except (NotNow, IllegalStep, CatalogError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever is in its facts, it has an ending
            _log.exception("a sealed document could not be recorded", action="seal-failed",
                           document=row.id)  # fmt: skip
            await self._commit(row, step, seal_failed(error))
            return
        self._report(row, step, Outcome(Ending.FINISHED, message="sealed", usage=usage))

    async def _commit(self, row: DocumentRow, step: StepRow, outcome: Outcome) -> None:
        """Judge and record. What cannot be kept on disk, or not be recorded, becomes an ending of
        its own: no document stays behind as running.
        """
        outcome = self._deck.marked(row.hotfolder, outcome)
        try:
            await self._insist(lambda: self._commit_once(row, step, outcome))
        except (NotNow, CatalogError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a stage says, its document goes on
            outcome = replace(unrecordable(error), usage=outcome.usage)
            await self._insist(lambda: self._commit_once(row, step, outcome))
        self._report(row, step, outcome)

    def _report(self, row: DocumentRow, step: StepRow, outcome: Outcome) -> None:
        say = _log.info if outcome.ending is Ending.FINISHED else _log.warning
        say(
            outcome.message or f"{step.stage} ended", action=f"step-{outcome.ending}",
            document=row.id, stage=step.stage, attempt=step.attempt, code=outcome.code or None,
            seconds=round(outcome.usage.wall, 3),
        )  # fmt: skip
        for review in outcome.reviews:  # its message is for those who decide, not for the log
            _log.warning(
                "a person must look", action="review-required", document=row.id, stage=step.stage,
                code=review.code, regions=len(review.regions), held=not review.flagged,
            )  # fmt: skip
        self._tell(StepEnded.of(step, outcome))

    def _commit_once(self, row: DocumentRow, step: StepRow, outcome: Outcome) -> None:
        now = self._clock()
        decision = decide(
            outcome, step.attempt, row.postponed, self._deck.limits_of(step.stage), now
        )
        commit.commit_step(self._spool, self._catalog, self._deck, step, outcome, decision, now)

    async def _insist(self, act: Callable[[], object]) -> None:
        """Do it in a thread, again and again while the catalog is busy or its disk is full.

        Shielded, so that stopping the daemon waits for it. Gives up when the daemon is being
        stopped (the restart then finds the step interrupted), and soon when the catalog has another
        error: a write that can never succeed must not keep its place in a lane for ever.
        """
        for attempt in range(1_000_000):
            try:
                await asyncio.shield(asyncio.to_thread(act))
            except CatalogError as error:
                permanent = not isinstance(error, CatalogBusy)
                if attempt >= 2 and (self._stopping or (permanent and attempt >= _MOST_TRIES)):
                    raise
                _log.warning("the catalog cannot be written; trying again", action="catalog-busy",
                             error=str(error))  # fmt: skip
            except OSError as error:
                if error.errno != errno.ENOSPC or not _is_catalog(error, self._catalog):
                    raise
                _log.warning("the disk with the catalog is full; trying again",
                             action="catalog-no-space")  # fmt: skip
            else:
                return
            await asyncio.sleep(_COMMIT_PAUSES[min(attempt, len(_COMMIT_PAUSES) - 1)])

    def _step(self, row: DocumentRow, stage: str) -> StepRow:
        card = self._deck.stages.get(stage)
        return StepRow(
            id=uuid.uuid4().hex, document=row.id, position=row.position, stage=stage,
            attempt=row.attempts + 1, version=card.version if card else "",
            distribution=card.distribution if card else "archived",
            options_digest=card.options_digest if card else "", started=self._clock(),
        )  # fmt: skip


def _is_catalog(error: OSError, catalog: Catalog) -> bool:
    return bool(error.filename == str(catalog.path))
