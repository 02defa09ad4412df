"""Runs steps on this machine: keeps a fork server warm, watches the clock, hands back outcomes.

Runs in the daemon's event loop and imports no plug-in. What to do about an outcome, and whether
to try again, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from archived.engine.boundary import Limits, Request
from archived.engine.ending import SHUTDOWN, judge, runner_lost
from archived.engine.output import check_output
from archived.engine.server import GRACE, Lost, Server
from archived.errors import ArchivedError
from archived.model.outcome import Ending, Outcome

_log = logging.getLogger("archived.engine")

Progress = Callable[[float], None]
Log = Callable[[str], None]


@dataclass(eq=False)
class _Running:
    ended: asyncio.Future[Mapping[str, Any]]
    on_progress: Progress | None


class LocalRunner:
    """Steps of one lane, at most `width` at a time, each in a fresh child of a warm fork server.

    `sources` names the plug-ins (see `registry.Source`). `preload` names the stages whose heavy
    modules are loaded in advance (`None`: all); others load theirs in every attempt.
    `environment` is added to the few variables children are given. `scratch` is where checks have
    their folders (else the temporary folder). Start it before use; stop it always.
    """

    def __init__(
        self,
        lane: str,
        width: int,
        sources: Sequence[Mapping[str, Any]],
        *,
        preload: Collection[str] | None = None,
        environment: Mapping[str, str] | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.lane = lane
        self.width = width
        self.stages: dict[str, str] = {}
        """Stage name -> version, as the fork server found them."""
        self.confinement: dict[str, str] = {}
        """Protection -> verdict of the latest step that was to have it: `sandbox.Confinement`."""
        self.restarts = 0
        """Times the fork server was started anew because it had ended."""
        self._sources = [dict(source) for source in sources]
        self._preload = None if preload is None else sorted(preload)
        self._environment = dict(environment or {})
        self._scratch = scratch
        self._places = asyncio.Semaphore(width)
        self._starting = asyncio.Lock()
        self._running: dict[str, _Running] = {}
        self._server: Server | None = None
        self._stopping = False

    @property
    def running(self) -> frozenset[str]:
        """The steps whose processes live now."""
        return frozenset(self._running)

    async def start(self) -> None:
        """Start the fork server and load the plug-ins. Raises `PluginError` if that fails."""
        self._stopping = False
        await self._live_server()

    async def run(
        self, request: Request, on_progress: Progress | None = None, on_log: Log | None = None
    ) -> Outcome:
        """One attempt, to its end: the stage's own, its deadline, or the runner's stop.

        Waits while `width` others run. `on_log` is given, once, what the step printed (bounded).
        Never raises for anything a stage does; files it made have been checked.
        """
        job = {
            "kind": "run",
            "step": request.step,
            "folder": str(request.folder),
            "limits": asdict(request.limits),
            "request": request.to_json(),
        }
        ended = await self._job(job, request.deadline, on_progress)
        if isinstance(ended, Outcome):
            return ended
        if on_log is not None and ended["log"]:
            on_log(ended["log"])
        outcome = judge(ended)
        if outcome.ending is Ending.FINISHED:
            outcome = await asyncio.to_thread(check_output, outcome, request.folder)
        return outcome

    async def check(
        self,
        stage: str | None,
        options: Mapping[str, Any],
        targets: Mapping[str, Mapping[str, Any]],
        beside: Path,
        *,
        limits: Limits | None = None,
        seconds: float = 60.0,
    ) -> list[str]:
        """What `Stage.check` of `stage` and `Target.check` of every target find, one sentence each.

        `options` and `targets` as in `Request`; `beside` is the store. Has the network when there
        are targets, unless `limits` says otherwise. A check that breaks is a problem itself.
        """
        with tempfile.TemporaryDirectory(prefix="archived-check-", dir=self._scratch) as folder:
            job = {
                "kind": "check",
                "step": f"check-{secrets.token_hex(8)}",
                "folder": folder,
                "limits": asdict(limits or Limits(network=bool(targets))),
                "stage": stage,
                "options": dict(options),
                "targets": {name: dict(target) for name, target in targets.items()},
                "beside": str(beside),
            }
            until = datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds, UTC)
            ended = await self._job(job, until, None)
        if isinstance(ended, Outcome):
            return [f"could not be checked: {ended.message}"]
        if "problems" in ended["answer"]:
            return [str(problem) for problem in ended["answer"]["problems"]]
        last = ended["log"].strip().rpartition("\n")[2]
        return [f"its check broke: {last or judge(ended).message}"]

    async def cancel(self, step: str) -> None:
        """Kill a running step; its `run` returns `put-back`. Unknown steps are fine."""
        if step in self._running and self._server is not None:
            with contextlib.suppress(Lost):  # then it is dead already
                await self._server.send({"do": "kill", "step": step, "why": "cancelled"})

    async def stop(self, grace: float = 0.0) -> None:
        """Take no more steps, give running ones `grace` seconds, kill the rest, end all processes.

        Killed steps return `put-back` with code `shutdown`.
        """
        self._stopping = True
        waiting = [running.ended for running in self._running.values()]
        if waiting and grace > 0:
            await asyncio.wait(waiting, timeout=grace)
        for step in tuple(self._running):
            await self.cancel(step)
        waiting = [running.ended for running in self._running.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=GRACE)
        async with self._starting:
            if self._server is not None:
                await self._server.close()
                self._server = None
        self._lost(SHUTDOWN.code)

    async def _job(
        self, job: dict[str, Any], deadline: datetime, on_progress: Progress | None
    ) -> Mapping[str, Any] | Outcome:
        async with self._places:
            if self._stopping:
                return SHUTDOWN
            try:
                server = await self._live_server()
            except (ArchivedError, OSError) as error:
                return runner_lost(f"it cannot be started: {error}")
            step = job["step"]
            if step in self._running:
                raise ValueError(f"step {step!r} is running already")
            seconds = max(0.0, (deadline - datetime.now(UTC)).total_seconds())
            running = _Running(asyncio.get_running_loop().create_future(), on_progress)
            self._running[step] = running
            try:
                await server.send({"do": "job", "seconds": seconds, **job})
                return await self._end_of(running, server, seconds + GRACE)
            except asyncio.CancelledError:
                with contextlib.suppress(Lost):
                    await server.send({"do": "kill", "step": step, "why": "cancelled"})
                raise
            except Lost as lost:
                return SHUTDOWN if self._stopping else runner_lost(str(lost))
            finally:
                self._running.pop(step, None)
                running.ended.cancel()

    async def _end_of(self, running: _Running, server: Server, seconds: float) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(running.ended)
        except TimeoutError:
            _log.error("lane %s: the fork server does not answer; killing it", self.lane)
            await server.kill()
            return await running.ended

    async def _live_server(self) -> Server:
        async with self._starting:
            if self._server is not None and self._server.lives:
                return self._server
            if self._server is not None:
                self.restarts += 1
                await self._server.kill()
            server = Server(self._hear, self._lost)
            self._server = server
            start = {"do": "start", "sources": self._sources, "preload": self._preload}
            ready = await server.start(start, self._environment)
            self.stages = ready["stages"]
            if ready["threads"] > 1:
                _log.warning(
                    "lane %s: a plug-in started threads while being imported; forking a process "
                    "with threads can hang its children, which then run into their timeout",
                    self.lane,
                )
            return server

    def _hear(self, message: Mapping[str, Any]) -> None:
        running = self._running.get(message["step"])
        if running is None or running.ended.done():
            return
        if message["did"] == "ended":
            told = message["answer"].get("confinement", {})
            self.confinement |= {what: word for what, word in told.items() if word != "not asked"}
            running.ended.set_result(message)
        elif running.on_progress is not None:
            try:
                running.on_progress(message["fraction"])
            except Exception:  # noqa: BLE001 - one listener's mistake must not deafen the lane
                _log.exception("lane %s: telling about progress failed", self.lane)

    def _lost(self, why: str) -> None:
        for running in self._running.values():
            if not running.ended.done():
                running.ended.set_exception(Lost(why))
