"""Other folders' tests know how to run a daemon and a broker: their modules, by name."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def module_of(folder: str, module: str) -> ModuleType:
    """The module `tests/FOLDER/MODULE.py`."""
    name = f"monitored_{folder}_{module}"
    if name not in sys.modules:
        path = Path(__file__).resolve().parents[1] / folder / f"{module}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    return sys.modules[name]
