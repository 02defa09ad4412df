"""The timer of the report: systemd understands it, it is confined, and what it calls is there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archived.cli.archivectl import cli
from archived.cli.client import DEFAULTS

ROOT = Path(__file__).parents[3]
UNIT = ROOT / "systemd" / "archived-report.service"
TIMER = UNIT.with_suffix(".timer")

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def settings() -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))


@analyze
def test_systemd_has_nothing_to_say_about_them(tmp_path: Path):
    here = str(Path(sys.executable).parent / "archivectl")
    (tmp_path / UNIT.name).write_text(UNIT.read_text().replace("/usr/bin/archivectl", here))
    (tmp_path / TIMER.name).write_text(TIMER.read_text())
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / UNIT.name, tmp_path / TIMER.name],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@analyze
def test_its_exposure_is_lower_than_the_daemons():
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=3", UNIT],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


def test_the_timer_runs_on_the_archives_clock():
    """Its morning is the morning after the day that the report calls yesterday."""
    [at] = re.findall(r"^OnCalendar=(.*)$", TIMER.read_text(), re.MULTILINE)
    assert at.split()[-1] == DEFAULTS["archive", "timezone"]


def test_it_calls_a_command_that_is_there_for_a_folder_it_may_write():
    program, command, *words = shlex.split(settings()["ExecStart"])
    assert program == "/usr/bin/archivectl"
    known = {name: option for option in cli.commands[command].params for name in option.opts}
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert set(given) <= set(known)
    folder = given["--into"]
    assert settings()["ReadWritePaths"] == folder
    made = (ROOT / "packaging/debian/archived.tmpfiles").read_text()
    assert re.search(rf"^d {folder} +2750 archived archivists ", made, re.MULTILINE)
    share = (ROOT / "packaging/examples/samba/smb.conf").read_text().partition("[reports]\n")[2]
    assert f"path = {folder}\n" in share
    assert "read only = yes\n" in share
