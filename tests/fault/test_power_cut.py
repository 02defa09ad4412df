"""The power goes at every durable call of a document's life; after the restart all is in order.

Real files, real SQLite, a child process that really dies (`power.cut`). The stage's work is done
by hand here, without a runner: what is tested is the order of durable writes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from archived.model.ids import object_id
from archived.model.lifecycle import State
from archived.storage.catalog import Catalog
from archived.storage.recovery import recover
from archived.testing.invariants import problems
from tests.fault.dividing import Dividing
from tests.fault.document_life import drop, in_order, life
from tests.fault.hand_driven_archive import DECK, LIMITS, World
from tests.fault.reviewing import Reviewing
from tests.fault.storage.ocfl_judge import judge
from tests.fault.storage.power import cut
from tests.fault.upgrading import Upgrading

pytestmark = pytest.mark.fault


def at_every_call(
    tmp_path: Path,
    prepare: Callable[[Path], None],
    action: Callable[[Path], None],
    stride: int = 1,
) -> list[Path]:
    """Cut the power before call 0, 1, 2, ... of `action`; then live on; returns the roots."""
    roots = []
    for calls in itertools.count(step=stride):
        root = tmp_path / str(calls)
        root.mkdir(parents=True)
        prepare(root)
        went = cut(lambda root=root: action(root), calls)
        life(root)
        in_order(root)
        roots.append(root)
        if not went:
            break
    return roots


def test_the_power_may_go_at_any_call_of_a_documents_life(tmp_path: Path) -> None:
    roots = at_every_call(tmp_path, drop, life)

    assert len(roots) > 60  # admission, two steps and sealing are that many durable calls
    assert judge(*(root / "store" / "ocfl" for root in roots[::7])) == []


def test_the_power_may_go_again_at_any_call_of_the_recovery(tmp_path: Path) -> None:
    """A first cut in the middle of things, then one at every fifth call of the life after it."""
    for first in (12, 30, 55):

        def prepare(root: Path, first: int = first) -> None:
            drop(root)
            assert cut(lambda: life(root), first)

        at_every_call(tmp_path / f"first-{first}", prepare, life, stride=5)


def divided_life(root: Path) -> None:
    world = Dividing(root)
    world.restart()
    world.sweep()
    world.work()
    world.catalog.close()


def test_the_power_may_go_at_any_call_while_a_document_is_cut_into_parts(tmp_path: Path) -> None:
    for calls in itertools.count(start=20, step=7):  # the calls before it are the test above's
        root = tmp_path / str(calls)
        root.mkdir()
        drop(root)
        went = cut(lambda root=root: divided_life(root), calls)
        divided_life(root)

        assert problems(root / "state", root / "store") == []
        catalog = Catalog.open_to_read(root / "state" / "catalog.db")
        (master,) = (d for d in catalog.documents() if d.master is None)
        assert [p.name for p in catalog.parts(master.id)] == ["part 1", "part 2", "part 3"]
        assert {d.state for d in catalog.documents()} == {State.SAFE}
        assert len(catalog.documents()) == 4
        catalog.close()
        if not went:
            break
    assert calls > 120, "four documents are that many durable calls"
    assert judge(root / "store" / "ocfl") == []


def upgraded_life(root: Path) -> None:
    world = Upgrading(root)
    world.restart()
    world.sweep()
    world.work()
    world.upgrade()
    world.catalog.close()


def test_the_power_may_go_at_any_call_while_a_sealed_document_is_upgraded(tmp_path: Path) -> None:
    """One version more and one entry that tells of it, whatever was cut."""
    calls = 0
    for calls in itertools.count(start=30, step=1):  # the calls before it are the first test's
        root = tmp_path / str(calls)
        root.mkdir()
        drop(root)
        went = cut(lambda root=root: upgraded_life(root), calls)
        upgraded_life(root)

        assert problems(root / "state", root / "store") == []
        world = Upgrading(root)
        (row,) = world.catalog.documents()
        assert (row.state, row.object_version) == (State.SAFE, 2)
        kinds = [entry.kind for entry in world.catalog.ledger_of(row.id)]
        assert (kinds.count("document-sealed"), kinds.count("document-upgraded")) == (1, 1)
        stored = world.store.read(object_id(row.id))
        mark = world.store.path_of(object_id(row.id), "metadata/mark.txt").read_text()
        assert stored.head == 2 and mark.startswith("high")
        (artifact,) = (a for a in world.catalog.artifacts(row.id) if a.name == "mark.txt")
        assert stored.inventory.state["metadata/mark.txt"] == artifact.sha512
        assert not list((root / "state" / "spool" / "documents").iterdir())
        world.catalog.close()
        if not went:
            break
    assert calls > 90, "two seals are that many durable calls"
    assert judge(*(root / "store" / "ocfl" for root in sorted(tmp_path.iterdir())[::7])) == []


def reviewed_life(root: Path) -> None:
    """A person has the stage run again once, then looks and lets the document go on."""
    world = Reviewing(root)
    world.restart()
    world.sweep()
    world.work()
    world.retry_once()
    world.work()
    world.look_and_release()
    world.work()
    world.catalog.close()


def test_the_power_may_go_at_any_call_while_a_person_must_look(tmp_path: Path) -> None:
    """At a commit that holds, at a retry that puts it back, at a release that names what was
    shown; what is held is never sealed before somebody let it go on.
    """
    for calls in itertools.count(start=15, step=4):
        root = tmp_path / str(calls)
        root.mkdir()
        drop(root)
        went = cut(lambda root=root: reviewed_life(root), calls)
        no_seal_without_a_release(root)
        reviewed_life(root)

        assert problems(root / "state", root / "store") == []
        world = Reviewing(root)
        (row,) = world.catalog.documents()
        assert (row.state, row.review) == (State.SAFE, None)
        kinds = [entry.kind for entry in world.catalog.ledger_of(row.id)]
        assert kinds.count("document-released") == kinds.count("document-retried") == 1
        assert kinds.count("review-required") == kinds.count("document-held") == 2
        made = [a for a in world.catalog.artifacts(row.id) if a.step]
        assert sorted(a.name for a in made) == ["mark.png", "page.pdf", "page.txt"]
        assert len({a.step for a in made}) == 1
        world.catalog.close()
        if not went:
            break
    assert calls > 60, "its life is that many durable calls"
    assert judge(root / "store" / "ocfl") == []


def no_seal_without_a_release(root: Path) -> None:
    if not (root / "state" / "catalog.db").exists():
        return
    world = Reviewing(root)
    for row in world.catalog.documents():
        kinds = [entry.kind for entry in world.catalog.ledger_of(row.id)]
        assert "document-released" in kinds or list(world.store.objects()) == []
    world.catalog.close()


def test_a_document_that_kills_the_machine_every_time_is_held(tmp_path: Path) -> None:
    drop(tmp_path)
    world = World(tmp_path)
    world.sweep()
    for _ in range(LIMITS.attempts):
        (row,) = world.catalog.documents()
        assert row.state is not State.HELD
        world.begin(row)  # and here the machine dies
        world.restart()

    (row,) = world.catalog.documents()
    assert (row.state, row.code) == (State.HELD, "interrupted")
    assert problems(world.state, world.root / "store") == []


def test_bytes_found_only_in_the_spool_become_a_document_again(tmp_path: Path) -> None:
    """The catalog was lost after the source had gone: the spool folder explains itself."""
    drop(tmp_path)
    world = World(tmp_path)
    world.sweep()
    world.catalog.close()
    for file in (tmp_path / "state").glob("catalog.db*"):
        file.unlink()

    life(tmp_path)

    in_order(tmp_path)


def test_a_spool_folder_that_explains_nothing_is_kept(tmp_path: Path) -> None:
    world = World(tmp_path)
    strange = world.spool.documents / "somebody"
    strange.mkdir()
    (strange / "page.tif").write_bytes(b"II*\0")

    found = recover(world.spool, world.store, world.catalog, DECK.limits_of, world.now())

    assert found.unexplained == ["somebody"]
    assert (strange / "page.tif").exists()
