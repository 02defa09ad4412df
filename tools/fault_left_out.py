"""Every fsync left out once, and every mixture of names that a power cut may leave: the complete
form of tests/fault/test_left_out.py and its like for the store.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from fault_judge import ROOT, Outcome

TESTS = ("tests/storage_store/test_crash_states.py", "tests/storage_store/test_store_left_out.py",
         "tests/fault/test_left_out.py")  # fmt: skip
SECONDS = 3600


def left_out(folder: Path, *, rounds: int, seed: int) -> Outcome:
    """Run them; a test that fails is a disagreement."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={SECONDS}",
         f"--basetemp={folder / 'tests'}", *TESTS],
        env={**os.environ, "ARCHIVED_LEFT_OUT": "all", "ARCHIVED_LEFT_OUT_SEED": str(seed)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    if done.returncode != 0 and not failed:
        failed = [f"pytest ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"]
    said = lines[-1] if lines else ""
    return Outcome(rounds, 0, 0, 0, failed, time.monotonic() - began, said)
