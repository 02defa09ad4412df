"""The order of files: a worker that gets a slow one last would keep all others waiting."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SLOW = (
    "tests/fault", "tests/stateful", "tests/storage_store", "tests/daemon", "tests/bad_input",
    "plugins/ocr", "tests/share", "tests/intake", "tests/cli",
)  # fmt: skip
"""Where single files take longest, the slowest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by folder; within a folder the order stays."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(ROOT).as_posix()
        return next((n for n, each in enumerate(SLOW) if path.startswith(each)), len(SLOW))

    items.sort(key=place)
