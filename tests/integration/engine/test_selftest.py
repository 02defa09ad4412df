"""What a step is confined to is tried, and what does not hold is said."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from archived.engine.protocol import StepLimits
from archived.engine.sandbox import confinement


async def test_a_step_has_a_network_only_when_it_asked_for_one(runner, ask):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with_network = await runner.run(
            ask("connect", number=port, limits=StepLimits(network=True))
        )
        assert with_network.facts["connected"]
        assert "network" not in runner.confinement, "nobody asked for it to be taken away"
        without = await runner.run(ask("connect", number=port))
    held = runner.confinement["network"]
    assert held.startswith(("yes (", "no ("))
    assert without.facts["connected"] == held.startswith("no"), (without.facts, held)


@pytest.mark.parametrize("user", ["same", "ordinary"])
def test_the_probe_tries_everything_and_says_what_holds(user, program):
    found = json.loads(program("-m", "archived.engine.sandbox.selftest", user=user).stdout)
    names = {field.name for field in fields(confinement.Confinement)}
    assert {each["protection"] for each in found} == names | {"tracing", "programs"}
    assert len({each["what"] for each in found}) == len(found) > 50
    for each in found:
        assert each["verdict"].startswith(("yes", "no (", "not established (")), each


@pytest.mark.parametrize("user", ["same", "ordinary"])
def test_the_probe_says_of_tracing_what_a_program_outside_a_step_finds(user, program):
    """Whatever Yama is set to here, a step cannot: Landlock and the filter are not Yama's."""
    found = json.loads(program("-m", "archived.engine.sandbox.selftest", user=user).stdout)
    verdicts = {each["what"]: each["verdict"] for each in found}
    said = verdicts["programs of this user that are no steps cannot trace each other"]
    able = program("-c", TRACE, user=user).stdout.strip() == "traced"
    assert said.startswith("no (" if able else "yes ("), said
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    word = f"ptrace_scope is {scope.read_text().strip()}" if scope.exists() else "has no Yama"
    assert word in said
    for what in (
        "a step cannot trace another process",
        "a step cannot read the memory of another process",
        "a step cannot open the memory of another process",
        "a step cannot read the environment of another process",
    ):
        assert verdicts[what].startswith("yes ("), (what, verdicts[what])


TRACE = """
import os, signal
from archived.engine.sandbox.selftest_acts import call
read, write = os.pipe()
child = os.fork()
if child == 0:
    signal.alarm(30)
    signal.pause()
tracer = os.fork()
if tracer == 0:
    try:
        call("ptrace", 0x4206, child, 0, 0)
        print("traced")
    except OSError as error:
        print(error)
    os.sys.stdout.flush()
    os._exit(0)
os.waitpid(tracer, 0)
os.kill(child, signal.SIGKILL)
"""

LAX = """
import json
from archived.engine.sandbox import seccomp, selftest
seccomp.program = lambda policy, machine="": [(6, 0, 0, 0x7fff0000)]
print(selftest.to_json(selftest.run_selftest()))
"""


def test_the_probe_says_no_where_the_filter_lets_everything_through(program):
    """Without its checks the acts succeed, and are not called refused.

    As an ordinary user: what root started keeps its capabilities, which the step has not.
    """
    user = "ordinary" if os.geteuid() == 0 else "same"
    found = json.loads(program("-c", LAX, user=user).stdout)
    verdicts = {each["what"]: each["verdict"] for each in found}
    for what in (
        "a step cannot change the limits of another process",
        "a step cannot change the priority of another process",
        "a step cannot change another's mode by its path",
        "a step cannot change the mode of its document by a descriptor",
        "a step cannot watch another's folder",
        "a step cannot make a set-uid file",
    ):
        assert verdicts[what] == "no (it was possible all the same)", (what, verdicts[what])


TRY = """
import os, socket, sys
from archived.engine.sandbox import confinement
from archived.engine.protocol import StepLimits
def denied():
    raise confinement.NotPermitted(1, "not now")
for way in ("_own_network", "_own_user_and_network"):
    if way != sys.argv[1]:
        setattr(confinement, way, denied)
held = confinement.confine(StepLimits(), os.getppid(), services=True).network
print(held)
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[2])), 2)
except OSError as error:
    print("held:", error)
else:
    print("ESCAPED")
print(open(sys.argv[3]).read(), os.getuid() == int(sys.argv[4]))
socket.socket(socket.AF_UNIX)
open(sys.argv[3], "a").write("!")
"""


@pytest.mark.parametrize("way", ["_own_network", "_own_user_and_network", "system call filter"])
def test_each_way_to_take_the_network_away_holds_and_leaves_files_alone(way, tmp_path):
    path = tmp_path / "file"
    path.write_text("text")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", TRY, way, port, str(path), str(os.getuid())],
            capture_output=True,
            text=True,
            check=True,
        )
    verdict, tried, last = done.stdout.splitlines()
    assert verdict.startswith("yes (")
    if way.startswith("_") and "filter" in verdict:
        pytest.skip(f"the kernel does not permit it here: {verdict}")
    assert (way in verdict) != way.startswith("_")
    assert tried.startswith("held:"), done
    assert last == "text True"
    assert path.read_text() == "text!"


def test_a_stage_without_permission_to_isolate_is_reported_as_not_isolated():
    done = subprocess.run(
        [sys.executable, "-c", NOTHING], capture_output=True, text=True, check=True
    )
    held = json.loads(done.stdout)
    assert held["network"].startswith("no (network namespace: not now;")
    assert held["services"] == held["calls"] == "no (seccomp: Function not implemented)"


NOTHING = """
import json, os
from archived.engine.sandbox import confinement, seccomp, syscalls
from archived.engine.protocol import StepLimits
def denied(*_):
    raise confinement.NotPermitted(1, "not now")
confinement._own_network = confinement._own_user_and_network = denied
# The kernel is made to answer as one without seccomp does.
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
number = seccomp.number
syscalls.install_filter([
    (0x20, 0, 0, 0), (0x15, 2, 0, number("seccomp")), (0x15, 0, 2, number("prctl")),
    (0x20, 0, 0, 16), (0x15, 1, 0, 22), (6, 0, 0, 0x7fff0000), (6, 0, 0, 0x50026),
])
print(json.dumps(confinement.confine(StepLimits(), os.getppid()).to_json()))
"""


def test_who_has_no_capability_needs_no_call_that_a_hardened_unit_forbids():
    code = """
from archived.engine.sandbox import seccomp, syscalls
syscalls.drop_capabilities()
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
capset = seccomp.number("capset")
syscalls.install_filter([
    (0x20, 0, 0, 0), (0x15, 0, 1, capset), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000),
])
syscalls.drop_capabilities()
print(next(line for line in open("/proc/self/status") if line.startswith("CapPrm")).split()[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "0000000000000000\n")
