"""A document is cut into parts: all of them at once, and the master waits for every one."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from archived.engine import decisions
from archived.engine.decisions import PersonDecision
from archived.engine.split import take_out
from archived.errors import NotNow
from archived.model.ids import object_id
from archived.model.lifecycle import IllegalTransition, State
from archived.model.outcome import Ending, Made, Outcome
from archived.model.record import RECORD, from_json
from archived.storage import atomic
from archived.storage.rows import DocumentRow
from archived.testing.invariants import problems
from tests.fault.dividing import PARTS, Dividing
from tests.fault.hand_driven_archive import CONTENT, DECK
from tests.fault.storage.ocfl_judge import judge


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Dividing]:
    """One document in custody, which its first stage cuts into three; at the end all agrees."""
    world = Dividing(tmp_path)
    (world.hot / "batch.pdf").write_bytes(CONTENT)
    world.sweep()
    yield world
    assert problems(world.state, world.root / "store") == []
    world.catalog.close()


def master(world: Dividing) -> DocumentRow:
    (row,) = (d for d in world.catalog.documents() if d.master is None)
    return row


def parts(world: Dividing) -> Sequence[DocumentRow]:
    return world.catalog.parts(master(world).id)


def test_every_part_is_a_document_that_goes_on_after_the_stage_that_cut(world: Dividing) -> None:
    world.advance(master(world))

    assert [p.name for p in parts(world)] == ["part 1", "part 2", "part 3"], "in order"
    for number, part in enumerate(parts(world), start=1):
        assert (part.state, part.position, part.dossier) == (State.ADMITTED, 1, f"HS-{number}")
        assert part.received == master(world).received
        assert world.catalog.facts(part.id) == {"note": {"pages": [number]}}
        path = world.find_bytes(part.id)
        assert path is not None
        assert path.read_bytes() == world.piece(number)
        assert path.stat().st_mode & 0o222 == 0, "originals are read-only"


def test_the_pages_that_were_counted_while_cutting_are_the_masters(
    world: Dividing, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = world.do_stage
    monkeypatch.setattr(world, "do_stage", lambda *a: replace(cut(*a), facts={"pages": 6}))

    world.advance(master(world))

    assert master(world).pages == 6
    assert [part.pages for part in parts(world)] == [None, None, None]


def test_the_master_is_kept_until_its_last_part_is_at_rest_and_then_sealed(
    world: Dividing,
) -> None:
    world.advance(master(world))
    for part in parts(world):
        assert (master(world).state, master(world).due) == (State.DIVIDED, None)
        original = world.find_bytes(master(world).id)
        assert original is not None
        assert original.read_bytes() == CONTENT
        world.to_its_end(part)
    assert master(world).state is State.WORKING

    world.work()

    assert {d.state for d in world.catalog.documents()} == {State.SAFE}
    assert judge(world.root / "store" / "ocfl") == []
    record = from_json(world.store.path_of(object_id(master(world).id), RECORD).read_bytes())
    assert record.owner == "Văn phòng"
    assert record.parts == tuple(object_id(p.id) for p in parts(world))
    of_part = from_json(world.store.path_of(object_id(parts(world)[1].id), RECORD).read_bytes())
    assert (of_part.master, of_part.dossier) == (object_id(master(world).id), "HS-2")


def test_a_master_does_not_wait_for_copies_that_nobody_makes(tmp_path: Path) -> None:
    world = Dividing(tmp_path)
    world.copies = 1
    (world.hot / "batch.pdf").write_bytes(CONTENT)
    world.sweep()
    world.work()
    found = {(d.name, d.state, d.code) for d in world.catalog.documents()}
    assert found == {
        (name, State.SEALED, "copies-missing")
        for name in ("batch.pdf", "part 1", "part 2", "part 3")
    }
    world.catalog.close()


def test_a_held_part_keeps_the_master_waiting_and_a_refused_one_does_not(world: Dividing) -> None:
    world.advance(master(world))
    first, second, third = parts(world)
    world.to_its_end(first)
    world.to_its_end(second)
    step = world.begin(third)
    world.end(step, Outcome(Ending.REFUSED, code="blank-page", message="It is blank."))
    assert master(world).state is State.DIVIDED

    decisions.reject(world.catalog, third.id, PersonDecision("lan", "a blank sheet", world.now()))

    assert master(world).state is State.WORKING
    world.work()
    assert master(world).state is State.SAFE


def test_nobody_can_push_a_divided_document_on(world: Dividing) -> None:
    world.advance(master(world))
    for skip in (True, False):
        with pytest.raises(IllegalTransition):
            decisions.release(
                world.catalog,
                DECK,
                master(world).id,
                PersonDecision("lan", "why not", world.now()),
                skip=skip,
            )


def test_the_ledger_names_the_parts_and_each_part_its_bytes(world: Dividing) -> None:
    world.advance(master(world))

    (entry,) = (
        json.loads(e.entry)
        for e in world.catalog.ledger_of(master(world).id)
        if e.kind == "document-divided"
    )
    assert entry["facts"]["parts"] == [p.id for p in parts(world)]
    for number, part in enumerate(parts(world), start=1):
        (admitted,) = (json.loads(e.entry) for e in world.catalog.ledger_of(part.id))
        (original,) = world.catalog.originals(part.id)
        assert admitted["kind"] == "part-admitted"
        assert admitted["digests"] == {"original/0001": original.sha512}
        assert (admitted["facts"]["master"], admitted["facts"]["part"]) == (
            master(world).id,
            number,
        )


def test_the_balance_counts_the_file_that_arrived_once(world: Dividing) -> None:
    def columns() -> tuple[int, int, int]:
        (sheet,) = world.catalog.balance()
        return sheet.seen, sheet.in_work, sheet.archived

    assert columns() == (1, 1, 0)
    world.advance(master(world))
    assert columns() == (1, 1, 0)
    world.work()
    assert columns() == (1, 0, 1)


def test_the_same_bytes_again_join_the_master_and_cut_nothing_twice(world: Dividing) -> None:
    world.advance(master(world))
    (world.hot / "again.pdf").write_bytes(CONTENT)
    world.sweep()
    assert len(world.catalog.documents()) == 4
    assert len(world.catalog.arrivals(document=master(world).id)) == 2


def test_a_file_with_the_bytes_of_a_part_is_a_document_of_its_own(world: Dividing) -> None:
    world.advance(master(world))
    (world.hot / "same-as-part.pdf").write_bytes(world.piece(1))
    world.sweep()
    assert len(world.catalog.documents()) == 5


def test_a_disk_that_fills_up_while_parts_are_cut_out_keeps_none_of_them(
    world: Dividing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt cuts under other ids: what is left of this one would never go."""
    step = world.begin(master(world))
    outcome = world.do_stage(master(world), "note", step.id)
    written: list[Path] = []

    def fuse(operation: str, path: Path) -> None:
        if (operation, path.name) == ("write", "0001.pdf"):
            written.append(path)
            if len(written) == PARTS:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(atomic, "fuse", fuse)
    with pytest.raises(OSError, match="No space"):
        world.end(step, outcome)
    world.end(step, Outcome(Ending.POSTPONED, code="no-space", message="a disk is full"))

    assert list(world.spool.held_documents()) == [master(world).id]


def test_a_division_that_is_recorded_again_leaves_the_parts_bytes_alone(
    world: Dividing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the answer of the first commit was lost: the parts are documents by then."""
    step = world.begin(master(world))
    outcome = world.do_stage(master(world), "note", step.id)
    world.end(step, outcome)
    calls: list[str] = []
    monkeypatch.setattr(atomic, "fuse", lambda operation, _: calls.append(operation))
    with pytest.raises(NotNow):
        take_out(world.spool, master(world), step, outcome)
    assert calls == []


def test_what_a_failed_division_left_in_the_spool_is_dropped_at_the_start(world: Dividing) -> None:
    step = world.begin(master(world))
    made = Made("x.pdf", "x.pdf", "application/pdf", "original")
    folder = world.spool.start_work(step.id)
    (folder / "x.pdf").write_bytes(CONTENT)
    outcome = Outcome(Ending.FINISHED, parts=world.as_parts([made]))
    take_out(world.spool, master(world), step, outcome)
    assert len(list(world.spool.held_documents())) == 2

    world.restart()  # the machine died before the catalog heard of it

    assert list(world.spool.held_documents()) == [master(world).id]
