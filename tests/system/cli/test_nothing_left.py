"""A command that is told to end while its stages look around leaves no process and no folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG = """
[archive]
state = "{root}/state"
[store]
path = "{root}/store"
[control]
socket = "{root}/c.sock"
[hotfolder.scans]
path = "{root}/scans"
pipeline = "paper"
[pipeline.paper]
stages = ["slow", "seal"]
[plugins]
enabled = ["slow"]
folders = ["{root}/plugins"]
"""
SLOW = """
import time
from archived.api import *


class Options(StageConfig):
    pass


class Slow(Stage[Options]):
    name = "slow"
    version = "1"

    def check(self, options):
        time.sleep(300)
        yield "too late"

    def run(self, document, context):
        return Result()


@hookimpl
def register_stages(register):
    register(Slow)
"""


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_told_to_end_it_leaves_nothing_behind(command: str, tmp_path: Path) -> None:
    for name in ("scans", "plugins", "tmp", "state", "store"):
        (tmp_path / name).mkdir(mode=0o755)
    (tmp_path / "plugins" / "slow.py").write_text(SLOW)
    config = tmp_path / "archived.toml"
    config.write_text(CONFIG.format(root=tmp_path))
    program = Path(sys.executable).with_name("archived")
    with subprocess.Popen(
        [program, command, "--config", config],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
    ) as running:
        _until(lambda: list((tmp_path / "tmp").glob("archived-check-*")), running)
        running.terminate()
        assert running.wait(150) == -signal.SIGTERM
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list((tmp_path / "state").iterdir()) == []
    inside = os.fsencode(tmp_path / "tmp")
    assert [pid for pid in _processes() if inside in pid] == []


def _until(condition, running: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + 150
    while not condition():
        assert running.poll() is None, "it ended by itself"
        assert time.monotonic() < ends, "it does not get so far"
        time.sleep(0.02)


def _processes() -> list[bytes]:
    """The environment of every process that may be looked at."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                found.append((entry / "environ").read_bytes())
            except OSError:
                continue
    return found
