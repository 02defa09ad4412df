"""A catalog that is not the one the store was sealed with is refused at the start, and says why."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archived.engine.rebuild import ConfiguredDefaults, Rebuild, Rebuilt
from archived.errors import ArchivedError
from archived.model.lifecycle import State
from archived.storage import atomic, ledger_head
from archived.storage.ledger_head import NAME, NEWEST, HeadFile, hash_at
from archived.storage.recovery import recover
from archived.storage.store_comparison import KINDS, Difference, compare
from archived.testing.invariants import problems
from tests.fault.hand_driven_archive import DECK, World
from tests.fault.storage.power import cut
from tests.unguarded_ledger import unguard

pytestmark = pytest.mark.fault

_HUGE = 1 << 24
CONTENT = b"%PDF-1.4\n" + b"the land of a family " * 300 + b"\nstartxref\n0\n%%EOF\n"


class Safe(World):
    """Its pipeline makes no copy and wants none: what is sealed is safe."""

    copies = 0


def take_in(world: World, *names: str) -> None:
    """Each becomes a sealed document."""
    for name in names:
        (world.hot / name).write_bytes(CONTENT + name.encode())
        world.sweep()
        world.work()


def stop(world: World) -> None:
    """In order, as a daemon stops: the file follows the last entry."""
    world.store.head.follow(world.catalog, world.now())
    world.catalog.close()


def edit(root: Path, *statements: str) -> None:
    with closing(sqlite3.connect(root / "state" / "catalog.db")) as db:
        unguard(db)
        for statement in statements:
            db.execute(statement)
        db.commit()


def refused(root: Path) -> ArchivedError:
    """Starting is refused, and has changed neither catalog nor store."""
    before = contents(root)
    world = World(root)
    with pytest.raises(ArchivedError) as caught:
        world.restart()
    world.catalog.close()
    assert contents(root) == before, "nothing was changed"
    assert "archived rebuild" in caught.value.hint
    return caught.value


def contents(root: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path)] = str(path.readlink())
        elif path.is_file() and not path.name.startswith("catalog.db-"):
            size = path.stat().st_size  # of what is huge and sparse, that is enough
            found[str(path)] = path.read_bytes() if size < _HUGE else f"{size} bytes"
    return found


def rebuilt(root: Path) -> Rebuilt:
    world = World(root)
    done = Rebuild(
        world.spool, world.store, world.catalog, DECK, ConfiguredDefaults(), world.now()
    ).run()
    world.catalog.close()
    return done


def starts(root: Path) -> list[str]:
    """It starts; returns what it says all the same."""
    world = World(root)
    found = recover(world.spool, world.store, world.catalog, DECK.limits_of, world.now())
    world.store.head.follow(world.catalog, world.now())
    world.catalog.close()
    return found.differing


def differences(root: Path) -> list[Difference]:
    world = World(root)
    try:
        found = list(compare(world.store, world.catalog))
    finally:
        world.catalog.close()
    assert {each.kind for each in found} <= set(KINDS)
    return found


def kinds(root: Path) -> set[tuple[str, str | None]]:
    return {(each.kind, each.name) for each in differences(root)}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sealed documents, stopped in order. Nobody changes them here."""
    root = tmp_path_factory.mktemp("archive")
    world = World(root)
    take_in(world, "1.pdf", "2.pdf", "3.pdf", "4.pdf")
    stop(world)
    assert starts(root) == []
    assert differences(root) == []
    return root


@pytest.fixture
def four(archive: Path, tmp_path: Path) -> Path:
    """The same four documents, for one test to harm."""
    return shutil.copytree(archive, tmp_path / "archive", symlinks=True)


def head_of(root: Path) -> Any:
    return json.loads((root / "store" / NAME).read_bytes())


def objects(root: Path) -> dict[str, Path]:
    with closing(sqlite3.connect(root / "state" / "catalog.db")) as db:
        rows = db.execute("SELECT name, object_key FROM document").fetchall()
    return {name: root / "store" / "ocfl" / key for name, key in rows}


def roll_back(root: Path, more: Callable[[World], None]) -> None:
    """The catalog of now is put back after more has happened."""
    catalog = root / "state" / "catalog.db"
    shutil.copy(catalog, root / "backup.db")
    world = World(root)
    world.restart()
    more(world)
    stop(world)
    for part in root.glob("state/catalog.db*"):
        part.unlink()
    shutil.move(root / "backup.db", catalog)


def test_a_rolled_back_catalog_is_refused_and_a_rebuild_takes_up_what_it_lacks(four: Path) -> None:
    roll_back(four, lambda world: take_in(world, "5.pdf", "6.pdf"))
    noted = head_of(four)

    error = refused(four)
    assert error.code == "catalog-behind"
    world = World(four)
    last = world.catalog.ledger_head()
    world.catalog.close()
    assert f"{noted['sequence'] - last.sequence} entries are missing" in error.message
    assert ("object-unknown", None) in kinds(four)

    done = rebuilt(four)
    assert (done.objects, done.found, done.unreadable, done.missing) == (6, 2, {}, {})
    assert starts(four) == []
    world = World(four)
    (entry,) = [row for row in world.catalog.ledger_rows() if row[3] == "catalog-rebuilt"]
    facts = json.loads(entry[1])["facts"]
    assert facts["ledger_before"] == {"sequence": last.sequence, "hash": last.hash}
    replaced = facts["head_file_before"]
    assert (replaced["sequence"], replaced["hash"]) == (noted["sequence"], noted["hash"])
    assert rebuilt(four).found == 0
    # The same bytes once more: joined to the document that the catalog had forgotten.
    (four / "hot" / "again.pdf").write_bytes(CONTENT + b"6.pdf")
    world.restart()
    world.sweep()
    world.work()
    assert len(world.catalog.documents()) == 6
    assert not list((four / "hot").iterdir())
    stop(world)
    assert differences(four) == []
    assert problems(four / "state", four / "store") == []


@pytest.mark.parametrize("rows", [1, 10])
def test_the_newest_entries_cut_off_are_missed(four: Path, rows: int) -> None:
    edit(four, f"DELETE FROM ledger WHERE sequence > (SELECT max(sequence) - {rows} FROM ledger)")
    error = refused(four)
    assert error.code == "catalog-behind"
    assert f"{rows} entries are missing" in error.message

    assert rebuilt(four).unreadable == {}
    assert starts(four) == []
    assert differences(four) == []
    # A rebuild enters the seals again; what else was cut stays missing, and is told.
    cut = ("is in the ledger as []", "is 0 times in the ledger", "in the ledger and was announced")
    left = problems(four / "state", four / "store")
    assert [each for each in left if not any(words in each for words in cut)] == []


def test_entries_cut_while_it_runs_are_not_covered_up_by_the_next_seal(tmp_path: Path) -> None:
    world = World(tmp_path)
    take_in(world, "1.pdf", "2.pdf")
    noted = head_of(tmp_path)
    edit(tmp_path, "DELETE FROM ledger WHERE sequence > (SELECT max(sequence) - 3 FROM ledger)")
    assert world.store.head.cut == ""
    take_in(world, "3.pdf", "4.pdf")
    assert str(noted["sequence"]) in world.store.head.cut
    stop(world)
    assert head_of(tmp_path) == noted, "the evidence stays"
    assert refused(tmp_path).code == "catalog-differs"
    assert ("ledger-broken", None) in kinds(tmp_path)


def test_a_ledger_made_anew_from_the_start_is_not_the_one_that_was_noted(four: Path) -> None:
    world = World(four)
    rows = [json.loads(row[1]) for row in world.catalog.ledger_rows()]
    world.catalog.close()
    _rewrite(four, rows)
    error = refused(four)
    assert error.code == "catalog-differs"
    # Nor when the file that noted it was removed: the objects name the entries of their time.
    (four / "store" / NAME).unlink()
    error = refused(four)
    assert error.code == "catalog-differs"
    assert "another ledger" in error.message
    rebuilt(four)
    assert starts(four) == []


def _rewrite(root: Path, rows: list[dict[str, Any]]) -> None:
    """The whole chain with one word changed, each hash made to fit."""
    import hashlib

    previous = "0" * 64
    with closing(sqlite3.connect(root / "state" / "catalog.db")) as db:
        unguard(db)
        for row in rows:
            row["previous"] = previous
            if row["sequence"] == 1:
                row["agent"] = "somebody else"
            text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            previous = hashlib.sha256(text.encode()).hexdigest()
            db.execute(
                "UPDATE ledger SET entry = ?, hash = ? WHERE sequence = ?",
                (text, previous, row["sequence"]),
            )
        db.commit()


def test_a_document_whose_row_was_taken_back_is_missed(four: Path) -> None:
    edit(four, "UPDATE document SET state = 'held', object_key = NULL WHERE name = '4.pdf'")
    assert refused(four).code == "catalog-differs"
    assert kinds(four) == {("object-unknown", "4.pdf")}
    assert rebuilt(four).settled == 1
    assert starts(four) == []
    assert differences(four) == []


def test_a_state_set_to_safe_by_hand_is_found_and_taken_back(four: Path) -> None:
    world = World(four)
    (world.hot / "held.pdf").write_bytes(b"%PDF-1.4\nends in the middle")
    world.sweep(deadline=0.0)
    stop(world)
    edit(four, "UPDATE document SET state = 'safe' WHERE name IN ('2.pdf', 'held.pdf')")
    assert starts(four) == []
    assert kinds(four) == {("safe-unproven", "2.pdf"), ("not-sealed", "held.pdf")}

    assert rebuilt(four).doubted == 1
    assert kinds(four) == {("not-sealed", "held.pdf")}
    world = World(four)
    [row] = [each for each in world.catalog.documents() if each.name == "2.pdf"]
    assert row.state is State.SEALED
    assert row.due is not None, "the stages after the seal are done again"
    world.catalog.close()


def test_copies_that_nobody_verified_do_not_make_safe(four: Path) -> None:
    """A row for a copy, without the entry in the ledger, proves nothing; nor does an old copy."""
    edit(
        four,
        "UPDATE document SET state = 'safe' WHERE name = '1.pdf'",
        "INSERT INTO replica SELECT id, 'second', object_key, inventory_sha512, 1, 1, changed "
        "FROM document WHERE name = '1.pdf'",
    )
    [found] = differences(four)
    assert (found.kind, found.name, found.copies) == ("safe-unproven", "1.pdf", ())


def test_safe_documents_with_their_proof_are_let_be(tmp_path: Path) -> None:
    world = Safe(tmp_path)
    take_in(world, "1.pdf", "2.pdf")
    assert {row.state for row in world.catalog.documents()} == {State.SAFE}
    stop(world)
    assert differences(tmp_path) == []
    done = rebuilt(tmp_path)
    assert (done.doubted, done.entered, done.missing) == (0, 0, {})
    assert starts(tmp_path) == []
    assert problems(tmp_path / "state", tmp_path / "store") == []


def test_swapped_removed_replaced_and_extra_objects_are_named(four: Path) -> None:
    at = objects(four)
    swap = four / "swap"
    at["1.pdf"].rename(swap)
    at["2.pdf"].rename(at["1.pdf"])
    swap.rename(at["2.pdf"])
    shutil.rmtree(at["3.pdf"])
    extra = four / "store" / "ocfl" / "abc" / "def" / "012" / "somebody"
    extra.mkdir(parents=True)
    (extra / "0=ocfl_object_1.1").write_bytes(b"ocfl_object_1.1\n")
    replace_inventory(at["4.pdf"])

    told = starts(four)  # it starts: one of the newest is whole enough to say that it is the store
    assert len(told) == 4
    found = differences(four)
    assert {(each.kind, each.name) for each in found} == {
        ("object-differs", "1.pdf"),
        ("object-differs", "2.pdf"),
        ("object-missing", "3.pdf"),
        ("object-differs", "4.pdf"),
        ("object-unknown", None),
    }
    lies = {each.name: each.what for each in found}
    assert "the object urn:uuid:" in lies["1.pdf"]
    assert "is not the one that was sealed" in lies["4.pdf"]
    assert any(each.key and each.key.endswith("somebody") for each in found)
    done = rebuilt(four)
    assert len(done.unreadable) == 5, "and the empty folder that the missing one left"
    assert len(done.missing) == 1


def replace_inventory(root: Path) -> None:
    """Another inventory with a sidecar that fits, here and in the version's folder."""
    from archived.storage.ocfl.inventory import sidecar_of

    content = (root / "inventory.json").read_bytes().replace(b"archived", b"somebody")
    for folder in (root, root / "v1"):
        for name, bytes_ in (
            ("inventory.json", content),
            ("inventory.json.sha512", sidecar_of(content)),
        ):
            (folder / name).chmod(0o644)
            (folder / name).write_bytes(bytes_)


def test_a_sidecar_that_does_not_fit_is_named(four: Path) -> None:
    sidecar = objects(four)["2.pdf"] / "inventory.json.sha512"
    sidecar.unlink()
    assert kinds(four) == {("object-damaged", "2.pdf")}


def test_a_store_that_is_older_than_the_catalog_is_refused(four: Path) -> None:
    world = World(four)
    world.restart()
    shutil.copytree(four / "store", four / "older")
    take_in(world, *[f"later {n}.pdf" for n in range(NEWEST)])
    stop(world)
    shutil.rmtree(four / "store")
    (four / "older").rename(four / "store")

    error = refused(four)
    assert error.code == "store-behind"
    assert f"none of the {NEWEST} objects" in error.message
    # They are lost for good: a person says so, and the archive goes on without them.
    assert len(rebuilt(four).missing) == NEWEST
    assert len(starts(four)) == NEWEST
    assert len(starts(four)) == NEWEST, "also the next time"


def test_an_archive_from_before_there_was_a_head_file_starts_and_is_given_one(four: Path) -> None:
    (four / "store" / NAME).unlink()
    assert starts(four) == []
    again = head_of(four)
    world = World(four)
    head = world.catalog.ledger_head()
    assert (again["sequence"], again["hash"]) == (head.sequence, head.hash)
    world.catalog.close()
    assert len(again["newest"]) == 4
    roll_back(four, lambda world: take_in(world, "5.pdf"))
    assert refused(four).code == "catalog-behind"


def change(root: Path, **fields: object) -> None:
    (root / "store" / NAME).write_text(json.dumps({**head_of(root), **fields}))


HARMED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another hash": (lambda root: change(root, hash="0" * 64), "catalog-differs"),
    "from the future": (lambda root: change(root, sequence=1 << 40), "catalog-behind"),
    "another object": (
        lambda root: change(root, newest=[{**head_of(root)["newest"][0], "key": "a/b/c/d"}]),
        "catalog-differs",
    ),
    "a newer format": (lambda root: change(root, format=2), "head-file-damaged"),
    "no number": (lambda root: change(root, sequence="12"), "head-file-damaged"),
    "a fraction": (lambda root: change(root, sequence=True), "head-file-damaged"),
    "no hash": (lambda root: change(root, hash="x"), "head-file-damaged"),
    "no zone": (lambda root: change(root, at="2026-11-22T00:00:00"), "head-file-damaged"),
    "a list": (lambda root: (root / "store" / NAME).write_text("[]"), "head-file-damaged"),
    "nested": (lambda root: (root / "store" / NAME).write_text("[" * 60000), "head-file-damaged"),
    "huge": (lambda root: os.truncate(root / "store" / NAME, 1 << 32), "head-file-damaged"),
    "empty": (lambda root: os.truncate(root / "store" / NAME, 0), "head-file-damaged"),
    "cut short": (lambda root: os.truncate(root / "store" / NAME, 100), "head-file-damaged"),
    "a folder": (
        lambda root: ((root / "store" / NAME).unlink(), (root / "store" / NAME).mkdir()),
        "head-file-damaged",
    ),
    "a pipe": (
        lambda root: ((root / "store" / NAME).unlink(), os.mkfifo(root / "store" / NAME)),
        "head-file-damaged",
    ),
    "a link": (
        lambda root: (
            (root / "store" / NAME).rename(root / "elsewhere"),
            (root / "store" / NAME).symlink_to(root / "elsewhere"),
        ),
        "head-file-damaged",
    ),
}


@pytest.mark.parametrize("how", HARMED)
def test_a_head_file_that_was_harmed_is_not_believed_and_a_rebuild_writes_it_anew(
    four: Path, how: str
) -> None:
    harm, code = HARMED[how]
    harm(four)
    assert refused(four).code == code
    if how == "a folder":
        (four / "store" / NAME).rmdir()  # nothing is written over a folder: a person looks
    rebuilt(four)
    assert (four / "store" / NAME).is_file()
    assert not (four / "store" / NAME).is_symlink()
    assert starts(four) == []
    assert problems(four / "state", four / "store") == []


def test_the_power_may_go_between_the_seal_and_the_head_file(tmp_path: Path) -> None:
    """At each of its durable calls; it starts again, and the file is never ahead."""
    behind = 0
    for calls in range(400):
        root = tmp_path / str(calls)
        world = World(root)
        take_in(world, "1.pdf")
        stop(world)
        (root / "hot" / "2.pdf").write_bytes(CONTENT)
        world = World(root)
        world.sweep()
        world.catalog.close()
        before = head_of(root)["sequence"]
        if not cut(lambda root=root: World(root).work(), calls + 40):
            break
        noted, last = head_of(root)["sequence"], ledger_of(root)
        assert before <= noted <= last
        behind += noted < last
        assert starts(root) == []
        world = World(root)
        world.sweep()
        world.work()
        stop(world)
        assert differences(root) == []
        shutil.rmtree(root)
    assert behind > 3


def ledger_of(root: Path) -> int:
    with closing(sqlite3.connect(root / "state" / "catalog.db")) as db:
        return int(db.execute("SELECT max(sequence) FROM ledger").fetchone()[0])


def test_seals_at_the_same_time_leave_the_furthest_head_and_both_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    take_in(world, *[f"{n}.pdf" for n in range(6)])
    rows = ledger_head.newest_objects(world.catalog)
    (tmp_path / "store" / NAME).unlink()
    file = HeadFile(tmp_path / "store")
    writes: list[int] = []
    slow, write = threading.Event(), atomic.write_file

    def slowly(path: Path, content: bytes, **more: Any) -> None:
        slow.wait(10)
        writes.append(json.loads(content)["sequence"])
        write(path, content, **more)

    monkeypatch.setattr(atomic, "write_file", slowly)
    now = datetime.now(UTC)
    threads = [
        threading.Thread(target=file.follow, args=(world.catalog, now + timedelta(n), row))
        for n, row in enumerate(rows)
    ]
    for thread in threads:
        thread.start()
    slow.set()
    for thread in threads:
        thread.join()
    noted = head_of(tmp_path)
    assert {each["document"] for each in noted["newest"]} == {each.document for each in rows}
    assert writes == sorted(writes)
    assert noted["hash"] == hash_at(world.catalog, noted["sequence"])
    assert noted["sequence"] == world.catalog.ledger_head().sequence
    world.catalog.close()


def test_it_keeps_the_newest_and_no_more(tmp_path: Path) -> None:
    world = World(tmp_path)
    names = [f"{n:02}.pdf" for n in range(NEWEST + 3)]
    take_in(world, *names)
    known = {row.id: row.name for row in world.catalog.documents()}
    noted = head_of(tmp_path)
    assert [known[each["document"]] for each in noted["newest"]] == names[-NEWEST:]
    world.catalog.close()


def test_a_head_file_that_cannot_be_written_stops_no_seal(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "store" / NAME).mkdir()
    take_in(world, "1.pdf")
    assert [row.state for row in world.catalog.documents()] == [State.SEALED]
    (tmp_path / "store" / NAME).rmdir()
    world.store.head.follow(world.catalog, world.now())
    assert head_of(tmp_path)["sequence"] == world.catalog.ledger_head().sequence
    world.catalog.close()
