"""Runs one attempt of one step: room on disk, the document handed over, the stage in a child or the
seal here, what it made proved, and the end given to `step_recording`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from archived.engine import split
from archived.engine.attempt import (
    ActiveStep,
    StepEnded,
    step_document,
    step_failed,
    unreadable,
)
from archived.engine.copy_verification import prove
from archived.engine.disk_reservation import DiskReservations, Shortage, Wanted, wanted
from archived.engine.protocol import StepDocument, StepRequest, asked_about
from archived.engine.sealing import Sealer
from archived.engine.specs import Specs, StageSpec
from archived.engine.step_limits import end_beyond, limits_of
from archived.engine.step_recording import StepRecorder
from archived.engine.worker.output import check_sealed, check_upgrade
from archived.engine.worker.results import runner_lost
from archived.errors import CatalogError, NotNow, StoreError
from archived.message import Message
from archived.model.lifecycle import IllegalTransition
from archived.model.outcome import Ending, Outcome, of_os_error
from archived.model.pipeline import SEAL, accepts, is_upgrade, next_step
from archived.storage.artifacts import ArchiveStorage
from archived.storage.rows import DocumentRow, StepRow

_log = structlog.get_logger("archived.engine")

NO_SPACE = "no-space"
ROOM_PAUSE = 10.0
"""Seconds after which a lane in which a step found no room tries another."""


class Runner(Protocol):
    """A way to run steps: the local fork server, or what a plug-in gives."""

    async def start(self) -> None: ...
    async def run(
        self,
        request: StepRequest,
        on_progress: Callable[[float], None] | None = None,
        on_log: Callable[[str], None] | None = None,
    ) -> Outcome: ...
    async def stop(self, grace: float = 0.0) -> None: ...


class StepExecutor:
    """Runs attempts; any number at once. `active`: document -> its step in work, for `status`."""

    def __init__(
        self,
        storage: ArchiveStorage,
        sealer: Sealer,
        *,
        clock: Callable[[], datetime],
        tell: Callable[[StepEnded], None],
    ) -> None:
        self._storage = storage
        self._sealer = sealer
        self._clock = clock
        self._record = StepRecorder(storage, clock, tell)
        self._runners: Mapping[str, Runner] = {}
        self.active: dict[str, ActiveStep] = {}
        self.room = DiskReservations()
        self._short: dict[str, Wanted] = {}
        """Documents that wait for room, and how much of it."""
        self._full: dict[str, float] = {}
        """Lane -> until when nothing is started in it, for want of room."""

    @property
    def specs(self) -> Specs:
        """What is configured now."""
        return self._record.specs

    @property
    def runners(self) -> Mapping[str, Runner]:
        """Lane -> what runs its steps."""
        return self._runners

    def use(self, specs: Specs, runners: Mapping[str, Runner]) -> Mapping[str, Runner]:
        """Run attempts with this from now on; returns the runners that were used before."""
        before, self._runners = self._runners, runners
        self._record.specs = specs
        return before

    async def stop(self, grace: float) -> None:
        """What runs ends or is requeued; a catalog that stays busy is not waited for."""
        self._record.stopping = True
        # A plug-in's runner may fail to stop: what has ended is put on record all the same.
        stops = (runner.stop(grace) for runner in self._runners.values())
        await asyncio.gather(*stops, return_exceptions=True)

    def has_no_room(self, lane: str) -> bool:
        """Whether a step of the lane found no room on a disk a moment ago."""
        return self._full.get(lane, 0.0) > time.monotonic()

    @property
    def waiting_for_room(self) -> frozenset[str]:
        """Documents whose next step does not fit on a disk now."""
        return frozenset(self._short)

    async def those_that_fit(self) -> list[str]:
        """Documents that wait for room, and for which there is some now."""
        fit = []
        for document, needed in list(self._short.items()):
            with contextlib.suppress(OSError):
                if await asyncio.to_thread(self.room.fits, needed):
                    fit.append(document)
        return fit

    def waits_no_more(self, documents: Iterable[str]) -> None:
        """They are due again, and are looked at when they start."""
        for document in documents:
            self._short.pop(document, None)

    def begin(self, row: DocumentRow, lane: str) -> str:
        """The document's next step counts as in work in `lane` until `end`; returns its stage."""
        stage = next_step(row.stages, row.position) or SEAL
        self.active[row.id] = ActiveStep(
            row.id, row.name, stage, lane, row.attempts + 1, self._clock()
        )
        return stage

    def end(self, document: str) -> None:
        """The document's step is in work no more."""
        self.active.pop(document, None)

    async def attempt(self, row: DocumentRow, stage: str) -> None:
        step = self._step(row, stage)
        try:
            spec = self.specs.stages.get(stage)
            # The pair that belongs together: a reload may replace both while this step waits.
            runner = self._runners.get(spec.lane) if spec else None
            if stage == SEAL:
                await self._seal(row, step)
            elif spec is None or runner is None:
                await self._missing(row, step)
            else:
                await self._run_stage(row, step, spec, runner)
        except (NotNow, IllegalTransition) as error:
            _log.info(
                "moved on in the meantime", action="step-moot", document=row.id, why=str(error)
            )
        except CatalogError as error:
            _log.error(
                "the catalog cannot be written; the step is tried again",
                action="catalog-busy",
                document=row.id,
                error=str(error),
            )
            await asyncio.sleep(1.0)
            await self._record.end_anyhow(row, step, unreadable(error), only_begun=True)
        except Exception as error:  # noqa: BLE001 - ours, and it must not stop other documents
            _log.exception(
                "the core failed to run a step", action="core-error", document=row.id, stage=stage
            )
            await self._record.end_anyhow(row, step, step_failed(error), only_begun=False)

    async def _run_stage(
        self, row: DocumentRow, step: StepRow, spec: StageSpec, runner: Runner
    ) -> None:
        sealed = row.object_key is not None
        if sealed and (stopped := await asyncio.to_thread(split.stops, self._storage.catalog, row)):
            await self._record.begin(row, step)
            await self._record.end(row, step, stopped)
            return
        try:
            document = await asyncio.to_thread(step_document, *self._storage, row)
        except (StoreError, OSError) as error:
            await self._record.begin(row, step)
            await self._record.end(row, step, unreadable(error))
            return
        kinds = asked_about(document.document(), any_original=spec.any_original)
        if not accepts(spec.accepts, *kinds):
            why = Message(
                "{name} does not accept {fromkeys}",
                name=spec.name,
                fromkeys=", ".join(dict.fromkeys(kinds)),
            )
            await self._record.skip(row, step, why)
            return
        size = sum(artifact.size for artifact in document.artifacts)
        reserved = spec.disk_factor * self.room.times(row.id)
        async with self._with_room(
            row, step, wanted(self._storage.spool.work, size, reserved)
        ) as short:
            await self._record.begin(row, step)
            upgrade = is_upgrade(row.stages, row.position)
            outcome = short or await self._run_in_child(
                document, step, spec, runner, upgrade=upgrade
            )
            if short is None:
                await asyncio.to_thread(self._clear, step, outcome)
            if upgrade:
                outcome = check_upgrade(outcome, document.facts.get(spec.name, {}))
            elif sealed:
                outcome = check_sealed(outcome)
            if outcome.copies:
                outcome = await prove(
                    outcome, document, self._storage.store, self._targets(spec), runner
                )
            await self._record.end(row, step, outcome)

    def _targets(self, spec: StageSpec) -> dict[str, dict[str, Any]]:
        """The places that a stage is given."""
        if not spec.targets:
            return {}
        all_targets = self.specs.targets.values()
        return {t.name: {"kind": t.kind, "options": dict(t.options)} for t in all_targets}

    def _clear(self, step: StepRow, outcome: Outcome) -> None:
        self.room.learn(step.document, outgrown=outcome.code == NO_SPACE)
        if outcome.ending is not Ending.FINISHED:
            # Nothing of it is kept, and the catalog that is to say so may need the room.
            with contextlib.suppress(OSError):
                self._storage.spool.end_work(step.id)

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
                Ending.POSTPONED,
                code=NO_SPACE,
                message=str(short),
                after=timedelta(minutes=1),
                hint=Message(
                    "make room; it begins by itself as soon as there is enough. "
                    "`disk_factor` of the stage says how much is kept for it"
                ),
            )
        finally:
            if short is None:
                self._full.clear()
            await asyncio.to_thread(self.room.give_back, step.id)

    async def _run_in_child(
        self,
        document: StepDocument,
        step: StepRow,
        spec: StageSpec,
        runner: Runner,
        *,
        upgrade: bool,
    ) -> Outcome:
        active = self.active[step.document]

        def progress(fraction: float) -> None:
            active.progress = fraction

        def log(text: str) -> None:
            _log.debug(text, action="stage-output", document=step.document, stage=step.stage)

        try:
            folder = await asyncio.to_thread(self._storage.spool.start_work, step.id)
            request = StepRequest(
                step=step.id,
                stage=spec.name,
                options=spec.options,
                document=document,
                folder=folder,
                deadline=self._clock() + spec.timeout,
                targets=self._targets(spec),
                kept=spec.kept,
                upgrade=upgrade,
                limits=limits_of(spec),
                max_time=end_beyond(spec),
            )
        except OSError as error:
            return of_os_error(error)
        try:
            return await runner.run(request, progress, log)
        except Exception as error:  # noqa: BLE001 - a plug-in's runner may raise anything
            return runner_lost(f"{type(error).__name__}: {error}")

    async def _missing(self, row: DocumentRow, step: StepRow) -> None:
        await self._record.begin(row, step)
        outcome = Outcome(
            Ending.POSTPONED,
            code="stage-missing",
            message=Message('the stage "{stage}" is not configured any more', stage=step.stage),
            hint=Message('enable the plug-in that gives "{stage}" and reload', stage=step.stage),
            after=timedelta(minutes=5),
        )
        await self._record.end(row, step, outcome)

    async def _seal(self, row: DocumentRow, step: StepRow) -> None:
        artifacts = await asyncio.to_thread(self._storage.catalog.artifacts, row.id)
        size = sum(artifact.size for artifact in artifacts)
        async with self._with_room(row, step, wanted(self._storage.store.root, size, 1.0)) as short:
            await self._record.begin(row, step)
            if short is not None:
                await self._record.end(row, step, short)
                return
            await self._record.end_sealing(
                row, step, await asyncio.to_thread(self._sealer.seal, row, step)
            )

    def _step(self, row: DocumentRow, stage: str) -> StepRow:
        spec = self.specs.stages.get(stage)
        return StepRow(
            id=uuid.uuid4().hex,
            document=row.id,
            position=row.position,
            stage=stage,
            attempt=row.attempts + 1,
            version=spec.version if spec else "",
            distribution=spec.distribution if spec else "archived",
            options_digest=spec.options_digest if spec else "",
            started=self._clock(),
        )
