"""No process outlives its step, its deadline, its fork server or the daemon."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from archived.engine.worker.forkserver_client import LaneSetup
from archived.engine.worker.runner import LocalRunner
from archived.errors import PluginError
from archived.model.outcome import Ending

LONGER = (1.0, 5.0, 25.0)
"""Deadlines, one after the other: a busy machine may need more than a second to start a child."""


async def test_at_the_deadline_the_step_dies_with_all_it_started(runner, ask, tmp_path, mentioning):
    for seconds in LONGER:
        request = ask("hang", seconds=seconds, text=str(tmp_path))
        began = time.monotonic()
        done = await runner.run(request)
        assert (done.ending, done.code) == (Ending.FAILED, "timed-out"), done
        assert time.monotonic() - began < seconds + 10, "it sleeps for a quarter of an hour"
        assert mentioning(request.folder) == [], "also those that made a session of their own"
        if (tmp_path / "ready").exists():
            break
    assert (tmp_path / "ready").exists(), "it had started its children"


async def test_what_a_finished_step_leaves_running_is_killed_before_its_end_is_told(
    runner, ask, tmp_path, mentioning
):
    neighbour = asyncio.create_task(runner.run(ask("wait", text=str(tmp_path))))
    request = ask("orphans", text=str(tmp_path))
    done = await runner.run(request)
    assert done.ending is Ending.FINISHED, done
    assert mentioning(request.folder) == []
    (tmp_path / "go").touch()
    assert (await neighbour).ending is Ending.FINISHED, "the neighbour's step went on"


async def test_fifty_steps_one_after_another_leak_nothing(servers, runner, ask):
    gc.collect()  # what other tests left open shall not be closed while we count
    fds = _fds(os.getpid())
    [server] = servers()
    theirs = _fds(server)
    costs = []
    for _ in range(50):
        done = await runner.run(ask("finish"))
        assert done.ending is Ending.FINISHED, done
        costs.append(done.usage.wall)
    print(f"a step's own cost: {min(costs) * 1000:.1f} to {max(costs) * 1000:.1f} ms")
    assert _fds(os.getpid()) == fds
    assert _fds(server) == theirs
    assert _children_of(server) == []


async def test_only_the_named_stages_have_their_modules_loaded_in_advance(plugin, ask):
    for names, loaded in ((None, True), (["odd"], True), (["other"], False)):
        runner = LocalRunner("cpu", 1, plugin, LaneSetup(preload=names))
        await runner.start()
        done = await runner.run(ask("preloaded"))
        await runner.stop()
        assert done.facts == {"loaded": loaded}


async def test_no_more_than_width_run_at_once(plugin, ask, tmp_path):
    runner = LocalRunner("cpu", 3, plugin)
    await runner.start()
    most = 0

    async def one() -> Ending:
        nonlocal most
        done = await runner.run(ask("finish"), on_progress=lambda _: count())
        return done.ending

    def count() -> None:
        nonlocal most
        most = max(most, len(runner.running))

    endings = await asyncio.gather(*(one() for _ in range(8)))
    await runner.stop()
    assert endings == [Ending.FINISHED] * 8
    assert 1 < most <= 3


async def test_a_cancelled_step_is_put_back(runner, ask, tmp_path, mentioning):
    request = ask("hang", text=str(tmp_path))
    running = asyncio.create_task(runner.run(request))
    await _until((tmp_path / "ready").exists)
    await runner.cancel(request.step)
    assert (await running).ending is Ending.REQUEUED
    assert mentioning(request.folder) == []
    await runner.cancel("no such step")


async def test_stopping_puts_running_steps_back_and_takes_no_more(
    servers, plugin, ask, tmp_path, mentioning
):
    runner = LocalRunner("cpu", 2, plugin)
    await runner.start()
    request = ask("hang", text=str(tmp_path))
    running = asyncio.create_task(runner.run(request))
    await _until((tmp_path / "ready").exists)
    [server] = servers()
    await runner.stop(grace=0.1)
    done = await running
    assert (done.ending, done.code) == (Ending.REQUEUED, "shutdown")
    assert (await runner.run(ask("finish"))).ending is Ending.REQUEUED
    assert mentioning(request.folder) == []
    assert not _exists(server)


async def test_stopping_lets_a_step_end_within_the_grace(plugin, ask, tmp_path):
    runner = LocalRunner("cpu", 1, plugin)
    await runner.start()
    running = asyncio.create_task(runner.run(ask("wait", text=str(tmp_path))))
    await _until((tmp_path / "ready").exists)
    stopping = asyncio.create_task(runner.stop(grace=20))
    (tmp_path / "go").touch()
    await stopping
    assert (await running).ending is Ending.FINISHED


async def test_a_killed_fork_server_comes_back_and_costs_an_attempt_only_who_had_it_alone(
    servers, runner, ask, tmp_path, mentioning
):
    for ending in (Ending.REQUEUED, Ending.FAILED, Ending.FAILED):
        request = ask("hang", text=str(tmp_path))
        shared = servers()
        running = asyncio.create_task(runner.run(request))
        await _until((tmp_path / "ready").exists)
        own = [pid for pid in servers() if pid not in shared] or shared
        assert (own == shared) == (ending is Ending.REQUEUED), "a suspect has one of its own"
        os.kill(own[0], signal.SIGKILL)
        done = await running
        assert (done.ending, done.code) == (ending, "runner-lost"), done
        assert mentioning(request.folder) == [], "also what had left its group"
        (tmp_path / "ready").unlink()
        other = ask("finish", document="doc-2")
        assert (await runner.run(other)).ending is Ending.FINISHED
    shared = servers()
    assert (await runner.run(ask("finish"))).ending is Ending.FINISHED
    assert servers() == shared, "the suspect's own is gone"
    assert not runner._suspects, "it has ended well"


async def test_who_ran_beside_the_one_that_kills_fork_servers_pays_for_nothing(
    servers, runner, ask, tmp_path
):
    """As if one of three took the fork server with it: all are tried again, each by itself."""
    ready, endings = [], {}
    for name in ("a", "b", "guilty"):
        place = tmp_path / name
        place.mkdir()
        ready.append(asyncio.create_task(runner.run(ask("wait", text=str(place), document=name))))
        await _until((place / "ready").exists)
    [server] = servers()
    os.kill(server, signal.SIGKILL)
    assert {(await each).ending for each in ready} == {Ending.REQUEUED}
    for name in ("a", "b", "guilty"):
        place, shared = tmp_path / name, servers()
        (place / "ready").unlink()
        again = asyncio.create_task(runner.run(ask("wait", text=str(place), document=name)))
        await _until((place / "ready").exists)
        if name == "guilty":
            os.kill(max(set(servers()) - set(shared)), signal.SIGKILL)
        else:
            (place / "go").touch()
        endings[name] = (await again).ending
    assert endings == {"a": Ending.FINISHED, "b": Ending.FINISHED, "guilty": Ending.FAILED}


async def test_a_line_that_breaks_in_the_daemon_ends_its_fork_server_and_the_lane_goes_on(
    servers, runner, ask, tmp_path, caplog
):
    running = asyncio.create_task(runner.run(ask("wait", text=str(tmp_path))))
    await _until((tmp_path / "ready").exists)
    [server] = servers()
    [server] = runner._servers.living
    broken = server._hear
    server._hear = lambda message: broken({"of": "another shape"})
    await runner.cancel("step-1")  # whose end is the message that breaks it
    assert (await running).code == "runner-lost"
    assert any(getattr(r, "action", "") == "runner-failed" for r in caplog.records)
    assert not _exists(server)
    assert (await runner.run(ask("finish", document="doc-2"))).ending is Ending.FINISHED
    assert runner.restarts == 1


async def test_a_stuck_fork_server_does_not_hold_up_the_deadline_for_ever(
    servers, runner, ask, tmp_path, monkeypatch
):
    monkeypatch.setattr("archived.engine.worker.runner.GRACE", 0.5)
    [server] = servers()
    for seconds in LONGER:
        request = ask("hang", seconds=seconds, text=str(tmp_path))
        running = asyncio.create_task(runner.run(request))
        await _until((tmp_path / "ready").exists)
        os.kill(server, signal.SIGSTOP)
        if datetime.now(UTC) < request.deadline:
            break
        os.kill(server, signal.SIGCONT)  # it was too late: nothing was left to be held up
        await running
        (tmp_path / "ready").unlink()
    done = await running
    assert (done.ending, done.code) == (Ending.REQUEUED, "runner-lost")


async def test_when_no_process_can_be_forked_only_that_step_pays(servers, plugin, ask, tmp_path):
    runner = LocalRunner("cpu", 2, plugin)
    await runner.start()
    neighbour = asyncio.create_task(runner.run(ask("wait", text=str(tmp_path))))
    await _until((tmp_path / "ready").exists)
    [server] = servers()
    fds = _fds(server)
    before = resource.prlimit(server, resource.RLIMIT_NOFILE)
    resource.prlimit(server, resource.RLIMIT_NOFILE, (_room_for(3, server), before[1]))
    done = await runner.run(ask("finish"))
    assert (done.ending, done.code) == (Ending.POSTPONED, "runner-lost"), "the world's fault"
    assert "no process could be started" in done.message
    await _until(lambda: _fds(server) == fds)  # it closes them after it has answered
    resource.prlimit(server, resource.RLIMIT_NOFILE, before)
    assert (await runner.run(ask("finish"))).ending is Ending.FINISHED
    (tmp_path / "go").touch()
    assert (await neighbour).ending is Ending.FINISHED
    await runner.stop()


async def test_a_plugin_that_cannot_be_loaded_stops_the_start_with_its_name(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import no_such_library\n")
    runner = LocalRunner("cpu", 1, [{"name": "bad", "file": str(bad)}])
    with pytest.raises(PluginError, match=r"'bad'.*no_such_library"):
        await runner.start()
    await runner.stop()


async def test_a_fork_server_that_dies_at_its_start_is_said_to(tmp_path, ask):
    bad = tmp_path / "bad.py"
    bad.write_text("import os\nos._exit(7)\n")
    runner = LocalRunner("cpu", 1, [{"name": "bad", "file": str(bad)}])
    with pytest.raises(PluginError, match="status 7"):
        await runner.start()
    done = await runner.run(ask("finish"))
    assert (done.ending, done.code) == (Ending.POSTPONED, "runner-lost"), "no attempt is used up"
    await runner.stop()


DAEMON = """
import asyncio, json, sys
from archived.engine.protocol import StepRequest
from archived.engine.worker.runner import LocalRunner

async def main():
    runner = LocalRunner("cpu", 2, json.loads(sys.argv[1]))
    await runner.start()
    await runner.run(StepRequest.from_json(json.loads(sys.argv[2])))

asyncio.run(main())
"""


def test_when_the_daemon_is_killed_nothing_of_it_survives(
    plugin, ask, tmp_path, eventually, mentioning
):
    import json

    request = ask("hang", seconds=100, text=str(tmp_path))
    argv = [sys.executable, "-c", DAEMON, json.dumps(plugin), json.dumps(request.to_json())]
    daemon = subprocess.Popen(argv)
    eventually((tmp_path / "ready").exists, "the step has started its children")
    [server] = _children_of(daemon.pid)
    before = mentioning(request.folder)
    assert len(before) >= 4, "the step, sleeps in and out of its group, a daemon"
    daemon.kill()
    daemon.wait()
    eventually(lambda: mentioning(request.folder) == [], "every process of the step is gone")
    eventually(lambda: not _exists(server), "the fork server is gone")


def test_when_daemon_and_fork_server_are_killed_together_the_step_dies_too(
    plugin, ask, tmp_path, eventually
):
    import json

    request = ask("wait", seconds=100, text=str(tmp_path))
    argv = [sys.executable, "-c", DAEMON, json.dumps(plugin), json.dumps(request.to_json())]
    daemon = subprocess.Popen(argv)
    eventually((tmp_path / "ready").exists, "the step runs")
    [server] = _children_of(daemon.pid)
    [step] = [pid for pid in _children_of(server) if os.getsid(pid) == pid]
    os.kill(server, signal.SIGSTOP)  # so that it cannot see the daemon's end first
    daemon.kill()
    os.kill(server, signal.SIGKILL)
    daemon.wait()
    eventually(lambda: not _exists(step), "the step's process is gone")


def _exists(pid: int) -> bool:
    """Alive; what only waits for its parent (in a container maybe for ever) is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _fds(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _room_for(more: int, pid: int) -> int:
    """The limit of open files that leaves a process just so many more."""
    used = {int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    free = (number for number in itertools.count() if number not in used)
    return next(itertools.islice(free, more - 1, None)) + 1


@pytest.fixture
def servers() -> Callable[[], list[int]]:
    """The fork servers started since: the testing kit keeps one of its own for the session."""
    before = set(_children_of(os.getpid()))
    return lambda: [pid for pid in _children_of(os.getpid()) if pid not in before]


def _children_of(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


async def _until(condition, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not so within {seconds} seconds"
        await asyncio.sleep(0.005)
