"""Keeps fork servers warm for a test session, in an event loop of its own thread.

For the kit only. A daemon's lanes live in the daemon's loop.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import sys
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from archived.engine.protocol import StepRequest
from archived.engine.worker.forkserver_client import LaneSetup
from archived.engine.worker.runner import LocalRunner
from archived.model.outcome import Outcome

R = TypeVar("R")
_KEPT = 3
"""Fork servers kept at a time; each holds its plug-in's libraries in memory."""
_WIDTH = 4

Sources = Sequence[Mapping[str, Any]]


class Lanes:
    """Fork servers by what they have loaded, the longest unused given up first."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runners: dict[str, LocalRunner] = {}

    def run(self, sources: Sources, request: StepRequest) -> tuple[Outcome, str]:
        """One attempt, and what it printed."""
        log: list[str] = []

        async def attempt() -> Outcome:
            return await (await self._runner(sources)).run(request, on_log=log.append)

        return self._wait(attempt()), "".join(log)

    def check(
        self,
        sources: Sources,
        stage: str,
        options: Mapping[str, Any],
        targets: Mapping[str, Mapping[str, Any]],
        beside: Path,
    ) -> list[str]:
        """Problems the stage and its targets find with themselves."""

        async def ask() -> list[str]:
            return await (await self._runner(sources)).check(stage, options, targets, beside)

        return self._wait(ask())

    def close(self) -> None:
        """End every fork server and the thread."""

        async def stop_all() -> None:
            while self._runners:
                await self._runners.popitem()[1].stop()

        self._wait(stop_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _runner(self, sources: Sources) -> LocalRunner:
        key = json.dumps([_as_it_is_now(source) for source in sources], sort_keys=True)
        runner = self._runners.pop(key, None)
        if runner is None:
            runner = LocalRunner("test", _WIDTH, sources, LaneSetup(environment=_environment()))
            await runner.start()
            while len(self._runners) >= _KEPT:
                await self._runners.pop(next(iter(self._runners))).stop()
        self._runners[key] = runner
        return runner


def _as_it_is_now(source: Mapping[str, Any]) -> dict[str, Any]:
    if "file" not in source:
        return dict(source)
    return {**source, "changed": Path(source["file"]).stat().st_mtime_ns}


def _environment() -> dict[str, str]:
    # What can be imported in the test can be imported in the step.
    return {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


_lanes: Lanes | None = None


def lanes() -> Lanes:
    """The session's fork servers.

    Those of a pytest session are ended with it, those of a program when it ends.
    """
    global _lanes  # noqa: PLW0603 - one per session is the point
    if _lanes is None:
        _lanes = Lanes()
        atexit.register(close_lanes)
    return _lanes


def close_lanes() -> None:
    """End the session's fork servers, if it had any."""
    global _lanes  # noqa: PLW0603 - see above
    if _lanes is not None:
        _lanes.close()
        _lanes = None
