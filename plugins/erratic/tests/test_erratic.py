"""Every misbehaviour is real, aimed and bounded; without leave there is none."""

from __future__ import annotations

import faulthandler
import json
import os
import pickle
import resource
import select
import signal
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
from pydantic import ValidationError

from archived.api import Artifact, Context, Document, Postpone, Refuse, Result, Role
from archived.testing import StageContract
from archived_erratic import Erratic, injections
from archived_erratic.options import ErraticConfig, Fault, WrongOutput

SCAN = Artifact(Path("scan.tif"), "0001.tif", "image/tiff", Role.ORIGINAL)
DOCUMENT = Document(
    "doc-1", datetime(2026, 3, 9, tzinfo=UTC), "scans", "poison-1.tif", SCAN, (SCAN,)
)


class TestErratic(StageContract):
    stage = Erratic
    sample = "tiny.tif"
    options: ClassVar = {"i_know_what_this_does": True}
    reads_content = False  # it never looks into the document
    more_codes = frozenset({"erratic-review", "unread-content"})


def options(**chosen: Any) -> ErraticConfig:
    return ErraticConfig.model_validate({"i_know_what_this_does": True, **chosen})


def run(folder: Path, document: Document = DOCUMENT, **chosen: Any) -> Result:
    deadline = datetime.now(UTC) + timedelta(minutes=1)
    context = Context(options=options(**chosen), folder=folder, deadline=deadline)
    return Erratic().run(document, context)


@dataclass
class Attempt:
    """A run in a process and group of its own, as the daemon starts one."""

    pid: int
    answer: int

    def status(self, within: float = 60.0) -> int:
        ends = time.monotonic() + within
        while time.monotonic() < ends:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return status
            select.select([], [], [], 0.01)
        raise AssertionError("it did not end")

    def ending(self) -> Any:
        with os.fdopen(self.answer, "rb") as file:
            # Not read to its end: children left behind hold the pipe open, as they should.
            return pickle.load(file)


@pytest.fixture
def start(tmp_path):
    attempts = []

    def start(limit: tuple[int, int] | None = None, **chosen: Any) -> Attempt:
        reading, writing = os.pipe()
        if pid := os.fork():
            os.close(writing)
            attempts.append(Attempt(pid, reading))
            return attempts[-1]
        os.setpgid(0, 0)
        faulthandler.disable()  # pytest's would print our own call stack at every crash
        if limit:
            resource.setrlimit(limit[0], (limit[1], limit[1]))
        try:
            ending: Any = run(tmp_path, **chosen)
        except Exception as error:  # noqa: BLE001 - it is what the parent wants to see
            ending = error
        with os.fdopen(writing, "wb") as file:
            pickle.dump(ending, file)
        os._exit(0)

    yield start
    for attempt in attempts:
        for end in (lambda a: os.killpg(a.pid, signal.SIGKILL), lambda a: os.waitpid(a.pid, 0)):
            try:
                end(attempt)
            except (ProcessLookupError, ChildProcessError):
                continue


def test_without_leave_it_does_nothing_but_wait(tmp_path):
    with pytest.raises(Postpone) as waiting:
        run(tmp_path, i_know_what_this_does=False, fault="crash")

    assert waiting.value.code == "drill-not-confirmed"
    [problem] = Erratic().check(ErraticConfig(fault="crash"))
    assert "i_know_what_this_does = true" in problem
    assert not list(Erratic().check(options(fault="crash")))


def test_every_fault_and_every_wrong_output_is_there():
    assert {*injections._FAULTS, "none"} == set(get_args(Fault))
    assert set(injections._OUTPUTS) == set(get_args(WrongOutput))


def test_none_harms_nothing(tmp_path):
    result = run(tmp_path)

    assert not result.artifacts
    assert not list(tmp_path.iterdir())


def test_slow_takes_its_time_and_reports_progress(tmp_path):
    seen: list[float] = []
    context = Context(
        options=options(fault="slow", duration="200 ms"),
        folder=tmp_path,
        deadline=datetime.now(UTC) + timedelta(minutes=1),
        report=lambda fraction, page: seen.append(fraction),
    )
    began = time.monotonic()

    Erratic().run(DOCUMENT, context)

    assert time.monotonic() - began >= 0.2
    assert seen[-1] == 1.0


def test_fail_raises_what_no_api_explains(tmp_path):
    with pytest.raises(RuntimeError, match="on request"):
        run(tmp_path, fault="fail")


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [("refuse", Refuse, "erratic-refused"), ("postpone", Postpone, "erratic-postponed")],
)
def test_refuse_and_postpone_carry_a_code_and_a_hint(fault, kind, code, tmp_path):
    with pytest.raises(kind) as failure:
        run(tmp_path, fault=fault)

    assert failure.value.code == code
    assert failure.value.hint


def test_crash_dies_of_a_segmentation_fault(start):
    assert os.WTERMSIG(start(fault="crash").status()) == signal.SIGSEGV


def test_vanish_ends_without_an_answer(start):
    attempt = start(fault="vanish")

    assert os.WEXITSTATUS(attempt.status()) == 3
    with pytest.raises(EOFError):
        attempt.ending()


def test_hang_is_deaf_to_sigterm_and_ends_by_sigkill(start):
    attempt = start(fault="hang")
    wait_until(lambda: ignores_sigterm(attempt.pid))

    os.killpg(attempt.pid, signal.SIGTERM)
    assert os.waitpid(attempt.pid, os.WNOHANG) == (0, 0)
    os.killpg(attempt.pid, signal.SIGKILL)

    assert os.WTERMSIG(attempt.status()) == signal.SIGKILL


def test_eat_memory_runs_into_the_memory_limit(start):
    ours = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    attempt = start((resource.RLIMIT_AS, ours + (1 << 27)), fault="eat-memory", amount="8 GiB")

    assert isinstance(attempt.ending(), MemoryError)


def test_eat_memory_without_a_limit_ends_at_its_amount(tmp_path):
    result = run(tmp_path, fault="eat-memory", amount="32 MiB", duration="1 ms")

    assert "nothing stopped it" in result.notes[0]


def test_fill_disk_runs_into_the_limit(start):
    attempt = start((resource.RLIMIT_FSIZE, 1 << 20), fault="fill-disk", amount="8 GiB")

    assert isinstance(attempt.ending(), OSError)


def test_fill_disk_without_a_limit_ends_at_its_amount(tmp_path):
    result = run(tmp_path, fault="fill-disk", amount="5 MB", duration="1 ms")

    assert "5000000 bytes" in result.notes[0]
    assert not list(tmp_path.iterdir())


def test_children_left_behind_outlive_the_step_until_their_group_is_killed(start):
    attempt = start(fault="leave-children", children=2, duration="10 min")
    assert attempt.status() == 0
    children = attempt.ending().facts["children"]
    assert [lives(child) for child in children] == [True, True]

    os.killpg(attempt.pid, signal.SIGKILL)

    wait_until(lambda: not any(lives(child) for child in children))


def test_children_nobody_kills_end_by_themselves(start):
    attempt = start(fault="leave-children", children=2, duration="50 ms")
    assert attempt.status() == 0

    children = attempt.ending().facts["children"]
    wait_until(lambda: not any(lives(child) for child in children))


def test_wrong_output_is_wrong_in_the_way_it_says(tmp_path):
    def made(output: str) -> Result:
        return run(tmp_path, fault="wrong-output", output=output)

    assert not made("outside-folder").add[0].path.is_relative_to(tmp_path)
    assert not made("missing-file").add[0].path.exists()
    assert made("symlink").add[0].path.is_symlink()
    [forged] = made("original").add
    assert forged.role == Role.ORIGINAL
    main = made("wrong-media-type").replace_main
    assert main is not None
    assert main.media_type == "application/pdf"
    assert not main.path.read_bytes().startswith(b"%PDF")
    with pytest.raises(TypeError):
        json.dumps(made("facts-not-json").facts)


@pytest.mark.parametrize("name", ["good.tif", "POISON-1.tif", "poison-1.tif.pdf"])
def test_only_the_aimed_at_documents_are_struck(name, tmp_path):
    with pytest.raises(Refuse):
        run(tmp_path, fault="refuse", only="poison-?.tif")

    spared = run(tmp_path, replace(DOCUMENT, name=name), fault="refuse", only="poison-?.tif")

    assert spared.notes == ["Left alone: its name does not match 'poison-?.tif'."]


def test_a_share_of_documents_is_struck_and_always_the_same(tmp_path):
    def struck(seed: int) -> set[int]:
        found = set()
        for number in range(400):
            try:
                run(
                    tmp_path,
                    replace(DOCUMENT, id=f"doc-{number}"),
                    fault="refuse",
                    probability=0.25,
                    seed=seed,
                )
            except Refuse:
                found.add(number)
        return found

    assert 60 < len(struck(1)) < 140
    assert struck(1) == struck(1) != struck(2)


def test_it_behaves_after_the_first_attempts_of_each_document(tmp_path):
    chosen = {"fault": "refuse", "first_attempts": 2, "counter_folder": tmp_path}
    for document in (DOCUMENT, replace(DOCUMENT, id="../doc/2")):
        for _ in range(2):
            with pytest.raises(Refuse):
                run(tmp_path, document, **chosen)
        for _ in range(2):
            assert run(tmp_path, document, **chosen).notes == [
                "Left alone: it was struck 2 times already."
            ]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_strike_that_kills_counts(start, tmp_path):
    counted = {"first_attempts": 1, "counter_folder": tmp_path}
    assert os.WIFSIGNALED(start(fault="crash", **counted).status())

    assert run(tmp_path, fault="crash", **counted).notes


def test_mistakes_in_the_options_are_refused(tmp_path):
    for wrong in (
        {"fault": "explode"},
        {"first_attempts": 2},
        {"probability": 1.5},
        {"children": 10_000},
        {"duration": 30},
    ):
        with pytest.raises(ValidationError):
            options(**wrong)
    [problem] = Erratic().check(options(counter_folder=tmp_path / "absent"))
    assert "create it" in problem


def ignores_sigterm(pid: int) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigIgn:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def lives(pid: int) -> bool:
    """Whether the process still runs; a dead one that nobody has collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until(true: Any, within: float = 60.0) -> None:
    ends = time.monotonic() + within
    while not true():
        assert time.monotonic() < ends, "it did not happen in time"
        select.select([], [], [], 0.01)
