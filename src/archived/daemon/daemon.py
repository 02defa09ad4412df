"""The daemon: one object that owns all the others, one task group, an orderly stop.

Order at start: lock, store, catalog, recovery, runners, then ingest and scheduler, and only then
READY. Order at stop: ingest, then the scheduler (steps end or are requeued), then news, then the
catalog. Nothing here decides anything about a document.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from archived import AGENT
from archived.config import Settings, changes, reload
from archived.config.reload import RefusedConfiguration
from archived.daemon import control_services, removal_retries, wiring
from archived.daemon.collectors import snapshot
from archived.daemon.components import Components
from archived.daemon.control_services import live, picture
from archived.daemon.health import Health
from archived.daemon.hotfolder_task import FolderStatus, HotFolderTask
from archived.daemon.ingest_services import ConfiguredServices
from archived.daemon.stage_checks import StageChecks
from archived.daemon.state_folder import no_second_history, only_one
from archived.engine.attempt import StepEnded
from archived.engine.copy_requests import ask_for_all
from archived.engine.decisions import PersonDecision
from archived.engine.lane_assignment import due_at
from archived.engine.scheduler import Scheduler
from archived.engine.sealing import Sealer
from archived.engine.step_execution import Runner
from archived.engine.upgrade_requests import UpgradePlanner
from archived.engine.worker.forkserver_client import LaneSetup
from archived.engine.worker.runner import LocalRunner
from archived.errors import ArchivedError, CatalogError, NotNow, PluginError
from archived.ingest.hotfolder import HotFolderIngest, Sweep
from archived.message import Message
from archived.model.outcome import Ending
from archived.observe import logs, store_audit
from archived.observe.api import QueryApi
from archived.observe.control import Control
from archived.observe.http import HttpServer
from archived.observe.http_auth import http_access
from archived.observe.publisher import Observers, Publisher
from archived.observe.receipts import ReceiptTasks
from archived.observe.reconciler import Reconciler
from archived.observe.sd_notify import Notifier
from archived.observe.store_audit import StoreAudit
from archived.storage.artifacts import ArchiveStorage
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.metrics_queries import ArchiveTotals
from archived.storage.recovery import recover

_log = structlog.get_logger("archived.daemon")

GRACE = 20.0
"""Seconds that running steps get to end when the daemon is stopped."""
HEARTBEAT = 5.0
_KEEP_EVENTS = 10_000
_NOTE_HEAD = 60.0
"""Seconds between two looks whether the ledger went on without a seal."""
_UPGRADES = 5.0
"""Seconds between two looks for sealed documents that a stage can improve."""


class Daemon(Components):
    """Built from settings; `run` returns when it was told to stop."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, StageChecks(self._fit_again))
        self.health = Health(self)
        self._notifier = Notifier()
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._for_observers = asyncio.Event()
        self._for_broker = asyncio.Event()
        self._for_shares = asyncio.Event()
        self._group: asyncio.TaskGroup
        self._web: HttpServer
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._retiring: dict[asyncio.Task[None], Runner] = {}
        """Runners of an earlier configuration that finish their steps."""
        self._reloading = asyncio.Lock()

    # Life --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start, work, and stop in order. Raises `ArchivedError` when it cannot start."""
        await self._reloading.acquire()  # until it is ready
        with only_one(self.settings.archive.state):
            await asyncio.to_thread(self._open)
            try:
                async with self._running():
                    await self._stop.wait()
            except BaseExceptionGroup as group:
                known = group.subgroup(ArchivedError)
                if known is None or len(group.exceptions) != len(known.exceptions):
                    _log.exception(
                        "the daemon failed; it must be started again", action="daemon-failed"
                    )
                    raise
                raise known.exceptions[0] from None
            finally:
                await asyncio.to_thread(self._close)

    def stop(self) -> None:
        """Ask it to stop; `run` returns when everything is in order."""
        self._stop.set()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            self._group = group
            web = self._web = HttpServer(http_access(self.settings.web), self.metrics, self.health)
            control = Control(self.settings.control, self)
            async with web, control:
                self._notifier.status("starting")
                runners = await self._start_runners(self.settings)
                self._use(self.settings, runners)
                await asyncio.to_thread(self.scheduler.redirect)
                self._spawn("checks", self.checks.run(self.settings, runners))
                self._open_hotfolders(self.settings)
                self._spawn("scheduler", self.scheduler.run())
                self._spawn(
                    "observers",
                    Observers(self.catalog, self._tell_plugins).run(self._for_observers),
                )
                self._spawn("audit", self.audit.run())
                self._spawn("uncleared", removal_retries.run(self.uncleared))
                self._spawn("store audit", self.store_audit.run())
                self._spawn("head file", self._note_head())
                self._spawn("upgrades", self._ask_for_upgrades())
                self._spawn("shares", self.shares.run(self._for_shares))
                self._start_publisher(self.settings)
                self._spawn("heartbeat", self._heartbeat())
                self.health.started = True
                self._reloading.release()
                self._notifier.ready(f"{len(self.hotfolder_tasks)} hot folders")
                _log.info(
                    "ready",
                    action="daemon-ready",
                    hotfolders=sorted(self.hotfolder_tasks),
                    metrics=self.settings.web.address,
                )
                try:
                    yield
                finally:
                    await self._wind_down()

    async def _wind_down(self) -> None:
        self._stop.set()  # also when a part failed: a reload must not begin now
        self._notifier.stopping()
        _log.info("stopping", action="daemon-stopping", running=len(self.scheduler.active))
        self.services.stop()
        async with self._reloading:  # a reload under way must not start ingest tasks meanwhile
            await self._close_hotfolders()
        await asyncio.gather(
            self.scheduler.stop(GRACE), *(r.stop(GRACE) for r in self._retiring.values())
        )
        for task in {t for n, t in self._tasks.items() if n != "scheduler"} | set(self._retiring):
            task.cancel()

    def _open(self) -> None:
        """Everything that must be in order before a task starts. Blocking."""
        state = self.settings.archive.state
        self.spool.create()
        self.store.create()
        no_second_history(state / "catalog.db", self.store)
        self.catalog = Catalog.open(state / "catalog.db")
        self.services = ConfiguredServices(self.settings, self.spool, self.store, self.catalog)
        specs = wiring.specs(self.settings)
        now = datetime.now(UTC)
        found = recover(self.spool, self.store, self.catalog, specs.limits_of, now)
        with self.catalog.transaction() as change:
            if change.ledger_head().sequence == 0:
                change.record(Entry("ledger-opened", now, AGENT))
            facts = {"config": self.settings.digest, "head_file": True}
            change.record(Entry("daemon-started", now, AGENT, facts=facts))
        self.store.head.follow(self.catalog, now)
        if found:
            _log.warning("recovered from a crash", action="recovered", **found.counted())
        for sentence in found.differing:
            _log.error(sentence, action="store-differs")
        sealer = Sealer(self.spool, self.store, self.catalog, self.settings.archive.name)
        self.scheduler = Scheduler(
            ArchiveStorage(self.spool, self.store, self.catalog),
            sealer,
            clock=self.services.now,
            wake=self._wake,
            tell=self._step_ended,
        )
        self.services.reserved = self.scheduler.room.reserved
        self.answers = QueryApi(
            self.catalog, self.settings.store.path, lambda: live(self, self.health)
        )
        self.shares = ReceiptTasks(
            self.catalog, lambda: wiring.shares(self.settings), self._standing
        )
        self.tally = ArchiveTotals(self.catalog)
        self.upgrades = UpgradePlanner(self.catalog, self._pending, self.services.now)
        self.audit = Reconciler(self.catalog.path)
        first = store_audit.SOON if found.differing else store_audit.FIRST
        self.store_audit = StoreAudit(self.catalog.path, self.settings.store.path, first)
        self.metrics.watch(lambda: snapshot(self, self.health))

    def _close(self) -> None:
        with contextlib.suppress(CatalogError, OSError), self.catalog.transaction() as change:
            change.record(Entry("daemon-stopped", datetime.now(UTC), AGENT))
        self.store.head.follow(self.catalog, datetime.now(UTC))
        self.metrics.close()
        self.catalog.close()
        _log.info("stopped", action="daemon-stopped")

    def _spawn(self, name: str, work: Any) -> None:
        self._tasks[name] = self._group.create_task(work, name=name)

    # Parts -------------------------------------------------------------------------------------

    async def _start_runners(self, settings: Settings) -> dict[str, Runner]:
        """A runner per lane, all started or none. Raises `PluginError`."""
        runners: dict[str, Runner] = {}
        try:
            for lane, width in wiring.lanes(settings).items():
                name = settings.lanes[lane].runner
                runner: Runner
                if name == "local":
                    own = [s.name for s in settings.stages.values() if s.needs.lane == lane]
                    runner = LocalRunner(
                        lane,
                        width,
                        settings.plugin_sources,
                        LaneSetup(
                            preload=own,
                            scratch=self.spool.work,
                            environment=wiring.environment(settings),
                            workers=wiring.workers(lane),
                            accounts=wiring.accounts(settings),
                        ),
                    )
                else:
                    runner = settings.plugins.runners[name](lane, width, settings.plugin_sources)
                runners[lane] = runner
                await runner.start()
        except BaseException as error:
            stops = (runner.stop() for runner in runners.values())
            await asyncio.gather(*stops, return_exceptions=True)
            if isinstance(error, Exception) and not isinstance(error, ArchivedError):
                raise PluginError(
                    Message(
                        'lane {lane}: its runner "{runner}" cannot be started ({kind}: {error})',
                        lane=lane,
                        runner=name,
                        kind=type(error).__name__,
                        error=error,
                    ),
                    hint=Message("look at the plug-in that gives it, or at free memory"),
                ) from error
            raise
        return runners

    def _use(self, settings: Settings, runners: Mapping[str, Runner]) -> Mapping[str, Runner]:
        self.runners = runners
        return self.scheduler.use(
            wiring.specs(settings),
            runners,
            wiring.lanes(settings),
            wiring.hours(settings),
            settings.fairness.ageing,
        )

    def _open_hotfolders(self, settings: Settings) -> None:
        for name, setting in settings.hotfolders.items():
            if not setting.enabled:
                continue
            spec = wiring.folder(settings, setting)
            task = HotFolderTask(spec, self.catalog, self._admitted)
            services = self.services.seen_by(task.beat)
            task.ingest = HotFolderIngest(spec, self.catalog, self.spool, services)
            self.hotfolder_tasks[name] = task
            self._spawn(f"ingest {name}", task.run())

    async def _close_hotfolders(self) -> None:
        for task in self.hotfolder_tasks.values():
            task.stop()
        ingests = [self._tasks.pop(f"ingest {name}") for name in self.hotfolder_tasks]
        if ingests:
            await asyncio.wait(ingests)
        self.hotfolder_tasks.clear()

    def _start_publisher(self, settings: Settings) -> None:
        if settings.mqtt is not None:
            publisher = Publisher(settings.mqtt, self.catalog, self.metrics)
            self._spawn("publisher", publisher.run(self._for_broker))

    async def _replace_publisher(self, new: Settings) -> None:
        publisher = self._tasks.pop("publisher", None)
        if publisher is not None:
            publisher.cancel()
            await asyncio.wait([publisher])  # else its farewell could follow the new one's greeting
            self.metrics.no_broker()
        self._start_publisher(new)

    def _admitted(self, sweep: Sweep) -> None:
        del sweep
        self._wake.set()
        self._ring()

    async def _fit_again(self, stage: str) -> None:
        """A place that the stage's steps waited for is back: they do not wait for the clock."""
        with contextlib.suppress(CatalogError, OSError):  # they are tried later all the same
            await asyncio.to_thread(due_at, self.catalog, stage, self.services.now())
        self._wake.set()

    def _step_ended(self, ended: StepEnded) -> None:
        usage = ended.usage
        self.checks.step_ended(ended)
        self.metrics.step_ended(ended.stage, ended.ending, ended.code, usage.wall, usage.cpu)
        if ended.ending == Ending.FINISHED:
            self.metrics.told(ended.stage, ended.facts, ended.tools)
            for review in ended.reviews:
                self.metrics.asked(ended.stage, review.code, held=not review.flagged)
        self.health.progressed()
        self._ring()

    def _standing(self, hotfolder: str) -> FolderStatus | None:
        """How a hot folder stands, once its first sweep has shown that."""
        task = self.hotfolder_tasks.get(hotfolder)
        return task.status if task is not None and task.status.known else None

    def _tell_plugins(self, event: Any) -> None:
        self.settings.plugins.tell(event)

    async def _heartbeat(self) -> None:
        """Feed the service manager's watchdog, but only while there is progress."""
        trimmed = 0.0
        while True:
            stuck, line = await asyncio.to_thread(lambda: (self.health.stuck(), self.health.line()))
            if stuck:
                _log.error(stuck, action="no-progress")
            else:
                self._notifier.alive(line)
            if time.monotonic() - trimmed > 600:
                trimmed = time.monotonic()
                with contextlib.suppress(CatalogError, OSError):
                    await asyncio.to_thread(self._trim)
            await asyncio.sleep(HEARTBEAT)

    async def _note_head(self) -> None:
        """What happened since the last seal is noted in the store as well."""
        while True:
            await asyncio.sleep(_NOTE_HEAD)
            await asyncio.to_thread(self.store.head.follow, self.catalog, datetime.now(UTC))

    async def _ask_for_upgrades(self) -> None:
        """Sealed documents that a stage can improve go through it again, a few at a time."""
        while True:
            await asyncio.sleep(_UPGRADES)
            try:
                asked = await asyncio.to_thread(self.upgrades.ask, self.scheduler.specs)
            except CatalogError as error:
                _log.warning("upgrades were not asked for", action="catalog-busy", error=str(error))
                continue
            if asked:
                self._wake.set()

    def _pending(self) -> Iterable[str] | None:
        totals = self.tally.read()
        return None if totals is None else totals.pending

    def _trim(self) -> None:
        with self.catalog.transaction() as change:
            change.outbox_trim(self.readers(), _KEEP_EVENTS)

    # What people ask for -----------------------------------------------------------------------

    def woken(self) -> None:
        """Somebody changed what is due (a retry, a release)."""
        self._wake.set()
        self._ring()

    def _ring(self) -> None:
        """There may be news in the outbox."""
        self._for_observers.set()
        self._for_broker.set()
        self._for_shares.set()

    def ask(self, question: str, arguments: dict[str, str]) -> Any:
        """Answer a question of `archivectl`; see `observe.api`. Blocking."""
        return self.answers.answer(question, arguments)

    async def decide(
        self,
        what: str,
        document: str,
        operator: str,
        note: str,
        *,
        held_for: str | None,
        shown: str | None,
    ) -> Any:
        """Carry out a person's decision: `retry`, `release`, `reject` or `copy`."""
        document = await asyncio.to_thread(self.answers.resolve, document)
        by = PersonDecision(operator, note, self.services.now(), held_for, shown)
        state = await asyncio.to_thread(
            control_services.carry_out, self.catalog, self.scheduler.specs, what, document, by
        )
        self.woken()
        return {"document": document, "state": str(state)}

    async def copy_all(self, operator: str, note: str, *, after: str, again: bool) -> Any:
        """Ask for the copies that the next documents lack; see `engine.copy_requests`."""
        told = await asyncio.to_thread(
            ask_for_all,
            self.catalog,
            self.scheduler.specs,
            PersonDecision(operator, note, self.services.now()),
            after=after,
            again=again,
        )
        self.woken()
        return told.as_json()

    def picture(self, document: str, step: str, name: str) -> Path:
        """Where a picture lies that a person must look at. Blocking; raises `NotNow`."""
        return picture(self.spool, self.store, self.catalog, document, step, name)

    async def reload(self) -> list[str]:
        """Read the configuration again; returns what changed, in sentences.

        Two-phase: the old set lives until the new one is ready. Raises `ConfigError`; then
        nothing has changed.
        """
        async with self._reloading:
            if self._stop.is_set():
                raise NotNow(Message("archived is being stopped"))
            self._notifier.reloading()
            try:
                new = await asyncio.to_thread(reload, self.settings)
                entrance = await asyncio.to_thread(http_access, new.web)
                runners = await self._start_runners(new)
            except ArchivedError as error:
                self.refused = self.refused.again(str(error), datetime.now(UTC))
                self.metrics.reloaded(ok=False)
                _log.error(
                    "the new configuration is not used", action="reload-refused", why=str(error)
                )
                raise
            else:
                told = changes(self.settings, new)
                self._web.use(entrance)
                await self._switch(new, runners)
                self.refused = RefusedConfiguration()
                self.metrics.reloaded(ok=True)
                _log.info("reloaded", action="reloaded", changes=told)
                return told
            finally:
                self._notifier.ready(await asyncio.to_thread(self.health.line))

    async def _switch(self, new: Settings, runners: dict[str, Runner]) -> None:
        before, self.settings, self.services.settings = self.settings, new, new
        if new.log != before.log:
            logs.configure(new.log.level, new.log.format)
        old = self._use(new, runners)
        longest = max((s.needs.timeout.total_seconds() for s in new.stages.values()), default=0.0)
        for runner in old.values():
            retiring = self._group.create_task(runner.stop(longest))
            self._retiring[retiring] = runner
            retiring.add_done_callback(lambda task: self._retiring.pop(task, None))
        await self._close_hotfolders()
        with contextlib.suppress(CatalogError, OSError):  # the heartbeat tries it again
            await asyncio.to_thread(self.scheduler.redirect)
        self._open_hotfolders(new)
        self.woken()
        if new.mqtt != before.mqtt:
            await self._replace_publisher(new)
        self._tasks.pop("checks").cancel()
        self._spawn("checks", self.checks.run(self.settings, runners))
