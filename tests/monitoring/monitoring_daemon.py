"""Other folders' tests know how to run a daemon and a broker: their modules, by name."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def module_of(folder: str, module: str) -> ModuleType:
    """The module `tests/FOLDER/MODULE.py`."""
    return _loaded(f"monitored_{folder}_{module}", ROOT / "tests" / folder / f"{module}.py")


def conftest_of_plugin(plugin: str) -> ModuleType:
    """What the tests of a bundled plug-in share."""
    return _loaded(f"monitored_{plugin}", ROOT / "plugins" / plugin / "tests" / "conftest.py")


def _loaded(name: str, path: Path) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    return sys.modules[name]
