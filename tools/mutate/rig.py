"""Runs the tests of a module once for each fault that is planted in it.

The tests are collected once, in a process of their own (`_Server`), and run once without a fault;
how long each takes is noted, and which functions of the module it calls. For each fault a child is
forked that has everything imported: it replaces the code of the function (`mutant_code`) and runs
first what noticed faults in that function before, then what calls it, the fastest first, until a
test fails. The file with the fault lies in a copy of the sources too, for processes that tests
start. A fault in what a module does when it is imported costs a new collection.

A test that fails without a fault is run a second time. Only one that fails twice stops the run; one
that passes then is told, and is not run with faults: its failure would prove nothing.
"""

from __future__ import annotations

import importlib
import os
import pickle
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import pytest

from tools.mutate.code import Planted, watch
from tools.mutate.mutants import Mutant

_LEAST_SECONDS, _TIMES = 15.0, 6
"""How long a test may take with a fault: so many times what it takes without one."""
_MEMORY = 8 << 30
_AT_IMPORT = "at-import"
"""How a fault ended that could not be planted without importing the module anew."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a planted fault; `by` is the test that noticed it."""

    mutant: Mutant
    how: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Unsteady:
    """A test that failed once without any fault, and passed when it was run a second time."""

    test: str
    said: str


class Broken(Exception):
    """The tests of a module fail without any fault; what they said."""


@dataclass(slots=True)
class _Known:
    """What is known of the tests of a module."""

    seconds: dict[str, float] = field(default_factory=dict)
    touches: dict[str, set[str]] = field(default_factory=dict)
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    unsteady: list[Unsteady] = field(default_factory=list)

    def limit(self, test: str) -> int:
        """Seconds after which a test is ended."""
        return int(max(_LEAST_SECONDS, _TIMES * self.seconds.get(test, 0.0)))

    def noticed(self, function: str, test: str) -> None:
        self.kills[function, test] += 1
        self.kills["", test] += 1

    def order(self, function: str, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """The tests that are likely to notice a fault in a function first."""

        def place(item: pytest.Item) -> tuple[bool, int, int, float]:
            name = item.nodeid
            touched = any(
                f"{function}.".startswith(f"{each}.") for each in self.touches.get(name, ())
            )
            return (
                not touched and bool(function),
                -self.kills[function, name],
                -self.kills["", name],
                self.seconds.get(name, 0.0),
            )

        left_out = {each.test for each in self.unsteady}
        return sorted((item for item in items if item.nodeid not in left_out), key=place)


@dataclass(slots=True)
class _Slot:
    """A copy of the sources that one fault at a time is planted in."""

    folder: Path

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

    def said(self) -> str:
        """The end of what was printed last."""
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""


class Rig:
    """Plants faults, `workers` of them at a time."""

    def __init__(self, source: Path, folder: Path, workers: int) -> None:
        self._source = source
        self._slots = [_Slot(folder / str(number)) for number in range(workers + 1)]
        for slot in self._slots:
            shutil.copytree(source.parent, slot.source)

    def run(
        self, module: str, tests: Sequence[str], chosen: Sequence[Mutant]
    ) -> Iterator[Ended | Unsteady]:
        """Each fault of a module, as it ends. Raises `Broken` when a test fails twice without any
        fault; one that fails once is told first.
        """
        text = (self._source / module).read_text()
        known, again = _Known(), []
        for answer in self._served(module, text, tests, chosen):
            if isinstance(answer, _Known):
                known = answer
            elif isinstance(answer, Ended) and answer.how == _AT_IMPORT:
                again.append(answer.mutant)
            else:
                yield answer

        def with_fault(slot: _Slot, mutant: Mutant) -> str:
            collected = _Again(known, mutant.function, slot.source)
            _pytest(slot, tests, collected)
            return collected.failed

        yield from _Children(text, self._slots[1:], known, with_fault).run(again)

    def _served(
        self, module: str, text: str, tests: Sequence[str], chosen: Sequence[Mutant]
    ) -> Iterator[Ended | Unsteady | _Known]:
        reading, writing = os.pipe()
        server = os.fork()
        if server == 0:
            os.close(reading)
            try:
                with os.fdopen(writing, "wb") as out:
                    _Server(module, text, chosen, self._slots, out).serve(tests)
            finally:
                os._exit(0)  # never into what the caller would do at its end
        os.close(writing)
        try:
            with os.fdopen(reading, "rb") as answers:
                while (answer := _load(answers)) is not None:
                    if isinstance(answer, str):
                        raise Broken(answer)
                    yield answer
                    if isinstance(answer, _Known):
                        return
            raise Broken(self._slots[0].said())
        finally:
            os.kill(server, signal.SIGTERM)
            os.waitpid(server, 0)


@dataclass(slots=True)
class _Child:
    """A process that runs the tests with one fault planted."""

    slot: _Slot
    mutant: Mutant
    answer: int


class _Children:
    """Forks a child for each fault. `with_fault` runs in it and gives the test that failed."""

    def __init__(
        self,
        text: str,
        slots: Sequence[_Slot],
        known: _Known,
        with_fault: Callable[[_Slot, Mutant], str],
    ) -> None:
        self._text, self._free, self._known = text, list(slots), known
        self._with_fault = with_fault
        self._running: dict[int, _Child] = {}

    def run(self, chosen: Sequence[Mutant]) -> Iterator[Ended]:
        """Each fault, as its tests end."""
        waiting = list(chosen)[::-1]
        try:
            while waiting or self._running:
                while waiting and self._free:
                    self._start(self._free.pop(), waiting.pop())
                yield from self._ended()
                time.sleep(0.01)
        finally:
            for pid in self._running:
                _kill_group(pid)

    def _start(self, slot: _Slot, mutant: Mutant) -> None:
        slot.plant(mutant.module, mutant.source)
        child, answer = _fork(lambda: self._in_child(slot, mutant))
        self._running[child] = _Child(slot, mutant, answer)

    def _in_child(self, slot: _Slot, mutant: Mutant) -> str:
        _begin(slot)
        return self._with_fault(slot, mutant)

    def _ended(self) -> Iterator[Ended]:
        for pid, child in list(self._running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            _kill_group(pid)  # also what a broken test left running
            late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
            del self._running[pid]
            with os.fdopen(child.answer, "rb") as answer:
                by = _load(answer)
            if by is None:
                by = f"its process ended with {status}"
            child.slot.plant(child.mutant.module, self._text)
            self._free.append(child.slot)
            if by == _AT_IMPORT:
                yield Ended(child.mutant, _AT_IMPORT)
                continue
            if by:
                self._known.noticed(child.mutant.function, by)
            yield Ended(child.mutant, "timed-out" if late else "noticed" if by else "survived", by)


class _Server:
    """Has the tests of one module collected, and forks a child for each fault."""

    def __init__(
        self,
        module: str,
        text: str,
        chosen: Sequence[Mutant],
        slots: Sequence[_Slot],
        out: BinaryIO,
    ) -> None:
        self._module, self._text, self._chosen = module, text, chosen
        self._clean, self._slots, self._out = slots[0], slots[1:], out

    def serve(self, tests: Sequence[str]) -> None:
        """Collect, then fork for each fault; every answer goes to whoever started this."""
        _begin(self._clean)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
        _pytest(self._clean, tests, self)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of running the tests once."""
        if session.testsfailed or not session.items:
            self._tell(self._clean.said() or "no tests were collected")
            return True
        known = self._learn(session)
        if isinstance(known, str):
            self._tell(known)
            return True
        for unsteady in known.unsteady:
            self._tell(unsteady)

        def with_fault(slot: _Slot, mutant: Mutant) -> str:
            planted = Planted.of(self._text, mutant.source)
            if planted is None or not planted.into(self._imported()):
                return _AT_IMPORT
            _use_basetemp(session.config, slot)
            order = known.order(mutant.function, session.items)
            return _run(session, order, known, self._clean.source)

        for ended in _Children(self._text, self._slots, known, with_fault).run(self._chosen):
            self._tell(ended)
        self._tell(known)
        return True

    def _tell(self, answer: Ended | Unsteady | _Known | str) -> None:
        pickle.dump(answer, self._out)
        self._out.flush()

    def _learn(self, session: pytest.Session) -> _Known | str:
        """Run the tests without a fault; what fails, if one does."""

        def watched() -> tuple[str, _Known]:
            _begin(self._clean)
            return _watched(session, self._imported(), self._text)

        child, reading = _fork(watched)
        with os.fdopen(reading, "rb") as answer:
            found = _load(answer)
        _kill_group(child)
        os.waitpid(child, 0)
        failed, known = found or ("the process of the tests", _Known())
        return f"{failed}\n{self._clean.said()}" if failed else known

    def _imported(self) -> ModuleType:
        dotted = "archived/" + self._module.removesuffix(".py").removesuffix("/__init__")
        return importlib.import_module(dotted.replace("/", "."))


class _Again:
    """Collects and runs everything anew, for a fault in what happens at import."""

    def __init__(self, known: _Known, function: str, source: Path) -> None:
        self._known, self._function, self._source = known, function, source
        self.failed = "the collection"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of running the tests in their own order."""
        if session.items and not session.testsfailed:
            order = self._known.order(self._function, session.items)
            self.failed = _run(session, order, self._known, self._source)
        return True


def _fork(act: Callable[[], object]) -> tuple[int, int]:
    """A child that does something and answers with what came of it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        os.close(reading)
        answer = pickle.dumps(act())
        sys.stdout.flush()
        os.write(writing, answer)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - it is told, and the process ends
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(70)


def _load(answers: BinaryIO) -> Any:
    """The next answer; `None` when there is none."""
    try:
        return pickle.load(answers)
    except EOFError:
        return None


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _begin(slot: _Slot) -> None:
    """A new process group that prints into the slot's log and has its sources."""
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    out = os.open(slot.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ["PYTHONPATH"] = str(slot.source)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(slot.source))


def _pytest(slot: _Slot, tests: Sequence[str], plugin: object) -> None:
    pytest.main(
        [
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "-p",
            "no:xdist",
            "--tb=line",
            "-o",
            "timeout=0",
            "--capture=no",
            f"--basetemp={slot.folder / 'tests'}",
            *tests,
        ],
        plugins=[plugin],
    )


def _use_basetemp(config: pytest.Config, slot: _Slot) -> None:
    factory: Any = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._given_basetemp, factory._basetemp = slot.folder / "tests", None


def _run(session: pytest.Session, items: Sequence[pytest.Item], known: _Known, source: Path) -> str:
    """Run tests until one fails: its name, or nothing. One that takes too long ends the process."""
    if not Path(sys.modules["archived"].__file__ or "").is_relative_to(source):
        raise AssertionError("the fault is not in what is tested")
    failed = ""
    for item, after in zip(items, [*items[1:], None], strict=True):
        signal.alarm(known.limit(item.nodeid))
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            failed = item.nodeid
            break
    signal.alarm(0)
    with suppress(Exception):
        session._setupstate.teardown_exact(None)  # the daemons that fixtures started
    return failed


def _watched(session: pytest.Session, module: ModuleType, text: str) -> tuple[str, _Known]:
    """Run all tests, and note how long each takes and which functions of the module it calls. The
    text names the test that failed twice, if one did.
    """
    known = _Known()
    touched = watch(module, text)
    for item, after in zip(session.items, [*session.items[1:], None], strict=True):
        touched.clear()
        first, known.seconds[item.nodeid] = _tried(session, item, after)
        if first:
            second, known.seconds[item.nodeid] = _tried(session, item, after)
            if second:
                return f"{item.nodeid}\nfirst:\n{first}\nand a second time:\n{second}", known
            known.unsteady.append(Unsteady(item.nodeid, first))
        known.touches[item.nodeid] = set(touched)
    return "", known


def _tried(
    session: pytest.Session, item: pytest.Item, after: pytest.Item | None
) -> tuple[str, float]:
    """Run one test: how it failed, if it did, and how many seconds it took."""
    failures = _Failures()
    session.config.pluginmanager.register(failures)
    began = time.monotonic()
    try:
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
    finally:
        session.config.pluginmanager.unregister(failures)
    session.testsfailed = 0
    return "\n".join(failures.said), time.monotonic() - began


class _Failures:
    """Keeps what pytest would tell at its end, which never comes in a forked child."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One of the three parts of a test has ended."""
        if report.failed:
            self.said.append(f"{report.when}: {report.longreprtext[-1000:]}")
