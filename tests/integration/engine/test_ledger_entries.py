"""What ledger, step and news say of an end: others read it by these names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archived.engine import decisions
from archived.engine.decisions import PersonDecision
from archived.engine.sealing import Sealer
from archived.errors import NotNow
from archived.model.lifecycle import State
from archived.model.outcome import CopyMade, Ending, Outcome, Usage
from archived.storage.rows import DocumentRow
from archived.testing.invariants import problems
from tests.fault.hand_driven_archive import CONTENT, DECK, World

DONE = Outcome(Ending.FINISHED)


class Last(World):
    """Nothing comes behind the seal."""

    stages = ("note", "seal")


@pytest.fixture(params=[World])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """One document in custody; afterwards everything must agree."""
    world: World = request.param(tmp_path)
    (world.hot / "page.pdf").write_bytes(CONTENT)
    world.sweep()
    yield world
    assert problems(world.state, world.root / "store") == []
    world.catalog.close()


def only(world: World) -> DocumentRow:
    (row,) = world.catalog.documents()
    return row


def sealed(world: World) -> DocumentRow:
    sealer = Sealer(world.spool, world.store, world.catalog, "")
    while only(world).state is not State.SEALED:
        world.step(sealer, only(world))
    return only(world)


def entry(world: World, kind: str) -> dict[str, Any]:
    """The newest of a kind."""
    *_, found = [e for e in world.catalog.ledger_of(only(world).id) if e.kind == kind]
    told: dict[str, Any] = json.loads(found.entry)
    return told


def test_a_seal_is_on_record_with_its_object_and_the_digest_of_its_inventory(world: World) -> None:
    row = sealed(world)
    told = entry(world, "document-sealed")
    assert told["facts"]["pages"] == row.pages == 1
    assert (told["facts"]["object"], told["facts"]["version"]) == (row.object_key, 1)
    assert told["digests"] == {"inventory.json": row.inventory_sha512}
    assert told["agent"].startswith("archived ")


def test_a_copy_is_on_record_with_its_place_and_the_digest_that_was_read_back(
    world: World,
) -> None:
    digest = sealed(world).inventory_sha512 or ""
    copy = CopyMade("vault", "ocfl/a/b", digest, files=5, size=9, verified=world.now())
    world.end(world.begin(only(world)), replace(DONE, copies=(copy,)))
    told = entry(world, "copy-verified")
    assert (told["facts"]["target"], told["facts"]["key"]) == ("vault", "ocfl/a/b")
    assert told["digests"] == {"inventory.json": digest}
    assert entry(world, "document-safe")["facts"] == {"copies": 1}
    (event,) = [e for e in world.catalog.events_for("test") if e.name == "document-safe"]
    assert event.facts == {"copies": 1, "name": "page.pdf"}


def test_the_news_of_an_end_say_which_stage_it_was_and_why(world: World) -> None:
    for outcome, name in (
        (Outcome(Ending.POSTPONED, code="no-space", message="full"), "step-postponed"),
        (Outcome(Ending.FAILED, code="stage-failed", message="No."), "step-failed"),
        (DONE, "step-finished"),
    ):
        world.end(world.begin(only(world)), outcome)
        (event,) = [e for e in world.catalog.events_for("test") if e.name == name]
        facts = entry(world, name)["facts"]
        assert (facts["ending"], facts.get("code", "")) == (outcome.ending, outcome.code)
        assert event.facts["stage"] == "note"
        assert event.facts.get("code", "") == outcome.code


def test_the_row_of_a_step_keeps_all_that_it_ended_with(world: World) -> None:
    usage = Usage(wall=0.1 + 0.2, cpu=0.2 + 0.4, peak_memory=1 << 20)
    ends = [
        replace(DONE, facts={"pages": 2}, tools={"tool": "1.2"}, notes=("so",), usage=usage),
        Outcome(Ending.REFUSED, code="encrypted", message="It is locked.", hint="Unlock it."),
    ]
    for outcome in ends:
        world.end(world.begin(only(world)), outcome)
    finished, refused = world.catalog.steps(only(world).id)
    assert (finished.ending, finished.code, finished.message, finished.hint) == (
        "finished",
        None,
        None,
        None,
    )
    assert (finished.facts, finished.tools, finished.notes) == (
        {"pages": 2},
        {"tool": "1.2"},
        ["so"],
    )
    assert (finished.wall, finished.cpu, finished.peak_memory) == (0.3, 0.6, 1 << 20)
    assert (refused.ending, refused.code, refused.message, refused.hint) == (
        "refused",
        "encrypted",
        "It is locked.",
        "Unlock it.",
    )


def test_a_step_that_nobody_knows_is_told_so(world: World) -> None:
    with pytest.raises(NotNow, match="no step has the id"), world.catalog.transaction() as change:
        change.step("0" * 32)


def test_how_many_pages_a_stage_found_is_known_of_the_document(world: World) -> None:
    world.end(world.begin(only(world)), replace(DONE, facts={"pages": 7}))
    assert only(world).pages == 7
    world.end(world.begin(only(world)), Outcome(Ending.FAILED, code="x", message="No."))
    assert only(world).pages == 7


def test_a_stage_that_was_tried_twice_is_passed_over_as_well(world: World) -> None:
    refused = Outcome(Ending.REFUSED, code="encrypted", message="It is locked.")
    for skip in (False, True):
        world.end(world.begin(only(world)), refused)
        decisions.release(
            world.catalog, DECK, only(world).id, PersonDecision("lan", "", world.now()), skip=skip
        )
        assert only(world).position == (1 if skip else 0)


@pytest.mark.parametrize("world", [Last], indirect=True)
def test_what_nothing_makes_copies_of_cannot_be_released_and_the_answer_says_what_to_do(
    world: World,
) -> None:
    row = sealed(world)
    assert (row.state, row.code) == (State.SEALED, "copies-missing")
    for skip in (True, False):
        with pytest.raises(NotNow, match="nothing in its pipeline makes copies") as told:
            decisions.release(
                world.catalog, DECK, row.id, PersonDecision("lan", "", world.now()), skip=skip
            )
        assert f"archivectl copy {row.id}" in told.value.hint
    assert only(world) == row


def test_an_attempt_is_counted_once_when_it_begins(world: World) -> None:
    for attempts in (1, 2):
        step = world.begin(only(world))
        assert (only(world).attempts, only(world).running) == (attempts, step.id)
        world.end(step, Outcome(Ending.FAILED, code="stage-failed", message="No."))


def test_a_refusal_is_on_record_with_what_a_person_must_know(world: World) -> None:
    refused = Outcome(Ending.REFUSED, code="encrypted", message="It is locked.", hint="Unlock it.")
    step = world.begin(only(world))
    world.end(step, refused)
    row = only(world)
    assert (row.state, row.code, row.reason, row.hint) == (
        State.HELD,
        "encrypted",
        "It is locked.",
        "Unlock it.",
    )
    assert entry(world, "document-held")["facts"] == {
        "code": "encrypted",
        "reason": "It is locked.",
        "stage": "note",
        "step": step.id,
    }
