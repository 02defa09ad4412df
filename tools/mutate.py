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
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mutants import OPERATORS, Mutant, mutants

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "archived"
TABLE = ROOT / "tests" / "mutants.toml"
_LEAST_SECONDS, _TIMES = 30.0, 6
"""How long a mutant's tests may take: so many times what they take without a fault."""
_MEMORY = 8 << 30


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


def mutants_of(module: str) -> list[Mutant]:
    """All mutants of a module, by its path below src/archived."""
    return mutants(module, (SOURCE / module).read_text())


@dataclass(slots=True)
class _Slot:
    """A copy of the sources that one mutant at a time is planted in."""

    folder: Path
    mutant: Mutant | None = None
    began: float = 0.0

    @property
    def source(self) -> Path:
        return self.folder / "src"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def plant(self, module: str, text: str) -> None:
        target = self.source / "archived" / module
        target.write_text(text)
        for stale in (target.parent / "__pycache__").glob(f"{target.stem}.*.pyc"):
            stale.unlink()  # Python compares whole seconds and sizes: both may be the same


class Rig:
    """Runs mutants in forked children of this process, which has imported what they all need."""

    def __init__(self, table: Table, folder: Path, workers: int) -> None:
        self._table = table
        self._slots = [_Slot(folder / str(number)) for number in range(workers)]
        for slot in self._slots:
            shutil.copytree(ROOT / "src", slot.source)
        self._running: dict[int, _Slot] = {}
        self._seconds: dict[str, float] = {}

    def tests_pass(self, module: str) -> bool:
        """Whether the module's tests pass without a fault; notes how long each file takes."""
        for file in self._table.tests[module]:
            if file not in self._seconds:
                began = time.monotonic()
                _, status = os.waitpid(self._fork(self._slots[0], [file]), 0)
                if status != 0:
                    return False
                self._seconds[file] = time.monotonic() - began
        return True

    def said(self) -> str:
        """The end of what the tests printed last."""
        return self._slots[0].log.read_text(errors="replace")[-2000:]

    def _limit(self, module: str) -> float:
        taken = sum(self._seconds[file] for file in self._table.tests[module])
        return max(_LEAST_SECONDS, _TIMES * taken)

    def run(self, chosen: Sequence[Mutant]) -> Iterator[tuple[Mutant, str]]:
        """Each mutant with `noticed`, `timed-out` or `survived`, as they end."""
        waiting = list(chosen)[::-1]
        free = list(self._slots)
        while waiting or self._running:
            while waiting and free:
                slot, mutant = free.pop(), waiting.pop()
                slot.plant(mutant.module, mutant.source)
                slot.mutant, slot.began = mutant, time.monotonic()
                self._running[self._fork(slot, self._table.tests[mutant.module])] = slot
            for slot, ended in self._ended():
                done = slot.mutant
                assert done is not None
                slot.plant(done.module, (SOURCE / done.module).read_text())
                free.append(slot)
                yield done, ended
            time.sleep(0.02)

    def _ended(self) -> Iterator[tuple[_Slot, str]]:
        for child, slot in list(self._running.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            late = False
            if not done:
                module = slot.mutant.module if slot.mutant else ""
                late = time.monotonic() - slot.began > self._limit(module)
                if not late:
                    continue
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)  # also what a broken test left running
            if not done:
                os.waitpid(child, 0)
            del self._running[child]
            yield slot, "timed-out" if late else "survived" if status == 0 else "noticed"

    def _fork(self, slot: _Slot, tests: Sequence[str]) -> int:
        child = os.fork()
        if child:
            return child
        code = 70
        try:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            out = os.open(slot.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.environ["PYTHONPATH"] = str(slot.source)
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            sys.dont_write_bytecode = True
            sys.path.insert(0, str(slot.source))
            import pytest

            code = int(
                pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly",
                             "--tb=line", f"--basetemp={slot.folder / 'tests'}", *tests])
            )  # fmt: skip
            imported = Path(sys.modules["archived"].__file__ or "")
            if not imported.is_relative_to(slot.source):
                code = 0  # the fault was not in what was tested
        finally:
            sys.stdout.flush()
            os._exit(code)


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
    with tempfile.TemporaryDirectory(prefix="archived-mutate-") as folder:
        os.chdir(ROOT)
        rig = Rig(table, Path(folder), given.workers)
        for module in given.modules:
            if not rig.tests_pass(module):
                print(f"{module}: its tests fail without any fault, see them first:")
                print(f"    ./run test {' '.join(table.tests[module])}\n{rig.said()}")
                return 2
        for mutant, ended in rig.run(chosen):
            _count(tallies[mutant.module], mutant, ended, table, tell=given.tell)
    return _report(tallies, least=given.least)


def _count(tally: Tally, mutant: Mutant, ended: str, table: Table, *, tell: bool) -> None:
    if ended == "survived" and mutant.key in table.explained():
        ended = "explained"
    if tell:
        print(f"{ended:<10}{_named(mutant)}", flush=True)
    if ended == "noticed":
        tally.noticed += 1
    elif ended == "timed-out":
        tally.timed_out += 1
    elif ended == "explained":
        tally.explained += 1
    else:
        tally.survivors.append(mutant)


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
        "--modules", metavar="NAMES", default=",".join(table.tests),
        help="with commas between them; a folder stands for all in it: model,engine/commit.py",
    )  # fmt: skip
    options.add_argument("--operators", default=",".join(OPERATORS), metavar="NAMES")
    options.add_argument("--sample", type=int, default=0, metavar="N", help="of each module")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1))
    options.add_argument("--least", type=float, default=90.0, help="per cent that must be noticed")
    options.add_argument("--tell", action="store_true", help="print how each one ended")
    given = options.parse_args(argv)
    wanted = given.modules.split(",")
    given.modules = [
        module for module in table.tests
        if any(module == each or module.startswith(f"{each}/") for each in wanted)
    ]  # fmt: skip
    given.operators = given.operators.split(",")
    if not given.modules:
        options.error(f"there is no module {', '.join(wanted)}; there are {', '.join(table.tests)}")
    return given


if __name__ == "__main__":
    sys.exit(main())
