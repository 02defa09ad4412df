"""What the scheduler starts and what it does when something around a step fails: a real catalog
and store; the runner is one as a plug-in may give it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from archived.engine import commit, split, step_recording
from archived.engine.attempt import StepEnded
from archived.engine.disk_reservation import LEAST
from archived.engine.scheduler import Scheduler
from archived.engine.sealing import Sealer
from archived.engine.specs import Specs
from archived.engine.step_execution import NO_SPACE, ROOM_PAUSE
from archived.errors import CatalogBusy, CatalogError
from archived.model.lifecycle import State
from archived.model.outcome import Ending, Outcome
from archived.storage import atomic
from archived.storage.artifacts import ArchiveStorage
from archived.storage.rows import DocumentRow
from archived.testing.invariants import problems
from tests.fault.hand_driven_archive import CONTENT, DECK, World

DONE = Outcome(Ending.FINISHED)


class Gate:
    """Its steps begin at once and end when the gate is open."""

    def __init__(self, outcome: Outcome = DONE) -> None:
        self.open = asyncio.Event()
        self.began: list[str] = []
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.outcome = outcome
        self.asked: list[Any] = []
        self.stopped = 0

    async def start(self) -> None:
        """Nothing to start."""

    async def run(self, request: Any, on_progress: Any = None, on_log: Any = None) -> Outcome:
        self.asked.append(request)
        self.began.append(request.document.name)
        self.now[request.stage] += 1
        self.most[request.stage] = max(self.most[request.stage], self.now[request.stage])
        on_progress(0.5)
        await self.open.wait()
        self.now[request.stage] -= 1
        return self.outcome

    async def stop(self, grace: float = 0.0) -> None:
        self.stopped += 1
        self.open.set()


class Bench:
    """A world with so many documents, its scheduler, and what was told."""

    def __init__(self, root: Path, documents: int) -> None:
        self.world = World(root)
        for number in range(documents):
            (self.world.hot / f"{number}.pdf").write_bytes(CONTENT + b"%d" % number)
        self.world.sweep()
        self.told: list[StepEnded] = []
        self.wake = asyncio.Event()
        world = self.world
        self.scheduler = Scheduler(
            ArchiveStorage(world.spool, world.store, world.catalog),
            Sealer(world.spool, world.store, world.catalog, ""),
            clock=world.now,
            wake=self.wake,
            tell=self.told.append,
        )

    def rows(self) -> dict[str, DocumentRow]:
        return {row.name: row for row in self.world.catalog.documents()}

    @asynccontextmanager
    async def working(
        self, specs: Specs, runners: dict[str, Any], width: int, errors: int = 0
    ) -> AsyncIterator[None]:
        """The scheduler runs; afterwards no step is left, everything agrees, and no more errors
        were told than there must be."""
        self.scheduler.use(specs, runners, {"cpu": width})
        work = asyncio.create_task(self.scheduler.run())
        with capture_logs() as logs:
            yield
            await self.scheduler.stop(0)
            await asyncio.wait_for(work, 60)
        assert len([line for line in logs if line["log_level"] == "error"]) == errors
        assert self.scheduler.active == {}
        assert all(row.running is None for row in self.rows().values())
        world = self.world
        assert problems(world.state, world.root / "store") == []
        world.catalog.close()


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(60):
        while not (found := condition()):  # noqa: ASYNC110 - several things are waited for
            await asyncio.sleep(0.005)
    return found


def with_card(**changes: Any) -> Specs:
    return replace(DECK, stages={**DECK.stages, "note": replace(DECK.stages["note"], **changes)})


async def test_a_lane_runs_as_many_steps_as_it_is_wide_and_not_one_more(tmp_path: Path) -> None:
    bench, gate = Bench(tmp_path, 4), Gate()
    async with bench.working(DECK, {"cpu": gate}, 2):
        await until(lambda: len(gate.began) == 2)
        active = list(bench.scheduler.active.values())
        assert {(each.stage, each.lane, each.attempt) for each in active} == {("note", "cpu", 1)}
        assert [each.progress for each in active] == [0.5, 0.5]
        await bench.scheduler._start_due(bench.world.now())
        assert len(bench.scheduler.active) == 2
        gate.open.set()
        await until(
            lambda: (
                [each.stage for each in bench.told].count("after") == 4
                and bench.scheduler.active == {}
            )
        )
        await until(lambda: not bench.wake.is_set())  # it sleeps, and does not turn in a circle
    assert {row.state for row in bench.rows().values()} == {State.SEALED}
    assert gate.most["note"] == 2
    assert gate.most["after"] <= 2
    assert Counter((each.stage, each.ending) for each in bench.told) == {
        (stage, "finished"): 4 for stage in ("note", "seal", "after")
    }


async def test_stopping_starts_nothing_more_and_waits_for_what_runs(tmp_path: Path) -> None:
    bench, gate = Bench(tmp_path, 2), Gate()
    async with bench.working(DECK, {"cpu": gate}, 1):
        await until(lambda: gate.began)
    assert gate.stopped == 1
    assert len(gate.began) == 1
    positions = sorted(row.position for row in bench.world.catalog.documents())
    assert positions == [0, 1]


async def test_a_stage_that_is_not_configured_any_more_is_waited_for(tmp_path: Path) -> None:
    bench, gate = Bench(tmp_path, 1), Gate()
    gate.open.set()
    without = replace(DECK, stages={"after": DECK.stages["after"]})
    async with bench.working(without, {"cpu": gate}, 1):
        row = await until(lambda: next((r for r in bench.rows().values() if r.code), None))
        assert (row.state, row.code, row.attempts) == (State.WAITING, "stage-missing", 0)
        assert '"note" is not configured any more' in row.reason
        assert row.due is not None
        assert timedelta(minutes=4) < row.due - bench.world.now() <= timedelta(minutes=5)
        assert gate.began == []
        assert bench.scheduler.use(DECK, {"cpu": gate}, {"cpu": 1}) == {"cpu": gate}


async def test_a_stage_that_does_not_take_such_files_is_passed_over_and_told(
    tmp_path: Path,
) -> None:
    bench, gate = Bench(tmp_path, 1), Gate()
    gate.open.set()
    async with bench.working(with_card(accepts=("image/*",)), {"cpu": gate}, 1):
        await until(lambda: ("after", "finished") in [(t.stage, t.ending) for t in bench.told])
    assert [(t.stage, t.ending) for t in bench.told] == [
        ("note", "skipped"),
        ("seal", "finished"),
        ("after", "finished"),
    ]


async def test_a_step_without_room_waits_and_begins_as_soon_as_there_is_some(
    tmp_path: Path,
) -> None:
    bench, gate = Bench(tmp_path, 1), Gate()
    gate.open.set()
    scheduler, work = bench.scheduler, bench.world.spool.work
    disk = os.statvfs(work)
    free = disk.f_bavail * disk.f_frsize
    assert scheduler.room.reserve("another", {work: free * 3 // 4}) is None
    half = with_card(disk_factor=free / 2 / bench.rows()["0.pdf"].size)
    async with bench.working(half, {"cpu": gate}, 1):
        row = await until(lambda: next((r for r in bench.rows().values() if r.code), None))
        assert (row.state, row.code, row.attempts) == (State.WAITING, NO_SPACE, 0)
        assert "kept for running steps" in row.reason
        await until(lambda: scheduler.active == {})
        assert (scheduler.waiting_for_room, gate.began) == (1, [])
        assert await scheduler._until_next_due(bench.world.now()) <= ROOM_PAUSE + 0.01
        scheduler.room.give_back("another")
        scheduler._executor._full.clear()  # it is not looked at again for ten seconds
        bench.wake.set()
        await until(lambda: ("after", "finished") in [(t.stage, t.ending) for t in bench.told])
        assert scheduler.waiting_for_room == 0
        await until(lambda: scheduler.room.reserved(work) == 0)


@pytest.mark.parametrize(
    ("ended", "times"),
    [(Outcome(Ending.POSTPONED, code=NO_SPACE, after=timedelta(hours=1)), 2), (DONE, 1)],
)
async def test_a_step_that_filled_the_disk_is_given_twice_the_room_next_time(
    tmp_path: Path, ended: Outcome, times: int
) -> None:
    bench, gate = Bench(tmp_path, 1), Gate(ended)
    gate.open.set()
    async with bench.working(DECK, {"cpu": gate}, 1):
        await until(lambda: bench.told and bench.scheduler.active == {})
        assert bench.scheduler.room.times(bench.rows()["0.pdf"].id) == times


async def test_a_busy_catalog_and_its_full_disk_are_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More often than a write is tried that fails for another reason."""
    bench, gate = Bench(tmp_path, 1), Gate()
    gate.open.set()
    real, tried = commit.commit_step, Counter[str]()
    full = OSError(errno.ENOSPC, "No space left on device", str(bench.world.catalog.path))

    def commit_step(*given: Any, **named: Any) -> State:
        tried["note"] += 1
        if tried["note"] <= 20:
            raise CatalogBusy("another process writes") if tried["note"] % 2 else full
        return real(*given, **named)

    monkeypatch.setattr(commit, "commit_step", commit_step)
    monkeypatch.setattr(step_recording, "_COMMIT_PAUSES", (0.001,))
    async with bench.working(DECK, {"cpu": gate}, 1):
        await until(lambda: ("note", "finished") in [(t.stage, t.ending) for t in bench.told])
    assert len(gate.began) <= 2, "the step itself ran once"


@pytest.mark.parametrize("where", ["the catalog's disk", "another disk"])
async def test_only_the_full_disk_of_the_catalog_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    bench, gate = Bench(tmp_path, 1), Gate()
    gate.open.set()
    real, failed = commit.commit_step, Counter[str]()
    error = {
        "the catalog's disk": OSError(
            errno.EIO, "Input/output error", str(bench.world.catalog.path)
        ),
        "another disk": OSError(errno.ENOSPC, "No space left on device", "/elsewhere"),
    }[where]

    def commit_step(*given: Any, **named: Any) -> State:
        if given[2].ending is Ending.FINISHED and not failed:
            failed["once"] += 1
            raise error
        return real(*given, **named)

    monkeypatch.setattr(commit, "commit_step", commit_step)
    async with bench.working(DECK, {"cpu": gate}, 1):
        await until(lambda: bench.told)
    assert bench.told[0].ending != "finished", "it has an ending of its own"
    assert failed["once"] == 1


async def test_a_stage_is_given_the_places_for_copies_only_if_it_says_so(tmp_path: Path) -> None:
    from archived.engine.specs import TargetSpec

    places = {"vault": TargetSpec("vault", "directory", {"path": "/srv/vault"})}
    for targets in (False, True):
        root = tmp_path / str(targets)
        root.mkdir()
        bench, gate = Bench(root, 1), Gate()
        gate.open.set()
        async with bench.working(
            replace(with_card(targets=targets), targets=places), {"cpu": gate}, 1
        ):
            await until(lambda bench=bench: bench.told)
        given = {"vault": {"kind": "directory", "options": {"path": "/srv/vault"}}}
        assert gate.asked[0].targets == (given if targets else {})
        timeout = gate.asked[0].deadline - bench.rows()["0.pdf"].received
        assert timeout >= DECK.stages["note"].timeout


async def test_a_step_that_the_catalog_does_not_let_begin_costs_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, gate = Bench(tmp_path, 1), Gate()
    gate.open.set()
    real, failed = commit.begin_step, Counter[str]()

    def begin_step(*given: Any) -> None:
        if not failed:
            failed["once"] += 1
            raise CatalogError("this row cannot be written")
        real(*given)

    monkeypatch.setattr(commit, "begin_step", begin_step)
    async with bench.working(DECK, {"cpu": gate}, 1, errors=1):
        await until(lambda: bench.told)
        (first, *_) = bench.world.catalog.steps(bench.rows()["0.pdf"].id)
    assert (first.attempt, first.ending) == (1, "finished"), "no other step was on record"


async def test_room_for_the_object_is_kept_while_a_document_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, gate = Bench(tmp_path, 0), Gate()
    gate.open.set()
    (bench.world.hot / "0.pdf").write_bytes(CONTENT[:9] + bytes(10 << 20) + CONTENT[9:])
    bench.world.sweep()
    store, kept = bench.world.root / "store", set()

    def fuse(_operation: str, path: Path) -> None:
        if path.is_relative_to(store / "staging"):
            kept.add(bench.scheduler.room.reserved(store))

    monkeypatch.setattr(atomic, "fuse", fuse)
    async with bench.working(DECK, {"cpu": gate}, 1):
        await until(lambda: any(told.stage == "after" for told in bench.told))
        (row,) = bench.rows().values()
        assert kept == {sum(each.size for each in bench.world.catalog.artifacts(row.id))}
        assert row.size > LEAST, "what every step is given"


async def test_a_seal_without_room_waits_and_ends_once_there_is_some(tmp_path: Path) -> None:
    bench, gate = Bench(tmp_path, 1), Gate()
    scheduler, store = bench.scheduler, bench.world.root / "store"
    async with bench.working(DECK, {"cpu": gate}, 1):
        await until(lambda: gate.began)
        disk = os.statvfs(store)
        # More than there is, so that no other process can make room by what it removes.
        scheduler.room._held["another"] = {store.stat().st_dev: disk.f_blocks * disk.f_frsize}
        gate.open.set()
        row = await until(lambda: next((r for r in bench.rows().values() if r.code), None))
        assert (row.state, row.code, row.attempts) == (State.WAITING, NO_SPACE, 0)
        assert row.object_key is None
        await until(lambda: scheduler.active == {})
        assert scheduler._executor.has_no_room("seal")
        scheduler.room.give_back("another")
        scheduler._executor._full.clear()
        bench.wake.set()
        await until(lambda: ("after", "finished") in [(t.stage, t.ending) for t in bench.told])
    assert scheduler.waiting_for_room == 0


async def test_room_that_one_step_found_lets_every_lane_start_again(tmp_path: Path) -> None:
    bench, gate = Bench(tmp_path, 1), Gate()
    gate.open.set()
    async with bench.working(DECK, {"cpu": gate}, 1):
        await until(lambda: bench.told)
        bench.scheduler._executor._full["another lane"] = time.monotonic() + 100
        bench.world.hot.joinpath("next.pdf").write_bytes(CONTENT + b"next")
        bench.world.sweep()
        bench.wake.set()
        await until(lambda: [told.stage for told in bench.told].count("after") == 2)
        assert not bench.scheduler._executor.has_no_room("another lane")


async def test_a_document_whose_bytes_cannot_be_read_waits_and_goes_on_when_they_are_back(
    tmp_path: Path,
) -> None:
    bench, gate = Bench(tmp_path, 1), Gate()
    gate.open.set()
    (row,) = bench.rows().values()
    async with bench.working(DECK, {"cpu": gate}, 1):
        await until(lambda: [told.stage for told in bench.told].count("seal"))
        await until(lambda: [told.stage for told in bench.told].count("after"))
    (row,) = bench.rows().values()
    assert row.object_key is not None
    bench.world.catalog.close()

    bench = Bench(tmp_path, 0)
    target = bench.world.store.ocfl / row.object_key
    away = tmp_path / "away"
    target.rename(away)
    with bench.world.catalog.transaction() as change:
        change.set_columns(row.id, position=row.position - 1, due=bench.world.now(), lane="cpu")
    gate = Gate()
    gate.open.set()
    scheduler = bench.scheduler
    scheduler.use(DECK, {"cpu": gate}, {"cpu": 1})
    work = asyncio.create_task(scheduler.run())
    await until(lambda: bench.told)
    assert [(told.ending, told.code) for told in bench.told] == [("postponed", "store-io")]
    assert bench.rows()["0.pdf"].running is None
    assert gate.began == []
    away.rename(target)
    await scheduler.stop(0)
    await asyncio.wait_for(work, 60)
    bench.world.catalog.close()


async def test_what_stops_a_sealed_document_is_an_ending_and_its_stage_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, gate = Bench(tmp_path, 1), Gate()
    gate.open.set()
    stopped = Outcome(Ending.REFUSED, code="part-secrecy-above", message="a part is secret")
    monkeypatch.setattr(split, "stops", lambda _catalog, _row: stopped)
    async with bench.working(DECK, {"cpu": gate}, 1):
        await until(lambda: bench.told and bench.told[-1].code == "part-secrecy-above")
        await until(lambda: bench.scheduler.active == {})
    assert [each.stage for each in gate.asked] == ["note"], "not the stage after the seal"


async def test_a_stop_does_not_wait_for_a_catalog_that_stays_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, gate = Bench(tmp_path, 1), Gate()
    gate.open.set()
    tried = Counter[str]()

    def commit_step(*_: Any, **__: Any) -> State:
        tried["commit"] += 1
        raise CatalogBusy("another process writes")

    monkeypatch.setattr(commit, "commit_step", commit_step)
    monkeypatch.setattr(step_recording, "_COMMIT_PAUSES", (0.001,))
    bench.scheduler.use(DECK, {"cpu": gate}, {"cpu": 1})
    assert bench.wake.is_set(), "what is due may be started by the new specs"
    work = asyncio.create_task(bench.scheduler.run())
    await until(lambda: tried["commit"] > 3)
    await asyncio.wait_for(bench.scheduler.stop(0), 60)
    await asyncio.wait_for(work, 60)
    (row,) = bench.rows().values()
    assert row.running is not None, "the restart finds the step interrupted"
    bench.world.catalog.close()


async def test_documents_move_to_the_lane_that_their_stage_has_now(tmp_path: Path) -> None:
    bench, gate = Bench(tmp_path, 1), Gate()
    gate.open.set()
    specs = with_card(lane="other")
    bench.scheduler.use(specs, {"other": gate}, {"other": 1})
    bench.scheduler.redirect()
    assert bench.world.catalog.count_due(bench.world.now()) == {"other": 1}
    bench.world.catalog.close()


async def test_a_lane_that_nothing_runs_starts_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 1)
    bench.scheduler.use(DECK, {}, {"cpu": 1})
    await bench.scheduler._start_due(bench.world.now())
    assert bench.scheduler.active == {}
    bench.world.catalog.close()
