"""The unit: systemd understands all of it, it confines, and it fits what the daemon does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archived.daemon import wiring
from archived.daemon.daemon import GRACE, HEARTBEAT
from archived.engine.worker import forkserver, handover
from archived.errors import ConfigError, PluginError

UNIT = Path(__file__).parents[3] / "systemd" / "archived.service"

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


WORKER = UNIT.with_name("archived-worker@.service")
SOCKET = UNIT.with_name("archived-worker.socket")


def _settings(unit: Path = UNIT) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@analyze
@pytest.mark.parametrize("unit", [UNIT, SOCKET, WORKER], ids=lambda unit: unit.name)
def test_systemd_has_nothing_to_say_about_the_unit(unit, tmp_path):
    # The programs are wherever they are installed here; systemd looks whether they are there.
    here = str(Path(sys.executable).parent / "archived")
    for each in (UNIT, SOCKET, WORKER):
        text = each.read_text().replace("/usr/bin/archived", here)
        text = text.replace("/usr/bin/archivectl", f"{Path(here).parent}/archivectl")
        text = text.replace("/usr/lib/archived/bin/python3", sys.executable)
        (tmp_path / each.name).write_text(text)
    name = unit.name.replace("@", "@1")
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / name],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@analyze
@pytest.mark.parametrize("unit", [UNIT, WORKER], ids=lambda unit: unit.name)
def test_the_exposure_is_low(unit, tmp_path):
    plain = tmp_path / unit.name.replace("@", "")  # an instance needs a systemd that runs
    plain.write_text(unit.read_text())
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=12", plain],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    print(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout


def test_the_unit_of_the_steps_fits_that_of_the_service_and_the_program():
    unit, worker, socket = _settings(), _settings(WORKER), _settings(SOCKET)
    [folder] = [e.partition("=")[2] for e in unit["Environment"] if e.startswith(wiring.WORKERS)]
    assert socket["ListenSequentialPacket"] == [f"{folder}/socket"]
    assert (socket["Accept"], socket["SocketMode"]) == (["yes"], ["0600"])
    assert socket["SocketUser"] == unit["User"]
    assert worker["ExecStart"][0].split()[-3:] == [forkserver.__name__, "3", *unit["User"]], (
        "whom it serves"
    )
    assert worker["ExecStopPost"][0].split()[-3:] == [
        handover.__name__,
        "${ARCHIVED_WORK}",
        *unit["User"],
    ]
    assert worker["DynamicUser"] == ["yes"]
    assert worker["User"] == ["steps-%i"], "else all instances have one"
    assert "LoadCredential" not in WORKER.read_text(), "secrets are handed over one by one"
    assert int(worker["WatchdogSec"][0]) > forkserver.START_SECONDS
    same = ("CapabilityBoundingSet", "SystemCallFilter", "IPAddressDeny", "RestrictNamespaces")
    for key in same:
        wanted = [value for value in unit[key] if value != "@chown"]
        assert worker[key] == wanted, key
    assert {"archived-worker.socket"} <= set(unit["Requires"]) & set(unit["After"][0].split())


@analyze
def test_the_unit_lets_steps_confine_themselves():
    """Names of calls, as this machine's systemd understands the unit's filter."""
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    groups: dict[str, list[str]] = {}
    for line in told.stdout.splitlines():
        if line.startswith("@"):
            groups[line] = inside = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            inside.append(line.strip())

    def calls(names: list[str]) -> set[str]:
        return set().union(*(calls(groups[n]) if n in groups else {n} for n in names))

    allowed: set[str] = set()
    for line in _settings()["SystemCallFilter"]:
        names = calls(line.removeprefix("~").split())
        allowed = allowed - names if line.startswith("~") else allowed | names
    assert allowed >= {
        "prctl",
        "prlimit64",
        "kill",
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
        "seccomp",
        "ioctl",
        "poll",
        "socketpair",
        "sendmsg",
        "recvmsg",
    }
    assert not allowed & {"mount", "ptrace", "bpf", "init_module"}


def test_the_unit_fits_the_daemon():
    unit = _settings()
    assert unit["Type"] == ["notify"]
    assert unit["NotifyAccess"] == ["main"]
    assert int(unit["WatchdogSec"][0]) >= 10 * HEARTBEAT
    assert int(unit["TimeoutStopSec"][0]) >= 2 * GRACE, (
        "else running steps are killed, not put back"
    )
    assert unit["KillMode"] == ["mixed"], "SIGTERM for the daemon alone: it sees to its children"
    assert unit["Restart"] == ["on-failure"]
    status = {str(ConfigError.exit_status), str(PluginError.exit_status)}
    assert set(unit["RestartPreventExitStatus"]) == status
    assert unit["OOMPolicy"] == ["continue"]
    assert "#LoadCredential=" in UNIT.read_text()
    assert unit["ReadWritePaths"][0].split() == ["-/srv/archived"]
