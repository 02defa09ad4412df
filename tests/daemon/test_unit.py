"""The unit: systemd understands all of it, it confines, and it fits what the daemon does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archived.daemon.daemon import GRACE, HEARTBEAT
from archived.errors import ConfigError, PluginError

UNIT = Path(__file__).parents[2] / "systemd" / "archived.service"

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def _settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@analyze
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path):
    # The program is wherever it is installed here; systemd looks whether it is there.
    here = str(Path(sys.executable).parent / "archived")
    copy = tmp_path / "archived.service"
    copy.write_text(UNIT.read_text().replace("/usr/bin/archived", here))
    done = subprocess.run(
        ["systemd-analyze", "verify", copy], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@analyze
def test_the_exposure_is_low():
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=12", UNIT],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    print(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout


@analyze
def test_the_unit_lets_steps_confine_themselves():
    """Names of calls, as this machine's systemd understands the unit's filter."""
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
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
        "prctl", "prlimit64", "kill", "landlock_create_ruleset", "landlock_add_rule",
        "landlock_restrict_self", "seccomp", "ioctl", "poll", "socketpair", "sendmsg", "recvmsg",
    }  # fmt: skip
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
