"""Whatever a stage does ends as one outcome that says whose fault it was."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from archived.engine.protocol import StepLimits, outcome_to_json
from archived.engine.worker.reply import MalformedReply
from archived.engine.worker.results import outcome_from_json
from archived.engine.worker.runner import LocalRunner
from archived.engine.worker.stage_result import TRACE_LIMIT, trace
from archived.model.outcome import Ending, Outcome

BROKE = outcome_to_json(Outcome(Ending.FAILED, "stage-error", "ValueError"))

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runner(plugin) -> AsyncIterator[LocalRunner]:
    """One for all: a stage that ends badly must not disturb the next."""
    runner = LocalRunner("cpu", 4, plugin)
    await runner.start()
    yield runner
    await runner.stop()


async def test_a_normal_end_brings_files_facts_tools_notes_and_what_it_cost(runner, ask):
    progress, log = [], []
    request = ask("finish")
    done = await runner.run(request, on_progress=progress.append, on_log=log.append)
    assert done.ending is Ending.FINISHED, done
    assert [(m.path, m.role) for m in done.made] == [
        ("text/a.txt", "text"),
        ("metadata/note.txt", "metadata"),
    ]
    assert done.main == 0
    assert done.facts == {"pages": 3, "nhãn": "có"}
    assert (done.tools, done.notes) == ({"pen": "1.2"}, ("as it was",))
    assert (request.folder / "metadata/note.txt").read_text() == "as received"
    assert done.usage.wall > 0 and done.usage.cpu > 0 and done.usage.peak_memory > 2**20
    assert progress == [0.5]
    assert "a library speaks" in log[0]
    assert runner.stages == {"odd": "7"}


async def test_a_step_sees_its_own_folder_few_variables_and_no_strange_descriptors(runner, ask):
    request = ask("surroundings")
    facts = (await runner.run(request)).facts
    assert facts["cwd"] == str(request.folder)
    assert facts["tmp"] == facts["home"] == str(request.folder / ".tmp")
    assert facts["leader"] and facts["stdin"] == "" and facts["omp"] == "1"
    assert facts["document"] == ["doc-1", "Thư.txt", "mật"]
    assert not {"SSH_AUTH_SOCK", "PYTHONPATH", "USER"} & set(facts["environment"])
    # 0, 1, 2, the reply's pipe, and the folder it is listing
    assert len(facts["fds"]) == 5, facts["fds"]
    assert "NoNewPrivs:\t1" in facts["status"]


@pytest.mark.parametrize(
    ("do", "ending", "code", "words"),
    [
        ("refuse", Ending.REFUSED, "blank-page", "the page is blank"),
        ("postpone", Ending.POSTPONED, "server-down", "no answer"),
        ("no-space", Ending.POSTPONED, "no-space", "No space left"),
        ("fail", Ending.FAILED, "stage-error", r"RuntimeError: cannot \udce9 do"),
        ("leave", Ending.FAILED, "stage-error", "SystemExit"),
        ("leave-at-once", Ending.FAILED, "stage-error", "status 0 and without a result"),
        ("leave-after-a-fork", Ending.FAILED, "stage-error", "status 0 and without a result"),
        ("segfault", Ending.FAILED, "crashed", "SIGSEGV"),
        ("no-result", Ending.FAILED, "bad-output", "returned str"),
        ("outside", Ending.FAILED, "bad-output", "/etc/hostname lies outside"),
        ("huge-notes", Ending.FAILED, "bad-output", "far more"),
        ("huge-facts", Ending.FAILED, "bad-output", "facts take"),
        ("talk-on-every-line", Ending.FAILED, "bad-output", "more than"),
        ("unknown", Ending.FAILED, "stage-error", "AttributeError"),
    ],
)
async def test_every_other_end_has_its_code(runner, ask, do, ending, code, words):
    done = await runner.run(ask(do))
    assert (done.ending, done.code) == (ending, code), done
    assert words in done.message
    assert done.made == ()


async def test_a_stage_that_broke_says_where_in_its_code(runner, ask):
    done = await runner.run(ask("unknown"))
    assert done.code == "stage-error"
    *_, last = done.notes
    assert re.fullmatch(r"at .*\.py:\d+, in \w+: .+", last), done.notes
    assert not [note for note in done.notes if "worker" in note], "ours says nothing of the stage"
    assert (await runner.run(ask("refuse"))).notes == (), "what a stage explained needs no trace"


def raised(depth: int = 100) -> BaseException:
    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        raise KeyError("bí mật: what stands on the page")

    try:
        try:
            deeper(depth)
        except KeyError as error:
            raise ValueError("no such key") from error
    except ValueError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("depth", [0, 3, 500])
async def test_a_trace_is_short_and_holds_code_and_no_values(depth: int):
    notes = trace(raised(depth))
    assert 2 < len(notes) <= TRACE_LIMIT
    assert any("KeyError was handled" in note for note in notes)
    assert notes[0].endswith('raise ValueError("no such key") from error')
    told = [note for note in notes if "bí mật" in note]
    assert all("raise KeyError" in note for note in told), "the line of code, not what it made"


async def test_a_trace_that_a_step_forges_is_bounded():
    many = [f"note {number}" for number in range(TRACE_LIMIT + 1)]
    line = json.dumps({"outcome": {**BROKE, "notes": many}}).encode()
    with pytest.raises(MalformedReply, match="has results all the same"):
        outcome_from_json(line)
    line = json.dumps({"outcome": {**BROKE, "notes": many[:-1]}}).encode()
    assert outcome_from_json(line).notes == tuple(many[:-1])


async def test_hint_and_first_wait_come_along(runner, ask):
    assert (await runner.run(ask("refuse"))).hint == "scan it again"
    assert (await runner.run(ask("postpone"))).after.total_seconds() == 90


async def test_a_kill_that_was_not_ours_is_a_crash_with_the_signals_name(runner, ask):
    done = await runner.run(ask("signal", number=int(signal.SIGKILL)))
    assert (done.code, "SIGKILL" in done.message) == ("crashed", True)
    assert "memory" in done.hint


@pytest.mark.parametrize("kind", ["set", "nan", "half"])
async def test_facts_must_be_json(runner, ask, kind):
    done = await runner.run(ask("odd-facts", text=kind))
    assert (done.code, "facts are not JSON" in done.message) == ("bad-output", True), done


async def test_a_stage_that_is_not_there_or_has_wrong_options_breaks(runner, ask):
    done = await runner.run(ask("finish", nonsense=1))
    assert (done.code, "nonsense" in done.message) == ("stage-error", True)


async def test_memory_is_limited_and_said_to_be_the_reason(runner, ask):
    done = await runner.run(ask("eat-memory", limits=StepLimits(memory=200 * 2**20)))
    assert (done.ending, done.code) == (Ending.FAILED, "out-of-memory"), done
    assert done.usage.peak_memory < 400 * 2**20


async def test_a_file_cannot_grow_past_its_limit(runner, ask):
    request = ask("fill-disk", limits=StepLimits(file_size=5 * 2**20))
    done = await runner.run(request)
    assert (done.ending, done.code) == (Ending.FAILED, "stage-error"), done
    assert "larger than the limit" in done.hint
    assert (request.folder / "big").stat().st_size == 5 * 2**20


async def test_processor_time_is_limited(runner, ask):
    done = await runner.run(ask("spin", limits=StepLimits(cpu_seconds=1)))
    assert (done.code, "SIGXCPU" in done.message) == ("timed-out", True), done


async def test_a_hundred_megabytes_of_chatter_disturb_nobody(runner, ask):
    log: list[str] = []
    done = await runner.run(ask("spam"), on_log=log.append)
    assert done.ending is Ending.FINISHED, done
    assert len(log[0]) < 100_000
    assert log[0].endswith("the last line\n")


async def test_checks_run_in_a_child_and_a_broken_check_is_a_problem(runner, tmp_path: Path):
    assert await runner.check("odd", {}, {}, tmp_path) == []
    assert await runner.check("odd", {"text": "no key"}, {}, tmp_path) == ["no key"]
    [crash] = await runner.check("odd", {"do": "check-crash"}, {}, tmp_path)
    assert "SIGSEGV" in crash
    [wrong] = await runner.check("odd", {"nonsense": 1}, {}, tmp_path)
    assert "its check failed" in wrong
