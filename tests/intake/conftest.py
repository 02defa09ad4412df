"""Tests of intake share a place: a hot folder with a real catalog, spool and store behind it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Modules beside the tests are imported by plain name; importlib mode puts nothing on the path.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "storage_store"))

from place import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Every test ends with settled books: see `Place.settle_up`."""
    made = Place(tmp_path)
    yield made
    made.settle_up()
