"""The page about the whole appliance's test says what the test tries."""

from __future__ import annotations

from pathlib import Path

from tools.appliance import run as appliance

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "appliance.md"


def test_the_page_lists_every_promise_in_the_order_they_are_tried() -> None:
    promises = [
        (step.__doc__ or "").splitlines()[0] for step in (*appliance.STEPS, *appliance.IN_PLACE[4:])
    ]
    listed = [
        line.split(" | ", 1)[1].removesuffix(" |")
        for line in PAGE.read_text().splitlines()
        if line.startswith("| ") and line[2].isdigit() and " | " in line and line.endswith(". |")
    ]
    assert listed == promises
