"""A step that starts processes without end is stopped by a bound of its own, and nobody else is."""

from __future__ import annotations

import json

import pytest

from archived.engine.protocol import PROCESSES_LIMIT

STEPS = '''
import os, signal, subprocess, threading, time
from pathlib import Path
from archived.api import *

LIFE = 150
"""Seconds after which whatever was started ends by itself, should nothing stop it."""


class Options(StageConfig):
    kind: str
    said: str = ""


class Bomb(Stage[Options]):
    """Every bomb ends: 256 processes or 300 threads at the most."""

    name = "bomb"
    version = "1"
    writes = ("said",)

    def run(self, document, context):
        signal.alarm(LIFE)
        self.folder, self.said = context.folder, Path(context.options.said)
        self.born = os.open(context.folder / "born", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        return getattr(self, context.options.kind)() or Result()

    def group(self):
        for _ in range(8):
            if os.fork() == 0:
                signal.alarm(LIFE)
                os.write(self.born, b"*")
        time.sleep(LIFE)

    def sessions(self):
        for _ in range(8):
            if os.fork() == 0:
                signal.alarm(LIFE)
                os.setsid()
                if os.fork():
                    os._exit(0)
                signal.alarm(LIFE)
                os.write(self.born, b"*")
        time.sleep(LIFE)

    def shell(self):
        script = "i=0; while [ $i -lt 256 ]; do sleep 150 & echo >> born; i=$((i+1)); done; wait"
        subprocess.run(["sh", "-c", script])

    def threads(self):
        threading.stack_size(2**16)
        for _ in range(300):
            threading.Thread(target=time.sleep, args=(LIFE,), daemon=True).start()
            os.write(self.born, b"*")

    def ended(self):
        """Itself is gone before what it left behind goes off."""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                self.group()
            os._exit(0)
        os.wait()

    def neighbour(self):
        """Goes on starting programs and threads until it is told that it is enough."""
        done = 0
        while not self.said.exists():
            subprocess.run(["true"], check=True)
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
            done += 1
        return Result(facts={"done": done})

    def many(self):
        """More births than may live at a time, and nearly as many living as may."""
        for _ in range(200):
            subprocess.run(["true"], check=True)
        enough = threading.Event()
        threads = [threading.Thread(target=enough.wait, args=(LIFE,)) for _ in range(100)]
        for thread in threads:
            thread.start()
        subprocess.run(["true"], check=True)
        enough.set()
        for thread in threads:
            thread.join()


@hookimpl
def register_stages(register):
    register(Bomb)
'''

RUN = """
import asyncio, json, os, sys, tempfile, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
import psutil
from archived.api import Artifact, Role
from archived.engine.protocol import StepDocument, StepRequest
from archived.engine.worker.runner import LocalRunner

def request(place, kind):
    now = datetime.now(UTC)
    original = Artifact(place / "a", "a", "text/plain", Role.ORIGINAL, "ab" * 64, 1)
    folder = place / kind
    folder.mkdir()
    return StepRequest(
        kind, "bomb", {"kind": kind, "said": str(place / "said")},
        StepDocument("doc-1", now, "scans", "a", (original,)), folder, now + timedelta(seconds=150),
    )

async def main(place, kinds):
    (place / "bomb.py").write_text(sys.argv[1])
    (place / "a").write_text("x")
    runner = LocalRunner("cpu", 2, [{"name": "bomb", "file": str(place / "bomb.py")}])
    await runner.start()
    ends = {}
    neighbour = asyncio.create_task(runner.run(request(place, "neighbour")))
    for kind in kinds:
        began = time.monotonic()
        ended = await runner.run(request(place, kind))
        born = place / kind / "born"
        ends[kind] = [ended.ending, ended.code, ended.message, time.monotonic() - began,
                      born.stat().st_size if born.exists() else 0]
    (place / "said").touch()
    ended = await neighbour
    ends["neighbour"] = [ended.ending, ended.code, ended.message, ended.facts.get("done")]
    [server] = psutil.Process().children(recursive=True)  # the fork server, and below it nobody
    held = runner.confinement["processes"]
    await runner.stop()
    print(json.dumps([ends, held]))

with tempfile.TemporaryDirectory(prefix="archived-bomb-", dir="/tmp") as place:
    asyncio.run(main(Path(place), sys.argv[2:]))
"""

BOMBS = ("group", "sessions", "shell", "threads")


@pytest.mark.parametrize("user", ["same", "ordinary"])
def test_a_step_that_starts_processes_without_end_fails_and_its_neighbour_works_on(user, program):
    done = program("-c", RUN, STEPS, *BOMBS, "ended", "many", user=user)
    ends, held = json.loads(done.stdout)
    print(ends)
    assert held == f"yes (at most {PROCESSES_LIMIT}; each is asked for)"
    for kind in BOMBS:
        ending, code, message, seconds, born = ends[kind]
        assert (ending, code) == ("failed", "too-many-processes"), (kind, ends)
        assert str(PROCESSES_LIMIT) in message
        assert seconds < 75, "it was stopped; it did not end by itself"
        assert born < 250, "the whole bomb did not go off"
    assert ends["ended"][0] == "finished"
    assert ends["ended"][4] < 250
    assert ends["many"][:2] == ["finished", ""], "many births are no bomb"
    ending, _, message, rounds = ends["neighbour"]
    assert ending == "finished", message
    assert rounds > 0


def test_a_step_cannot_have_children_where_nobody_counts_them(program):
    done = program("-c", AROUND)
    assert json.loads(done.stdout) == {
        "yes (at most 9; each is asked for)": ["EPERM", "ENOSYS", "ENOSYS"]
    }


AROUND = """
import ctypes, errno, json, os, socket
from archived.engine.sandbox import confinement, process_limit, seccomp_listener, syscalls
from archived.engine.protocol import StepLimits
hand, theirs = socket.socketpair()
parent, limits = os.getpid(), StepLimits(processes=9)
child = os.fork()
if child:
    theirs.close()
    listens, _ = process_limit.take_listener(hand.fileno())
    answers = seccomp_listener.Listener(child, 9)
    try:
        while True:
            answers.answer(listens)
    except EOFError:
        os.waitpid(child, 0)
        raise SystemExit
held = confinement.confine(limits, parent, services=True, hand=theirs.detach()).processes
libc, ends = syscalls.libc(), []
clone = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
for call in ((clone, 0x8000 | 17, 0, 0, 0, 0), (425, 1, 0), (435, 0, 0)):
    if libc.syscall(*call) == 0 and call[0] == clone:
        os._exit(0)
    ends.append(errno.errorcode[ctypes.get_errno()])
print(json.dumps({held: ends}), flush=True)
os._exit(0)
"""

PROBE = """
import json
from archived.engine.sandbox import seccomp, selftest, syscalls
{before}
selftest.adopt_orphans()
print(json.dumps([selftest._bombed().verdict, selftest.own_children()]))
"""
EVERY_BIRTH = """
class Lax(selftest.Listener):
    def answer(self, listener):
        birth = syscalls.next_call(listener)
        if birth is not None:
            syscalls.let_be(listener, birth)
selftest.Listener = Lax
"""
NO_LISTENERS = """
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
syscalls.install_filter([(0x20, 0, 0, 0), (0x15, 0, 1, seccomp.number("seccomp")),
                         (6, 0, 0, 0x50026), (6, 0, 0, 0x7fff0000)])
"""
FEWER = """
import resource
resource.setrlimit(resource.RLIMIT_NPROC, (20, 20))
"""


@pytest.mark.parametrize(
    ("before", "user", "verdict"),
    [
        ("", "same", f"yes (a bomb was stopped; at most {PROCESSES_LIMIT} processes and threads)"),
        ("", "ordinary", "yes (a bomb was stopped; "),
        (EVERY_BIRTH, "same", "no (all 64 processes of a bomb were started)"),
        (NO_LISTENERS, "same", "no (seccomp: Function not implemented)"),
        (FEWER, "ordinary", "not established (a bomb went off only in part: Resource temporarily"),
    ],
    ids=["holds", "holds an ordinary user", "does not hold", "not there", "another was first"],
)
def test_a_bomb_is_tried_and_never_outlives_the_trial(before, user, verdict, program):
    found, left = json.loads(program("-c", PROBE.format(before=before), user=user).stdout)
    assert found.startswith(verdict)
    assert left == []
