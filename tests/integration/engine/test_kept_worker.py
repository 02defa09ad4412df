"""A kept worker: one process does the steps of a stage, no less confined than a fresh one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from dataclasses import replace

import psutil
import pytest

from archived.engine.protocol import StepLimits
from archived.engine.worker import kept
from archived.model.outcome import Ending
from tests.integration.engine import kept_runner
from tests.integration.engine.kept_runner import fds, ran, ready, until, workers

runner, spool, ask = kept_runner.runner, kept_runner.spool, kept_runner.ask


async def test_fifty_steps_are_one_process_and_leave_nothing_on_the_disk(runner, ask, spool):
    found = [await ran(runner, ask("count")) for _ in range(50)]
    assert len({facts["pid"] for facts in found}) == 1
    assert [facts["steps"] for facts in found] == list(range(1, 51)), "and one `Stage`"
    assert [facts["text"] for facts in found] == [f"as received {n}" for n in range(1, 51)]
    assert len({facts["cwd"] for facts in found}) == 50, "each step has a folder of its own"
    [own] = [path for path in (spool / "work").iterdir() if path.name.startswith("kept-")]
    assert sorted(path.name for path in own.rglob("*")) == ["input", "steps"]
    await runner.stop()
    assert not own.exists()


async def test_fifty_steps_leak_neither_descriptors_nor_processes(runner, ask):
    await ran(runner, ask("count"))
    worker = psutil.Process((await ran(runner, ask("count")))["pid"])
    server = worker.parent()
    before = [fds(pid) for pid in (os.getpid(), server.pid, worker.pid)]
    for _ in range(50):
        await ran(runner, ask("make"))
    assert [fds(pid) for pid in (os.getpid(), server.pid, worker.pid)] == before
    assert [child.pid for child in server.children()] == [worker.pid]


async def test_what_it_makes_comes_out_as_of_any_other_step(runner, ask):
    for number in (1, 2):
        request, told, said = ask("make"), [], []
        done = await runner.run(request, told.append, said.append)
        assert done.ending is Ending.FINISHED
        [made] = done.made
        assert (request.folder / made.path).read_text() == f"of {request.document.id}"
        assert told == [0.5]
        assert said == [f"step {number} speaks\n"], "nothing of another step's"
        assert done.usage.wall > 0
        assert done.usage.peak_memory > 2**20
    assert runner.confinement["files"].startswith("yes"), runner.confinement
    assert runner.confinement["calls"].startswith("yes")


@pytest.mark.parametrize(
    ("do", "code"),
    [
        ("fail", "stage-error"),
        ("segfault", "crashed"),
        ("leave", "stage-error"),
        ("eat-memory", "out-of-memory"),
        ("postpone", "server-down"),
    ],
)
async def test_it_is_replaced_when_a_step_did_not_end_well(runner, ask, do, code):
    first = await ran(runner, ask("count"))
    done = await runner.run(ask(do, limits=StepLimits(memory=2**28)))
    assert done.code == code, done
    again = await ran(runner, ask("count"))
    assert again["pid"] != first["pid"]
    assert again["steps"] == 1
    assert not psutil.pid_exists(first["pid"])


async def test_a_refusal_is_of_the_document_and_the_worker_goes_on(runner, ask):
    first = await ran(runner, ask("count"))
    done = await runner.run(ask("refuse"))
    assert (done.ending, done.code) == (Ending.REFUSED, "blank-page")
    assert (await ran(runner, ask("count")))["pid"] == first["pid"]


@pytest.mark.parametrize("do", ["hang", "spin"])
async def test_at_the_deadline_it_dies_with_all_it_started(runner, ask, do, mentioning):
    first = await ran(runner, ask("count"))
    request = ask(do, seconds=3)
    began = time.monotonic()
    done = await runner.run(request)
    assert (done.ending, done.code) == (Ending.FAILED, "timed-out"), done
    assert time.monotonic() - began < 20
    assert not psutil.pid_exists(first["pid"])
    assert mentioning(request.folder.parent) == []
    assert (await ran(runner, ask("count")))["steps"] == 1


async def test_its_processor_time_is_limited_for_each_step_and_not_for_its_life(runner, ask):
    limits = StepLimits(cpu_seconds=1)
    for _ in range(3):
        await ran(runner, ask("count", limits=limits))
    request = ask("spin", limits=limits, seconds=50)
    done = await runner.run(request)
    assert done.code == "timed-out", done
    assert done.usage.cpu < 10


async def test_what_a_step_leaves_running_is_killed_and_the_worker_goes_on(runner, ask):
    first = await ran(runner, ask("leave-processes"))
    left = psutil.Process(first["pid"]).children(recursive=True)
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in left)
    again = await ran(runner, ask("own-tree"))
    assert (again["pid"], again["children"]) == (first["pid"], 0)


async def test_it_is_replaced_after_so_many_steps(runner, ask, monkeypatch):
    monkeypatch.setattr(kept, "STEPS_LIMIT", 3)
    pids = [(await ran(runner, ask("count")))["pid"] for _ in range(7)]
    assert [len(set(pids[i : i + 3])) for i in (0, 3, 6)] == [1, 1, 1]
    assert len(set(pids)) == 3


async def test_it_is_ended_when_it_had_nothing_to_do_for_a_while(runner, ask, monkeypatch):
    monkeypatch.setattr(kept, "IDLE_SECONDS", 0.2)
    first = await ran(runner, ask("count"))
    await until(lambda: not psutil.pid_exists(first["pid"]))
    assert (await ran(runner, ask("count")))["steps"] == 1


async def test_it_is_replaced_when_its_options_change_or_what_they_name(runner, ask, tmp_path):
    named = tmp_path / "module.so"
    named.write_text("one")
    first = await ran(runner, ask("named-file", options={"named": str(named)}))
    same = await ran(runner, ask("named-file", options={"named": str(named)}))
    assert same["pid"] == first["pid"]
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(named)  # a renewed certificate: not the file it was opened to
    other = await ran(runner, ask("named-file", options={"named": str(named)}))
    assert (other["named"], other["steps"]) == ("two", 1)
    assert (await ran(runner, ask("count", options={"text": "other"})))["steps"] == 1
    assert (await ran(runner, ask("count", limits=StepLimits(memory=2**29))))["steps"] == 1


async def test_one_that_leaks_memory_is_replaced_before_an_innocent_pays(runner, ask):
    limits = StepLimits(memory=2**28)
    found = [await ran(runner, ask("leak-memory", limits=limits, bytes=2**26)) for _ in range(8)]
    assert len({facts["pid"] for facts in found}) > 1


async def test_one_that_keeps_a_file_of_its_document_open_is_replaced(runner, ask):
    first = await ran(runner, ask("leave-a-file-open"))
    assert (await ran(runner, ask("count")))["pid"] != first["pid"]


async def test_an_alarm_that_a_step_has_set_does_not_strike_the_next(runner, ask):
    first = await ran(runner, ask("leave-an-alarm"))
    assert (await ran(runner, ask("outlast-an-alarm")))["pid"] == first["pid"]


async def test_steps_of_a_stage_wait_for_each_other_and_other_stages_for_none(
    runner, ask, tmp_path
):
    requests = [
        ask("wait", go=str(tmp_path / "go"), options={"named": str(tmp_path)}) for _ in range(4)
    ]
    running = [asyncio.create_task(runner.run(request)) for request in requests]
    await until(lambda: ready(requests[0].folder.parent))
    fresh = replace(ask("count"), kept=False)
    assert (await runner.run(fresh)).ending is Ending.FINISHED
    (tmp_path / "go").touch()
    done = await asyncio.gather(*running)
    assert len({one.facts["pid"] for one in done}) == 1
    assert sorted(one.facts["steps"] for one in done) == [1, 2, 3, 4]


async def test_stopping_ends_it_whether_it_rests_or_works(runner, ask, tmp_path):
    first = await ran(runner, ask("count"))
    await runner.stop()
    assert not psutil.pid_exists(first["pid"])
    await runner.start()
    request = ask("wait", go=str(tmp_path / "never"), options={"named": str(tmp_path)})
    running = asyncio.create_task(runner.run(request))
    await until(lambda: ready(request.folder.parent))
    [worker] = workers()
    await runner.stop(grace=0.1)
    assert (await running).ending is Ending.REQUEUED
    assert not worker.is_running()


async def test_a_cancelled_step_is_put_back_and_the_next_has_a_new_worker(runner, ask, tmp_path):
    request = ask("wait", go=str(tmp_path / "never"), options={"named": str(tmp_path)})
    running = asyncio.create_task(runner.run(request))
    await until(lambda: ready(request.folder.parent))
    await runner.cancel(request.step)
    assert (await running).ending is Ending.REQUEUED
    assert (await ran(runner, ask("count")))["steps"] == 1


async def test_a_fork_server_that_dies_puts_its_step_back_and_the_next_try_is_alone(
    runner, ask, tmp_path
):
    for ending in (Ending.REQUEUED, Ending.FAILED):
        request = ask(
            "wait", document="same", go=str(tmp_path / "never"), options={"named": str(tmp_path)}
        )
        running = asyncio.create_task(runner.run(request))
        await until(lambda request=request: ready(request.folder.parent))
        [worker] = workers()
        os.kill(worker.ppid(), signal.SIGKILL)
        assert (await running).ending is ending
        await until(lambda worker=worker: not worker.is_running())
    assert (await ran(runner, ask("count")))["steps"] == 1


# What a document that has taken the worker over tries ---------------------------------------------


async def test_it_is_confined_as_every_step_is(runner, ask, tmp_path):
    (tmp_path / "outside").write_text("of somebody else")
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = {"outside": str(tmp_path / "outside"), "port": server.getsockname()[1]}
        found = [await ran(runner, ask("confined", **given)) for _ in range(2)]
    for facts in found:
        assert (facts["seccomp"], facts["no_new_privs"], facts["ptrace"]) == ("2", "1", -1)
        assert int(facts["capabilities"], 16) == 0
        tried = [facts[name] for name in ("network", "socket", "passwd", "kill")]
        assert "done" not in tried, facts


async def test_nothing_of_the_former_document_can_be_opened(runner, ask, spool):
    first = ask("keep-a-folder")
    before = await ran(runner, first)
    facts = await ran(
        runner,
        ask("former", work=str(spool / "work"), spooled=str(first.document.artifacts[0].path)),
    )
    assert facts.pop("pid") == before["pid"], "else nothing was tried"
    assert facts.pop("steps") == 2
    assert len(facts) == 15
    assert "done" not in facts.values(), facts


async def test_its_document_is_read_only(runner, ask):
    for _ in range(2):
        request = ask("write-the-document")
        facts = await ran(runner, request)
        tried = {name: facts[name] for name in facts if name not in ("pid", "steps")}
        assert "done" not in tried.values(), tried
        [original] = request.document.artifacts
        assert original.path.read_text().startswith("as received")
        assert original.path.stat().st_mode & 0o777 == 0o440


async def test_what_it_leaves_beside_its_folder_is_not_there_for_the_next(runner, ask, spool):
    await ran(runner, ask("beside-its-folder"))
    request = ask("list-beside")
    facts = await ran(runner, request)
    assert facts["beside"] == [request.folder.name]


async def test_a_folder_that_becomes_a_link_leads_to_nothing(runner, ask, tmp_path):
    (tmp_path / "key").write_text("the signing key")
    request = ask("become-a-link", outside=str(tmp_path))
    done = await runner.run(request)
    assert (done.ending, done.code) == (Ending.FAILED, "bad-output"), done
    assert [p for p in request.folder.rglob("*") if p.name == "key" and not p.is_symlink()] == []
    assert (await ran(runner, ask("count")))["steps"] == 1


async def test_a_folder_full_of_names_beside_its_own_goes_at_once(runner, ask, spool):
    await ran(runner, ask("count"))
    request = ask("litter", many=5000)
    await ran(runner, request)
    assert len(list(request.folder.iterdir())) <= 4
    again = await ran(runner, ask("list-beside"))
    assert again["steps"] == 1
    assert len(again["beside"]) == 1
    assert len(list((spool / "work").glob("kept-*"))) == 1


async def test_a_step_may_compute_for_long_and_the_worker_goes_on(runner, ask):
    first = await ran(runner, ask("compute"))
    again = await ran(runner, ask("count"))
    assert (again["pid"], again["steps"]) == (first["pid"], 2)


async def test_one_that_computes_while_it_has_no_step_is_ended(runner, ask):
    first = await ran(runner, ask("spin-while-idle"))
    await until(lambda: not psutil.pid_exists(first["pid"]), 120)
    assert (await ran(runner, ask("count")))["steps"] == 1


async def test_a_file_that_it_returned_is_not_its_to_change_any_more(runner, ask):
    request = ask("change-after-the-end")
    done = await runner.run(request)
    assert done.ending is Ending.FINISHED, done
    again = await ran(runner, ask("change-it-now"))
    assert again["pid"] == done.facts["pid"]
    [made] = done.made
    assert (request.folder / ".left" / made.path).read_text() == "CHANGED LATER", "it did try"
    assert (request.folder / made.path).read_text() == "as returned"


@pytest.mark.parametrize("do", ["say-done-early", "say-begun-twice", "flood-the-line"])
async def test_what_it_says_out_of_turn_costs_its_own_document_an_attempt(runner, ask, do):
    first = await ran(runner, ask("count"))
    [server] = {process.ppid() for process in workers()}
    done = await runner.run(ask(do, seconds=30))
    assert (done.ending, done.code) == (Ending.FAILED, "stage-error"), done
    again = await ran(runner, ask("count"))
    assert again["pid"] != first["pid"]
    assert [process.ppid() for process in workers()] == [server], "the fork server went on"


@pytest.mark.parametrize("do", ["say-done-twice", "fork-while-idle", "die-while-idle"])
async def test_what_it_does_between_steps_ends_it_and_costs_nobody_an_attempt(runner, ask, do):
    first = await ran(runner, ask(do))
    await until(lambda: not psutil.pid_exists(first["pid"]))
    again = await ran(runner, ask("count"))
    assert again["steps"] == 1


async def test_one_that_does_not_take_its_next_step_is_replaced_and_costs_nobody_an_attempt(
    runner, ask
):
    first = await ran(runner, ask("hold-everything"))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    again = await ran(runner, ask("count"))
    assert again["steps"] == 1
    assert time.monotonic() - began > 5, "it was given time to take it"
    assert not psutil.pid_exists(first["pid"])


async def test_descriptors_that_it_passes_to_the_fork_server_are_dropped(runner, ask):
    await ran(runner, ask("count"))
    [worker] = workers()
    server = worker.ppid()
    before = fds(server)
    done = await runner.run(ask("pass-descriptors", seconds=30))
    assert done.ending is Ending.FAILED
    await ran(runner, ask("count"))
    assert fds(server) == before


async def test_one_that_closes_its_line_is_replaced(runner, ask):
    first = await ran(runner, ask("count"))
    await runner.run(ask("close-the-line", seconds=30))
    assert (await ran(runner, ask("count")))["pid"] != first["pid"]


async def test_its_processor_time_is_watched_whatever_it_closes_or_ignores(runner, ask):
    limits = StepLimits(cpu_seconds=1)
    began = time.monotonic()
    done = await runner.run(ask("close-the-line-and-spin", limits=limits, seconds=300))
    assert done.code == "timed-out", done
    assert time.monotonic() - began < 200


async def test_it_never_answers_twice(runner, ask):
    done = await runner.run(ask("answer-twice"))
    assert (done.ending, done.code) == (Ending.FAILED, "bad-output"), done


async def test_an_answer_to_a_step_that_has_ended_reaches_nobody(runner, ask):
    before = await ran(runner, ask("answer-late"))
    facts = await ran(runner, ask("use-the-old-answer"))
    assert facts["pid"] == before["pid"]
    assert facts["late"] == ["BrokenPipeError"]
    assert (await ran(runner, ask("count")))["steps"] == 3


async def test_what_it_says_of_its_confinement_later_is_no_verdict(runner, ask):
    await ran(runner, ask("count"))
    verdicts = dict(runner.confinement)
    done = await runner.run(ask("claim-confinement"))
    assert (done.ending, done.code) == (Ending.FAILED, "bad-output"), done
    assert runner.confinement == verdicts
