"""The scan of a whole stack holds every page of its parts: what stops a part stops it as well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archived.engine import decisions
from archived.engine.decisions import PersonDecision
from archived.engine.split import PARTS_IN_WORK, stops
from archived.errors import NotNow
from archived.model.ids import object_id
from archived.model.lifecycle import State
from archived.model.outcome import Ending, Outcome
from archived.model.record import RECORD, from_json
from archived.model.review import Review
from archived.model.secrecy import PART_ABOVE, PART_UNKNOWN
from archived.observe.explain import DocumentRows, explain
from archived.storage.rows import DocumentRow
from archived.testing.invariants import problems
from tests.fault.dividing import Dividing
from tests.fault.hand_driven_archive import CONTENT, DECK

ABOVE = Outcome(Ending.REFUSED, "secrecy-above-declared", 'a mark says "Mật"')
UNREAD = Outcome(
    Ending.FINISHED, reviews=(Review("unread-content", "Marks were not read."),), facts={"pages": 1}
)
BLANK = Outcome(Ending.REFUSED, code="blank-page", message="It is blank.")
BROKEN = Outcome(Ending.REFUSED, code="object-differs", message="The store holds another.")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Dividing]:
    """One scan, cut into three documents; at the end all agrees."""
    world = Dividing(tmp_path)
    world.stages = ("note", "read", "seal", "after")
    (world.hot / "stack.pdf").write_bytes(CONTENT)
    world.sweep()
    world.advance(master(world))
    yield world
    assert problems(world.state, world.root / "store") == []
    world.catalog.close()


def master(world: Dividing) -> DocumentRow:
    (row,) = (d for d in world.catalog.documents() if d.master is None)
    return row


def part(world: Dividing, number: int) -> DocumentRow:
    return world.catalog.parts(master(world).id)[number - 1]


def hold(world: Dividing, row: DocumentRow, outcome: Outcome) -> DocumentRow:
    world.end(world.begin(row), outcome)
    return world.catalog.document(row.id)


def refuse(world: Dividing, row: DocumentRow) -> None:
    decisions.reject(
        world.catalog, row.id, PersonDecision("lan", "not ours to archive", world.now())
    )


def decide(world: Dividing, row: DocumentRow, *, skip: bool) -> State:
    return decisions.release(
        world.catalog,
        DECK,
        row.id,
        PersonDecision("lan", "the office may keep it", world.now()),
        skip=skip,
    )


def refused_for(world: Dividing, outcome: Outcome) -> DocumentRow:
    """The third part was refused by a person, the others are safe; the master's turn came."""
    third = hold(world, part(world, 3), outcome)
    world.work()
    assert master(world).state is State.DIVIDED
    refuse(world, third)
    world.work()
    return master(world)


def nothing_is_out(world: Dividing) -> None:
    row = master(world)
    assert row.object_key is None
    assert not [k for k in world.store.objects() if row.id.replace("-", "") in k.replace("-", "")]
    assert row.id not in {found.document for found in world.catalog.search("stack")}


@pytest.mark.parametrize(
    ("outcome", "code"), [(ABOVE, PART_ABOVE), (UNREAD, PART_UNKNOWN), (BLANK, PART_UNKNOWN)]
)
def test_a_part_refused_before_it_was_known_to_be_free_of_a_mark_stops_the_master(
    world: Dividing, outcome: Outcome, code: str
) -> None:
    row = refused_for(world, outcome)

    assert (row.state, row.code) == (State.HELD, code)
    assert part(world, 3).id in (row.reason or "")
    nothing_is_out(world)


def test_trying_again_looks_at_the_parts_again_and_is_no_decision(world: Dividing) -> None:
    row = refused_for(world, ABOVE)
    decide(world, row, skip=False)
    world.work()

    assert (master(world).state, master(world).code) == (State.HELD, PART_ABOVE)
    nothing_is_out(world)


def test_a_person_decides_about_the_master_with_the_parts_named(world: Dividing) -> None:
    row = refused_for(world, ABOVE)
    decide(world, row, skip=True)

    (entry,) = (
        json.loads(e.entry)
        for e in world.catalog.ledger_of(row.id)
        if e.kind == "document-released"
    )
    assert [(each["part"], each["code"]) for each in entry["facts"]["parts"]] == [
        (part(world, 3).id, "secrecy-above-declared")
    ]
    world.work()
    assert master(world).state is State.SAFE
    record = from_json(world.store.path_of(object_id(row.id), RECORD).read_bytes())
    assert [(d.what, d.who) for d in record.decisions] == [("released", "lan")]
    assert any(s.code == PART_ABOVE and part(world, 3).id in s.message for s in record.steps)


def test_a_decision_covers_no_part_that_was_taken_up_again_since(world: Dividing) -> None:
    row = refused_for(world, ABOVE)
    decide(world, row, skip=True)
    decide(world, part(world, 3), skip=False)
    hold(world, part(world, 3), UNREAD)
    seal = world.begin(master(world))

    def ending() -> tuple[Ending, str] | None:
        found = stops(world.catalog, master(world))
        return found and (found.ending, found.code)

    assert ending() == (Ending.POSTPONED, PARTS_IN_WORK)
    refuse(world, part(world, 3))
    assert ending() == (Ending.REFUSED, PART_UNKNOWN)
    found = stops(world.catalog, master(world))
    assert found is not None
    world.end(seal, found)


def test_what_was_decided_about_is_what_holds_it(world: Dividing) -> None:
    """Between the hold and the decision a part was taken up: not what the person was told of."""
    row = refused_for(world, ABOVE)
    decide(world, part(world, 3), skip=False)
    with pytest.raises(NotNow, match="its parts"):
        decide(world, row, skip=True)
    hold(world, part(world, 3), UNREAD)
    refuse(world, part(world, 3))
    with pytest.raises(NotNow, match="its parts"):
        decide(world, row, skip=True)
    nothing_is_out(world)


def test_a_part_that_a_person_released_speaks_for_its_pages_in_the_master(world: Dividing) -> None:
    third = hold(world, part(world, 3), ABOVE)
    decide(world, third, skip=True)
    world.work()

    assert {d.state for d in world.catalog.documents()} == {State.SAFE}


def test_a_part_that_went_through_every_stage_and_is_refused_then_stops_nothing(
    world: Dividing,
) -> None:
    world.advance(part(world, 3))
    assert part(world, 3).stages[part(world, 3).position] == "seal"
    assert refused_for(world, BROKEN).state is State.SAFE


def test_taking_the_part_up_again_lets_the_master_go_on_without_a_decision(
    world: Dividing,
) -> None:
    row = refused_for(world, ABOVE)
    decide(world, part(world, 3), skip=True)
    world.work()
    assert part(world, 3).state is State.SAFE
    decide(world, row, skip=False)
    world.work()
    assert master(world).state is State.SAFE


def test_a_master_that_waits_for_a_part_is_due_when_the_part_is_at_rest(world: Dividing) -> None:
    row = refused_for(world, BLANK)
    decide(world, row, skip=False)
    decide(world, part(world, 3), skip=True)
    seal = world.begin(master(world))
    found = stops(world.catalog, master(world))
    assert found is not None
    world.end(seal, found)
    assert (master(world).state, master(world).code) == (State.WAITING, PARTS_IN_WORK)
    world.to_its_end(part(world, 3))
    due = master(world).due
    assert due is not None
    assert due <= world.now()


def test_one_on_its_way_to_the_store_or_to_its_copies_when_this_rule_came_is_stopped_too(
    world: Dividing,
) -> None:
    """As rows are that an earlier version left: the master due at `seal`, or sealed already."""
    refused_for(world, ABOVE)
    row = master(world)
    with world.catalog.transaction() as change:
        change.set_columns(
            row.id, state=State.WORKING, due=world.now(), code=None, reason=None, hint=None
        )
    world.work()
    assert (master(world).state, master(world).code) == (State.HELD, PART_ABOVE)
    with world.catalog.transaction() as change:
        change.set_columns(row.id, state=State.SEALED, position=row.position + 1)
    found = stops(world.catalog, master(world))
    assert found is not None
    assert found.code == PART_ABOVE
    with world.catalog.transaction() as change:
        change.set_columns(row.id, state=State.HELD, position=row.position)


def test_the_master_has_the_highest_level_of_its_parts(world: Dividing) -> None:
    with world.catalog.transaction() as change:
        change.set_columns(part(world, 2).id, secrecy="tối mật")
        change.set_columns(part(world, 3).id, secrecy="mật")
    world.work()

    record = from_json(world.store.path_of(object_id(master(world).id), RECORD).read_bytes())
    assert record.secrecy == "tối mật"


def test_a_look_that_the_last_stage_asked_for_and_nobody_took_stops_the_master(
    world: Dividing,
) -> None:
    """The part stands at the seal; what was to be looked at is whatever a stage calls it."""
    asked = replace(UNREAD, reviews=(Review("odd-marks", "There are marks."),))
    assert refused_for(world, asked).code == PART_UNKNOWN


def test_a_part_of_a_part_counts_as_well(world: Dividing) -> None:
    """Cut twice: what stops the inner scan stops the outer one, also when the inner is refused."""
    inner, second = part(world, 3), part(world, 2)
    world.advance(inner)
    refuse(world, hold(world, part(world, 3), BROKEN))
    refuse(world, hold(world, second, ABOVE))
    world.to_its_end(part(world, 1))
    assert stops(world.catalog, master(world)) is not None
    with world.catalog.transaction() as change:
        change.set_columns(second.id, master=inner.id)
        change.set_columns(inner.id, position=2, code="stage-error")
    found = stops(world.catalog, master(world))
    assert found is not None
    assert second.id in found.message


def test_what_people_are_told(world: Dividing) -> None:
    third = hold(world, part(world, 3), ABOVE)
    world.work()

    def told(row: DocumentRow) -> tuple[str, str]:
        rows = DocumentRows(
            row,
            steps=world.catalog.steps(row.id),
            entries=world.catalog.ledger_of(row.id),
            parts=world.catalog.parts(row.id),
        )
        story = explain(rows, datetime.now(UTC))
        return story.now, " ".join(choice.command for choice in story.choices)

    now, _ = told(master(world))
    assert third.id in now
    assert "secrecy-above-declared" in now
    refuse(world, third)
    world.work()
    now, choices = told(master(world))
    assert third.id in now
    assert f"--code {PART_ABOVE}" in choices
    assert "archivectl reject" in choices
