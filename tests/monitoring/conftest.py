"""Monitoring is tried on the real daemon, as tests/daemon runs it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Modules beside the tests are imported by plain name; importlib mode puts nothing on the path.
sys.path.insert(0, str(Path(__file__).parent))

from monitoring_daemon import module_of

box = module_of("daemon", "conftest").box
until_fixture = module_of("daemon", "conftest").until_fixture


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system, as a copy wants it."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no second file system here (/dev/shm)")
    folder = Path(tempfile.mkdtemp(prefix="archived-copy-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
