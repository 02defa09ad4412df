"""What a start finds after a crash is put right, named, and never thrown away unproven."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archived.engine.sealing import Sealer
from archived.errors import CatalogError, StoreError
from archived.message import with_parts
from archived.model.lifecycle import State
from archived.model.retry import RetryLimits
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.storage.recovery import Recovered, recover
from archived.storage.rows import ArrivalState, DocumentRow
from tests.fault.hand_driven_archive import CONTENT, World
from tests.unit.storage.catalog_rows import arrival, have

SECOND = timedelta(seconds=1)
LIMITS = RetryLimits(attempts=3, first_wait=60 * SECOND, longest_wait=3600 * SECOND)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One document in custody; its source is gone."""
    world = World(tmp_path)
    (world.hot / "page.pdf").write_bytes(CONTENT)
    world.sweep()
    assert list(world.hot.iterdir()) == []
    yield world
    world.catalog.close()


def only(world: World) -> DocumentRow:
    (row,) = world.catalog.documents()
    return row


def seal(world: World) -> None:
    sealer = Sealer(world.spool, world.store, world.catalog, "")
    while only(world).object_key is None:
        world.step(sealer, only(world))


def started(world: World, limits: RetryLimits = LIMITS, *, at: timedelta = SECOND) -> Recovered:
    """A start, a second after the newest change of all documents."""
    changed = max((row.changed for row in world.catalog.documents()), default=world.now())
    return recover(world.spool, world.store, world.catalog, lambda _: limits, changed + at)


def lose_the_catalog(world: World) -> None:
    world.catalog.close()
    for file in world.state.glob("catalog.db*"):
        file.unlink()
    world.catalog = Catalog.open(world.state / "catalog.db")


def a_copy(world: World, identifier: str, name: str, **facts: Any) -> Path:
    """A spool folder as another admission of the same file would have left it."""
    folder = world.spool.folder(name)
    shutil.copytree(world.spool.folder(identifier), folder)
    told = json.loads((folder / "arrival.json").read_text())
    told["row"]["id"] = name
    (folder / "arrival.json").write_text(json.dumps(told | facts))
    return folder


def told(world: World, kind: str, document: str) -> list[dict[str, Any]]:
    """The ledger's entries of a kind."""
    found = [e for e in world.catalog.ledger_of(document) if e.kind == kind]
    return [json.loads(entry.entry) for entry in found]


def test_after_an_orderly_stop_there_is_nothing_to_put_right(world: World) -> None:
    before = world.catalog.ledger_head()
    found = started(world)
    assert not found
    assert found == Recovered()
    assert world.spool.folder(only(world).id).is_dir()
    assert world.catalog.ledger_head() == before


def test_what_differs_is_told_apart_from_what_a_crash_left() -> None:
    found = Recovered(cleared=["a", "b"], adopted=["c"], differing=["d"])
    assert found.counted() == {"cleared": 2, "adopted": 1}
    assert not Recovered(differing=["d"])


def test_a_step_that_died_with_the_machine_is_tried_again_at_once_and_then_after_a_wait(
    world: World,
) -> None:
    for attempt, pause in ((1, 0), (2, 120)):
        begun = world.begin(only(world))
        before = only(world).changed
        assert started(world).interrupted == [begun.document]
        row, step = only(world), world.catalog.steps(begun.document)[-1]
        assert (row.running, row.attempts, row.state) == (None, attempt, State.WAITING)
        assert row.due == before + SECOND + pause * SECOND
        assert (step.ending, step.code, step.ended) == ("lost", "interrupted", before + SECOND)
        entry = told(world, "step-lost", row.id)[-1]
        assert entry["facts"] == {"stage": "note", "step": begun.id, "attempt": attempt}
    assert told(world, "document-held", only(world).id) == []


def test_a_step_that_dies_with_the_machine_each_time_holds_its_document(world: World) -> None:
    begun = world.begin(only(world))
    asked = []

    def limits_of(stage: str) -> RetryLimits:
        asked.append(stage)
        return RetryLimits(attempts=1)

    recover(world.spool, world.store, world.catalog, limits_of, world.now())
    row = only(world)
    assert asked == ["note"]
    assert (row.state, row.code, row.running, row.due) == (State.HELD, "interrupted", None, None)
    assert "note" in (row.reason or "")
    assert row.hint
    [entry] = told(world, "document-held", begun.document)
    assert entry["facts"] == with_parts({"code": "interrupted", "reason": row.reason})
    [event] = [e for e in world.catalog.events_for("test") if e.name == "document-held"]
    assert (event.document, event.hotfolder) == (row.id, "scans")
    assert event.facts == {"code": "interrupted"}


def test_a_safe_document_is_never_held_for_a_further_copy(world: World) -> None:
    seal(world)
    with world.catalog.transaction() as change:
        change.set_columns(only(world).id, state=State.SAFE)
    world.begin(only(world))
    started(world, RetryLimits(attempts=1))
    assert (only(world).state, only(world).running) == (State.SAFE, None)
    assert only(world).due is not None


def test_the_spool_lets_go_of_what_is_sealed_and_says_when_it_cannot(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = only(world).id
    shutil.copytree(world.spool.folder(identifier), tmp_path / "kept")
    seal(world)
    assert list(world.spool.held_documents()) == []
    shutil.copytree(tmp_path / "kept", world.spool.folder(identifier))

    def fails(operation: str, path: Path) -> None:
        if operation == "rename" and path.parent == world.spool.incoming:
            raise OSError(errno.EIO, "the disk fails")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "fuse", fails)
        found = started(world)
    assert (found.undropped, found.dropped) == ([identifier], [])
    assert list(world.spool.held_documents()) == [identifier]
    found = started(world)
    assert (found.undropped, found.dropped) == ([], [identifier])
    assert list(world.spool.held_documents()) == []


def test_what_was_half_done_is_cleared_mended_or_told(world: World) -> None:
    (world.spool.incoming / "half").mkdir()
    (world.spool.work / "step").mkdir()
    (world.store.root / "staging" / "left").mkdir()
    (world.store.root / "pending" / "odd").write_text("odd")
    found = started(world)
    assert sorted(found.cleared) == ["half", "step"]
    assert len(found.repaired) == len(found.unmended) == 1
    assert "left" in found.repaired[0]
    assert "odd" in found.unmended[0]


def test_a_document_that_only_the_spool_knows_is_admitted_from_there(world: World) -> None:
    before, artifacts = only(world), world.catalog.artifacts(only(world).id)
    lose_the_catalog(world)

    found = started(world)

    assert (found.adopted, found.dropped, found.unexplained) == ([before.id], [], [])
    assert only(world) == before
    assert world.catalog.artifacts(before.id) == artifacts
    [came] = world.catalog.arrivals()
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert (came.state, came.document, came.sha256) == (
        ArrivalState.ADMITTED,
        before.id,
        sha256,
    )
    assert (came.became, came.present) == ("original/0001.pdf", False)
    assert (came.path, came.name, came.hotfolder) == (b"page.pdf", "page.pdf", "scans")
    assert (came.size, came.origin) == (len(CONTENT), "scans")
    assert (came.device, came.inode, came.mtime_ns) == (0, 0, 0)
    [entry] = told(world, "recovered", before.id)
    assert entry["digests"] == {"original/0001": hashlib.sha512(CONTENT).hexdigest()}
    assert entry["facts"].pop("why")
    assert entry["facts"] == {
        "arrival": came.id,
        "hotfolder": "scans",
        "device": "scans",
        "name": "page.pdf",
        "size": len(CONTENT),
    }
    [event] = world.catalog.events_for("test")
    assert (event.name, event.document, event.hotfolder) == (
        "document-admitted",
        before.id,
        "scans",
    )
    assert event.facts == {"size": len(CONTENT), "sha256": sha256}
    assert not started(world), "once"


@pytest.mark.parametrize(
    ("state", "numbers"),
    [
        (ArrivalState.SEEN, [1]),
        (ArrivalState.HELD, [1]),
        (ArrivalState.IGNORED, [1, 2]),
        (ArrivalState.ADMITTED, [1, 2]),
    ],
)
def test_an_adopted_file_ends_its_own_arrival_where_that_is_still_open(
    world: World, state: ArrivalState, numbers: list[int]
) -> None:
    identifier = only(world).id
    lose_the_catalog(world)
    with world.catalog.transaction() as change:
        change.arrivals_seen([arrival("page.pdf", state=state)])
    assert started(world).adopted == [identifier]
    found = world.catalog.arrivals()
    assert [a.id for a in found] == numbers
    assert (found[-1].state, found[-1].document) == (ArrivalState.ADMITTED, identifier)
    assert not found[-1].present
    assert found[0].state is (ArrivalState.ADMITTED if len(found) == 1 else state)


def with_a_second_file(world: World, identifier: str) -> dict[str, Any]:
    """What the note says of it by now."""
    folder = world.spool.folder(identifier)
    (folder / "original" / "0002.pdf").write_bytes(b"second")
    note = json.loads((folder / "arrival.json").read_text())
    [file] = note["files"]
    second = file | {
        "arrival": file["arrival"] + 1,
        "file": "original/0002.pdf",
        "size": 6,
        "sha256": hashlib.sha256(b"second").hexdigest(),
        "sha512": hashlib.sha512(b"second").hexdigest(),
    }
    (folder / "arrival.json").write_text(json.dumps(note | {"files": [file, second]}))
    return second


def test_each_further_file_of_an_adopted_document_has_its_arrival_and_its_entry(
    world: World,
) -> None:
    identifier = only(world).id
    second = with_a_second_file(world, identifier)
    lose_the_catalog(world)
    assert started(world).adopted == [identifier]
    artifacts = world.catalog.artifacts(identifier)
    assert [(a.name, a.main) for a in artifacts] == [("0001.pdf", True), ("0002.pdf", False)]
    assert [a.became for a in world.catalog.arrivals()] == [
        "original/0001.pdf",
        "original/0002.pdf",
    ]
    [entry] = told(world, "arrival-joined", identifier)
    assert entry["digests"] == {"original/0002": second["sha512"]}
    assert "why" not in entry["facts"]
    assert len(told(world, "recovered", identifier)) == 1


def test_what_lies_in_the_hot_folder_still_is_let_go_and_found_there_by_the_scan(
    world: World,
) -> None:
    identifier = only(world).id
    (world.hot / "page.pdf").write_bytes(CONTENT)
    lose_the_catalog(world)
    found = started(world)
    assert (found.dropped, found.adopted) == ([identifier], [])
    assert world.catalog.documents() == []
    assert (world.hot / "page.pdf").exists()


@pytest.mark.parametrize("instead", ["other bytes", "a link", "a folder"])
def test_what_lies_in_its_place_by_now_is_not_taken_for_it(
    world: World, tmp_path: Path, instead: str
) -> None:
    identifier = only(world).id
    (tmp_path / "elsewhere").write_bytes(CONTENT)
    page = world.hot / "page.pdf"
    match instead:
        case "other bytes":
            page.write_bytes(CONTENT[:-1])
        case "a link":
            page.symlink_to(tmp_path / "elsewhere")
        case _:
            page.mkdir()
    lose_the_catalog(world)
    assert started(world).adopted == [identifier]


@pytest.mark.parametrize("sealed", [False, True])
def test_what_a_later_try_put_into_custody_is_let_go(world: World, sealed: bool) -> None:
    identifier = only(world).id
    folder = a_copy(world, identifier, "failed")
    if sealed:
        seal(world)
    found = started(world)
    assert (found.dropped, found.adopted, found.unexplained) == (["failed"], [], [])
    assert not folder.exists()
    assert only(world).id == identifier


def test_each_file_of_a_document_is_compared_with_what_it_became(world: World) -> None:
    identifier = only(world).id
    second = with_a_second_file(world, identifier)
    lose_the_catalog(world)
    assert started(world).adopted == [identifier]
    a_copy(world, identifier, "failed", files=[second])
    assert started(world).dropped == ["failed"]


def test_bytes_that_are_not_those_that_arrived_are_no_document(world: World) -> None:
    identifier = only(world).id
    original = world.spool.folder(identifier) / "original/0001.pdf"
    original.chmod(0o600)
    original.write_bytes(CONTENT[:-1] + b"!")
    lose_the_catalog(world)
    assert started(world).unexplained == [identifier]
    assert world.catalog.documents() == []


@pytest.mark.parametrize("harm", ["their bytes", "their file", "the arrival's document"])
def test_a_later_try_that_does_not_have_the_bytes_lets_nothing_go(world: World, harm: str) -> None:
    identifier = only(world).id
    a_copy(world, identifier, "failed")
    theirs = world.find_bytes(identifier)
    assert theirs is not None
    match harm:
        case "their bytes":
            theirs.chmod(0o600)
            theirs.write_bytes(CONTENT[:-1] + b"!")
        case "their file":
            theirs.unlink()
        case _:
            with world.catalog.transaction() as change:
                change.arrival_changed(1, document=None)
    assert started(world).adopted == ["failed"]
    assert len(world.catalog.documents()) == 2


def test_a_part_that_was_being_cut_out_is_still_in_its_master(world: World) -> None:
    identifier = only(world).id
    a_copy(world, identifier, "part", master=identifier, files=[])
    lose_the_catalog(world)
    found = started(world)
    assert (found.dropped, found.adopted) == (["part"], [identifier])


def test_a_document_whose_parts_are_archived_is_held_for_a_person(world: World) -> None:
    identifier = only(world).id
    lose_the_catalog(world)
    have(world.catalog, p1={"master": identifier}, p2={"master": identifier})
    assert started(world).adopted == [identifier]
    row = world.catalog.document(identifier)
    assert (row.state, row.code, row.due) == (State.HELD, "parts-found", None)
    assert row.hint
    [entry] = told(world, "document-held", identifier)
    assert entry["facts"] == with_parts({"code": "parts-found", "reason": row.reason})
    events = {e.name: e for e in world.catalog.events_for("test")}
    assert set(events) == {"document-held", "document-admitted"}
    assert events["document-held"].facts == {"code": "parts-found"}
    assert events["document-held"].document == identifier
    assert events["document-held"].hotfolder == "scans"


@pytest.mark.parametrize("harm", ["no note", "no row", "no files", "odd state", "odd source"])
def test_a_spool_folder_whose_note_is_none_is_kept_for_a_person(world: World, harm: str) -> None:
    identifier = only(world).id
    path = world.spool.folder(identifier) / "arrival.json"
    note = json.loads(path.read_text())
    match harm:
        case "no row":
            del note["row"]
        case "no files":
            del note["files"]
        case "odd state":
            note["row"]["state"] = "odd"
        case "odd source":
            note["files"][0]["source"] = 7
    path.write_text("" if harm == "no note" else json.dumps(note))
    lose_the_catalog(world)
    found = started(world)
    assert (found.unexplained, found.adopted, found.dropped) == ([identifier], [], [])
    assert (world.spool.folder(identifier) / "original/0001.pdf").read_bytes() == CONTENT
    assert world.catalog.documents() == []


def test_an_empty_catalog_beside_a_store_with_objects_is_refused(world: World) -> None:
    seal(world)
    lose_the_catalog(world)
    (world.spool.incoming / "half").mkdir()
    with pytest.raises(CatalogError) as caught:
        started(world)
    assert caught.value.code == "catalog-lost"
    assert (world.spool.incoming / "half").exists(), "nothing was changed"


def test_an_empty_store_beside_a_catalog_with_sealed_documents_is_refused(
    world: World, tmp_path: Path
) -> None:
    seal(world)
    (world.spool.incoming / "half").mkdir()
    world.store.root.rename(tmp_path / "unmounted")
    world.store.create()
    with pytest.raises(StoreError) as caught:
        started(world)
    assert caught.value.code == "no-store"
    assert (world.spool.incoming / "half").exists(), "nothing was changed"
