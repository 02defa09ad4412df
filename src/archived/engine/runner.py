"""Runs steps on this machine: keeps a fork server warm, watches the clock, hands back outcomes.

Runs in the daemon's event loop and imports no plug-in. What to do about an outcome, and whether
to try again, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from archived.engine.boundary import LINE_LIMIT, Limits, Request
from archived.engine.ending import SHUTDOWN, judge, runner_lost
from archived.engine.output import check_output
from archived.errors import ArchivedError, PluginError
from archived.model.outcome import Ending, Outcome

_log = logging.getLogger("archived.engine")

MARK = "ARCHIVED_RUNNER"
"""Environment variable that every process of one fork server carries from birth."""
_START_SECONDS = 130.0
_GRACE = 15.0
"""Seconds after a deadline in which the fork server must have reported; then it is killed."""
_PASSED_ON = ("PATH", "TZ", "CREDENTIALS_DIRECTORY", "TESSDATA_PREFIX", "SSL_CERT_FILE")

Progress = Callable[[float], None]
Log = Callable[[str], None]


@dataclass(eq=False)
class _Running:
    ended: asyncio.Future[Mapping[str, Any]]
    on_progress: Progress | None


class LocalRunner:
    """Steps of one lane, at most `width` at a time, each in a fresh child of a warm fork server.

    `sources` names the plug-ins (see `registry.Source`). `environment` is added to the few
    variables children are given. Start it before use; stop it always.
    """

    def __init__(
        self,
        lane: str,
        width: int,
        sources: Sequence[Mapping[str, Any]],
        *,
        preload: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.lane = lane
        self.width = width
        self.stages: dict[str, str] = {}
        """Stage name -> version, as the fork server found them."""
        self.confinement: dict[str, str] = {}
        """What the latest step was protected by; see `sandbox.Confinement`."""
        self._sources = [dict(source) for source in sources]
        self._preload = preload
        self._environment = dict(environment or {})
        self._places = asyncio.Semaphore(width)
        self._starting = asyncio.Lock()
        self._running: dict[str, _Running] = {}
        self._server: _Server | None = None
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
        with tempfile.TemporaryDirectory(prefix="archived-check-") as folder:
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
            with contextlib.suppress(_Lost):  # then it is dead already
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
            await asyncio.wait(waiting, timeout=_GRACE)
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
                return await self._end_of(running, server, seconds + _GRACE)
            except asyncio.CancelledError:
                with contextlib.suppress(_Lost):
                    await server.send({"do": "kill", "step": step, "why": "cancelled"})
                raise
            except _Lost as lost:
                return SHUTDOWN if self._stopping else runner_lost(str(lost))
            finally:
                self._running.pop(step, None)
                running.ended.cancel()

    async def _end_of(
        self, running: _Running, server: _Server, seconds: float
    ) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(running.ended)
        except TimeoutError:
            _log.error("lane %s: the fork server does not answer; killing it", self.lane)
            await server.kill()
            return await running.ended

    async def _live_server(self) -> _Server:
        async with self._starting:
            if self._server is not None and self._server.lives:
                return self._server
            if self._server is not None:
                await self._server.kill()
            server = _Server(self._hear, self._lost)
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
            self.confinement = message["answer"].get("confinement", self.confinement)
            running.ended.set_result(message)
        elif running.on_progress is not None:
            running.on_progress(message["fraction"])

    def _lost(self, why: str) -> None:
        for running in self._running.values():
            if not running.ended.done():
                running.ended.set_exception(_Lost(why))


class _Lost(Exception):
    """The fork server is gone."""


class _Server:
    """One life of a fork server process: its start, the line to it, its end."""

    def __init__(
        self, hear: Callable[[Mapping[str, Any]], None], lost: Callable[[str], None]
    ) -> None:
        self._hear = hear
        self._lost = lost
        self._mark = secrets.token_hex(16)
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self.lives = False

    async def start(
        self, start: Mapping[str, Any], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """Start it and wait until its plug-ins are loaded. Raises `PluginError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "archived.engine.forkserver",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=_environment(environment) | {MARK: self._mark},
            )
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=LINE_LIMIT)
        self.lives = True
        try:
            await self.send(start)
            async with asyncio.timeout(_START_SECONDS):
                line = await reader.readline()
            ready: dict[str, Any] = json.loads(line or "{}")
        except (TimeoutError, ValueError, _Lost) as error:
            await self.kill()
            raise PluginError(f"the fork server does not start: {error!r}") from error
        except asyncio.CancelledError:
            await self.kill()
            raise
        if ready.get("did") != "ready":
            await self.kill()
            status = self._process.returncode
            raise PluginError(
                ready.get("message", f"the fork server ended while starting (status {status})"),
                hint=ready.get("hint", "the journal may say more"),
            )
        self._listening = asyncio.create_task(self._listen(reader))
        return ready

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; into the void when the fork server is gone (its loss is told)."""
        if self._writer is None or not self.lives:
            raise _Lost("it had ended")
        self._writer.write(json.dumps(message).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._hear(json.loads(line))
        except (ConnectionError, ValueError) as error:
            _log.error("the line to the fork server broke: %r", error)
        await self._end()

    async def _end(self) -> None:
        """After the line is cut: nothing of it may survive, then its steps are told."""
        self.lives = False
        assert self._process is not None  # noqa: S101 - start() came before
        if self._writer is not None:
            self._writer.close()
        try:
            async with asyncio.timeout(_GRACE):
                status = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            status = await self._process.wait()
        if status != 0:  # else it has seen to its children itself
            await asyncio.to_thread(_kill_marked, self._mark)
        self._lost(f"status {status}")

    async def close(self) -> None:
        """Cut the line; the fork server kills what it started and exits."""
        if self._listening is None:
            await self.kill()
            return
        if self._writer is not None:
            self._writer.close()
        await self._listening

    async def kill(self) -> None:
        """For a fork server that does not answer or did not get through its start."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._listening is not None:
            await self._listening
        elif self._process is not None:
            await self._end()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Little is passed on, so that a step depends on the configuration alone."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    one_thread = dict.fromkeys(
        ("OMP_THREAD_LIMIT", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
    )
    # Many arenas take address space, which is what the memory limit counts.
    fixed = {"PATH": os.defpath, "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
    return {**fixed, **one_thread, **passed, **more}


def _kill_marked(mark: str, rounds: int = 50) -> None:
    """Kill what a dead fork server left: processes born with its mark in their environment.

    A process that replaced its whole environment is not found; a service manager's control group
    (systemd's `KillMode=`) is what gets those.
    """
    needle = f"{MARK}={mark}".encode()
    for _ in range(rounds):
        found = False
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if needle in (entry / "environ").read_bytes():
                    found = True
                    os.kill(int(entry.name), signal.SIGKILL)
        if not found:
            return
