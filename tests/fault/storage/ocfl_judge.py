"""The independent judge of a store: ocfl-py, in an environment of its own.

`judge(root, ...)` takes OCFL storage roots (a store's `ocfl` folder) and returns every error and
warning, empty when all are valid. One process judges any number of roots: pass them together.
The environment is `.venv-ocfl` beside `pyproject.toml`, made from `requirements/ocfl.txt`; or
the interpreter named by `ARCHIVED_OCFL_PYTHON`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

_SCRIPT = """
import json, logging, sys
from ocfl import StorageRoot
logging.disable(logging.CRITICAL)
found = []
for root in json.load(sys.stdin):
    store = StorageRoot(root=root)
    valid = store.validate(log_warnings=True, log_errors=False, max_errors=1000)
    said = [f"{root}/{where}: {what}" for where, what in store.errors]
    said += [f"{root}: {line}" for line in store.log.status_str().splitlines() if line.strip()]
    bad = getattr(store, "num_objects", 0) - getattr(store, "good_objects", 0)
    if (not valid or bad) and not said:
        said.append(f"{root}: invalid, {bad} bad objects, {store.num_traversal_errors} odd folders")
    found += said
json.dump(found, sys.stdout)
"""


def judges_python() -> Path:
    """The judge's interpreter. Skips where it is not installed, but fails on a build server."""
    named = os.environ.get("ARCHIVED_OCFL_PYTHON")
    repository = Path(__file__).resolve().parents[3]
    python = Path(named) if named else repository / ".venv-ocfl" / "bin" / "python"
    if not python.exists():
        reason = f"the OCFL judge is not installed at {python}; see requirements/ocfl.in"
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(reason)
        pytest.skip(reason)
    return python


def judge(*roots: Path) -> list[str]:
    """Everything ocfl-py has to say against these storage roots."""
    done = subprocess.run(
        [judges_python(), "-c", _SCRIPT],
        input=json.dumps([str(root) for root in roots]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found
