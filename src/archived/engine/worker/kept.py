"""Kept workers: one process for all steps of a stage that declares it, one step after another.

The daemon's side. A worker is a child of the stage's own fork server and is confined like every
other. It is replaced when a step did not end well, when what it was started with has changed,
after `STEPS_LIMIT` steps, and after `IDLE_SECONDS` without any: so that whoever takes it over
through one document does not keep it.

    work/kept-XXXX/steps/STEP/    the step's own folder, as the stage sees it
    work/kept-XXXX/input/STEP/    its document: links, read-only

Landlock rules of a process cannot be changed later. So a worker is given these two folders for its
whole life; each step's document is linked into them and taken out again, and cannot be opened
after that by any path.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from archived.engine.protocol import LEFT, NOT_BEGUN
from archived.engine.worker.forkserver_client import ForkServerLost, ForkServerProcess
from archived.engine.worker.handover import (
    INPUT,
    HandedOver,
    Json,
    closed_to_us,
    hand_over_kept,
    open_for_reading,
)
from archived.engine.worker.pipes import Pipes
from archived.engine.worker.results import ProcessEnd
from archived.model.outcome import Ending, Outcome
from archived.storage import atomic, tree

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class KeptFolders:
    """Those of one worker. `account`: the worker's, where it is not the service's own."""

    root: Path
    account: int | None

    @classmethod
    def make(cls, work: Path, account: int | None) -> KeptFolders:
        """New ones, below the folder of all steps. Raises `OSError`."""
        made = cls(work / f"kept-{secrets.token_hex(8)}", account)
        for folder in (made.root, made.steps, made.input):
            folder.mkdir(mode=0o700)
            if account is not None:
                open_for_reading(folder, account)
        return made

    @property
    def steps(self) -> Path:
        """Where the worker may write: below, not in it, where it has an account of its own."""
        return self.root / "steps"

    @property
    def input(self) -> Path:
        """Where the worker may read."""
        return self.root / "input"

    def step(self, step: str) -> Path:
        """The folder of one step, while it runs."""
        return self.steps / Path(step).name

    def bring(self, job: Json) -> HandedOver:
        """What a job needs is brought in; the job as the worker is told of it. Raises `OSError`."""
        folder = self.step(job["step"])
        told = {**job, "folders": {"steps": str(self.steps), "input": str(self.input)}}
        return hand_over_kept(told, self.account, folder, self.input / folder.name)

    def take_out(self, step: str, folder: Path) -> bool:
        """Everything of a step goes into its folder that the worker cannot reach.

        `False`: the worker left something beside the step's own folder; that goes as well.
        Blocking. Raises `OSError`.
        """
        own = self.step(step)
        for source, name in ((own, LEFT), (self.input / own.name, INPUT)):
            with suppress(FileNotFoundError):
                atomic.gather(source, folder / name)
        if not any(self.steps.iterdir()) and not any(self.input.iterdir()):
            return True
        atomic.gather(self.root, folder / f"{LEFT}-all")  # as one, however many names there are
        return False

    def discard(self) -> None:
        """Remove them, when the worker is gone. What cannot be goes at the next start."""
        with suppress(OSError):
            tree.remove(self.root, seconds=_SECONDS)


def set_aside(folder: Path) -> None:
    """What a worker left of a step that it did not begin is not mistaken for another's work.

    `folder` is the step's own. Raises `OSError`.
    """
    for name in (LEFT, INPUT):
        with suppress(FileNotFoundError):
            atomic.gather(folder / name, folder / f"{LEFT}-before{name}")


def identity_of(job: Json) -> str:
    """What must be the same for a worker to do a job: another one could not reach what it names.

    The folder of all steps, the options, the limits, and which file each path in the options leads
    to now: what replaced a file, as a renewed certificate does, is not in the reach of a worker
    that lives already.
    """
    request = job["request"]
    asked = {name: request[name] for name in ("stage", "options", "targets")}
    asked |= {"work": str(Path(job["folder"]).parent), "limits": job["limits"]}
    return repr((asked, [_file(path) for path in _paths((asked["options"], asked["targets"]))]))


def _paths(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value.startswith("/") else []
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(inner, list | tuple | type({}.values())):
        return []
    return [path for each in inner for path in _paths(each)]


def _file(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - text, as in a request
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


_log = logging.getLogger("archived.engine")

STEPS_LIMIT = 100
"""Steps after which a worker is replaced."""
IDLE_SECONDS = 300.0
"""Seconds without a step after which a worker is ended."""
_GOES_ON = (Ending.FINISHED, Ending.REFUSED)
"""Endings after which a worker goes on. What made a stage postpone a step may be its session."""


class RunInChild(Protocol):
    """`LocalRunner`'s way to have a job done by a child of a fork server."""

    async def __call__(
        self,
        server: ForkServerProcess,
        job: Mapping[str, Any],
        document: str,
        descriptors: Sequence[int] = (),
        *,
        worker: str = "",
        confinement: Mapping[str, str] | None = None,
    ) -> tuple[ProcessEnd, Pipes]: ...


@dataclass(eq=False)
class KeptWorker:
    """The worker of one stage, while there is one. `lock` is held by the step that it does."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    server: ForkServerProcess | None = None
    """Whose child it is; `None`: there is none."""
    identity: str = ""
    folders: KeptFolders | None = None
    confinement: Mapping[str, str] | None = None
    """What confines it, said before any of the stage's code ran in it."""
    steps: int = 0
    idle: asyncio.TimerHandle | None = None

    def does(self, server: ForkServerProcess, identity: str) -> bool:
        """Whether it lives and is what a job wants."""
        return self.server is server and server.lives and self.identity == identity


class KeptWorkers:
    """Those of one lane."""

    def __init__(self, lane: str, retire: Callable[[ForkServerProcess], Awaitable[None]]) -> None:
        """`retire` ends the worker of a fork server; raises `Lost`."""
        self._lane = lane
        self._retire = retire
        self._workers: dict[str, KeptWorker] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def of(self, stage: str) -> KeptWorker:
        """The one of a stage, or what will be."""
        return self._workers.setdefault(stage, KeptWorker())

    async def step(
        self,
        worker: KeptWorker,
        server: ForkServerProcess,
        job: Mapping[str, Any],
        document: str,
        child: RunInChild,
    ) -> tuple[ProcessEnd, Pipes]:
        """Have a step done. The caller holds the lock, and calls `rest` when it has judged it.

        Raises `OSError`, and `Lost` when the fork server is gone.
        """
        if worker.idle is not None:
            worker.idle.cancel()
        identity = await asyncio.to_thread(identity_of, job)
        if worker.does(server, identity):
            done = await self._once(worker, server, job, document, child, "same")
            if done is not None and done[0].why != NOT_BEGUN:
                return done
            await asyncio.to_thread(set_aside, Path(job["folder"]))
            _log.info(
                "lane %s: a kept worker had ended, or spoilt its folders; its step is given to a "
                "new one",
                self._lane,
                extra={"action": "kept-worker-gone"},
            )
        await self.end(worker)
        work = Path(job["folder"]).parent
        worker.folders = await asyncio.to_thread(KeptFolders.make, work, server.account)
        worker.identity, worker.steps, worker.confinement = identity, 0, None
        done = await self._once(worker, server, job, document, child, "new")
        assert done is not None  # noqa: S101 - a new one that cannot be given anything raises
        return done

    async def _once(
        self,
        worker: KeptWorker,
        server: ForkServerProcess,
        job: Mapping[str, Any],
        document: str,
        child: RunInChild,
        which: str,
    ) -> tuple[ProcessEnd, Pipes] | None:
        """A step from its folders brought in to all of it taken out, however it ends.

        `None`: nothing could be brought into the folders that the worker has had before.
        """
        folders, folder = worker.folders, Path(job["folder"])
        assert folders is not None  # noqa: S101 - a worker has them from before its first step
        clean = False
        try:
            try:
                handed = await asyncio.to_thread(folders.bring, job)
            except OSError:
                if which == "new":
                    raise
                return None
            worker.server = None  # until it is known that it lives on
            try:
                ended, pipes = await child(
                    server,
                    handed.job,
                    document,
                    handed.descriptors,
                    worker=which,
                    confinement=worker.confinement,
                )
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
        self,
        folders: KeptFolders,
        server: ForkServerProcess,
        job: Mapping[str, Any],
        child: RunInChild,
    ) -> None:
        """Before it is taken out of the worker's account's reach: what it has closed is opened."""
        if folders.account is None or not server.lives:
            return
        if await asyncio.to_thread(closed_to_us, Path(job["folder"])):
            giving = {
                "kind": "give-back",
                "step": f"give-back-{secrets.token_hex(8)}",
                "folder": job["folder"],
                "owner": job["owner"],
                "limits": job["limits"],
            }
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
            with contextlib.suppress(ForkServerLost):  # then it is gone with its fork server
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
