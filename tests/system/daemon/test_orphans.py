"""What a step started and hid outlives neither its fork server nor a step beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.daemon.patience import be_impatient

PLUGIN = """
import json, os, time
from archived.api import *


class Options(StageConfig):
    pass


class Hides(Stage[Options]):
    name = "hides"
    version = "1"
    needs = Needs(attempts=9)

    def run(self, document, context):
        if document.originals[0].path.read_text().startswith("nothing"):
            return Result()
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            # Another session, another parent, another name, and no environment to be found by.
            os.execve("/bin/sleep", ["sleep", "12345"], {})
        while True:
            time.sleep(1)


@hookimpl
def register_stages(register):
    register(Hides)
"""


def sleepers() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            except OSError:
                continue
            if words[:2] == [b"sleep", b"12345"] and not dead:
                found.add(int(entry.name))
    return found


def test_a_hidden_grandchild_ends_with_a_fork_server_that_is_killed(box: Any) -> None:
    box.plugin("hides", PLUGIN)
    box.tables["pipeline.paper"] = {"stages": ["hides", "seal"]}
    before = sleepers()
    be_impatient(box, 0.2)
    box.start()
    box.drop("a.txt", text="a")
    [hidden] = box.until(lambda: sleepers() - before, "hidden")
    [server] = box.fork_servers()
    # A process of several threads that forks is warned of by Python 3.12 and later.
    assert "Threads:\t1\n" in Path(f"/proc/{server}/status").read_text()
    os.kill(server, signal.SIGKILL)
    try:
        box.until(lambda: hidden not in sleepers(), "it ended", 30)
        box.until(lambda: not Path(f"/proc/{hidden}").exists(), "nothing waits for it", 30)
    finally:
        for pid in sleepers() - before:
            if pid == hidden:
                os.kill(pid, signal.SIGKILL)
    box.drop("b.txt", text="nothing")
    box.sealed("b.txt")
    box.end()
    assert not sleepers() - before


SCRIPT = """
import json, os, subprocess, sys
from archived.engine.sandbox.confinement import adopt_orphans
from archived.engine.sandbox import syscalls
from archived.engine.processes import kill_adopted
adopt_orphans()
own = subprocess.Popen(["sleep", "54321"])
orphan = "import os, sys\\nif os.fork(): os._exit(0)\\nos.execv('/bin/sleep', ['sleep', '54321'])"
confined = (
    "from archived.engine.sandbox import syscalls\\n"
    "syscalls.prctl(38, 1)\\n" + orphan
)
for each in (orphan, confined):
    subprocess.run([sys.executable, "-c", each], check=True)
left = lambda: sorted(int(c) for t in os.listdir("/proc/self/task")
    for c in open(f"/proc/self/task/{t}/children").read().split())
before = left()
killed = kill_adopted(20)
after = left()
print(json.dumps([len(before), killed, len(after), own.pid in after]))
own.kill()
for pid in after:
    os.kill(pid, 9)
"""


@pytest.mark.skipif(
    "NoNewPrivs:\t1" in Path("/proc/self/status").read_text(),
    reason="every process is confined here, as a step is",
)
def test_only_what_is_confined_more_than_we_are_is_killed() -> None:
    """A process that we started, or that a plug-in of ours left, is not a step's."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [3, 1, 2, True]
