"""What a step is confined to is tried, and what does not hold is said."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import fields

import pytest

from archived.engine import sandbox
from archived.engine.boundary import Limits


async def test_a_step_has_a_network_only_when_it_asked_for_one(runner, ask):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with_network = await runner.run(ask("connect", number=port, limits=Limits(network=True)))
        assert with_network.facts["connected"]
        assert "network" not in runner.confinement, "nobody asked for it to be taken away"
        without = await runner.run(ask("connect", number=port))
    held = runner.confinement["network"]
    assert held.startswith(("yes (", "no ("))
    assert without.facts["connected"] == held.startswith("no"), (without.facts, held)


def test_the_probe_tries_everything_and_says_what_holds():
    done = subprocess.run(
        [sys.executable, "-P", "-m", "archived.engine.probe"], capture_output=True, check=True
    )
    found = json.loads(done.stdout)
    named = {field.name for field in fields(sandbox.Confinement)}
    assert set(found) == named | {"processes"}
    assert all(v == "yes" or v.startswith(("yes (", "no (")) for v in map(found.get, named))
    assert found["processes"].startswith(("yes (", "no (", "not established ("))


TRY = """
import os, socket, sys
from archived.engine import sandbox, syscalls
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
try:
    getattr(sandbox, sys.argv[1])()
except sandbox.NotPermitted as error:
    print("not permitted:", error); raise SystemExit
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


@pytest.mark.parametrize("way", ["_own_network", "_own_user_and_network", "_no_internet_sockets"])
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
    if done.stdout.startswith("not permitted:"):
        pytest.skip(f"the kernel does not permit it here: {done.stdout.strip()}")
    assert done.stdout.startswith("held:"), done
    assert done.stdout.endswith("text True\n")
    assert path.read_text() == "text!"


def test_a_stage_without_permission_to_isolate_is_reported_as_not_isolated(monkeypatch):
    def denied() -> None:
        raise sandbox.NotPermitted(1, "unshare: Operation not permitted")

    for way in ("_own_network", "_own_user_and_network", "_no_internet_sockets"):
        monkeypatch.setattr(sandbox, way, denied)
    verdict = sandbox._without_network()
    assert verdict.startswith("no (network namespace: unshare: Operation not permitted;")
