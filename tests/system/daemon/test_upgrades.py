"""Sealed documents that a stage improves later: the real daemon, its store and its copies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from archived.model.ids import object_id
from archived.storage.catalog import Catalog
from archived.storage.ocfl.store import Store
from archived.storage.ocfl.validator import validate_object
from archived.testing.invariants import problems

CTL = Path(sys.executable).parent / "archivectl"
LIFT = '''
import os
from pathlib import Path
from archived.api import *


class Options(StageConfig):
    world: str = ""
    """The folder in which the file `up` says that the world can be asked."""


class Lift(Stage[Options]):
    name = "lift"
    version = "1"
    upgrades = True
    writes = ("world",)

    def run(self, document, context):
        """Reaches the high level, or the low one while the world is away."""
        if (Path(context.options.world) / "up").exists():
            return self._at(context, "high", None)
        return self._at(context, "low", "high")

    def upgrade(self, document, context):
        """From the low level to the high one; no two results are alike."""
        world = Path(context.options.world)
        with (world / "asked").open("a") as asked:
            asked.write(document.name + "\\n")
        if (world / "never").exists():
            raise Refuse("it will never be", code="lift-never", hint="leave it as it is")
        if (world / "crash").exists():
            os.abort()
        if (world / "same").exists():
            return Result(facts=document.facts["lift"])
        if not (world / "up").exists():
            raise Postpone("the world is away", code="world-away", hint="wait", after="1 s")
        [mark] = [a for a in document.artifacts if a.name == "mark.txt"]
        if not mark.path.read_text().startswith("low"):
            raise ValueError("this was upgraded before")
        return self._at(context, "high", None)

    def _at(self, context, level, pending):
        mark = context.new_file("mark.txt", media_type="text/plain")
        mark.path.write_text(f"{level} {os.urandom(8).hex()}")
        return Result(add=[mark], facts={"level": level, "pending": pending})


@hookimpl
def register_stages(register):
    register(Lift)
'''


@pytest.fixture
def world(box):
    """The folder of the world, away; the pipeline lifts, seals and copies."""
    folder, second = box.folder / "world", box.folder / "second"
    folder.mkdir()
    second.mkdir()
    box.plugin("lift", LIFT)
    box.tables["plugins"]["enabled"].append("replicate")
    box.tables["pipeline.paper"] = {"stages": ["lift", "seal", "replicate"]}
    box.tables["stage.lift"] = {"world": folder}
    box.tables["stage.replicate"] = {"to": ["second"]}
    box.tables["target.second"] = {
        "kind": "directory",
        "path": second,
        "allow_same_filesystem": True,
    }
    return folder


def versions(box) -> dict[str, int]:
    return dict(box.rows("SELECT name, object_version FROM document"))


def upgraded(box) -> list[str]:
    rows = box.rows("SELECT document FROM ledger WHERE kind = 'document-upgraded'")
    return [document for (document,) in rows]


def pending(box) -> float:
    return box.metric("archived_signatures_pending").get((), -1)


def mark(box, name: str) -> str:
    [[document]] = box.rows(f"SELECT id FROM document WHERE name = '{name}'")
    return Store(box.store).path_of(object_id(document), "metadata/mark.txt").read_text()


def asked(world: Path) -> set[str]:
    return set((world / "asked").read_text().split()) if (world / "asked").exists() else set()


def are_safe(box, count: int) -> bool:
    return list(box.states().values()) == ["safe"] * count


def whole(box) -> None:
    """Nothing disagrees, and every object and copy is valid OCFL."""
    assert problems(box.state, box.store) == []
    for place in (box.store, box.folder / "second"):
        roots = [path.parent for path in place.rglob("0=ocfl_object_1.1")]
        assert roots
        assert [counts for root in roots if (counts := validate_object(root).counts)] == []


def test_what_waited_for_the_world_is_upgraded_and_copied_again(box, world, until):
    names = [f"{n}.txt" for n in range(6)]
    box.start()
    box.drop(*names)
    until(lambda: are_safe(box, 6), "safe at the low level", 60)
    assert set(versions(box).values()) == {1}
    until(lambda: pending(box) == 6, "the metric tells of them", 30)
    until(lambda: asked(world) == set(names), "the stage was asked for each", 30)
    assert are_safe(box, 6), "to ask takes nothing from a safe document"
    since = box.rows("SELECT id, safe_at FROM document ORDER BY id")

    (world / "up").touch()
    until(lambda: set(versions(box).values()) == {2}, "all have a new version", 60)
    until(lambda: are_safe(box, 6), "all are safe again", 60)
    until(lambda: pending(box) == 0, "nothing is pending", 30)
    assert box.rows("SELECT id, safe_at FROM document ORDER BY id") == since, "listed once"
    assert {mark(box, name).split()[0] for name in names} == {"high"}
    assert len(upgraded(box)) == 6
    kinds = [kind for (kind,) in box.rows("SELECT kind FROM ledger")]
    assert (kinds.count("document-sealed"), kinds.count("document-safe")) == (6, 12)
    assert len(list((box.folder / "second").rglob("v2/inventory.json"))) == 6
    for command in ("explain", "show"):
        assert box.archivectl(command, "0.txt").returncode == 0
    assert box.end() == 0
    whole(box)


def test_first_work_goes_before_upgrades_and_only_a_few_ask(box, world, until):
    box.start()
    box.drop(*(f"{n:02}.txt" for n in range(30)))
    until(lambda: are_safe(box, 30), "safe", 90)
    until(lambda: len(asked(world)) == 20, "some are asked", 60)
    box.drop("new.txt")
    until(lambda: are_safe(box, 31), "what comes in is not held up", 30)
    assert len(asked(world)) == 20, "while the world is away no others ask"
    (world / "up").touch()
    until(lambda: set(versions(box).values()) == {2}, "all are upgraded", 120)
    until(lambda: are_safe(box, 31), "all are safe again", 60)
    assert box.end() == 0
    whole(box)


@pytest.mark.parametrize(
    ("how", "code"), [("never", "lift-never"), ("crash", "crashed"), ("same", "not-upgraded")]
)
def test_an_upgrade_that_fails_takes_nothing_from_the_document(box, world, until, how, code):
    (world / how).touch()
    box.start()
    box.drop("a.txt")
    until(lambda: box.states().get("a.txt") == "safe", "safe")
    until(
        lambda: code in [c for (c,) in box.rows("SELECT code FROM step WHERE stage = 'lift'")],
        f"it ended with {code}",
        60,
    )
    assert box.states() == {"a.txt": "safe"}
    assert versions(box) == {"a.txt": 1}
    assert pending(box) == 1
    assert box.end() == 0
    whole(box)


def test_killed_again_and_again_each_document_is_upgraded_once(box, world, until):
    box.start()
    box.drop(*(f"{n}.txt" for n in range(8)))
    until(lambda: are_safe(box, 8), "safe", 60)
    (world / "up").touch()
    for _ in range(6):
        before = len(upgraded(box))
        until(lambda before=before: len(upgraded(box)) > before or before == 8, "one more", 60)
        box.kill(whole=True)
        box.start()
    until(lambda: set(versions(box).values()) == {2}, "all are upgraded", 90)
    until(lambda: are_safe(box, 8), "all are safe", 90)
    assert len(upgraded(box)) == len(set(upgraded(box))) == 8
    assert box.end() == 0
    whole(box)


def test_a_catalog_made_from_the_store_knows_the_upgraded_document(box, world, until):
    box.start()
    box.drop("a.txt")
    until(lambda: box.states().get("a.txt") == "safe", "safe")
    (world / "up").touch()
    until(lambda: versions(box) == {"a.txt": 2}, "upgraded", 60)
    until(lambda: box.states() == {"a.txt": "safe"}, "safe again", 60)
    assert box.end() == 0
    for left in box.state.glob("catalog.db*"):
        left.rename(box.folder / left.name)
    program = [CTL.with_name("archived"), "rebuild", "--config", box.config]
    made = subprocess.run(program, check=False, timeout=60, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr + made.stdout
    catalog = Catalog.open_to_read(box.state / "catalog.db")
    [row] = catalog.documents(limit=10)
    assert row.object_version == 2
    assert catalog.facts(row.id)["lift"] == {"level": "high", "pending": None}
    catalog.close()
    box.start()
    until(lambda: box.states() == {"a.txt": "safe"}, "its copies are verified again", 60)
    assert json.loads(box.archivectl("ledger", "verify", "--json").stdout)["verdict"] == "yes"
    assert box.end() == 0
