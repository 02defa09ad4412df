"""Monitoring is tried on the real daemon, as tests/system/daemon runs it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.daemon.conftest import box, until_fixture

__all__ = ["box", "until_fixture"]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """On a disk: copies are made in memory, and that must be another file system."""
    with tempfile.TemporaryDirectory(prefix="archived-") as folder:
        yield Path(folder)


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system, as a copy wants it."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no second file system here (/dev/shm)")
    folder = Path(tempfile.mkdtemp(prefix="archived-copy-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
