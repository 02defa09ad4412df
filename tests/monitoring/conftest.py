"""Monitoring is tried on the real daemon, as tests/daemon runs it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
# Modules beside the tests are imported by plain name; importlib mode puts nothing on the path.
sys.path.insert(0, str(Path(__file__).parent))


def _daemon_tests() -> ModuleType:
    name = "monitored_daemon"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests/daemon/conftest.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


box = _daemon_tests().box
until_fixture = _daemon_tests().until_fixture
