"""What a right configuration names and the machine lacks: told, with the command that makes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECK = [str(Path(sys.executable).with_name("archived")), "--json", "check", "--no-stages"]
CONFIG = """
[archive]
state = "{folder}/state"
[store]
path = "{folder}/store"
[spool]
keep_free = "{free}"
[hotfolder.scans]
path = "{folder}/new scans"
pipeline = "paper"
[hotfolder.later]
path = "{folder}/later"
pipeline = "paper"
enabled = false
[pipeline.paper]
stages = ["seal", "replicate"]
[stage.replicate]
to = ["second"]
[target.second]
kind = "directory"
path = "{folder}/second/copies"
allow_same_filesystem = true
[plugins]
enabled = ["replicate"]
folders = []
"""


def checked(folder: Path, free: str = "1 MiB") -> dict[str, Any]:
    config = folder / "archived.toml"
    config.write_text(CONFIG.format(folder=folder, free=free))
    config.chmod(0o644)
    ran = subprocess.run([*CHECK, "--config", config], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def test_the_commands_it_names_make_what_is_missing(tmp_path: Path) -> None:
    before = checked(tmp_path)["missing"]
    assert [each["what"].split(":")[0] for each in before] == [
        "hotfolder.scans.path",
        "target.second.path",
    ]
    for each in before:
        subprocess.run(each["command"], shell=True, check=True)
    assert (tmp_path / "new scans").is_dir()
    assert (tmp_path / "second" / "copies").is_dir()
    assert checked(tmp_path)["missing"] == []


def test_a_disk_that_is_smaller_than_what_must_stay_free_is_told_before_the_first_scan(
    tmp_path: Path,
) -> None:
    [*_folders, room] = checked(tmp_path, free="4000 TiB")["missing"]
    assert "nothing is ever taken in" in room["what"]
    assert room["command"] == ""


@pytest.mark.parametrize("language", ["C", "vi_VN.UTF-8"])
def test_a_person_reads_the_command_below_the_warning(tmp_path: Path, language: str) -> None:
    checked(tmp_path)
    words = [word for word in CHECK if word != "--json"]
    ran = subprocess.run(
        [*words, "--config", tmp_path / "archived.toml"],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": language},
    )
    lines = ran.stdout.splitlines()
    warned = next(i for i, line in enumerate(lines) if "hotfolder.scans.path" in line)
    assert lines[warned + 1].strip().endswith(f"'{tmp_path}/new scans'")
    assert ("chưa có thư mục" in lines[warned]) == (language != "C")
