"""Pages that the first rule of `ocr` passed over are told from what was recorded then."""

from __future__ import annotations

from typing import Any

import pytest

from archived.observe.old_reading import doubtful, is_old


def facts(words: list[int], sure: list[float | None], **more: Any) -> dict[str, Any]:
    return {
        "pages": len(words),
        "words": words,
        "confidence": sure,
        "flags": [],
        "text": "ocr",
        **more,
    }


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("0.1.0", True),
        ("0.0.9", True),
        ("0.1", True),
        ("0.1.0+local", True),
        ("0.1.1", False),
        ("0.2.0", False),
        ("1.0", False),
        ("", False),
        ("unknown", False),
    ],
)
def test_which_versions_have_the_old_rule(version: str, old: bool) -> None:
    assert is_old(version) is old


@pytest.mark.parametrize(
    ("told", "pages"),
    [
        (facts([120, 80], [91.0, 88.5], blank_pages=[]), {}),
        (facts([120, 0], [91.0, None], blank_pages=[2]), {"blank": [2]}),
        (facts([0], [None], blank_pages=[1], text="none"), {"blank": [1]}),
        (
            facts([0, 50], [None, 90.0], flags=["page-without-text"], blank_pages=[]),
            {"without_text": [1]},
        ),
        (facts([70, 120], [None, 90.0], text="mixed", blank_pages=[]), {"not_read": [1]}),
        (facts([70, 3], [None, None], text="born-digital"), {"not_read": [1, 2]}),
        (facts([2, 40], [None, 80.0], flags=["prior-ocr"], blank_pages=[]), {"hidden_text": [1]}),
        (
            facts([2, 0, 9], [None, None, 55.0], flags=["prior-ocr"], blank_pages=[2]),
            {"blank": [2], "hidden_text": [1]},
        ),
        ({}, {}),
        ({"words": None, "confidence": "?", "blank_pages": ["x"], "flags": None}, {}),
    ],
)
def test_which_pages_are_told(told: dict[str, Any], pages: dict[str, list[int]]) -> None:
    assert doubtful("0.1.0", told) == pages
    assert doubtful("0.2.0", told) == {}
