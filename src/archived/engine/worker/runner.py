"""Runs steps on this machine: keeps a fork server warm, watches the clock, returns outcomes.

Runs in the daemon's event loop and imports no plug-in. What to do about an outcome, and whether
to try again, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from archived.engine.protocol import StepLimits, StepRequest
from archived.engine.step_limits import ProgressWatch as StepProgress
from archived.engine.worker.forkserver_client import (
    GRACE,
    ForkServerLost,
    ForkServerProcess,
    ForkServers,
    LaneSetup,
)
from archived.engine.worker.handover import closed_to_us, hand_over
from archived.engine.worker.kept import KeptWorker, KeptWorkers
from archived.engine.worker.output import check_output, taken_from_worker
from archived.engine.worker.pipes import Pipes
from archived.engine.worker.reply import MalformedReply, Reply
from archived.engine.worker.results import (
    SHUTDOWN,
    ProcessEnd,
    digests_from_json,
    judge,
    no_runner,
    problems_from_json,
    requeued,
    runner_lost,
)
from archived.errors import ArchivedError
from archived.message import Message
from archived.model.outcome import Ending, Outcome, of_os_error
from archived.storage import tree

_log = logging.getLogger("archived.engine")

_GIVE_BACK_SECONDS = 60.0
_GIVE_BACK_POLL = 0.2

Progress = Callable[[float], None]
Log = Callable[[str], None]


@dataclass(eq=False)
class _Running:
    """A step's process: its pipes, the fork server it is a child of, and its end to come."""

    step: str
    pipes: Pipes | None
    server: ForkServerProcess
    ended: asyncio.Future[ProcessEnd]


_USUAL = LaneSetup()


@dataclass(frozen=True, slots=True)
class _JobContext:
    """What a job's child needs besides the job.

    `descriptors`: open files that it is handed. `worker`: it is kept, and is to be `new`, or the
    `same` as before, confined as it is known (`confinement`).
    """

    document: str = ""
    descriptors: Sequence[int] = ()
    worker: str = ""
    confinement: Mapping[str, str] | None = None


class LocalRunner:
    """Steps of one lane, at most `width` at a time, each in a fresh child of a warm fork server;
    those that ask for a kept worker one after another in the one of their stage (`kept`).

    `sources` names the plug-ins (see `plugin_loader.Source`). Start it before use; stop it always.
    """

    def __init__(
        self,
        lane: str,
        width: int,
        sources: Sequence[Mapping[str, Any]],
        setup: LaneSetup = _USUAL,
    ) -> None:
        self.lane = lane
        self.width = width
        self.confinement: dict[str, str] = {}
        """Protection -> verdict of the latest step that was to have it: `sandbox.Confinement`."""
        self._scratch = setup.scratch
        self._servers = ForkServers(lane, sources, setup, hear=self._hear, lost=self._lost)
        self._places = asyncio.Semaphore(width)
        self._alone = asyncio.Lock()
        self._suspects: set[str] = set()
        """Documents under whose steps a fork server ended. Each is run in one of its own until a
        step of it has ended in some other way, so that no other document pays for it."""
        self._running: dict[str, _Running] = {}
        self._kept = KeptWorkers(lane, self._retire)
        self._stopping = False

    @property
    def stages(self) -> Mapping[str, str]:
        """Stage name -> version, as the fork servers found them."""
        return self._servers.stages

    @property
    def restarts(self) -> int:
        """Times a fork server was started anew because it had ended."""
        return self._servers.restarts

    @property
    def separate(self) -> Mapping[str, int] | None:
        """See `ForkServers.separate`."""
        return self._servers.separate

    @property
    def running(self) -> frozenset[str]:
        """The steps whose processes live now."""
        return frozenset(self._running)

    async def start(self) -> None:
        """Start the fork server and load the plug-ins. Raises `PluginError` if that fails."""
        self._stopping = False
        await self._servers.start()

    async def run(
        self, request: StepRequest, on_progress: Progress | None = None, on_log: Log | None = None
    ) -> Outcome:
        """One attempt, to its end: the stage's own, its deadline, or the runner's stop.

        Waits while `width` others run. `on_log` is given, once, what the step printed (bounded).
        Never raises for anything a stage does; files it made have been checked.
        """
        patience = request.deadline - datetime.now(UTC)  # to wait for a place takes none of it
        if not request.kept:
            return await self._run(request, patience, on_progress, on_log, None)
        worker = self._kept.of(request.stage)
        async with worker.lock:
            outcome = await self._run(request, patience, on_progress, on_log, worker)
            await self._kept.rest(worker, outcome)
        return outcome

    async def _run(
        self,
        request: StepRequest,
        patience: timedelta,
        on_progress: Progress | None,
        on_log: Log | None,
        worker: KeptWorker | None,
    ) -> Outcome:
        progress = StepProgress(patience.total_seconds(), request.max_time)

        def told(fraction: float) -> None:
            progress.told(fraction)
            if on_progress is not None:
                on_progress(fraction)

        async def end(why: str) -> None:
            if running := self._running.get(request.step):
                await _kill(running, why)

        def job() -> dict[str, Any]:  # its time runs from when it has a place
            progress.begin()
            now = replace(request, deadline=datetime.now(UTC) + patience)
            return {
                "kind": "run",
                "step": request.step,
                "folder": str(request.folder),
                "limits": asdict(request.limits),
                "request": now.to_json(),
            }

        watch = asyncio.create_task(progress.watch(end))
        try:
            done = await self._job(job, progress.ends, request.document.id, told, worker)
        finally:
            watch.cancel()
        if isinstance(done, Outcome):
            return done
        ended, pipes = done
        if on_log is not None and pipes.log:
            on_log(pipes.log)
        if pipes.reply.problem:
            _log.warning(
                "lane %s: what a step said was malformed, and it was ended: %s",
                self.lane,
                pipes.reply.problem,
                extra={"action": "reply-malformed"},
            )
        return await asyncio.to_thread(
            _judged, ended, pipes, request.folder, kept=worker is not None
        )

    async def check(
        self,
        stage: str | None,
        options: Mapping[str, Any],
        targets: Mapping[str, Mapping[str, Any]],
        beside: Path,
        *,
        limits: StepLimits | None = None,
        seconds: float = 60.0,
    ) -> list[str]:
        """What `Stage.check` of `stage` and `Target.check` of every target find, one sentence each.

        `options` and `targets` as in `Request`; `beside` is the store. Has the network when there
        are targets, unless `limits` says otherwise. A check that breaks is a problem itself.
        """
        job = {
            "kind": "check",
            "limits": asdict(limits or StepLimits(network=bool(targets))),
            "stage": stage,
            "options": dict(options),
            "targets": {name: dict(target) for name, target in targets.items()},
            "beside": str(beside),
        }
        try:
            reply, log, outcome = await self._beside_the_steps(job, seconds)
            if reply is not None and reply.final is not None and not reply.problem:
                return problems_from_json(reply.final)
        except (MalformedReply, OSError) as error:
            return [Message("could not be checked: {error}", error=error)]
        if reply is None:
            return [Message("could not be checked: {message}", message=outcome.message)]
        last = log.strip().rpartition("\n")[2]
        return [Message("its check failed: {last}", last=last or outcome.message)]

    async def read_back(
        self,
        targets: Mapping[str, Mapping[str, Any]],
        files: Sequence[Mapping[str, Any]],
        beside: Path,
        *,
        limits: StepLimits | None = None,
        seconds: float = 600.0,
    ) -> Sequence[Mapping[str, str]] | str:
        """Read files back from targets, in a child that runs no stage: `read_back.digests_of`.

        A sentence when that cannot be done.
        """
        job = {
            "kind": "read-back",
            "limits": asdict(limits or StepLimits(network=True)),
            "stage": None,
            "targets": {name: dict(target) for name, target in targets.items()},
            "files": [dict(file) for file in files],
            "beside": str(beside),
        }
        try:
            reply, log, outcome = await self._beside_the_steps(job, seconds)
            if reply is not None and reply.final is not None and not reply.problem:
                return digests_from_json(reply.final)
        except (MalformedReply, OSError) as error:
            return str(error)
        return log.strip().rpartition("\n")[2] or outcome.message

    async def _beside_the_steps(
        self, job: Mapping[str, Any], seconds: float
    ) -> tuple[Reply | None, str, Outcome]:
        """Do a job that is no step: what it said, what it printed, how it ended."""
        step = f"{job['kind']}-{secrets.token_hex(8)}"
        with tree.temporary("archived-check-", self._scratch) as folder:
            whole = {**job, "step": step, "folder": str(folder)}
            done = await self._job(lambda: whole, seconds, "", None, None)
        if isinstance(done, Outcome):
            return None, "", done
        ended, pipes = done
        return pipes.reply, pipes.log, judge(ended, pipes.reply)

    async def cancel(self, step: str) -> None:
        """Kill a running step; its `run` returns `requeued`. Unknown steps are fine."""
        if running := self._running.get(step):
            await _kill(running, "cancelled")

    async def stop(self, grace: float = 0.0) -> None:
        """Take no more steps, give running ones `grace` seconds, kill the rest, end all processes.

        Killed steps return `requeued` with code `shutdown`.
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
        await self._servers.close()
        await self._kept.close()
        for running in self._running.values():
            _lose(running, SHUTDOWN.code)

    async def _job(
        self,
        make: Callable[[], Mapping[str, Any]],
        seconds: float,
        document: str,
        on_progress: Progress | None,
        worker: KeptWorker | None,
    ) -> tuple[ProcessEnd, Pipes] | Outcome:
        """Do a job as soon as there is a place for it. `document` is "" for one that is no step."""
        suspect = document in self._suspects
        async with self._places, self._alone if suspect else contextlib.nullcontext():
            if self._stopping:
                return SHUTDOWN
            server: ForkServerProcess | None = None
            try:
                server = await self._servers.for_job(make(), alone=suspect)
                if self._stopping:
                    return SHUTDOWN
                if worker is not None:
                    return await self._in_kept(
                        worker, server, make(), seconds, on_progress, document
                    )
                return await self._in_account(server, make(), seconds, on_progress, document)
            except (ArchivedError, OSError) as error:
                return no_runner(
                    Message(
                        "the process that starts stages cannot be started: {error}", error=error
                    )
                )
            except ForkServerLost as lost:
                if self._stopping:
                    return SHUTDOWN
                if suspect or not document:
                    return runner_lost(str(lost))
                self._suspects.add(document)
                return requeued(str(lost))
            finally:
                if suspect and server is not None:
                    await server.close()

    async def _in_account(
        self,
        server: ForkServerProcess,
        job: Mapping[str, Any],
        seconds: float,
        on_progress: Progress | None,
        document: str,
    ) -> tuple[ProcessEnd, Pipes] | Outcome:
        """A job in whatever account its fork server has: what it needs handed over and back."""
        if server.account is None:
            return await self._child(server, job, seconds, on_progress, _JobContext(document))
        folder = Path(job["folder"])
        try:
            handed = await asyncio.to_thread(hand_over, job, server.account)
        except OSError as error:
            return of_os_error(error)
        try:
            context = _JobContext(document, handed.descriptors)
            done = await self._child(server, handed.job, seconds, on_progress, context)
        except ForkServerLost:
            await self._wait_for(folder)
            raise
        finally:
            handed.close()
        if server.lives and await asyncio.to_thread(closed_to_us, folder):
            giving = {
                "kind": "give-back",
                "step": f"give-back-{secrets.token_hex(8)}",
                "folder": str(folder),
                "owner": handed.job["owner"],
                "limits": asdict(StepLimits()),
            }
            _, pipes = await self._child(server, giving, _GIVE_BACK_SECONDS, None, _JobContext())
            pipes.close()
        return done

    async def _in_kept(
        self,
        worker: KeptWorker,
        server: ForkServerProcess,
        job: Mapping[str, Any],
        seconds: float,
        on_progress: Progress | None,
        document: str,
    ) -> tuple[ProcessEnd, Pipes] | Outcome:
        """A job of a kept worker, in whatever account."""

        async def child(
            server: ForkServerProcess,
            job: Mapping[str, Any],
            document: str,
            descriptors: Sequence[int] = (),
            *,
            worker: str = "",
            confinement: Mapping[str, str] | None = None,
        ) -> tuple[ProcessEnd, Pipes]:
            limit = seconds if worker else _GIVE_BACK_SECONDS
            told = on_progress if worker else None
            context = _JobContext(document, descriptors, worker, confinement)
            return await self._child(server, job, limit, told, context)

        try:
            return await self._kept.step(worker, server, job, document, child)
        except OSError as error:
            return of_os_error(error)

    async def _retire(self, server: ForkServerProcess) -> None:
        """End the kept worker of a fork server, and wait until it is gone. Raises `Lost`."""
        step = f"retire-{secrets.token_hex(8)}"
        running = _Running(step, None, server, asyncio.get_running_loop().create_future())
        self._running[step] = running
        try:
            async with asyncio.timeout(GRACE):
                await server.send({"do": "retire", "step": step})
                await asyncio.shield(running.ended)
        except TimeoutError:
            _log.error("lane %s: a kept worker does not end; killing its fork server", self.lane)
            await server.kill()
        finally:
            self._running.pop(step, None)
            running.ended.cancel()

    async def _wait_for(self, folder: Path) -> None:
        """Until the service manager has given back what an account that is gone has left, or not:
        then it is set aside.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                while await asyncio.to_thread(closed_to_us, folder):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(_GIVE_BACK_POLL)

    async def _child(
        self,
        server: ForkServerProcess,
        job: Mapping[str, Any],
        seconds: float,
        on_progress: Progress | None,
        context: _JobContext,
    ) -> tuple[ProcessEnd, Pipes]:
        """One child from its start to its end. Raises `Lost`, and `OSError` for want of pipes."""
        step = job["step"]
        if step in self._running:
            raise ValueError(f"step {step!r} is running already")
        loop = asyncio.get_running_loop()
        killing: set[asyncio.Task[None]] = set()

        def malformed() -> None:
            killing.add(loop.create_task(_kill(running, "malformed-reply")))

        pipes = Pipes(job, self._tell(on_progress), malformed, context.confinement)
        running = _Running(step, pipes, server, loop.create_future())
        self._running[step] = running
        try:
            ended = await self._end_of(running, pipes, job, max(0.0, seconds), context)
            pipes.drain()
            if pipes.reply.confinement is not None:
                self.confinement |= {
                    what: verdict
                    for what, verdict in pipes.reply.confinement.items()
                    if verdict != "not asked"
                }
            self._suspects.discard(context.document)
        except asyncio.CancelledError:
            await _kill(running, "cancelled")
            raise
        else:
            return ended, pipes
        finally:
            self._running.pop(step, None)
            running.ended.cancel()
            pipes.close()

    async def _end_of(
        self,
        running: _Running,
        pipes: Pipes,
        job: Mapping[str, Any],
        seconds: float,
        context: _JobContext,
    ) -> ProcessEnd:
        start = {
            "do": "job",
            "step": running.step,
            "seconds": seconds,
            "processes": job["limits"]["processes"],
            "secrets": len(context.descriptors),
        }
        if context.worker:
            start |= {"worker": context.worker, "cpu_seconds": job["limits"]["cpu_seconds"]}
        try:
            async with asyncio.timeout(seconds + GRACE):
                await running.server.send(start, [*pipes.theirs, *context.descriptors])
                pipes.given()
                return await asyncio.shield(running.ended)
        except TimeoutError:
            _log.error("lane %s: the fork server does not answer; killing it", self.lane)
            await running.server.kill()
            return await running.ended

    def _tell(self, on_progress: Progress | None) -> Progress:
        def tell(fraction: float) -> None:
            try:
                if on_progress is not None:
                    on_progress(fraction)
            except Exception:  # noqa: BLE001 - one listener's mistake must not deafen the lane
                _log.exception("lane %s: telling about progress failed", self.lane)

        return tell

    def _hear(self, message: Mapping[str, Any]) -> None:
        """The end of a step. Raises for any other message: then the line is broken."""
        running, ended = self._running.get(message["step"]), ProcessEnd.of(message)
        if running is not None and not running.ended.done():
            running.ended.set_result(ended)

    def _lost(self, server: ForkServerProcess, why: str) -> None:
        for running in self._running.values():
            if running.server is server:
                _lose(running, why)


def _lose(running: _Running, why: str) -> None:
    if not running.ended.done():
        running.ended.set_exception(ForkServerLost(why))


async def _kill(running: _Running, why: str) -> None:
    with contextlib.suppress(ForkServerLost):  # then it is dead already
        await running.server.send({"do": "kill", "step": running.step, "why": why})


def _judged(ended: ProcessEnd, pipes: Pipes, folder: Path, *, kept: bool) -> Outcome:
    outcome = judge(ended, pipes.reply)
    if kept and outcome.ending is Ending.FINISHED:
        try:
            return taken_from_worker(outcome, folder)
        except OSError as error:
            return replace(of_os_error(error), usage=outcome.usage)
    return check_output(outcome, folder) if outcome.ending is Ending.FINISHED else outcome
