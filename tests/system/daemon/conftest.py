"""A daemon of one's own: the real program in a scratch folder, with small, fast pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archived.testing.daemon import Daemon, until


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that is not started yet."""
    box = Daemon(tmp_path)
    yield box
    box.close()


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


GATE = '''
import time
from pathlib import Path
from archived.api import *


class Options(StageConfig):
    word: str = "one"
    """What is written."""
    folder: str = ""
    """Where the gate is."""


class Gate(Stage[Options]):
    name = "gate"
    version = "1"
    writes = ("folder",)

    def run(self, document, context):
        """Says that it began, and ends once the file `open` is there."""
        folder = Path(context.options.folder)
        with (folder / f"began-{document.name}").open("a") as began:
            began.write(".")
        print("the gate is waiting for", document.name)
        while not (folder / "open").exists():
            time.sleep(0.02)
        note = context.new_file("gate.txt", media_type="text/plain")
        note.path.write_text(context.options.word)
        return Result(add=[note])


@hookimpl
def register_stages(register):
    register(Gate)
'''


@pytest.fixture
def gate(box: Daemon) -> Path:
    """The pipeline's first stage waits for `open` in this folder."""
    folder = box.folder / "gate"
    folder.mkdir()
    box.plugin("gate", GATE)
    box.tables["pipeline.paper"]["stages"] = ["gate", "seal"]
    box.tables["stage.gate"] = {"folder": folder}
    return folder
