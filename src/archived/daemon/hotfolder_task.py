"""The task of one hot folder: sweeps on events and on the clock, and says when ingest pauses."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from archived.errors import ArchivedError, CatalogError
from archived.ingest.hotfolder import HotFolderIngest, HotFolderSpec, Sweep
from archived.ingest.hotfolder_spec import Waiting
from archived.ingest.scanner import FolderOffline
from archived.ingest.watcher import Watcher, choose_mode
from archived.message import Message
from archived.storage.catalog import Catalog
from archived.storage.metrics_queries import paused

_log = structlog.get_logger("archived.ingest")

_REST = 4
"""How much longer than a sweep the pause after it is, up to the folder's `rescan`."""
_A_MOMENT = 0.02
"""Seconds beyond the instant at which a file has settled, so that the sweep finds it settled."""
_SHORTEST = 0.2
"""Seconds between two sweeps, however many hints come: a burst is one sweep's work."""


_NAMED = 20
"""Files that wait in a hot folder and are named where people look."""


@dataclass(slots=True)
class FolderStatus:
    """How a hot folder is doing, for metrics and `archivectl status`."""

    name: str
    path: str
    mode: str = "polling"
    offline: str = ""
    """Why the folder cannot be listed; empty when it can."""
    paused: str = ""
    """Why nothing is taken in; empty when intake is open."""
    arriving: int = 0
    waiting: list[Waiting] = field(default_factory=list)
    """The files that arrive, by name, the oldest first; not all when they are many."""
    stuck: list[str] = field(default_factory=list)
    """Files in custody that cannot be removed from the folder."""
    failing: str = ""
    """Why sweeps break off, or take nothing in though no file is at fault; else empty."""
    moved: float = 0.0
    """Monotonic time of the last progress: with a file, or to the end of a sweep."""
    sweep_seconds: float = 0.0

    @property
    def known(self) -> bool:
        """False until a first sweep has ended, well or not."""
        return bool(self.sweep_seconds or self.offline or self.failing)


class HotFolderTask:
    """One hot folder's loop. `admitted` is called after each sweep that admitted something."""

    ingest: HotFolderIngest

    def __init__(
        self, spec: HotFolderSpec, catalog: Catalog, admitted: Callable[[Sweep], None]
    ) -> None:
        self.spec = spec
        self.status = FolderStatus(spec.name, str(spec.path), moved=time.monotonic())
        self._catalog = catalog
        self._admitted = admitted
        self._hint = asyncio.Event()
        self._stopping = False
        self._watcher: Watcher | None = None
        self._failed_at = -math.inf
        """When the last sweep broke off (monotonic seconds)."""

    async def run(self) -> None:
        """Sweep until `stop`; a folder that is offline is tried again and again."""
        loop = asyncio.get_running_loop()
        self.status.paused = await asyncio.to_thread(self._paused_before)

        def hint() -> None:
            loop.call_soon_threadsafe(self._hint.set)

        try:
            while not self._stopping:
                await asyncio.to_thread(self._watch, hint)
                self._hint.clear()
                if self._stopping:
                    break  # its hint may just have been cleared
                pause = await self._sweep()
                await asyncio.sleep(_SHORTEST)
                try:
                    async with asyncio.timeout(pause - _SHORTEST):
                        await self._hint.wait()
                except TimeoutError:
                    continue
        finally:
            if self._watcher is not None:
                await asyncio.to_thread(self._watcher.stop)

    def stop(self) -> None:
        """End after the sweep under way."""
        self._stopping = True
        self._hint.set()

    def beat(self) -> None:
        """Ingest progresses. Called from its thread."""
        self.status.moved = time.monotonic()

    def look_now(self) -> None:
        """Sweep soon, not only when the clock says so."""
        self._hint.set()

    def _paused_before(self) -> str:
        """What was told before this start or reload: whoever heard of a pause hears of its end."""
        try:
            return paused(self._catalog, self.spec.name)
        except (CatalogError, OSError):
            return ""

    def _watch(self, hint: Callable[[], None]) -> None:
        """(Re)start the watcher where events are wanted and the folder is there."""
        if self._watcher is not None and self._watcher.alive():
            return
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        try:
            mode = choose_mode(self.spec.path, self.spec.mode)
            if mode == "events":
                spec = self.spec
                watcher = Watcher(spec.path, hint, recursive=spec.recursive, own=spec.own)
                if shallow := watcher.start():
                    _log.warning(
                        "the kernel tells of files in the hot folder itself only, not of those in "
                        "folders below it, which wait for the next listing",
                        action="watch-failed",
                        hotfolder=self.spec.name,
                        why=shallow,
                    )
                self._watcher = watcher
            self.status.mode = mode
        except Exception as error:  # noqa: BLE001 - without events the folder is polled
            self.status.mode = "polling"
            _log.debug("no events", action="watch-failed", hotfolder=self.spec.name, why=str(error))

    async def _sweep(self) -> float:
        """One sweep; returns seconds, `_SHORTEST` at least, until the next that nobody hints at."""
        began = time.monotonic()
        try:
            report = await asyncio.to_thread(self.ingest.sweep)
        except FolderOffline as offline:
            self._offline(str(offline))
            return min(self.spec.rescan, 10.0)
        except Exception as error:  # noqa: BLE001 - one folder's trouble must not end the daemon
            self._failed(error)
            return 2.0
        self._note(report, began)
        if report.admitted:
            self._admitted(report)
        soon = self.spec.settle_time / 2 if report.arriving or report.stuck else self.spec.rescan
        # A folder full of files that stay is not looked at all the time.
        took = time.monotonic() - began
        soon = min(soon, report.settles - took + _A_MOMENT)
        return max(_SHORTEST, min(self.spec.rescan, max(soon, _REST * took)))

    def _failed(self, error: Exception) -> None:
        why = str(error) or type(error).__name__
        known = isinstance(error, (ArchivedError, OSError))
        if self.status.failing != why:
            _log.error(
                "a sweep failed; it is tried again",
                action="sweep-failed",
                hotfolder=self.spec.name,
                error=why,
                exc_info=None if known else error,
            )
        self.status.failing = why
        self._failed_at = time.monotonic()
        self.beat()  # it came back: a restart cures nothing

    def _note(self, report: Sweep, began: float) -> None:
        status = self.status
        self.beat()
        # Sweeps may break off only when some file has settled: what failed is over when one came
        # through after that time.
        if began - self._failed_at >= self.spec.settle_time:
            status.failing = ""
        if report.blocked:
            status.failing, self._failed_at = report.blocked, status.moved
        status.sweep_seconds = status.moved - began
        status.arriving, status.stuck = report.arriving, report.stuck
        status.waiting = sorted(report.waiting, key=lambda each: each.since)[:_NAMED]
        if status.offline:
            _log.info("hot folder is back", action="folder-online", hotfolder=self.spec.name)
            status.offline = ""
        for error in report.errors:
            _log.warning(error, action="intake-problem", hotfolder=self.spec.name)
        for name, broken in report.broken:
            _log.error(
                "an error with one file; it is held",
                action="intake-failed",
                hotfolder=self.spec.name,
                file=name,
                exc_info=broken,
            )
        for custody in report.admitted:
            _log.info(
                "in custody",
                action="document-admitted",
                document=custody.document,
                hotfolder=self.spec.name,
                size=custody.size,
                same_as=custody.same_as,
            )
        self._pause(
            Message("the disk with the spool has no room to spare") if report.no_room else ""
        )

    def _offline(self, why: str) -> None:
        if self.status.offline != why:
            _log.error(why, action="folder-offline", hotfolder=self.spec.name)
        self.status.offline = why
        self.beat()

    def _pause(self, why: str) -> None:
        if why == self.status.paused:
            return
        self.status.paused = why
        name = "intake-paused" if why else "intake-resumed"
        _log.warning(why or "intake goes on", action=name, hotfolder=self.spec.name)
        try:
            with self._catalog.transaction() as change:
                change.announce(
                    name,
                    datetime.now(UTC),
                    hotfolder=self.spec.name,
                    facts={"why": why} if why else {},
                )
        except (CatalogError, OSError) as error:
            # The disk is full: status, metrics and log say so; the event would need room itself.
            _log.warning("event not queued", action="event-lost", event_name=name, error=str(error))
