"""The table that `./run mutate` reads has a line for every module that decides, and none stale."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tools.mutate import mutants
from tools.mutate import run as mutate

ROOT = Path(__file__).parents[2]
HELD = ("model", "storage")
"""Folders of which every module is planted with faults."""
NO_DECISIONS = {
    "model/access.py": "lists of paths: no decision in them",
    "storage/libc.py": "system calls: no decision in them",
    "storage/rows.py": "rows: no decision in them",
    "storage/schema.py": "tables: a migration's test compares them with the catalog's",
}
"""Modules that are left out, and why."""


def test_every_module_that_decides_has_its_tests_in_the_table() -> None:
    table = mutate.read_table()
    source = ROOT / "src/archived"
    wanted = {
        f"{folder}/{path.name}"
        for folder in HELD
        for path in (source / folder).glob("*.py")
        if path.name != "__init__.py"
    }
    assert wanted - NO_DECISIONS.keys() <= set(table.tests)
    assert set(NO_DECISIONS) <= wanted
    gone = [name for name in table.tests if not (source / name).is_file()]
    gone += [f for files in table.tests.values() for f in files if not (ROOT / f).is_file()]
    assert gone == []


def test_every_explained_mutant_can_still_be_made_and_is_explained_once() -> None:
    table = mutate.read_table()
    made = {
        mutant.key
        for module in {each.module for each in table.equivalent}
        for mutant in mutate.mutants_of(module, sources=False)
    }
    assert [each for each in table.equivalent if each.key not in made] == []
    assert len(table.explained()) == len(table.equivalent)
    assert all(len(each.why) > 10 for each in table.equivalent)


def test_each_operator_makes_the_faults_it_is_named_for() -> None:
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
    found = {(each.operator, each.change) for each in mutants.mutants("m.py", text)}
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
    for each in mutants.mutants("m.py", text):
        compile(each.source, "m.py", "exec")


def test_the_same_seed_chooses_the_same_faults() -> None:
    chosen = [
        [m.key for m in mutate.choose(["model/pipeline.py"], mutants.OPERATORS, 3, seed)]
        for seed in (1, 1, 2)
    ]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 3


AT_WORK = """
from contextlib import contextmanager
LIMIT = 70

class Work:
    def __init__(self):
        self.done = 0

    @property
    def more(self):
        return self.done < 2

    def act(self):
        def inner():
            return [n for n in range(3) if n != 1]
        return inner()

@contextmanager
def around(seen):
    seen.append("in")
    yield
    seen.append("out")

def late(limit=LIMIT):
    return limit
"""


def test_a_fault_is_planted_in_what_others_have_imported_already(
    tmp_path: Path,
) -> None:
    from tools.mutate.code import Planted

    def work(planted_in: str) -> list[object]:
        seen: list[object] = []
        with module.around(seen):
            it = module.Work()
        return [*seen, it.more, it.act()]

    file = tmp_path / "at_work.py"
    file.write_text(AT_WORK)
    outcomes = {}
    for mutant in mutants.mutants("at_work.py", AT_WORK):
        spec = importlib.util.spec_from_file_location("at_work", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        planted = Planted.of(AT_WORK, mutant.source)
        assert planted is None or planted.into(module)
        outcomes[mutant.change] = None if planted is None else work(mutant.change)
    at_import = [change for change, seen in outcomes.items() if seen is None]
    assert at_import == ["70 -> 71"], "a constant of the module"
    assert outcomes["n != 1 -> n == 1"] == ["in", "out", True, [1]]
    assert outcomes["seen.append('out') -> pass"] == ["in", True, [0, 2]]


UNSTEADY = """
from pathlib import Path

def test_that_fails_once():
    tried = Path(__file__).with_suffix(".tried")
    if not tried.exists():
        tried.touch()
        raise AssertionError("the machine was busy")

def test_that_passes(): pass
"""
RUN = """
import sys
from pathlib import Path
from tools.mutate.run import SOURCE, choose
from tools.mutate.rig import Broken, Rig, Unsteady
module, folder = "model/retry.py", Path(sys.argv[1])
fault = choose([module], ["comparison"], 1, 1)
try:
    for found in Rig(SOURCE, folder / "rig", 1).run(module, [str(folder / "test_it.py")], fault):
        print(found.test, found.said) if isinstance(found, Unsteady) else print(found.how, found.by)
except Broken as error:
    print("broken", error)
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (UNSTEADY, ["test_it.py::test_that_fails_once", "the machine was busy", "survived"]),
        ("def test_broken(): assert not 'bad'", ["broken", "test_it.py::test_broken", "bad"]),
    ],
)
def test_a_test_that_fails_without_a_fault_is_told_and_stops_all_only_when_it_fails_twice(
    tmp_path: Path, text: str, told: list[str]
) -> None:
    (tmp_path / "test_it.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert [each for each in told if each not in done.stdout] == []
    assert ("survived" in done.stdout) == ("survived" in told), "whether faults were tried at all"
    assert done.stdout.count("second time") == (0 if "survived" in told else 1)
