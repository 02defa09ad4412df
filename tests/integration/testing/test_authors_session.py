"""What an author sees who tests a plug-in of one file: the results, and no word about archived."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STAGE = """
from archived.api import Result, Stage, hookimpl


class Plain(Stage):
    \"\"\"Does nothing.\"\"\"

    name = "plain"
    version = "1.0"

    def run(self, document, context):
        return Result(facts={"size": document.main.size})


@hookimpl
def register_stages(register):
    register(Plain)
"""
TEST = """
from archived.testing import StageContract, run_stage
from plain import Plain


def test_it_runs(tmp_path):
    (tmp_path / "page.txt").write_text("page")
    assert run_stage(Plain, tmp_path / "page.txt").facts == {"size": 4}


class TestPlain(StageContract):
    stage = Plain
    sample = "tiny.tif"
    reads_content = False
    readme = ""
"""


def test_the_kit_warns_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(STAGE)
    (tmp_path / "test_plain.py").write_text(TEST)
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "not readme",
            f"--rootdir={tmp_path}",
            "test_plain.py",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "default"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "arning" not in ran.stdout + ran.stderr
