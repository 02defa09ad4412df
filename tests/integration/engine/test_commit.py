"""What ends of steps and decisions of people do to a document, on real disks and catalogs."""

import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from archived.engine import commit, decisions
from archived.engine.decisions import PersonDecision
from archived.engine.sealing import Sealer
from archived.errors import NotNow
from archived.model.lifecycle import IllegalTransition, State
from archived.model.outcome import CopyMade, Ending, Made, Outcome
from archived.storage import atomic
from archived.storage.rows import DocumentRow, StepRow
from archived.testing.invariants import problems
from tests.fault.hand_driven_archive import CONTENT, DECK, LIMITS, World

REFUSED = Outcome(Ending.REFUSED, code="encrypted", message="It is locked.", hint="Unlock it.")
DONE = Outcome(Ending.FINISHED)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One document in custody; afterwards everything must agree."""
    world = World(tmp_path)
    (world.hot / "page.pdf").write_bytes(CONTENT)
    world.sweep()
    yield world
    assert problems(world.state, world.root / "store") == []
    world.catalog.close()


def only(world: World) -> DocumentRow:
    (row,) = world.catalog.documents()
    return row


def seal(world: World) -> None:
    sealer = Sealer(world.spool, world.store, world.catalog, "")
    world.step(sealer, only(world))


def release(world: World, *, skip: bool, held_for: str | None = None) -> State:
    return decisions.release(
        world.catalog,
        DECK,
        only(world).id,
        PersonDecision("lan", "looked at the paper", world.now(), held_for=held_for),
        skip=skip,
    )


def test_a_refused_document_is_held_with_its_reason_and_never_retried_by_itself(
    world: World,
) -> None:
    world.end(world.begin(only(world)), REFUSED)

    row = only(world)
    assert (row.state, row.code, row.reason, row.hint, row.due) == (
        State.HELD,
        "encrypted",
        "It is locked.",
        "Unlock it.",
        None,
    )
    assert world.catalog.lines("cpu", world.now()) == []


def test_a_release_goes_on_past_the_stage_that_held_the_document(world: World) -> None:
    world.end(world.begin(only(world)), REFUSED)

    assert release(world, skip=True) is State.WORKING

    row = only(world)
    assert (row.position, row.attempts, row.code) == (1, 0, None)
    seal(world)
    assert only(world).state is State.SEALED


def test_a_retry_tries_the_same_stage_with_its_attempts_counted_afresh(world: World) -> None:
    world.end(world.begin(only(world)), REFUSED)

    release(world, skip=False)

    row = only(world)
    assert (row.state, row.position, row.attempts) == (State.WORKING, 0, 0)


def test_who_decided_and_why_is_in_the_ledger(world: World) -> None:
    world.end(world.begin(only(world)), REFUSED)
    release(world, skip=True)

    (entry,) = [e for e in world.catalog.ledger_of(only(world).id) if e.kind == "document-released"]
    assert '"agent":"lan"' in entry.entry
    assert "looked at the paper" in entry.entry


def test_a_release_never_passes_over_the_seal(world: World) -> None:
    world.end(world.begin(only(world)), DONE)
    world.end(world.begin(only(world)), Outcome(Ending.REFUSED, code="store", message="No."))

    release(world, skip=True)

    assert only(world).position == 1
    seal(world)


def test_a_document_held_at_intake_is_released_into_its_first_stage(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.hot / "half.pdf").write_bytes(CONTENT[:500])
    world.sweep(deadline=0.0)
    assert (only(world).state, only(world).code) == (State.HELD, "arrived-incomplete")

    release(world, skip=True)

    assert (only(world).state, only(world).position) == (State.WORKING, 0)
    world.catalog.close()


def test_a_sealed_document_without_its_copies_goes_back_to_the_stages_after_the_seal(
    world: World,
) -> None:
    world.work()
    assert (only(world).state, only(world).code) == (State.SEALED, "copies-missing")

    assert release(world, skip=False) is State.SEALED

    assert only(world).position == 2
    world.work()


def test_a_disk_that_fails_after_a_seal_is_on_record_undoes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.step(Sealer(world.spool, world.store, world.catalog, ""), only(world))

    def fuse(operation: str, path: Path) -> None:
        if operation == "rename" and path.name.endswith(".dropped"):
            raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(atomic, "fuse", fuse)
    seal(world)
    monkeypatch.setattr(atomic, "fuse", None)
    assert only(world).state is State.SEALED
    assert world.spool.folder(only(world).id).exists()
    world.restart()
    assert not world.spool.folder(only(world).id).exists()


def test_a_sealed_document_cannot_be_released_while_a_step_of_it_runs(world: World) -> None:
    """Its end would move it on once more: past a stage that was never started."""
    world.step(Sealer(world.spool, world.store, world.catalog, ""), only(world))
    seal(world)
    step = world.begin(only(world))
    for skip in (True, False):
        with pytest.raises(NotNow, match="is running"):
            release(world, skip=skip)
    world.end(step, DONE)
    assert only(world).position == len(only(world).stages)


def test_a_stage_that_is_passed_over_has_ended_and_is_on_record(world: World) -> None:
    row = only(world)
    step = StepRow(
        id="0" * 32,
        document=row.id,
        position=0,
        stage="note",
        attempt=1,
        version="1",
        distribution="test",
        options_digest="",
        started=world.now(),
    )
    commit.skip_step(world.catalog, DECK, row, step, "it takes no PDF")

    (skipped,) = world.catalog.steps(row.id)
    assert (skipped.ending, skipped.notes, only(world).position) == (
        "skipped",
        ["it takes no PDF"],
        1,
    )
    assert [e.kind for e in world.catalog.ledger_of(row.id)][-1] == "step-skipped"
    assert [event.name for event in world.catalog.events_for("test")][-1] == "step-skipped"


def test_what_a_document_waits_for_is_told_until_its_step_starts_anew(world: World) -> None:
    full = Outcome(Ending.POSTPONED, code="no-space", message="a disk is full", hint="make room")
    world.end(world.begin(only(world)), full)
    row = only(world)
    assert (row.code, row.reason, row.hint) == ("no-space", "a disk is full", "make room")
    assert (row.attempts, row.postponed) == (0, 1)

    gone = Outcome(Ending.REQUEUED, code="no-runner", message="its server ended", hint="wait")
    world.end(world.begin(only(world)), gone)
    row = only(world)
    assert (row.code, row.reason, row.hint) == (None, None, None)
    assert (row.attempts, row.postponed) == (0, 1)


def test_a_verified_copy_is_on_record_and_makes_the_document_safe(world: World) -> None:
    world.step(Sealer(world.spool, world.store, world.catalog, ""), only(world))
    seal(world)
    sha512 = only(world).inventory_sha512 or ""
    copy = CopyMade("vault", "key", sha512, files=5, size=9, verified=world.now())
    world.end(world.begin(only(world)), Outcome(Ending.FINISHED, copies=(copy,)))

    (replica,) = world.catalog.replicas(only(world).id)
    assert (replica.target, replica.inventory_sha512) == ("vault", sha512)
    assert only(world).state is State.SAFE


def test_a_failure_and_a_refusal_of_a_stage_are_announced_under_names_of_their_own(
    world: World,
) -> None:
    world.end(world.begin(only(world)), REFUSED)
    told = [event.name for event in world.catalog.events_for("test")]
    assert (told.count("step-refused"), told.count("document-held")) == (1, 1)
    assert "step-failed" not in told
    release(world, skip=False)

    for _ in range(LIMITS.attempts):
        world.end(world.begin(only(world)), Outcome(Ending.FAILED, code="bug", message="No."))

    assert only(world).state is State.HELD
    told = [event.name for event in world.catalog.events_for("test")]
    assert (told.count("step-failed"), told.count("document-held")) == (LIMITS.attempts, 2)


def test_a_release_past_the_last_stage_leaves_nothing_to_do(world: World) -> None:
    world.step(Sealer(world.spool, world.store, world.catalog, ""), only(world))
    seal(world)
    world.end(world.begin(only(world)), REFUSED)

    release(world, skip=True)

    row = only(world)
    assert (row.state, row.position, row.due) == (State.SEALED, len(row.stages), None)
    assert row.code == "copies-missing"


def test_what_was_decided_about_one_hold_does_not_fall_on_the_next(world: World) -> None:
    world.end(world.begin(only(world)), REFUSED)
    with pytest.raises(NotNow, match="not held for another by now"):
        release(world, skip=True, held_for="another")
    assert only(world).state is State.HELD
    assert release(world, skip=True, held_for="encrypted") is State.WORKING


def test_a_document_in_work_cannot_be_released(world: World) -> None:
    with pytest.raises(IllegalTransition):
        release(world, skip=True)


def test_an_ending_that_is_recorded_again_changes_nothing(world: World) -> None:
    step = world.begin(only(world))
    world.end(step, DONE)
    once = only(world)

    with pytest.raises(NotNow, match="has ended already"):
        world.end(step, DONE)

    assert only(world) == once


def test_two_people_cannot_decide_on_the_same_sight_of_a_document(world: World) -> None:
    before = only(world)
    world.end(world.begin(before), REFUSED)

    with pytest.raises((NotNow, IllegalTransition)), world.catalog.transaction() as change:
        from archived.model.lifecycle import Transition

        change.move(before, Transition.STEP_STARTED, world.now())


def test_a_later_artifact_of_the_same_role_and_name_takes_the_place_of_the_earlier(
    world: World,
) -> None:
    step = world.begin(only(world))
    folder = world.spool.start_work(step.id)
    (folder / "a.txt").write_text("first")
    made = Made("a.txt", "document.txt", "text/plain", "text")
    world.end(step, Outcome(Ending.FINISHED, made=(made,), main=0))

    again = world.catalog.artifacts(only(world).id)

    assert [(a.role, a.name, a.main) for a in again] == [
        ("original", "0001.pdf", False),
        ("text", "document.txt", True),
    ]


def test_what_takes_the_place_of_the_main_artifact_is_worked_on_in_its_place(world: World) -> None:
    (original,) = world.catalog.originals(only(world).id)
    access = replace(original, role="access", name="document.pdf", step="one", main=True)
    better = replace(access, step="two", main=False)
    for artifact in (access, better):
        with world.catalog.transaction() as change:
            change.add_artifacts([artifact])

    again = world.catalog.artifacts(only(world).id)

    assert [(a.role, a.step, a.main) for a in again] == [
        ("original", None, False),
        ("access", "two", True),
    ]


def test_a_full_disk_leaves_nothing_behind_and_the_step_is_tried_again(world: World) -> None:
    step = world.begin(only(world))
    world.spool.start_work(step.id)
    missing = Made("never-written.txt", "x.txt", "text/plain", "text")

    with pytest.raises(OSError, match="never-written"):
        world.end(step, Outcome(Ending.FINISHED, made=(missing,)))
    world.end(step, Outcome(Ending.POSTPONED, code="no-space", message="a disk is full"))

    assert only(world).state is State.WAITING
    world.spool.clear_unfinished()


def test_a_refused_documents_bytes_are_kept_and_it_can_be_taken_up_again(world: World) -> None:
    world.end(world.begin(only(world)), REFUSED)

    state = decisions.reject(
        world.catalog, only(world).id, PersonDecision("lan", "a blank sheet", world.now())
    )

    assert state is State.REJECTED
    assert (world.find_bytes(only(world).id) or Path()).read_bytes() == CONTENT
    (sheet,) = world.catalog.balance()
    assert (sheet.held, sheet.unaccounted) == (1, 0)
    assert release(world, skip=False) is State.WORKING


def test_who_refused_a_document_and_why_is_in_the_ledger_and_announced(world: World) -> None:
    world.end(world.begin(only(world)), REFUSED)
    decisions.reject(
        world.catalog, only(world).id, PersonDecision("lan", "a blank sheet", world.now())
    )

    (entry,) = [e for e in world.catalog.ledger_of(only(world).id) if e.kind == "document-rejected"]
    body = json.loads(entry.entry)
    assert (body["agent"], body["facts"]) == ("lan", {"note": "a blank sheet", "was": "encrypted"})
    told = [event.name for event in world.catalog.events_for("test")]
    assert told.count("document-rejected") == 1


def test_a_seal_that_is_recorded_again_changes_nothing(world: World) -> None:
    world.end(world.begin(only(world)), DONE)
    step = world.begin(only(world))
    sealed = Sealer(world.spool, world.store, world.catalog, "").seal(only(world), step)
    assert not isinstance(sealed, Outcome)
    commit.seal(world.context(), step, *sealed, head=world.store.head)
    once = only(world)

    with pytest.raises(NotNow, match="has ended already"):
        commit.seal(world.context(), step, *sealed, head=world.store.head)

    assert only(world) == once


def test_each_end_of_a_step_is_once_in_the_ledger_and_a_good_one_is_announced(
    world: World,
) -> None:
    """Under the kind of its ending, with the step's id: what `problems` demands of every test."""
    ends = [
        (Outcome(Ending.POSTPONED, code="no-space", message="full"), "step-postponed"),
        (Outcome(Ending.REQUEUED), "step-requeued"),
        (Outcome(Ending.FAILED, code="stage-failed", message="No."), "step-failed"),
        (DONE, "step-finished"),
    ]
    for outcome, kind in ends:
        step = world.begin(only(world))
        world.end(step, outcome)
        entries = [
            json.loads(e.entry) | {"kind": e.kind} for e in world.catalog.ledger_of(only(world).id)
        ]
        of_step = [e["kind"] for e in entries if e.get("facts", {}).get("step") == step.id]
        assert of_step == [kind]
    told = [event.name for event in world.catalog.events_for("test")]
    assert told.count("step-finished") == 1


def test_what_is_sealed_cannot_be_refused(world: World) -> None:
    world.work()

    with pytest.raises(NotNow, match="archived already"):
        decisions.reject(
            world.catalog, only(world).id, PersonDecision("lan", "too late", world.now())
        )
