"""A stage finished and asks for a look: nothing of its work is lost, and nothing goes on unseen."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archived.daemon.control_services import picture
from archived.engine import decisions
from archived.engine.attempt import step_document
from archived.engine.decisions import PersonDecision
from archived.engine.sealing import Sealer
from archived.errors import NotNow
from archived.model import review
from archived.model.ids import object_id
from archived.model.lifecycle import State
from archived.model.outcome import Ending, Outcome
from archived.model.record import RECORD, Record, from_json
from archived.storage.rows import ArtifactRow, DocumentRow
from archived.testing.invariants import problems
from tests.fault.dividing import Dividing
from tests.fault.hand_driven_archive import CONTENT, DECK, STAGES
from tests.fault.reviewing import ASKED, PICTURE, Reviewing, digest
from tests.fault.storage.ocfl_judge import judge


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Reviewing]:
    """One document in custody, whose first stage asks for a look; at the end all agrees."""
    world = Reviewing(tmp_path)
    (world.hot / "page.pdf").write_bytes(CONTENT)
    world.sweep()
    yield world
    assert problems(world.state, world.root / "store") == []
    world.catalog.close()


def only(world: Reviewing) -> DocumentRow:
    (row,) = world.catalog.documents()
    return row


def current(world: Reviewing) -> dict[str, ArtifactRow]:
    return {f"{a.role}/{a.name}": a for a in world.catalog.artifacts(only(world).id)}


def main(world: Reviewing) -> str:
    (name,) = (name for name, a in current(world).items() if a.main)
    return name


def entries(world: Reviewing, kind: str) -> list[dict[str, Any]]:
    bodies = (json.loads(e.entry) for e in world.catalog.ledger_of(only(world).id))
    return [body for body in bodies if body["kind"] == kind]


def release(world: Reviewing, shown: str | None, **more: Any) -> State:
    return decisions.release(
        world.catalog,
        DECK,
        only(world).id,
        PersonDecision("lan", "no secret", world.now(), shown=shown),
        skip=True,
        **more,
    )


def retry(world: Reviewing) -> State:
    return decisions.release(
        world.catalog,
        DECK,
        only(world).id,
        PersonDecision("lan", "scanned anew", world.now()),
        skip=False,
    )


def sealed_record(world: Reviewing) -> Record:
    path = world.store.path_of(object_id(only(world).id), RECORD)
    return from_json(path.read_bytes())


def test_it_is_held_behind_the_stage_with_all_that_was_made(world: Reviewing) -> None:
    world.work()

    row = only(world)
    assert (row.state, row.position, row.attempts, row.due) == (State.HELD, 1, 0, None)
    assert (row.code, row.reason, row.hint) == (ASKED.code, ASKED.message, ASKED.hint)
    assert row.pages == 2
    assert set(current(world)) == {
        "original/0001.pdf",
        "access/page.pdf",
        "text/page.txt",
        "metadata/mark.png",
    }
    assert main(world) == "access/page.pdf"
    (step,) = world.catalog.steps(row.id)
    assert (step.ending, step.worked_on, row.review) == ("finished", "original/0001.pdf", step.id)
    assert world.catalog.facts(row.id) == {"note": {"pages": 2}}


def test_nothing_of_it_is_sealed_found_or_told(world: Reviewing) -> None:
    """Fail closed: neither its words nor what is to be seen are anywhere but in the spool."""
    world.work()

    assert list(world.store.objects()) == []
    assert world.catalog.search("bí mật") == []
    events = world.catalog.events_for("nobody", 100)
    kinds = [event.name for event in events]
    assert kinds[-3:] == ["review-required", "step-finished", "document-held"]
    told = json.dumps([dict(event.facts) for event in events], ensure_ascii=False)
    assert "bí mật" not in told
    assert "Marks" not in told
    ledger = " ".join(e.entry for e in world.catalog.ledger_of(only(world).id))
    assert "bí mật" not in ledger
    assert "mark.png" not in entries(world, "review-required")[0]["facts"]


def test_the_ledger_says_what_was_asked_and_what_was_made(world: Reviewing) -> None:
    world.work()

    (finished,) = entries(world, "step-finished")
    assert set(finished["digests"]) == {"access/page.pdf", "text/page.txt", "metadata/mark.png"}
    (asked,) = entries(world, "review-required")
    assert asked["facts"]["reviews"] == [{"code": ASKED.code, "regions": 2, "held": True}]
    picture = current(world)["metadata/mark.png"]
    assert asked["facts"]["shown"] == digest(only(world).review or "", ASKED, picture.sha512)
    assert not entries(world, "step-failed")
    [held] = entries(world, "document-held")
    assert (held["facts"]["code"], held["facts"]["reason"]) == (ASKED.code, ASKED.message)


def test_after_a_look_it_goes_on_with_the_next_stage_and_nothing_is_left_out(
    world: Reviewing,
) -> None:
    world.work()
    assert release(world, world.shown(only(world).id)) is State.WORKING
    assert only(world).review is None
    world.work()

    assert only(world).state is State.SAFE
    assert judge(world.root / "store" / "ocfl") == []
    stages = [(s.stage, s.ending) for s in world.catalog.steps(only(world).id)]
    assert stages == [(stage, "finished") for stage in STAGES]
    assert world.catalog.search("bí mật")


def test_the_record_says_who_was_shown_which_regions(world: Reviewing) -> None:
    world.work()
    picture, step = current(world)["metadata/mark.png"], only(world).review
    world.look_and_release()
    (entry,) = entries(world, "document-released")
    world.work()

    record = sealed_record(world)
    (decision,) = record.decisions
    assert (decision.who, decision.what, decision.note) == ("lan", "released", "no secret")
    assert decision.step == step
    (asked,) = decision.reviews
    assert [(r.page, r.box, r.kind, r.sha512) for r in asked.regions] == [
        (1, (0.5, 0.1, 0.9, 0.2), "unread-marks", picture.sha512),
        (2, (0.0, 0.0, 1.0, 1.0), "picture", ""),
    ]
    assert review.from_json(entry["facts"]["reviews"]) == decision.reviews
    assert entry["facts"]["stage"] == "note"
    assert [s.reviews for s in record.steps if s.stage == "note"] == [decision.reviews]
    (kept,) = (f for f in record.files if f.name == "mark.png")
    assert kept.sha512 == picture.sha512, "the evidence is sealed with it"
    path = world.store.path_of(object_id(only(world).id), "metadata/mark.png")
    assert path.read_bytes() == PICTURE


@pytest.mark.parametrize("shown", [None, "", "0" * 64])
def test_a_release_that_does_not_name_what_was_shown_changes_nothing(
    world: Reviewing, shown: str | None
) -> None:
    world.work()
    before = only(world)
    with pytest.raises(NotNow):
        release(world, shown)
    assert only(world) == before
    assert not entries(world, "document-released")


def test_a_decision_does_not_cover_what_was_worked_on_since(world: Reviewing) -> None:
    world.work()
    shown = world.shown(only(world).id)
    retry(world)
    world.work()
    assert only(world).state is State.HELD
    with pytest.raises(NotNow, match="not what holds it now"):
        release(world, shown)


def test_a_decision_does_not_cover_another_hold(world: Reviewing) -> None:
    """It was released, and the next stage refuses: that was not looked at."""
    world.work()
    shown = world.shown(only(world).id)
    release(world, shown)
    step = world.begin(only(world))
    world.end(step, Outcome(Ending.REFUSED, "secrecy-above-declared", "It says secret."))
    before = only(world)
    with pytest.raises(NotNow):
        release(world, shown)
    assert only(world) == before


def test_a_decision_does_not_take_back_that_somebody_refused_it(world: Reviewing) -> None:
    world.work()
    shown = world.shown(only(world).id)
    decisions.reject(world.catalog, only(world).id, PersonDecision("minh", "a secret", world.now()))
    with pytest.raises(NotNow):
        release(world, shown)
    assert only(world).state is State.REJECTED
    assert retry(world) is State.WORKING


def test_it_is_not_released_twice(world: Reviewing) -> None:
    world.work()
    shown = world.shown(only(world).id)
    release(world, shown)
    with pytest.raises(NotNow):
        release(world, shown)
    assert len(entries(world, "document-released")) == 1


def test_a_retry_runs_the_stage_again_on_what_it_was_given(world: Reviewing) -> None:
    world.work()
    first = current(world)["access/page.pdf"]
    assert retry(world) is State.WORKING

    row = only(world)
    assert (row.position, row.attempts, row.review, row.code) == (0, 0, None, None)
    assert set(current(world)) == {"original/0001.pdf"}
    assert main(world) == "original/0001.pdf"
    assert world.catalog.facts(row.id) == {}
    spec = step_document(world.spool, world.store, world.catalog, row)
    assert spec.document().main.name == "0001.pdf"
    assert spec.answers == {}, "that its secrecy is not established no note answers"

    world.asks = False
    world.work()
    assert only(world).state is State.SAFE
    record = sealed_record(world)
    again = next(f for f in record.files if f.name == "page.pdf")
    assert again.sha512 != first.sha512
    assert again.main
    assert [(s.stage, s.ending) for s in record.steps][:2] == [
        ("note", "superseded"),
        ("note", "finished"),
    ]
    assert [d.what for d in record.decisions] == ["retried"]


def test_retries_do_not_bring_back_what_an_earlier_one_put_aside(world: Reviewing) -> None:
    for _ in range(3):
        world.work()
        retry(world)
        assert set(current(world)) == {"original/0001.pdf"}
        assert main(world) == "original/0001.pdf"
    world.work()
    (step,) = (s for s in world.catalog.steps(only(world).id) if s.ending == "finished")
    made = [a for a in current(world).values() if a.step]
    assert {a.step for a in made} == {step.id}
    world.look_and_release()
    world.work()
    assert only(world).state is State.SAFE


def test_what_a_superseded_file_had_replaced_is_there_again(world: Reviewing) -> None:
    """Two stages make a file of one name; the second one is done again."""
    world.asks = False
    world.work_once()
    first = current(world)["text/page.txt"]
    row = only(world)
    with world.catalog.transaction() as change:
        change.set_columns(row.id, position=0, stages=["note", "note-again", "seal"])
        change.set_columns(row.id, position=1)
    world.asks = True
    step = world.begin(only(world))
    world.end(step, world.do_stage(only(world), "note", step.id))
    assert current(world)["text/page.txt"].step == step.id
    retry(world)
    assert current(world)["text/page.txt"] == first
    assert main(world) == "access/page.pdf"
    world.end(world.begin(only(world)), Outcome(Ending.FINISHED))
    world.work()


def test_a_flagged_review_is_on_record_and_stops_nothing(world: Reviewing) -> None:
    specs = replace(DECK, flagged={"scans": review.SECRECY_OPEN})
    marked = specs.marked("scans", Outcome(Ending.FINISHED, reviews=(ASKED,)))
    assert [r.flagged for r in marked.reviews] == [True]
    assert not specs.marked("other", marked).reviews[0].flagged
    assert (
        not specs.marked(
            "scans", Outcome(Ending.FINISHED, reviews=(replace(ASKED, code="blurred"),))
        )
        .reviews[0]
        .flagged
    )

    world.flagging = specs
    world.work()
    assert only(world).state is State.SAFE
    (asked,) = entries(world, "review-required")
    assert asked["facts"]["reviews"] == [{"code": ASKED.code, "regions": 2, "held": False}]
    assert not entries(world, "document-held")
    (kept,) = (s for s in sealed_record(world).steps if s.reviews)
    assert [r.flagged for r in kept.reviews] == [True]
    assert len(kept.reviews[0].regions) == 2


def test_one_that_holds_among_flagged_ones_holds(world: Reviewing) -> None:
    world.flagging = replace(DECK, flagged={"scans": review.SECRECY_OPEN})
    step = world.begin(only(world))
    other = replace(ASKED, code="blurred", message="Page 3 is blurred.", regions=())
    world.end(step, Outcome(Ending.FINISHED, reviews=(replace(ASKED, regions=()), other)))
    assert (only(world).state, only(world).code) == (State.HELD, "blurred")


def test_a_part_that_waits_for_a_look_keeps_its_master_waiting_and_no_longer(
    tmp_path: Path,
) -> None:
    world = Dividing(tmp_path)
    (world.hot / "batch.pdf").write_bytes(CONTENT)
    world.sweep()
    (master,) = world.catalog.documents()
    world.advance(master)
    with world.catalog.transaction() as change:
        for part in world.catalog.parts(master.id):
            change.set_columns(part.id, stages=["note", "after", "seal"])
    first, *others = world.catalog.parts(master.id)
    world.end(world.begin(first), Outcome(Ending.FINISHED, reviews=(replace(ASKED, regions=()),)))
    for part in others:
        world.to_its_end(part)
    assert world.catalog.document(master.id).state is State.DIVIDED
    held = world.catalog.document(first.id)
    assert (held.state, held.position) == (State.HELD, 2)

    shown = review.digest(held.review or "", [replace(ASKED, regions=())])
    decisions.release(
        world.catalog,
        DECK,
        first.id,
        PersonDecision("lan", "fine", world.now(), shown=shown),
        skip=True,
    )
    world.work()
    assert {d.state for d in world.catalog.documents()} == {State.SAFE}
    assert problems(world.state, world.root / "store") == []
    world.catalog.close()


def test_its_review_is_known_again_from_the_store(world: Reviewing) -> None:
    """`archived rebuild` reads it from record.json."""
    from archived.engine.rebuild import ConfiguredDefaults, Rebuild

    world.work()
    world.look_and_release()
    world.work()
    before = {s.id: s.reviews for s in world.catalog.steps(only(world).id)}
    world.catalog.close()
    for file in world.state.glob("catalog.db*"):
        file.unlink()
    again = Reviewing(world.root)
    done = Rebuild(
        again.spool, again.store, again.catalog, DECK, ConfiguredDefaults(), again.now()
    ).run()
    assert (done.found, done.unreadable) == (1, {})
    after = {s.id: s.reviews for s in again.catalog.steps(only(again).id)}
    assert {step: asked for step, asked in after.items() if asked} == {
        step: asked for step, asked in before.items() if asked
    }
    assert only(again).review is None
    again.catalog.close()
    world.catalog = type(world.catalog).open(world.state / "catalog.db")


def test_an_object_found_for_a_held_document_ends_its_hold(world: Reviewing) -> None:
    """The catalog was restored from before the release; the store has gone on."""
    from archived.engine.rebuild import ConfiguredDefaults, Rebuild

    world.work()
    row = only(world)
    step = replace(
        world.catalog.steps(row.id)[0], id="sealing", stage="seal", position=1, ending=None
    )
    sealed = Sealer(world.spool, world.store, world.catalog, "").seal(row, step)
    assert not isinstance(sealed, Outcome)
    Rebuild(world.spool, world.store, world.catalog, DECK, ConfiguredDefaults(), world.now()).run()
    assert (only(world).state, only(world).review) == (State.SEALED, None)
    world.spool.drop(row.id)


def test_a_note_answers_a_review_that_says_nothing_of_secrecy(world: Reviewing) -> None:
    step = world.begin(only(world))
    asked = replace(ASKED, code="odd-marks", regions=())
    world.end(step, Outcome(Ending.FINISHED, reviews=(asked,)))
    retry(world)
    spec = step_document(world.spool, world.store, world.catalog, only(world))
    assert spec.answers == {"odd-marks": "scanned anew"}


def test_a_picture_is_had_also_when_a_later_stage_made_one_of_that_name(world: Reviewing) -> None:
    world.work()
    first = only(world).review or ""
    world.look_and_release()
    with world.catalog.transaction() as change:
        (mark,) = (a for a in world.catalog.artifacts(only(world).id) if a.name == "mark.png")
        change.add_artifacts([replace(mark, step="later", sha512="0" * 128, path="elsewhere")])
    found = picture(world.spool, world.store, world.catalog, only(world).id, first, "mark.png")
    assert found.read_bytes() == PICTURE
    with world.catalog.transaction() as change:
        change.add_artifacts([mark])


@pytest.mark.parametrize("harm", ["gone", "too large"])
def test_a_picture_that_cannot_be_handed_out_is_said_to_be_so(world: Reviewing, harm: str) -> None:
    world.work()
    row = only(world)
    wanted = (world.spool, world.store, world.catalog, row.id, row.review or "", "mark.png")
    path = picture(*wanted)
    path.parent.chmod(0o755)
    if harm == "gone":
        path.rename(path.with_suffix(".away"))
    else:
        path.chmod(0o644)
        os.truncate(path, review.PICTURE_LIMIT + 1)
    with pytest.raises(NotNow, match="picture"):
        picture(*wanted)
    if harm == "gone":
        path.with_suffix(".away").rename(path)
    else:
        path.write_bytes(PICTURE)
