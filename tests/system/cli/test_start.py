"""What a command loads before it does anything: a person waits for it each time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"aiohttp", "pikepdf", "pydantic", "sqlalchemy", "structlog"}
_LOADED = "import json, sys, {}; print(json.dumps(sorted(sys.modules)))"


@pytest.mark.parametrize("program", ["archivectl", "archived"])
def test_a_program_starts_without_what_single_commands_need(program: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _LOADED.format(f"archived.cli.{program}")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert HEAVY.isdisjoint(json.loads(told))
