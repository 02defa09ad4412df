"""Fixtures of tests of a kept worker: a runner with a stage that has one, and requests for it."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from archived.api import Artifact, Role
from archived.engine.protocol import StepDocument, StepLimits, StepRequest
from archived.engine.worker.runner import LocalRunner
from archived.model.outcome import Ending

_others: set[int] = set()
"""Processes that other tests have started and keep."""
SOURCE = Path(__file__).with_name("kept_stage.py")
Ask = Callable[..., StepRequest]


@pytest.fixture
async def runner() -> AsyncIterator[LocalRunner]:
    """Started, four wide."""
    _others.clear()
    _others.update(process.pid for process in psutil.Process().children())
    runner = LocalRunner("token", 4, [{"name": "kept_stage", "file": str(SOURCE)}])
    await runner.start()
    yield runner
    await runner.stop()


@pytest.fixture
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the originals lie, and the folder of all steps."""
    spool = tmp_path_factory.mktemp("spool")
    (spool / "work").mkdir()
    return spool


@pytest.fixture
def ask(spool: Path) -> Ask:
    """`ask("count", document="b")`: a request with an original and a folder of its own."""
    numbers = itertools.count(1)

    def request(
        do: str,
        *,
        seconds: float = 60,
        document: str = "",
        limits: StepLimits | None = None,
        options: dict | None = None,
        **given,
    ) -> StepRequest:
        number = next(numbers)
        received = spool / f"doc-{number}" / "0001.txt"
        received.parent.mkdir()
        received.write_text(f"as received {number}")
        received.chmod(0o440)
        original = Artifact(received, received.name, "text/plain", Role.ORIGINAL, "ab" * 64, 13)
        folder = spool / "work" / f"step-{number}"
        folder.mkdir(mode=0o700)
        return StepRequest(
            step=folder.name,
            stage="kept",
            options={"do": "count", **(options or {})},
            document=StepDocument(
                document or f"doc-{number}",
                datetime.now(UTC),
                "scans",
                "Thư.txt",
                (original,),
                given={"do": do, **given},
            ),
            folder=folder,
            deadline=datetime.now(UTC) + timedelta(seconds=seconds),
            limits=limits or StepLimits(),
            kept=True,
        )

    return request


async def ran(runner: LocalRunner, request: StepRequest):
    """It finished: its facts."""
    done = await runner.run(request)
    assert done.ending is Ending.FINISHED, done
    return done.facts


def fds(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def ready(work: Path) -> bool:
    return any(work.glob("kept-*/steps/*/ready"))


def workers() -> list[psutil.Process]:
    """The kept workers: the leaders of a session of their own below our fork servers."""
    found = [
        process
        for server in psutil.Process().children()
        for process in server.children()
        if server.pid not in _others and os.getsid(process.pid) == process.pid
    ]
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


async def until(condition, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"not so within {seconds} seconds"
        await asyncio.sleep(0.005)
