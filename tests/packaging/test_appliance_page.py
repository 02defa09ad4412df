"""The page about the whole appliance's test says what the test tries."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "appliance.md"


def test_the_page_lists_every_promise_in_the_order_they_are_tried(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.syspath_prepend(ROOT / "tools")
    # By its file: a module of other tests has the same name.
    spec = importlib.util.spec_from_file_location("tool_appliance", ROOT / "tools/appliance.py")
    assert spec is not None
    assert spec.loader is not None
    appliance = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tool_appliance", appliance)
    spec.loader.exec_module(appliance)
    promises = [
        (step.__doc__ or "").splitlines()[0] for step in (*appliance.STEPS, *appliance.IN_PLACE[4:])
    ]
    listed = [
        line.split(" | ", 1)[1].removesuffix(" |")
        for line in PAGE.read_text().splitlines()
        if line.startswith("| ") and line[2].isdigit() and " | " in line and line.endswith(". |")
    ]
    assert listed == promises
