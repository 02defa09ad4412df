"""A folder like /etc/archived, with tiny plug-ins of a single file."""

from __future__ import annotations

from pathlib import Path

import pytest

from archived.config import Settings, load
from archived.errors import ConfigError

NOTER = '''
from archived.api import Needs, Result, SecretRef, Size, Stage, StageConfig, hookimpl


class Limits(StageConfig):
    """Limits."""

    pages: int = 100
    """Pages at most."""


class Options(StageConfig):
    wording: str = "received"
    """The word written before the date."""
    languages: list[str] = ["vie"]
    """Languages, the most frequent first."""
    margin: Size = 1024
    """Room to leave."""
    key: SecretRef | None = None
    """Where the key is."""
    limits: Limits = Limits()
    """What is too much."""


class Note(Stage[Options]):
    name = "note"
    version = "1.0"

    def run(self, document, context):
        return Result()


@hookimpl
def register_stages(register):
    register(Note)
'''

COPIER = '''
from pathlib import Path
from typing import Literal
from archived.api import Needs, Result, Stage, StageConfig, Target, TargetConfig, hookimpl


class To(StageConfig):
    to: tuple[str, ...]
    """Names of targets."""


class Copies(Stage[To]):
    name = "copies"
    version = "2.1"
    needs = Needs(lane="network", targets=True, memory="256 MiB")

    def run(self, document, context):
        return Result()


class Place(TargetConfig):
    path: Path
    """The folder."""
    style: Literal["plain", "fancy"] = "plain"
    """How."""


class Folder(Target[Place]):
    kind = "folder"
    version = "1.0"

    def put(self, source, key, sha512): ...
    def replace(self, source, key, sha512): ...
    def open(self, key): ...
    def list(self, prefix): ...
    def free(self): ...


@hookimpl
def register_stages(register):
    register(Copies)


@hookimpl
def register_targets(register):
    register(Folder)
'''

GOOD = """\
[plugins]
enabled = ["noter", "copier"]
folders = ["{etc}/plugins"]

[hotfolder.scans]
path = "/srv/scans"
pipeline = "paper"

[pipeline.paper]
stages = ["note", "seal", "copies"]

[stage.copies]
to = ["second"]

[target.second]
kind = "folder"
path = "/mnt/second"
"""


class Etc:
    """What an operator has in front of them: files, and what the program says about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "archived.toml"
        (folder / "plugins").mkdir(mode=0o755)
        (folder / "conf.d").mkdir(mode=0o755)
        self.plugin("noter", NOTER)
        self.plugin("copier", COPIER)

    def plugin(self, name: str, source: str) -> Path:
        file = self.folder / "plugins" / f"{name}.py"
        file.write_text(source)
        file.chmod(0o644)
        return file

    def write(self, text: str, name: str = "archived.toml") -> Path:
        file = self.folder / name
        file.write_text(text.replace("{etc}", str(self.folder)))
        file.chmod(0o644)
        return file

    def load(self, text: str | None = None) -> Settings:
        if text is not None:
            self.write(text)
        return load(self.path)

    def mistakes(self, text: str | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text)
        return caught.value.problems


@pytest.fixture
def etc(tmp_path: Path) -> Etc:
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o755)
    return Etc(folder)


@pytest.fixture
def good() -> str:
    """A configuration without a mistake or a warning; `{etc}` becomes its folder."""
    return GOOD
