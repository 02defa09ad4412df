"""Who may connect to the control socket takes neither descriptors nor answers from the work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archived.observe.control import Control

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def control(folder: Path) -> Control:
    setting = SimpleNamespace(socket=folder / "c.sock", group=None)
    daemon = SimpleNamespace(ask=lambda question, _: {"asked": question})
    return Control(setting, daemon)


def connect(path: Path) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(10)
    line.connect(str(path))
    return line


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def ask(path: Path) -> Any:
    with connect(path) as line:
        line.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := line.recv(65536):
            answer += piece
    return json.loads(answer.partition(b"\r\n\r\n")[2])


async def test_a_thousand_idle_connections_take_few_descriptors(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    path = tmp_path / "c.sock"
    with contextlib.ExitStack() as kept:
        async with control(tmp_path):
            before = descriptors()
            for _ in range(1000):
                kept.enter_context(await asyncio.to_thread(connect, path))
            assert await asyncio.to_thread(ask, path) == {"asked": "status"}
            theirs = 1000
            assert descriptors() - before - theirs <= 100


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that another user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@AS_ROOT
async def test_who_opens_many_keeps_no_other_user_out(open_folder: Path) -> None:
    """The oldest of the user who has most is closed, not that of the one who asks."""
    folder = open_folder
    path = folder / "c.sock"
    async with control(folder):
        path.chmod(0o666)
        mine = await asyncio.to_thread(connect, path)
        opener = await asyncio.create_subprocess_exec(
            "python3",
            "-c",
            "import os, socket, sys\n"
            "os.setuid(12345)\n"
            "lines = [socket.socket(socket.AF_UNIX) for _ in range(200)]\n"
            "for line in lines: line.connect(sys.argv[1])\n"
            "print('open', flush=True); sys.stdin.read()",
            str(path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert opener.stdout is not None
            assert await asyncio.wait_for(opener.stdout.readline(), 30) == b"open\n"
            assert await asyncio.to_thread(ask, path) == {"asked": "status"}
            mine.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b"200" in await asyncio.to_thread(mine.recv, 4096), "the first is open still"
        finally:
            with contextlib.suppress(ProcessLookupError):
                opener.kill()
            await opener.wait()
            mine.close()
