"""Monitoring is tried on the real daemon, as tests/daemon runs it."""

from __future__ import annotations

import sys
from pathlib import Path

# Modules beside the tests are imported by plain name; importlib mode puts nothing on the path.
sys.path.insert(0, str(Path(__file__).parent))

from monitoring_daemon import module_of

box = module_of("daemon", "conftest").box
until_fixture = module_of("daemon", "conftest").until_fixture
