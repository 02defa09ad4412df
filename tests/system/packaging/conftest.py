"""An environment that is laid out like the Debian package's, and wheels made by a real builder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PLUGIN = '''
"""Keeps a short note."""

from archived.api import Result, Stage, StageConfig, hookimpl


class Note(Stage[StageConfig]):
    """Keeps a note."""

    name = "{plugin}"
    version = "{version}"
    api = {api}

    def run(self, document, context):
        return Result()


@hookimpl
def register_stages(register):
    register(Note)
'''

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "archived-{plugin}"
version = "{version}"
dependencies = {needs}
[project.entry-points.archived]
{plugin} = "{module}"
[tool.hatch.build.targets.wheel]
only-include = ["{module}.py"]
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Callable[..., Path]:
    """Builds a plug-in's wheel."""

    def build(plugin="daynote", version="1.0", *, api=1, needs='["archived ~= 0.1"]', module=""):
        folder = tmp_path_factory.mktemp("wheel")
        module = module or f"archived_{plugin}"
        (folder / "pyproject.toml").write_text(
            PROJECT.format(plugin=plugin, version=version, needs=needs, module=module)
        )
        (folder / f"{module}.py").write_text(PLUGIN.format(plugin=plugin, version=version, api=api))
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "out"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=60,
        )
        return next((folder / "out").glob("*.whl"))

    return build


class Place:
    """A Python environment with a folder for local plug-ins on its path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shelf = folder / "local" / "plugins"
        self.python = folder / "env/bin/python3"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
        packages = next((folder / "env/lib").glob("python3*/site-packages"))
        ours = sysconfig.get_path("purelib")
        (packages / "a.pth").write_text(f'import site; site.addsitedir("{ours}")\n')
        (packages / "b.pth").write_text(f'import site; site.addsitedir("{self.shelf}")\n')

    def ctl(self, *words: object, into: bool = True) -> subprocess.CompletedProcess[str]:
        """Call `archivectl plugins ...` in it."""
        place = ["--into", str(self.shelf)] if into else []
        return subprocess.run(
            [
                self.python,
                "-I",
                "-c",
                "from archived.cli.archivectl import main; main()",
                "plugins",
                *map(str, words),
                *place,
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | {"ARCHIVED_CONFIG": str(self.folder / "archived.toml")},
        )

    def loads(self, plugin: str) -> str:
        """Version of the stage that a fresh process gets when it loads the plug-in."""
        asked = subprocess.run(
            [
                self.python,
                "-I",
                "-c",
                "import sys; from archived.plugins import find; "
                "print(find([sys.argv[1]]).stages[sys.argv[1]].version)",
                plugin,
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return asked.stdout.strip()


@pytest.fixture
def place() -> Iterator[Place]:
    """A fresh one, where everybody may read: trials do not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="archived-packaging-"))
    folder.chmod(0o755)
    yield Place(folder)
    shutil.rmtree(folder)
