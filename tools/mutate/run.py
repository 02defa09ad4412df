"""Plant small faults in the modules that decide what is safe, one at a time, and see whether the
tests notice.

A mutant runs the tests that tests/mutants.toml names for its module, the fastest first, until one
fails. One that survives is a promise that no test holds, or a change that makes no difference: the
second is explained in the same file. The seed is printed: the same seed plants the same faults.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.mutate.mutants import OPERATORS, Mutant, mutants
from tools.mutate.rig import Broken, Ended, Rig, Unsteady

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / "archived"
TABLE = ROOT / "tests" / "mutants.toml"
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 1 << 30
"""Bytes that must be free in memory for the folders of the tests."""


@dataclass(frozen=True, slots=True)
class Equivalent:
    """A mutant that changes nothing that can be observed, and why."""

    module: str
    function: str
    change: str
    why: str
    nth: int = 1

    @property
    def key(self) -> tuple[str, str, str, int]:
        return (self.module, self.function, self.change, self.nth)


@dataclass(frozen=True, slots=True)
class Table:
    """What stands beside the tests: module -> its tests, and the explained survivors."""

    tests: Mapping[str, tuple[str, ...]]
    equivalent: tuple[Equivalent, ...]

    def explained(self) -> set[tuple[str, str, str, int]]:
        return {each.key for each in self.equivalent}


@dataclass(slots=True)
class Tally:
    """What became of a module's mutants."""

    noticed: int = 0
    timed_out: int = 0
    explained: int = 0
    survivors: list[Mutant] = field(default_factory=list)

    @property
    def made(self) -> int:
        return self.noticed + self.timed_out + self.explained + len(self.survivors)


def read_table(path: Path = TABLE) -> Table:
    """Raises `KeyError` and `TypeError` for a table that is not one."""
    facts = tomllib.loads(path.read_text())
    groups = facts.get("group", {})
    tests = {
        module: tuple(file for each in files for file in groups.get(each, [each]))
        for module, files in facts["tests"].items()
    }
    return Table(tests, tuple(Equivalent(**each) for each in facts.get("equivalent", [])))


def mutants_of(module: str, *, sources: bool = True) -> list[Mutant]:
    """All mutants of a module, by its path below src/archived."""
    return mutants(module, (SOURCE / module).read_text(), sources=sources)


def choose(
    modules: Sequence[str], operators: Sequence[str], sample: int, seed: int
) -> list[Mutant]:
    """So many mutants of each module (0: all), the same ones for the same seed."""
    found = []
    for module in modules:
        these = [each for each in mutants_of(module) if each.operator in operators]
        if 0 < sample < len(these):
            these = random.Random(f"{seed}/{module}").sample(these, sample)
        found += these
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Plant and print; 0 when every fault was noticed or is explained."""
    table = read_table()
    given = _options(table, argv)
    chosen = choose(given.modules, given.operators, given.sample, given.seed)
    print(f"seed {given.seed}, {len(chosen)} faults in {len(given.modules)} modules", flush=True)
    _import_early()
    tallies = {module: Tally() for module in given.modules}
    unsteady: list[str] = []
    os.chdir(ROOT)
    with _folder() as folder:
        rig = Rig(SOURCE, folder, given.workers)
        for module in given.modules:
            tests = table.tests[module]
            try:
                for ended in rig.run(module, tests, [m for m in chosen if m.module == module]):
                    if isinstance(ended, Unsteady):
                        unsteady.append(ended.test)
                        print(f"UNSTEADY: {ended.test} failed without any fault:\n{ended.said}")
                        print("and passed when it was run again", flush=True)
                    else:
                        _count(tallies[module], ended, table, tell=given.tell)
            except Broken as error:
                print(f"{module}: a test fails without any fault, twice; see it first:")
                print(f"    ./run test {' '.join(tests)}\n{error}")
                return 2
    status = _report(tallies, least=given.least)
    for test in unsteady:
        print(f"UNSTEADY: {test} failed once without any fault; no fault was tried on it")
    return status


@contextmanager
def _folder() -> Iterator[Path]:
    """One for all that the tests leave. A test that was ended may have left mounts and immutable
    files in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="archived-mutate-", dir=_memory()))
    try:
        yield folder
    finally:
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for each in [each for each in mounted if each.startswith(f"{folder}/")][::-1]:
            subprocess.run(["umount", "-l", each], check=False)
        if shutil.which("chattr"):
            subprocess.run(["chattr", "-R", "-f", "-i", folder], check=False, capture_output=True)
        shutil.rmtree(folder)


def _memory() -> Path | None:
    """Where the tests do not wait for a disk: what they try is the order of fsyncs, not their
    speed. `None`: where `TMPDIR` says, or the system.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free > MEMORY_NEEDED else None


def _count(tally: Tally, ended: Ended, table: Table, *, tell: bool) -> None:
    how = ended.how
    if how == "survived" and ended.mutant.key in table.explained():
        how = "explained"
    if tell:
        print(f"{how:<10}{_named(ended.mutant)}{f' by {ended.by}' if ended.by else ''}", flush=True)
    if how == "noticed":
        tally.noticed += 1
    elif how == "timed-out":
        tally.timed_out += 1
    elif how == "explained":
        tally.explained += 1
    else:
        tally.survivors.append(ended.mutant)


def _named(mutant: Mutant) -> str:
    nth = f" (number {mutant.nth})" if mutant.nth > 1 else ""
    change = " ".join(mutant.change.split())
    return f"{mutant.module}:{mutant.line} {mutant.function} [{mutant.operator}] {change}{nth}"


def _report(tallies: Mapping[str, Tally], *, least: float) -> int:
    heads = ("made", "noticed", "timed out", "explained", "survived", "noticed %")
    print(f"\n{'module':<26}" + "".join(f"{head:>11}" for head in heads))
    total: Counter[str] = Counter()
    for module, tally in tallies.items():
        row = (tally.made, tally.noticed, tally.timed_out, tally.explained, len(tally.survivors))
        total.update(dict(zip(heads, row, strict=False)))
        print(_line(module, row))
    all_row = tuple(total[head] for head in heads[:5])
    print(_line("all", all_row))
    survivors = [mutant for tally in tallies.values() for mutant in tally.survivors]
    if survivors:
        print("\nsurvivors: mend the tests, or explain in tests/mutants.toml why it is the same")
    for mutant in survivors:
        print(f"  {_named(mutant)}")
    return 0 if _share(all_row) >= least else 1


def _line(name: str, row: tuple[int, ...]) -> str:
    return f"{name:<26}" + "".join(f"{number:>11}" for number in row) + f"{_share(row):>10.0f}%"


def _share(row: tuple[int, ...]) -> float:
    """Of the faults that make a difference, how many were noticed, in per cent."""
    made, noticed, timed_out, explained = row[:4]
    return 100.0 if made == explained else 100 * (noticed + timed_out) / (made - explained)


def _import_early() -> None:
    """What every child needs and is not ours: imported once."""
    import alembic.config
    import hypothesis.strategies
    import pluggy
    import pydantic
    import pytest
    import sqlalchemy.dialects.sqlite
    import watchdog.observers

    assert all((alembic, hypothesis, pluggy, pydantic, pytest, sqlalchemy, watchdog))


def _options(table: Table, argv: Sequence[str] | None) -> argparse.Namespace:
    options = argparse.ArgumentParser(description=(__doc__ or "").split(".\n", maxsplit=1)[0])
    options.add_argument(
        "--modules",
        metavar="NAMES",
        default=",".join(table.tests),
        help="with commas between them; a folder stands for all in it: model,engine/commit.py",
    )
    options.add_argument("--operators", default=",".join(OPERATORS), metavar="NAMES")
    options.add_argument("--sample", type=int, default=0, metavar="N", help="of each module")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1))
    options.add_argument("--least", type=float, default=90.0, help="per cent that must be noticed")
    options.add_argument("--tell", action="store_true", help="print how each one ended")
    given = options.parse_args(argv)
    wanted = given.modules.split(",")
    given.modules = [
        module
        for module in table.tests
        if any(module == each or module.startswith(f"{each}/") for each in wanted)
    ]
    given.operators = given.operators.split(",")
    if not given.modules:
        options.error(f"there is no module {', '.join(wanted)}; there are {', '.join(table.tests)}")
    return given
