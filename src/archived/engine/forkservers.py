"""The fork servers of one lane: which job goes to which, their start, and one anew for one lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from archived.engine.server import Server

_log = logging.getLogger("archived.engine")

Account = Literal["service", "own"]
"""What a stage has instead of its lane's account: the service's, or one that is its alone."""

_SHARED, _SERVICE = "", " service"
"""Names of fork servers that no stage can have."""


class ForkServers:
    """In plain mode there is one. Behind `workers` (see `Server`) each has an account of its own:
    one for the lane, one for each stage of `accounts` that is "own". The stages that are "service",
    and whatever is given targets, share one that the daemon starts: what they write to is its.

    A stage whose worker is kept has one of its own, wherever it is started from.

    `hear` and `lost` as for `Server`; the rest as for `LocalRunner`.
    """

    def __init__(
        self, lane: str, sources: Sequence[Mapping[str, Any]], *,
        hear: Callable[[Mapping[str, Any]], None], lost: Callable[[Server, str], None],
        preload: Collection[str] | None, environment: Mapping[str, str], scratch: Path | None,
        workers: Path | None, accounts: Mapping[str, Account],
    ) -> None:  # fmt: skip
        self.stages: dict[str, str] = {}
        """Stage name -> version, as the latest of them found them."""
        self.restarts = 0
        """Times one was started anew because it had ended."""
        self._lane = lane
        self._sources = [dict(source) for source in sources]
        self._hear, self._lost = hear, lost
        self._preload = None if preload is None else sorted(preload)
        self._environment = dict(environment)
        self._scratch = scratch
        self._workers = workers
        self._accounts = dict(accounts)
        self._starting = asyncio.Lock()
        self._servers: dict[str, Server] = {}

    @property
    def separate(self) -> Mapping[str, int] | None:
        """Whose steps have an account of their own: of `""`, the lane, or of a stage -> which.

        Of those that are there now. `None` in plain mode: all have the service's.
        """
        if self._workers is None:
            return None
        living = {name: server for name, server in self._servers.items() if server.lives}
        return {name: each.account for name, each in living.items() if each.account is not None}

    @property
    def living(self) -> list[Server]:
        """Those that are there now."""
        return [server for server in self._servers.values() if server.lives]

    async def start(self) -> None:
        """Start the first of them. Raises `PluginError` and `AccountError`."""
        await self._live(next(iter(self._preload_of()), _SHARED))

    async def for_job(self, job: Mapping[str, Any], *, alone: bool) -> Server:
        """One that lives and does this job, and no other if `alone`: then the caller closes it."""
        name = self._name_for(job)
        if not alone:
            return await self._live(name)
        server = self._new(name)
        await self._start(server, name)
        return server

    async def close(self) -> None:
        """End all but those that are alone."""
        async with self._starting:
            await asyncio.gather(*(server.close() for server in self._servers.values()))
            self._servers.clear()

    def _name_for(self, job: Mapping[str, Any]) -> str:
        """Which does a job: the lane's, the service's, or the stage's own."""
        asked = job.get("request", job)
        stage, is_kept = asked["stage"], asked.get("kept", False)
        if self._workers is None:
            return str(stage) if is_kept else _SHARED
        name = _SERVICE if asked.get("targets") else self._name_of(stage)
        if is_kept:
            return f"{_SERVICE} {stage}" if name == _SERVICE else str(stage)
        return name

    def _name_of(self, stage: str | None) -> str:
        match self._accounts.get(stage or ""):
            case "service":
                return _SERVICE
            case "own":
                return str(stage)
        return _SHARED

    def _preload_of(self) -> Mapping[str, list[str] | None]:
        """Fork server -> the stages whose modules it loads in advance."""
        if self._preload is None or self._workers is None:
            return {_SHARED: self._preload}
        wanted: dict[str, list[str]] = {}
        for stage in self._preload:
            wanted.setdefault(self._name_of(stage), []).append(stage)
        return wanted

    def _preload_for(self, name: str) -> list[str] | None:
        wanted = self._preload_of()
        if name in wanted:
            return wanted[name]
        stage = name.removeprefix(_SERVICE).strip()  # that of a kept worker, if it is any's
        return [stage] if stage and (self._preload is None or stage in self._preload) else []

    async def _live(self, name: str) -> Server:
        async with self._starting:
            server = self._servers.get(name)
            if server is not None and server.lives:
                return server
            if server is not None:
                self.restarts += 1
                await server.kill()
            self._servers[name] = server = self._new(name)
            await self._start(server, name)
            return server

    def _new(self, name: str) -> Server:
        workers = None if name.startswith(_SERVICE) else self._workers
        return Server(self._hear, self._lost, workers)

    async def _start(self, server: Server, name: str) -> None:
        if self._scratch is not None and self._workers is not None:
            self._scratch.chmod(0o755)  # each folder in it says itself who may enter
        scratch = None if self._scratch is None else str(self._scratch)
        start = {
            "do": "start", "sources": self._sources,
            "preload": self._preload_for(name), "scratch": scratch,
        }  # fmt: skip
        ready = await server.start(start, self._environment)
        self.stages = ready["stages"]
        if ready["threads"] > 1:
            _log.warning(
                "lane %s: a plug-in started threads while being imported; forking a process "
                "with threads can hang its children, which then run into their timeout",
                self._lane,
            )
