"""Whatever a stage says, its document does not stay behind as running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archived.engine import commit, step_recording
from archived.engine.attempt import StepEnded
from archived.engine.scheduler import Scheduler
from archived.engine.sealing import Sealer
from archived.errors import CatalogError
from archived.model.lifecycle import State
from archived.model.outcome import Ending, Made, Outcome, PartMade
from archived.storage.artifacts import ArchiveStorage
from archived.storage.rows import DocumentRow
from archived.testing.invariants import problems
from tests.fault.hand_driven_archive import CONTENT, DECK, LIMITS, World

ONCE = replace(LIMITS, attempts=1)
STRICT = replace(
    DECK,
    stages={name: replace(spec, limits=ONCE) for name, spec in DECK.stages.items()},
    limits=ONCE,
)
DONE = Outcome(Ending.FINISHED)


class Says:
    """A runner as a plug-in may give one: every step ends as it is told, with one file made."""

    def __init__(self, **outcomes: Outcome) -> None:
        self.outcomes = outcomes

    async def start(self) -> None:
        """Nothing to start."""

    async def run(self, request: Any, on_progress: Any = None, on_log: Any = None) -> Outcome:
        (request.folder / "f.pdf").write_bytes(CONTENT)
        return self.outcomes.get(request.stage, DONE)

    async def stop(self, grace: float = 0.0) -> None:
        """Nothing to stop."""


def scheduler_of(world: World, tell: Callable[[StepEnded], None]) -> Scheduler:
    return Scheduler(
        ArchiveStorage(world.spool, world.store, world.catalog),
        Sealer(world.spool, world.store, world.catalog, ""),
        clock=world.now,
        wake=asyncio.Event(),
        tell=tell,
    )


async def worked(root: Path, runner: Says, *, unsealed: bool = True) -> DocumentRow:
    """The one document, after the scheduler has nothing more to do with it. Not `unsealed`: it is
    held with an object in the store, which the next try adopts."""
    world, ended = World(root), asyncio.Event()
    (world.hot / "page.pdf").write_bytes(CONTENT)
    world.sweep()

    def tell(step: StepEnded) -> None:
        if step.ending != "finished" or step.stage == "after":
            ended.set()

    scheduler = scheduler_of(world, tell)
    scheduler.use(STRICT, {"cpu": runner}, {"cpu": 1})
    work = asyncio.create_task(scheduler.run())
    await asyncio.wait_for(ended.wait(), 100)
    await scheduler.stop(0)
    await asyncio.wait_for(work, 100)
    (row,) = world.catalog.documents()
    assert row.running is None
    assert len(problems(world.state, world.root / "store")) == (0 if unsealed else 1)
    world.catalog.close()
    return row


@pytest.mark.parametrize(
    "odd",
    [
        lambda: replace(DONE, facts={"pages": 1 << 70}),
        lambda: replace(
            DONE,
            notes=("half a character \udce9",),
            tools={"\udce9": "1"},
            made=(Made("f.pdf", "f\udce9.pdf", "application/pdf", "access"),),
        ),
        lambda: Outcome(Ending.POSTPONED, code="server-down", after=timedelta(days=900_000_000)),
    ],
    ids=["a number too large", "no text", "a wait beyond the calendar"],
)
async def test_what_cannot_be_recorded_costs_an_attempt(
    tmp_path: Path, odd: Callable[[], Outcome]
) -> None:
    row = await worked(tmp_path, Says(note=odd()))
    assert (row.state, row.code, row.attempts) == (State.HELD, "bad-output", 1)
    assert row.reason is not None
    assert row.reason.startswith("what the stage returned cannot be recorded: ")
    assert "\n" not in row.reason


def deep(levels: int) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for _ in range(levels):
        facts = {"a": facts}
    return facts


@pytest.mark.parametrize("levels", [400, 900, 5000])
async def test_facts_that_cannot_be_sealed_are_an_ending(tmp_path: Path, levels: int) -> None:
    """Of a runner that a plug-in gives, whose outcomes went through no schema of ours."""
    row = await worked(tmp_path, Says(note=replace(DONE, facts=deep(levels))))
    assert row.running is None
    if row.state is State.HELD:
        assert row.code in {"bad-output", "seal-failed", "core-error"}
    else:
        assert row.state is State.SEALED


@pytest.mark.parametrize("where", ["the card", "the seal", "the record of the seal"])
async def test_whatever_the_core_raises_around_a_step_is_an_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RecursionError("too deep")

    at, code = {
        "the card": ("archived.engine.step_execution.step_document", "core-error"),
        "the seal": ("archived.engine.sealing.to_json", "seal-failed"),
        "the record of the seal": ("archived.engine.commit.seal", "seal-failed"),
    }[where]
    monkeypatch.setattr(at, broken)
    row = await worked(tmp_path, Says(), unsealed=where != "the record of the seal")
    assert (row.state, row.code, row.running) == (State.HELD, code, None)
    assert row.reason == "RecursionError: too deep"


async def test_a_write_that_can_never_succeed_gives_its_place_in_the_lane_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog is not busy and its disk not full: one document's failure stops no other."""
    world, sealed, tried = World(tmp_path), asyncio.Event(), asyncio.Event()
    real, loop = commit.seal, asyncio.get_running_loop()

    def seal(*given: Any, **named: Any) -> State:
        [document] = [row for row in world.catalog.documents() if row.running == given[1].id]
        if document.name == "bad.pdf":
            loop.call_soon_threadsafe(tried.set)
            raise CatalogError("this row cannot be written")
        return real(*given, **named)

    def tell(step: StepEnded) -> None:
        if step.stage == "after" and step.ending == "finished":
            sealed.set()

    monkeypatch.setattr(commit, "seal", seal)
    monkeypatch.setattr(step_recording, "_COMMIT_PAUSES", (0.01,))
    for name in ("bad.pdf", "good.pdf"):
        (world.hot / name).write_bytes(CONTENT + name.encode())
    world.sweep()
    scheduler = Scheduler(
        ArchiveStorage(world.spool, world.store, world.catalog),
        Sealer(world.spool, world.store, world.catalog, ""),
        clock=world.now,
        wake=asyncio.Event(),
        tell=tell,
        seal_width=1,
    )
    scheduler.use(STRICT, {"cpu": Says()}, {"cpu": 1})
    work = asyncio.create_task(scheduler.run())
    await asyncio.wait_for(sealed.wait(), 100)
    await asyncio.wait_for(tried.wait(), 100)
    await scheduler.stop(0)
    await asyncio.wait_for(work, 100)
    rows = {row.name: row for row in world.catalog.documents()}
    assert rows["good.pdf"].state is State.SEALED
    assert (rows["bad.pdf"].state, rows["bad.pdf"].running) == (State.WAITING, None)
    assert rows["bad.pdf"].code == "store-io"
    world.catalog.close()


class Stubborn(Says):
    """Its step ends when it is to stop, and then it breaks."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.told = asyncio.Event(), asyncio.Event()

    async def run(self, request: Any, on_progress: Any = None, on_log: Any = None) -> Outcome:
        self.began.set()
        await self.told.wait()
        return DONE

    async def stop(self, grace: float = 0.0) -> None:
        self.told.set()
        raise RuntimeError("no connection")


async def test_a_runner_that_breaks_at_its_stop_costs_no_step(tmp_path: Path) -> None:
    world, runner = World(tmp_path), Stubborn()
    (world.hot / "page.pdf").write_bytes(CONTENT)
    world.sweep()
    scheduler = scheduler_of(world, lambda _: None)
    scheduler.use(STRICT, {"cpu": runner}, {"cpu": 1})
    work = asyncio.create_task(scheduler.run())
    await asyncio.wait_for(runner.began.wait(), 100)
    await scheduler.stop(0)
    await asyncio.wait_for(work, 100)
    (row,) = world.catalog.documents()
    assert (row.running, row.position) == (None, 1)
    world.catalog.close()


def file(role: str) -> Made:
    return Made("f.pdf", "f.pdf", "application/pdf", role)


@pytest.mark.parametrize(
    "more",
    [{"made": (file("access"),)}, {"parts": (PartMade(file("original"), "part", "", {}),)}],
    ids=["files", "parts"],
)
async def test_a_stage_behind_the_seal_makes_no_files_of_its_document(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    row = await worked(tmp_path, Says(after=replace(DONE, **more)))
    assert (row.state, row.code) == (State.HELD, "bad-output")
    assert row.reason == "it made files of a document that is sealed already"
