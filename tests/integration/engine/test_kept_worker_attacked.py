"""A kept worker attacked by somebody who came later: no document pays for the one before it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from archived.engine.protocol import StepLimits
from archived.model.outcome import Ending
from archived.storage import tree
from tests.integration.engine import kept_runner
from tests.integration.engine.kept_runner import ran, ready, until

runner, spool, ask = kept_runner.runner, kept_runner.spool, kept_runner.ask


async def test_who_waits_for_the_worker_loses_nothing_of_its_time(runner, ask):
    requests = [ask("take", seconds=3, takes=1.2) for _ in range(4)]
    done = await asyncio.gather(*(runner.run(request) for request in requests))
    assert [one.code for one in done] == [""] * 4, "the last one waits for longer than it may take"
    assert sorted(one.facts["steps"] for one in done) == [1, 2, 3, 4]


async def test_what_a_steps_children_have_computed_is_not_charged_to_the_next(runner, ask):
    limits = StepLimits(cpu_seconds=2)
    for _ in range(2):
        first = await ran(runner, ask("compute-below", limits=limits, takes=1.5))
    done = await runner.run(ask("take", limits=limits, takes=1.5))
    assert done.ending is Ending.FINISHED, done
    assert done.facts["pid"] == first["pid"]
    assert done.usage.cpu < 1, done.usage


async def test_what_a_library_in_c_printed_is_in_the_log_of_its_own_step(runner, ask):
    said = []
    first = ask("print-in-c")
    await runner.run(first, None, said.append)
    await runner.run(ask("print-much-in-c"), None, said.append)
    assert said[0] == f"printed in C by {first.document.id}\n"
    assert first.document.id not in said[1]


async def test_a_file_returned_by_a_way_beside_its_folder_is_written_nowhere(runner, ask, tmp_path):
    done = await runner.run(ask("lead-out", outside=str(tmp_path)))
    assert (done.ending, done.code) == (Ending.FAILED, "bad-output"), done
    assert list(tmp_path.iterdir()) == []


async def test_a_step_that_was_not_begun_returns_its_files_all_the_same(runner, ask):
    """And not what the worker before had put in their place."""
    request = ask("forge-the-next", next="step-2")
    first = await ran(runner, request)
    [kept] = (request.folder.parent).glob("kept-*")
    await until((kept / "steps" / "step-2" / "a.txt").exists)
    second = ask("make")
    done = await runner.run(second)
    assert done.ending is Ending.FINISHED, done
    [made] = done.made
    assert (second.folder / made.path).read_text() == f"of {second.document.id}"
    assert not psutil.pid_exists(first["pid"])


@pytest.mark.parametrize("do", ["stop-while-idle", "litter-descriptors", "die-while-idle"])
async def test_who_comes_after_one_that_cannot_take_a_step_has_a_new_one_and_its_files(
    runner, ask, do
):
    first = await ran(runner, ask(do))
    stopped = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    if do.endswith("idle"):
        await until(
            lambda: (
                not psutil.pid_exists(first["pid"])
                or psutil.Process(first["pid"]).status() in stopped
            )
        )
    request = ask("make")
    done = await runner.run(request)
    assert done.ending is Ending.FINISHED, done
    assert (request.folder / done.made[0].path).read_text() == f"of {request.document.id}"
    assert not psutil.pid_exists(first["pid"])


async def test_a_process_without_mark_session_parent_or_name_is_killed_all_the_same(
    runner, ask, spool
):
    first = await ran(runner, ask("escape"))
    left = [p for p in psutil.process_iter() if str(spool) in " ".join(_words(p))]
    assert left == []
    assert (await ran(runner, ask("count")))["pid"] == first["pid"]


async def test_its_fork_server_without_a_descriptor_to_spare_goes_on(runner, ask):
    first = await ran(runner, ask("count"))
    server = psutil.Process(first["pid"]).parent()
    limit = server.rlimit(psutil.RLIMIT_NOFILE)
    request = ask("leave-processes-and-wait")
    running = asyncio.create_task(runner.run(request))
    await until(lambda: ready(request.folder.parent))
    server.rlimit(psutil.RLIMIT_NOFILE, (3, limit[1]))
    await asyncio.sleep(3)
    server.rlimit(psutil.RLIMIT_NOFILE, limit)
    assert (await running).ending is Ending.FINISHED
    assert server.is_running()
    assert (await ran(runner, ask("count")))["pid"] == first["pid"]


async def test_zombies_that_a_step_left_are_no_processes_of_the_next(runner, ask):
    first = await ran(runner, ask("leave-zombies", many=100))
    again = await ran(runner, ask("leave-zombies", many=100))
    assert again["pid"] == first["pid"]


async def test_a_process_that_a_step_has_spoilt_costs_the_next_nothing(runner, ask):
    await ran(runner, ask("spoil-the-process"))
    said = []
    request = ask("surroundings")
    done = await runner.run(request, None, said.append)
    assert done.ending is Ending.FINISHED, done
    assert Path(done.facts["cwd"]).name == request.folder.name
    assert done.facts["temporary"].startswith(done.facts["cwd"])
    assert done.facts["mode"] == 0o600
    assert said == ["heard\n"]


async def test_a_tree_that_nobody_can_walk_by_its_path_is_taken_out_and_the_worker_goes_on(
    runner, ask, spool
):
    request = ask("deep-tree")
    first = await ran(runner, request)
    tree.remove(request.folder, seconds=60)  # which no other tool of the tests could
    again = await ran(runner, ask("list-beside"))
    assert again["pid"] == first["pid"]
    assert len(again["beside"]) == 1


async def test_to_cancel_a_step_that_has_ended_disturbs_no_other(runner, ask):
    request = ask("count")
    first = await ran(runner, request)
    await runner.cancel(request.step)
    running = asyncio.create_task(runner.run(ask("take", takes=0.5)))
    await runner.cancel(request.step)
    assert (await running).facts["pid"] == first["pid"]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
