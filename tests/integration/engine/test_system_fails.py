"""The system fails the fork server for a moment (strace makes its calls fail): it lives on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from archived.engine.worker.runner import LocalRunner
from archived.model.outcome import Ending

pytestmark = pytest.mark.fault


@pytest.fixture
def server(runner: LocalRunner) -> int:
    """The pid of the runner's fork server."""
    found = [
        process
        for process in psutil.Process().children()
        # Of a process that has ended and is not waited for yet there is no command line.
        if "archived.engine.worker.forkserver" in (process.as_dict(["cmdline"])["cmdline"] or ())
    ]
    # Other tests of this worker may have one of their own that lives on.
    return int(max(found, key=psutil.Process.create_time).pid)


@contextmanager
def failing(pid: int, report: Path, wait: Callable[..., None], *rules: str) -> Iterator[None]:
    """Some of the process's calls fail until the block ends. `rules` are strace's options."""
    with subprocess.Popen(
        ["strace", "-qq", "-o", str(report), *rules, "-p", str(pid)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as strace:
        try:
            status = Path(f"/proc/{pid}/status")
            wait(lambda: f"TracerPid:\t{strace.pid}" in status.read_text(), "strace is attached")
            yield
        finally:
            strace.terminate()


@pytest.mark.parametrize("also", [False, True], ids=["the list", "and every process"])
async def test_a_list_of_children_that_cannot_be_read_ends_no_step_of_others(
    also: bool, runner, ask, server, tmp_path, mentioning, eventually
):
    """What a step left running is still found: another way, or as soon as it can be."""
    broken = [f"/proc/{server}/task/{server}/children", *(["/proc"] if also else [])]
    paths = [part for path in broken for part in ("-P", path)]
    request = ask("orphans", text=str(tmp_path))
    some = "when=1..20" if also else "when=1+"
    with failing(
        server,
        tmp_path / "calls",
        eventually,
        *paths,
        "-e",
        "trace=openat",
        "-e",
        f"inject=openat:error=EIO:{some}",
    ):
        done = await runner.run(request)
    assert "(INJECTED)" in (tmp_path / "calls").read_text()
    assert done.ending is Ending.FINISHED, done
    assert mentioning(request.folder) == []
    assert psutil.pid_exists(server), "the fork server lives"
    assert (await runner.run(ask("finish"))).ending is Ending.FINISHED


async def test_a_process_that_cannot_be_watched_is_no_step_and_its_neighbours_go_on(
    runner, ask, server, tmp_path, eventually
):
    with failing(
        server,
        tmp_path / "calls",
        eventually,
        "-e",
        "trace=pidfd_open",
        "-e",
        "inject=pidfd_open:error=EMFILE:when=1",
    ):
        lost = await runner.run(ask("finish"))
        next_one = await runner.run(ask("finish"))
    assert (lost.ending, lost.code) == (Ending.POSTPONED, "runner-lost"), lost
    assert next_one.ending is Ending.FINISHED
    assert psutil.Process(server).children() == []
