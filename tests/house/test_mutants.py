"""The table that `./run mutate` reads has a line for every module that decides, and none stale."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
HELD = ("model", "storage")
"""Folders of which every module is planted with faults."""
NO_DECISIONS = {
    "model/access.py": "lists of paths: no decision in them",
    "storage/libc.py": "system calls: no decision in them",
    "storage/records.py": "rows: no decision in them",
    "storage/schema.py": "tables: a migration's test compares them with the catalog's",
}
"""Modules that are left out, and why."""


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    """The tool itself."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        spec = importlib.util.spec_from_file_location("mutate", ROOT / "tools" / "mutate.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["mutate"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return module


def test_every_module_that_decides_has_its_tests_in_the_table(mutate: ModuleType) -> None:
    table = mutate.read_table()
    source = ROOT / "src/archived"
    wanted = {
        f"{folder}/{path.name}" for folder in HELD for path in (source / folder).glob("*.py")
        if path.name != "__init__.py"
    }  # fmt: skip
    assert wanted - NO_DECISIONS.keys() <= set(table.tests)
    assert set(NO_DECISIONS) <= wanted
    gone = [name for name in table.tests if not (source / name).is_file()]
    gone += [f for files in table.tests.values() for f in files if not (ROOT / f).is_file()]
    assert gone == []


def test_every_explained_mutant_can_still_be_made_and_is_explained_once(
    mutate: ModuleType,
) -> None:
    table = mutate.read_table()
    made = {
        mutant.key
        for module in {each.module for each in table.equivalent}
        for mutant in mutate.mutants_of(module)
    }
    assert [each for each in table.equivalent if each.key not in made] == []
    assert len(table.explained()) == len(table.equivalent)
    assert all(len(each.why) > 10 for each in table.equivalent)


def test_each_operator_makes_the_faults_it_is_named_for(mutate: ModuleType) -> None:
    text = '''
def f(a, b):
    """A docstring is no code."""
    if not a:
        raise ValueError(b)
    if a < 3 and b:
        _log.warning("a log line is for people")
        atomic.fsync_folder(a)
        act(a)
'''
    found = {(each.operator, each.change) for each in mutate.mutants("m.py", text)}
    assert found == {
        ("drop-not", "not a -> a"),
        ("drop-raise", "raise ValueError(b) -> pass"),
        ("negate", "a < 3 and b -> not (a < 3 and b)"),
        ("and-or", "a < 3 and b -> a < 3 or b"),
        ("comparison", "a < 3 -> a <= 3"),
        ("constant", "3 -> 4"),
        ("drop-durable", "atomic.fsync_folder(a) -> pass"),
        ("drop-call", "act(a) -> pass"),
    }
    for each in mutate.mutants("m.py", text):
        compile(each.source, "m.py", "exec")


def test_the_same_seed_chooses_the_same_faults(mutate: ModuleType) -> None:
    chosen = [
        [m.key for m in mutate.choose(["model/plan.py"], mutate.OPERATORS, 3, seed)]
        for seed in (1, 1, 2)
    ]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 3
