"""The rig's other faults, a few rounds of each, with the real daemon; `./run fault` does more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.fault import run as rig
from tools.fault.machine import Skipped

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    ("fault", "rounds"),
    [("power-ext4", 2), ("calls", 3), ("full-bytes", 1), ("catalog", 3)],
)
def test_nothing_is_lost_and_nothing_doubled_when(fault: str, rounds: int, tmp_path: Path) -> None:
    try:
        found = rig.run(tmp_path / "rig", only=fault, rounds=rounds, seed=20260302)
    except Skipped as why:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"{fault}: {why}")
        pytest.skip(f"{fault}: {why}")

    assert (found.lost, found.doubled, found.disagreements) == (0, 0, [])
    assert found.dropped > 0
