"""Tests of intake share a place: a hot folder with a real catalog, spool and store behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.ingest.hand_driven_folder import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Every test ends with settled books: see `Place.settle_up`."""
    made = Place(tmp_path)
    yield made
    made.settle_up()
