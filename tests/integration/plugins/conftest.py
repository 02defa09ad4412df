"""Plug-ins made on the spot: single files, and installed ones with a dist-info of their own."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

STAGE = """
from archived.api import Needs, Result, Stage, StageConfig, hookimpl


class Options(StageConfig):
    wording: str = "in"
    '''The word.'''


class Made(Stage[Options]):
    name = "NAME"
    version = "1.0"

    def run(self, document, context):
        return Result()


@hookimpl
def register_stages(register):
    register(Made)
"""

_numbers = itertools.count()


class Bench:
    """Where plug-ins for one test are made."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder, self.site = folder, site

    def file(self, name: str, source: str) -> Path:
        file = self.folder / f"{name}.py"
        file.write_text(source)
        file.chmod(0o644)
        return file

    def install(self, name: str, source: str, *, attribute: str = "", project: str = "") -> str:
        """Returns the module's name, which no other test uses: modules are imported once."""
        module = f"made_for_a_test_{next(_numbers)}"
        (self.site / f"{module}.py").write_text(source)
        project = project or f"archived-{name}"
        info = self.site / f"{project.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[archived]\n{name} = {module}{attribute}\n")
        return module

    def stage(self, name: str) -> str:
        return STAGE.replace("NAME", name)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    folder, site = tmp_path / "plugins", tmp_path / "site"
    folder.mkdir(mode=0o755)
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)
    yield Bench(folder, site)
    for name in set(sys.modules) - before:
        if name.startswith(("made_for_a_test_", "archived_file_")):
            del sys.modules[name]
