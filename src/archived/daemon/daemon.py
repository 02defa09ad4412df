"""The daemon: one object that owns all the others, one task group, an orderly stop.

Order at start: lock, store, catalog, recovery, runners, then desks and scheduler, and only then
READY. Order at stop: desks, then the scheduler (steps end or are put back), then news, then the
catalog. Nothing here decides anything about a document.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from archived import AGENT, __version__
from archived.config import Settings, changes, reload
from archived.daemon import cards
from archived.daemon.health import Health
from archived.daemon.house import House
from archived.daemon.reception import Reception
from archived.daemon.snapshot import snapshot
from archived.engine.boundary import Limits as ChildLimits
from archived.engine.commit import release
from archived.engine.runner import LocalRunner
from archived.engine.scheduler import Runner, Scheduler, StepEnded
from archived.engine.sealing import Sealer
from archived.errors import ArchivedError, CatalogError
from archived.intake.desk import Desk, Sweep
from archived.observe.answers import Answers
from archived.observe.control import Control
from archived.observe.metrics import Metrics
from archived.observe.notify import Notifier
from archived.observe.publisher import Observers, Publisher
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


class Daemon:
    """Built from settings; `run` returns when it was told to stop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = datetime.now(UTC)
        self.spool = Spool(settings.archive.state)
        self.store = Store(settings.store.path)
        self.catalog: Catalog
        self.answers: Answers
        self.scheduler: Scheduler
        self.receptions: dict[str, Reception] = {}
        self.problems: dict[str, list[str]] = {}
        """Stage or target -> what its own check complains about."""
        self.metrics = Metrics()
        self.health = Health(self)
        self._notifier = Notifier()
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._for_observers = asyncio.Event()
        self._for_broker = asyncio.Event()
        self._group: asyncio.TaskGroup
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()

    # Life --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start, work, and stop in order. Raises `ArchivedError` when it cannot start."""
        with _only_one(self.settings.archive.state):
            await asyncio.to_thread(self._open)
            try:
                async with self._running():
                    await self._stop.wait()
            finally:
                await asyncio.to_thread(self._close)

    def stop(self) -> None:
        """Ask it to stop; `run` returns when everything is in order."""
        self._stop.set()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            self._group = group
            runners = await self._start_runners(self.settings)
            self.scheduler.use(cards.deck(self.settings), runners, cards.lanes(self.settings))
            group.create_task(self._check_stages(runners), name="checks")
            web = Web(self.settings.web.listen, self.metrics, self.health)
            control = Control(self.settings.control, self)
            async with web, control:
                self._open_desks(self.settings)
                self._spawn("scheduler", self.scheduler.run())
                self._spawn(
                    "observers",
                    Observers(self.catalog, self._tell_plugins).run(self._for_observers),
                )
                self._start_publisher(self.settings)
                self._spawn("heartbeat", self._heartbeat())
                self._notifier.ready(f"{len(self.receptions)} hot folders")
                _log.info("ready", action="daemon-ready", hotfolders=sorted(self.receptions),
                          metrics=str(self.settings.web.listen))  # fmt: skip
                try:
                    yield
                finally:
                    await self._wind_down()

    async def _wind_down(self) -> None:
        self._notifier.stopping()
        _log.info("stopping", action="daemon-stopping", running=len(self.scheduler.active))
        self.house.stop()
        for name, reception in self.receptions.items():
            reception.stop()
            await self._tasks[f"desk {name}"]
        await self.scheduler.stop(GRACE)
        self._ring()
        for task in self._retiring | {t for n, t in self._tasks.items() if n != "scheduler"}:
            task.cancel()

    def _open(self) -> None:
        """Everything that must be in order before a task starts. Blocking."""
        state = self.settings.archive.state
        self.spool.create()
        self.store.create()
        self.catalog = Catalog.open(state / "catalog.db")
        self.house = House(self.settings, self.spool, self.store, self.catalog)
        deck = cards.deck(self.settings)
        now = datetime.now(UTC)
        found = recover(self.spool, self.store, self.catalog, deck.limits_of, now)
        with self.catalog.transaction() as change:
            if change.ledger_head().sequence == 0:
                change.record(Entry("ledger-opened", now, AGENT))
            change.record(Entry("daemon-started", now, AGENT,
                                facts={"config": self.settings.digest}))  # fmt: skip
        if found:
            _log.warning("recovered from a crash", action="recovered", **found.counted())
        sealer = Sealer(self.spool, self.store, self.catalog, self.settings.archive.name)
        self.scheduler = Scheduler(
            self.spool, self.store, self.catalog, sealer, clock=self.house.now, wake=self._wake,
            tell=self._step_ended,
        )  # fmt: skip
        self.answers = Answers(self.catalog, self.settings.store.path, self.live)
        self.metrics.watch(lambda: snapshot(self))

    def _close(self) -> None:
        with contextlib.suppress(CatalogError, OSError), self.catalog.transaction() as change:
            change.record(Entry("daemon-stopped", datetime.now(UTC), AGENT))
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
                make = LocalRunner if name == "local" else settings.plugins.runners[name]
                runner: Runner = make(lane, width, settings.plugin_sources)
                runners[lane] = runner
                await runner.start()
        except BaseException:
            await asyncio.gather(*(runner.stop() for runner in runners.values()))
            raise
        return runners

    async def _check_stages(self, runners: Mapping[str, Runner]) -> None:
        """Let every stage and target check itself in a child; complaints are shown, not fatal."""
        self.problems = await check_all(self.settings, runners)
        for name, problems in self.problems.items():
            for problem in problems:
                _log.error(problem, action="stage-problem", stage=name)

    def _open_desks(self, settings: Settings) -> None:
        for name, setting in settings.hotfolders.items():
            if not setting.enabled:
                continue
            card = cards.folder(settings, setting)
            desk = Desk(card, self.catalog, self.spool, self.house)
            reception = Reception(card, desk, self.catalog, self._admitted)
            self.receptions[name] = reception
            self._spawn(f"desk {name}", reception.run())

    def _start_publisher(self, settings: Settings) -> None:
        if settings.mqtt is not None:
            publisher = Publisher(settings.mqtt, self.catalog, self.metrics)
            self._spawn("publisher", publisher.run(self._for_broker))

    def _admitted(self, sweep: Sweep) -> None:
        del sweep
        self._wake.set()
        self._ring()

    def _step_ended(self, ended: StepEnded) -> None:
        usage = ended.usage
        self.metrics.step_ended(ended.stage, ended.ending, ended.code, usage.wall, usage.cpu)
        self.health.progressed()
        self._ring()

    def _tell_plugins(self, event: Any) -> None:
        self.settings.plugins.tell(event)

    async def _heartbeat(self) -> None:
        """Feed the service manager's watchdog, but only while there is progress."""
        trimmed = 0.0
        while True:
            stuck = self.health.stuck()
            if stuck:
                _log.error(stuck, action="no-progress")
            else:
                self._notifier.alive(self.health.line())
            if time.monotonic() - trimmed > 600:
                trimmed = time.monotonic()
                with contextlib.suppress(CatalogError, OSError):
                    await asyncio.to_thread(self._trim)
            await asyncio.sleep(HEARTBEAT)

    def _trim(self) -> None:
        readers = ["observers", *(["mqtt"] if self.settings.mqtt else [])]
        with self.catalog.transaction() as change:
            change.outbox_trim(readers, _KEEP_EVENTS)

    # What people ask for -----------------------------------------------------------------------

    def woken(self) -> None:
        """Somebody changed what is due (a retry, a release)."""
        self._wake.set()
        self._ring()

    def _ring(self) -> None:
        """There may be news in the outbox."""
        self._for_observers.set()
        self._for_broker.set()

    def ask(self, question: str, arguments: dict[str, str]) -> Any:
        """Answer a question of `archivectl`; see `observe.answers`. Blocking."""
        return self.answers.answer(question, arguments)

    def live(self) -> Mapping[str, Any]:
        """What only a running daemon knows, as JSON, for `archivectl status`."""
        return {
            "version": __version__,
            "started": self.started,
            "config": str(self.settings.path),
            "not_ready": self.health.not_ready(),
            "metrics": f"http://{self.settings.web.listen}/metrics",
            "hotfolders": [asdict(r.status) for r in self.receptions.values()],
            "lanes": dict(self.scheduler.widths),
            "running": [asdict(active) for active in list(self.scheduler.active.values())],
            "problems": self.problems,
            "plugins": [asdict(plugin) for plugin in self.settings.plugins.catalogue()],
        }

    async def decide(self, what: str, document: str, operator: str, note: str) -> Any:
        """Carry out a person's decision: `retry` or `release`."""
        if what not in {"retry", "release"}:
            raise ArchivedError(f"{what!r} is not a decision", code="bad-question")
        state = await asyncio.to_thread(
            release, self.catalog, self.scheduler.deck, self.answers.resolve(document), operator,
            note, self.house.now(), skip=what == "release",
        )  # fmt: skip
        self.woken()
        return {"document": document, "state": str(state)}

    async def reload(self) -> list[str]:
        """Read the configuration again; returns what changed, in sentences.

        Two-phase: the old set lives until the new one is ready. Raises `ConfigError`; then
        nothing has changed.
        """
        async with self._reloading:
            self._notifier.reloading()
            try:
                new = await asyncio.to_thread(reload, self.settings)
                runners = await self._start_runners(new)
            except ArchivedError as error:
                self.metrics.reloaded(ok=False)
                _log.error(
                    "the new configuration is not used", action="reload-refused", why=str(error)
                )
                raise
            else:
                told = changes(self.settings, new)
                await self._switch(new, runners)
                self.metrics.reloaded(ok=True)
                _log.info("reloaded", action="reloaded", changes=told)
                return told
            finally:
                self._notifier.ready(self.health.line())

    async def _switch(self, new: Settings, runners: dict[str, Runner]) -> None:
        self.settings = self.house.settings = new
        old = self.scheduler.use(cards.deck(new), runners, cards.lanes(new))
        longest = max((s.needs.timeout.total_seconds() for s in new.stages.values()), default=0.0)
        for runner in old.values():
            retiring = self._group.create_task(runner.stop(longest))
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
        for name, reception in self.receptions.items():
            reception.stop()
            await self._tasks.pop(f"desk {name}")
        self.receptions.clear()
        self._open_desks(new)
        publisher = self._tasks.pop("publisher", None)
        if publisher is not None:
            publisher.cancel()
        self._start_publisher(new)
        self._group.create_task(self._check_stages(runners), name="checks")


async def check_all(settings: Settings, runners: Mapping[str, Runner]) -> dict[str, list[str]]:
    """Stage or target name -> what its own `check` complains about; empty lists left out."""
    found: dict[str, list[str]] = {}
    deck = cards.deck(settings)
    targets = {t.name: {"kind": t.kind, "options": dict(t.options)} for t in deck.targets.values()}
    for name, card in deck.stages.items():
        runner = runners.get(card.lane)
        if not isinstance(runner, LocalRunner):
            continue
        limits = ChildLimits(memory=card.memory, network=card.network)
        own = targets if card.targets else {}
        problems = await runner.check(name, card.options, own, settings.store.path, limits=limits)
        if problems:
            found[name] = problems
    return found


@contextlib.contextmanager
def _only_one(state: Path) -> Any:
    """Two daemons on one state folder would each think they own it."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        handle = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise ArchivedError(
            f"{state}: cannot be used ({error.strerror})",
            hint="make the folder and give it to the user that runs archived", code="no-state",
        ) from error  # fmt: skip
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ArchivedError(
            f"{state}: another archived is running here",
            hint="systemctl status archived", code="already-running",
        ) from None  # fmt: skip
    finally:
        os.close(handle)


async def serve(settings: Settings) -> None:
    """Run a daemon until SIGTERM or SIGINT; SIGHUP reloads."""
    daemon = Daemon(settings)
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    async def reload_quietly() -> None:
        with contextlib.suppress(ArchivedError):  # logged and counted where it was refused
            await daemon.reload()

    def hang_up() -> None:
        task = loop.create_task(reload_quietly())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    # A lease being broken (see `watcher.has_writer`) must not end the process.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    await daemon.run()
