"""The daemon: one object that owns all the others, one task group, an orderly stop.

Order at start: lock, store, catalog, recovery, runners, then desks and scheduler, and only then
READY. Order at stop: desks, then the scheduler (steps end or are put back), then news, then the
catalog. Nothing here decides anything about a document.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from archived import AGENT
from archived.config import Settings, changes, reload
from archived.config.reload import RefusedConfiguration
from archived.daemon import cards, decisions, removal_retries
from archived.daemon.checks import StageChecks
from archived.daemon.health import Health
from archived.daemon.house import House
from archived.daemon.live import live
from archived.daemon.pictures import picture
from archived.daemon.reception import FolderStatus, Reception
from archived.daemon.serving import no_second_history, only_one
from archived.daemon.snapshot import snapshot
from archived.engine.attempts import StepEnded
from archived.engine.missing_copies import ask_for_all
from archived.engine.runner import LocalRunner
from archived.engine.scheduler import Runner, Scheduler
from archived.engine.sealing import Sealer
from archived.errors import ArchivedError, CatalogError, NotNow, PluginError
from archived.intake.desk import Desk, Sweep
from archived.model.outcome import Ending
from archived.observe import logs, store_audit
from archived.observe.answers import Answers
from archived.observe.audit import Audit
from archived.observe.control import Control
from archived.observe.door import door
from archived.observe.metrics import Metrics
from archived.observe.notify import Notifier
from archived.observe.publisher import Observers, Publisher
from archived.observe.share import Shares
from archived.observe.store_audit import StoreAudit
from archived.observe.tally import Tally
from archived.observe.web import Web
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.recovery import recover
from archived.storage.spool import Spool
from archived.storage.store import Store

_log = structlog.get_logger("archived.daemon")

GRACE = 20.0
"""Seconds that running steps get to end when the daemon is stopped."""
HEARTBEAT = 5.0
_KEEP_EVENTS = 10_000
_NOTE_HEAD = 60.0
"""Seconds between two looks whether the ledger went on without a seal."""


class Daemon:
    """Built from settings; `run` returns when it was told to stop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = datetime.now(UTC)
        self.spool = Spool(settings.archive.state)
        self.store = Store(settings.store.path)
        self.uncleared = {"spool": self.spool.uncleared, "store": self.store.uncleared}
        for place in self.uncleared.values():
            place.tell = removal_retries.log
        self.catalog: Catalog
        self.answers: Answers
        self.scheduler: Scheduler
        self.tally: Tally
        self.audit: Audit
        self.store_audit: StoreAudit
        self.runners: Mapping[str, Runner] = {}
        """Lane -> who runs its steps."""
        self.receptions: dict[str, Reception] = {}
        self.checks = StageChecks()
        self.refused = RefusedConfiguration()
        """What became of the configuration on disk when a reload read it."""
        self.metrics = Metrics()
        self.health = Health(self)
        self._notifier = Notifier()
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._for_observers = asyncio.Event()
        self._for_broker = asyncio.Event()
        self._for_shares = asyncio.Event()
        self.shares: Shares
        self._group: asyncio.TaskGroup
        self._web: Web
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
                    _log.exception("the daemon broke; it must be started again",
                                   action="daemon-broke")  # fmt: skip
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
            web = self._web = Web(door(self.settings.web), self.metrics, self.health)
            control = Control(self.settings.control, self)
            async with web, control:
                self._notifier.status("starting")
                runners = await self._start_runners(self.settings)
                self._use(self.settings, runners)
                await asyncio.to_thread(self.scheduler.redirect)
                self._spawn("checks", self.checks.run(self.settings, runners))
                self._open_desks(self.settings)
                self._spawn("scheduler", self.scheduler.run())
                self._spawn(
                    "observers",
                    Observers(self.catalog, self._tell_plugins).run(self._for_observers),
                )
                self._spawn("audit", self.audit.run())
                self._spawn("uncleared", removal_retries.run(self.uncleared))
                self._spawn("store audit", self.store_audit.run())
                self._spawn("head file", self._note_head())
                self._spawn("shares", self.shares.run(self._for_shares))
                self._start_publisher(self.settings)
                self._spawn("heartbeat", self._heartbeat())
                self.health.started = True
                self._reloading.release()
                self._notifier.ready(f"{len(self.receptions)} hot folders")
                _log.info("ready", action="daemon-ready", hotfolders=sorted(self.receptions),
                          metrics=self.settings.web.address)  # fmt: skip
                try:
                    yield
                finally:
                    await self._wind_down()

    async def _wind_down(self) -> None:
        self._stop.set()  # also when a part broke: a reload must not begin now
        self._notifier.stopping()
        _log.info("stopping", action="daemon-stopping", running=len(self.scheduler.active))
        self.house.stop()
        async with self._reloading:  # one that is under way must not open desks behind our back
            await self._close_desks()
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
        self.house = House(self.settings, self.spool, self.store, self.catalog)
        deck = cards.deck(self.settings)
        now = datetime.now(UTC)
        found = recover(self.spool, self.store, self.catalog, deck.limits_of, now)
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
            self.spool, self.store, self.catalog, sealer, clock=self.house.now, wake=self._wake,
            tell=self._step_ended,
        )  # fmt: skip
        self.house.reserved = self.scheduler.room.reserved
        self.answers = Answers(self.catalog, self.settings.store.path, lambda: live(self))
        self.shares = Shares(self.catalog, lambda: cards.shares(self.settings), self._standing)
        self.tally = Tally(self.catalog)
        self.audit = Audit(self.catalog.path)
        first = store_audit.SOON if found.differing else store_audit.FIRST
        self.store_audit = StoreAudit(self.catalog.path, self.settings.store.path, first)
        self.metrics.watch(lambda: snapshot(self))

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
            for lane, width in cards.lanes(settings).items():
                name = settings.lanes[lane].runner
                runner: Runner
                if name == "local":
                    own = [s.name for s in settings.stages.values() if s.needs.lane == lane]
                    runner = LocalRunner(
                        lane, width, settings.plugin_sources, preload=own, scratch=self.spool.work,
                        environment=cards.environment(settings), workers=cards.workers(lane),
                        accounts=cards.accounts(settings),
                    )  # fmt: skip
                else:
                    runner = settings.plugins.runners[name](lane, width, settings.plugin_sources)
                runners[lane] = runner
                await runner.start()
        except BaseException as error:
            stops = (runner.stop() for runner in runners.values())
            await asyncio.gather(*stops, return_exceptions=True)
            if isinstance(error, Exception) and not isinstance(error, ArchivedError):
                raise PluginError(
                    f'lane {lane}: its runner "{name}" cannot be started '
                    f"({type(error).__name__}: {error})",
                    hint="look at the plug-in that gives it, or at free memory",
                ) from error
            raise
        return runners

    def _use(self, settings: Settings, runners: Mapping[str, Runner]) -> Mapping[str, Runner]:
        self.runners = runners
        return self.scheduler.use(
            cards.deck(settings), runners, cards.lanes(settings), cards.hours(settings),
            settings.fairness.ageing,
        )  # fmt: skip

    def _open_desks(self, settings: Settings) -> None:
        for name, setting in settings.hotfolders.items():
            if not setting.enabled:
                continue
            card = cards.folder(settings, setting)
            reception = Reception(card, self.catalog, self._admitted)
            house = self.house.seen_by(reception.beat)
            reception.desk = Desk(card, self.catalog, self.spool, house)
            self.receptions[name] = reception
            self._spawn(f"desk {name}", reception.run())

    async def _close_desks(self) -> None:
        for reception in self.receptions.values():
            reception.stop()
        desks = [self._tasks.pop(f"desk {name}") for name in self.receptions]
        if desks:
            await asyncio.wait(desks)
        self.receptions.clear()

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
        reception = self.receptions.get(hotfolder)
        return reception.status if reception is not None and reception.status.known else None

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

    def _trim(self) -> None:
        with self.catalog.transaction() as change:
            change.outbox_trim(self.readers(), _KEEP_EVENTS)

    def readers(self) -> list[str]:
        """Who is given every event, by the names of their places in the outbox."""
        return ["observers", *(["mqtt"] if self.settings.mqtt else []), *self.shares.readers()]

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
        """Answer a question of `archivectl`; see `observe.answers`. Blocking."""
        return self.answers.answer(question, arguments)

    async def decide(
        self, what: str, document: str, operator: str, note: str, *,
        held_for: str | None, shown: str | None,
    ) -> Any:  # fmt: skip
        """Carry out a person's decision: `retry`, `release`, `refuse` or `copy`."""
        document = await asyncio.to_thread(self.answers.resolve, document)
        asked = decisions.Asked(what, document, operator, note, held_for, shown)
        state = await asyncio.to_thread(
            decisions.carry_out, self.catalog, self.scheduler.deck, asked, self.house.now()
        )
        self.woken()
        return {"document": document, "state": str(state)}

    async def copy_all(self, operator: str, note: str, *, after: str, again: bool) -> Any:
        """Ask for the copies that the next documents lack; see `engine.missing_copies`."""
        told = await asyncio.to_thread(
            ask_for_all, self.catalog, self.scheduler.deck, operator, note, self.house.now(),
            after=after, again=again,
        )  # fmt: skip
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
                raise NotNow("archived is being stopped")
            self._notifier.reloading()
            try:
                new = await asyncio.to_thread(reload, self.settings)
                entrance = await asyncio.to_thread(door, new.web)
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
        before, self.settings, self.house.settings = self.settings, new, new
        if new.log != before.log:
            logs.configure(new.log.level, new.log.format)
        old = self._use(new, runners)
        longest = max((s.needs.timeout.total_seconds() for s in new.stages.values()), default=0.0)
        for runner in old.values():
            retiring = self._group.create_task(runner.stop(longest))
            self._retiring[retiring] = runner
            retiring.add_done_callback(lambda task: self._retiring.pop(task, None))
        await self._close_desks()
        with contextlib.suppress(CatalogError, OSError):  # the heartbeat tries it again
            await asyncio.to_thread(self.scheduler.redirect)
        self._open_desks(new)
        self.woken()
        if new.mqtt != before.mqtt:
            await self._replace_publisher(new)
        self._tasks.pop("checks").cancel()
        self._spawn("checks", self.checks.run(self.settings, runners))
