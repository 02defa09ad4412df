"""Copies of documents that were sealed before anything made copies: made, or it is said why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from archived.engine import commit
from archived.engine.copy_requests import LAST, CopyRequests, ask_for_all, ask_for_copies
from archived.engine.decisions import PersonDecision
from archived.engine.specs import PipelineSpec, Specs
from archived.errors import NotNow
from archived.model.lifecycle import State
from archived.model.outcome import CopyMade, Ending, Outcome
from archived.storage.rows import DocumentRow
from archived.testing.invariants import problems
from tests.fault.hand_driven_archive import CONTENT, DECK, LIMITS, World

COPY = replace(DECK.stages["after"], name="copy", targets=True, options_digest="one")


def specs(*stages: str, copies: int = 1, options: str = "one") -> Specs:
    """What is configured by now: the pipeline `paper` has these stages behind its seal."""
    return replace(
        DECK,
        stages={**DECK.stages, "copy": replace(COPY, options_digest=options)},
        pipelines={"paper": PipelineSpec(("note", "seal", *stages), copies)},
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One document that was sealed when nothing made copies; afterwards everything must agree."""
    world = World(tmp_path)
    (world.hot / "page.pdf").write_bytes(CONTENT)
    world.sweep()
    world.work()
    assert (only(world).state, only(world).code) == (State.SEALED, "copies-missing")
    yield world
    assert problems(world.state, world.root / "store") == []
    world.catalog.close()


def only(world: World) -> DocumentRow:
    (row,) = world.catalog.documents()
    return row


def ask(world: World, now: Specs) -> State:
    return ask_for_copies(
        world.catalog, now, only(world).id, PersonDecision("lan", "a disk came", world.now())
    )


def ask_all(world: World, now: Specs, *, again: bool = False) -> CopyRequests:
    return ask_for_all(
        world.catalog, now, PersonDecision("lan", "a disk came", world.now()), again=again
    )


def copied(world: World, target: str, options: str = "one") -> State:
    """The next step ends well with a copy at this target."""
    row = only(world)
    sha512 = row.inventory_sha512 or ""
    copy = CopyMade(target, "key", sha512, files=5, size=9, verified=world.now())
    step = world.begin(row, options)
    return world.end(step, Outcome(Ending.FINISHED, copies=(copy,)))


def test_a_document_sealed_before_there_was_a_copy_stage_becomes_safe(world: World) -> None:
    assert ask(world, specs("copy")) is State.SEALED

    row = only(world)
    assert (row.stages, row.position, row.code) == (("note", "seal", "after", "copy"), 3, None)
    assert row.due is not None
    assert copied(world, "vault") is State.SAFE
    (entry,) = [e for e in world.catalog.ledger_of(row.id) if e.kind == "copies-asked"]
    assert '"agent":"lan"' in entry.entry
    assert "a disk came" in entry.entry


def test_without_a_copy_stage_nothing_changes_and_the_pipeline_is_named(world: World) -> None:
    before = only(world)

    with pytest.raises(NotNow, match='no stage of the pipeline "paper" makes copies'):
        ask(world, specs())

    assert only(world) == before
    assert ask_all(world, specs()) == CopyRequests(left={"paper": 1})


def test_a_document_that_is_not_sealed_is_not_copied(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.hot / "page.pdf").write_bytes(CONTENT)
    world.sweep()

    with pytest.raises(NotNow, match="only a sealed one"):
        ask(world, specs("copy"))

    assert ask_all(world, specs("copy")) == CopyRequests()
    world.catalog.close()


def test_a_new_target_leaves_a_safe_document_safe_until_its_copy_is_made(world: World) -> None:
    ask(world, specs("copy"))
    copied(world, "vault")
    told = len(world.catalog.events_for("test"))
    more = specs("copy", copies=2, options="two")

    assert ask_all(world, more).asked == 1

    assert (only(world).state, only(world).copies) == (State.SAFE, 1)
    assert ask_all(world, more).on_their_way == 1
    assert copied(world, "other house", "two") is State.SAFE
    row = only(world)
    assert (row.due, len(world.catalog.replicas(row.id))) == (None, 2)
    news = [event.name for event in world.catalog.events_for("test")][told:]
    assert "document-safe" not in news  # else it stood in a day's list of what is safe once more
    assert ask_all(world, more) == CopyRequests(have_all=1)


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.FAILED])
def test_a_further_copy_that_cannot_be_made_holds_nothing_and_is_tried_again(
    world: World, ending: Ending
) -> None:
    ask(world, specs("copy"))
    copied(world, "vault")
    ask_all(world, specs("copy", options="two"))

    for _ in range(LIMITS.attempts):
        world.end(world.begin(only(world)), Outcome(ending, code="away", message="No disk."))

    row = only(world)
    assert (row.state, row.code, row.attempts) == (State.SAFE, "away", 0)
    assert row.due is not None
    assert row.due - world.now() > commit.FURTHER_COPY_AGAIN - timedelta(hours=1)
    assert world.catalog.count_further_copies() == {False: 0, True: 1}


def test_a_machine_that_dies_under_a_further_copy_takes_no_safety_away(world: World) -> None:
    ask(world, specs("copy"))
    copied(world, "vault")
    ask(world, specs("copy"))

    for _ in range(LIMITS.attempts + 1):
        world.begin(only(world))
        world.restart()

    assert (only(world).state, only(world).running) == (State.SAFE, None)
    assert copied(world, "vault") is State.SAFE


def test_asked_again_copies_that_are_there_are_read_back(world: World) -> None:
    ask(world, specs("copy"))
    copied(world, "vault")

    assert ask_all(world, specs("copy")).asked == 0
    assert ask_all(world, specs("copy"), again=True).asked == 1
    assert only(world).priority == LAST
    assert copied(world, "vault") is State.SAFE


def test_documents_that_stay_as_they_are_are_counted(world: World) -> None:
    assert world.catalog.count_never_safe() == 1

    ask(world, specs("copy"))

    assert world.catalog.count_never_safe() == 0
    world.end(world.begin(only(world)), Outcome(Ending.FINISHED))
    assert world.catalog.count_never_safe() == 1, "the stage made no copy"
