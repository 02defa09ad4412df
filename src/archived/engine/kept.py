"""Kept workers: one process for all steps of a stage that declares it, one step after another.

The daemon's side. A worker is a child of the stage's own fork server and is confined like every
other; when its step has ended it rests, and the next one is passed on to it. It is replaced when a
step did not end well, when what it was started with is not so any more, after `STEPS_LIMIT` steps,
and after `IDLE_SECONDS` without any: whoever has taken it over by one document has it no longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from archived.engine.boundary import NOT_BEGUN
from archived.engine.ending import Ended
from archived.engine.handover import closed_to_us
from archived.engine.kept_folders import KeptFolders, identity_of
from archived.engine.server import Lost, Server
from archived.engine.worker.pipes import Pipes
from archived.model.outcome import Ending, Outcome

_log = logging.getLogger("archived.engine")

STEPS_LIMIT = 100
"""Steps after which a worker is replaced."""
IDLE_SECONDS = 300.0
"""Seconds without a step after which a worker is ended."""
_GOES_ON = (Ending.FINISHED, Ending.REFUSED)
"""Endings after which a worker goes on. What made a stage postpone a step may be its session."""


class Child(Protocol):
    """`LocalRunner`'s way to have a job done by a child of a fork server."""

    async def __call__(
        self, server: Server, job: Mapping[str, Any], document: str,
        descriptors: Sequence[int] = (), *, worker: str = "",
        confinement: Mapping[str, str] | None = None,
    ) -> tuple[Ended, Pipes]: ...  # fmt: skip


@dataclass(eq=False)
class KeptWorker:
    """The worker of one stage, while there is one. `lock` is held by the step that it does."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    server: Server | None = None
    """Whose child it is; `None`: there is none."""
    identity: str = ""
    folders: KeptFolders | None = None
    confinement: Mapping[str, str] | None = None
    """What confines it, said before any of the stage's code ran in it."""
    steps: int = 0
    idle: asyncio.TimerHandle | None = None

    def does(self, server: Server, identity: str) -> bool:
        """Whether it lives and is what a job wants."""
        return self.server is server and server.lives and self.identity == identity


class KeptWorkers:
    """Those of one lane."""

    def __init__(self, lane: str, retire: Callable[[Server], Awaitable[None]]) -> None:
        """`retire` ends the worker of a fork server; raises `Lost`."""
        self._lane = lane
        self._retire = retire
        self._workers: dict[str, KeptWorker] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def of(self, stage: str) -> KeptWorker:
        """The one of a stage, or what will be."""
        return self._workers.setdefault(stage, KeptWorker())

    async def step(
        self, worker: KeptWorker, server: Server, job: Mapping[str, Any], document: str,
        child: Child,
    ) -> tuple[Ended, Pipes]:  # fmt: skip
        """Have a step done. The caller holds the lock, and calls `rest` when it has judged it.

        Raises `OSError`, and `Lost` when the fork server is gone.
        """
        if worker.idle is not None:
            worker.idle.cancel()
        identity = await asyncio.to_thread(identity_of, job)
        if worker.does(server, identity):
            ended, pipes = await self._once(worker, server, job, document, child, "same")
            if ended.why != NOT_BEGUN:
                return ended, pipes
            _log.info(
                "lane %s: a kept worker had ended; its step is given to a new one", self._lane,
                extra={"action": "kept-worker-gone"},
            )  # fmt: skip
        await self.end(worker)
        work = Path(job["folder"]).parent
        worker.folders = await asyncio.to_thread(KeptFolders.make, work, server.account)
        worker.identity, worker.steps, worker.confinement = identity, 0, None
        return await self._once(worker, server, job, document, child, "new")

    async def _once(
        self, worker: KeptWorker, server: Server, job: Mapping[str, Any], document: str,
        child: Child, which: str,
    ) -> tuple[Ended, Pipes]:  # fmt: skip
        """A step from its folders brought in to all of it taken out, however it ends."""
        folders, folder = worker.folders, Path(job["folder"])
        assert folders is not None  # noqa: S101 - a worker has them from before its first step
        clean = False
        try:
            handed = await asyncio.to_thread(folders.bring, job)
            worker.server = None  # until it is known that it lives on
            try:
                ended, pipes = await child(
                    server, handed.job, document, handed.descriptors, worker=which,
                    confinement=worker.confinement,
                )  # fmt: skip
            finally:
                handed.close()
            await self._give_back(folders, server, handed.job, child)
        finally:
            clean = await asyncio.to_thread(_take_out, folders, job["step"], folder)
        worker.confinement = worker.confinement or pipes.reply.confinement
        worker.steps += 1
        if ended.kept:
            worker.server = server
            if not clean:
                await self.end(worker)
        return ended, pipes

    async def _give_back(
        self, folders: KeptFolders, server: Server, job: Mapping[str, Any], child: Child
    ) -> None:
        """Before it is taken out of the worker's account's reach: what it has closed is opened."""
        if folders.account is None or not server.lives:
            return
        if await asyncio.to_thread(closed_to_us, Path(job["folder"])):
            giving = {
                "kind": "give-back", "step": f"give-back-{secrets.token_hex(8)}",
                "folder": job["folder"], "owner": job["owner"], "limits": job["limits"],
            }  # fmt: skip
            _, pipes = await child(server, giving, "")
            pipes.close()

    async def rest(self, worker: KeptWorker, outcome: Outcome) -> None:
        """After a step: it waits for the next one, or is replaced."""
        if worker.server is None:
            return
        if outcome.ending not in _GOES_ON or worker.steps >= STEPS_LIMIT:
            await self.end(worker)
            return
        loop = asyncio.get_running_loop()
        worker.idle = loop.call_later(IDLE_SECONDS, self._end_idle, worker)

    async def end(self, worker: KeptWorker) -> None:
        """End it, and wait until nothing of it is left. The caller holds the lock."""
        server, worker.server = worker.server, None
        if worker.idle is not None:
            worker.idle.cancel()
        if server is not None:
            with contextlib.suppress(Lost):  # then it is gone with its fork server
                await self._retire(server)
        await self._discard(worker)

    async def close(self) -> None:
        """When their fork servers are gone."""
        for worker in self._workers.values():
            worker.server = None
            if worker.idle is not None:
                worker.idle.cancel()
            await self._discard(worker)
        if self._ending:
            await asyncio.wait(self._ending)

    @staticmethod
    async def _discard(worker: KeptWorker) -> None:
        folders, worker.folders = worker.folders, None
        if folders is not None:
            await asyncio.to_thread(folders.discard)

    def _end_idle(self, worker: KeptWorker) -> None:
        async def end() -> None:
            if worker.lock.locked():
                return  # it has a step after all
            async with worker.lock:
                await self.end(worker)

        task = asyncio.get_running_loop().create_task(end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _take_out(folders: KeptFolders, step: str, folder: Path) -> bool:
    try:
        return folders.take_out(step, folder)
    except OSError:
        return False  # the worker goes, and its folders with it
