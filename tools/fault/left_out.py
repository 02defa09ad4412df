"""Every fsync left out once, and every mixture of names that a power cut may leave: the complete
form of tests/fault/test_left_out.py and its like for the store.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.fault.judge import ROOT, Outcome

TESTS = (
    "tests/fault/storage/test_crash_states.py",
    "tests/fault/storage/test_store_left_out.py",
    "tests/fault/test_left_out.py",
)
SECONDS = 3600


def left_out(folder: Path, *, rounds: int, seed: int) -> Outcome:
    """Run them; a test that fails is a disagreement."""
    began = time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--timeout={SECONDS}",
            f"--basetemp={folder / 'tests'}",
            *TESTS,
        ],
        env={**os.environ, "ARCHIVED_LEFT_OUT": "all", "ARCHIVED_LEFT_OUT_SEED": str(seed)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    if done.returncode != 0 and not failed:
        failed = [f"pytest ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"]
    said = f"{lines[-1] if lines else ''}; {_block_log()}"
    return Outcome(rounds, 0, 0, 0, failed, time.monotonic() - began, said)


def _block_log() -> str:
    """Whether this kernel could record the writes of a whole block device; the rig does not ask it
    to: the trees come from the rules of fsync(2) instead (`crash_states`).
    """
    asked = shutil.which("dmsetup")
    if asked is None:
        return "dm-log-writes was not used: there is no dmsetup here"
    found = subprocess.run([asked, "targets"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return "dm-log-writes was not used: this kernel has no device mapper"
    if "log-writes" not in found.stdout:
        return "dm-log-writes was not used: this kernel does not have it"
    return "dm-log-writes was not used, though this kernel has it"
