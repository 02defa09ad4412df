"""Every example of docs/plugins.md is a plug-in that works: taken out, enabled, and used."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archived.api import Document, Event, digest_file
from archived.engine.protocol import StepDocument, StepRequest
from archived.model.outcome import Ending
from archived.plugins import Plugins, find
from archived.storage.catalog import Catalog

if TYPE_CHECKING:
    from tests.repo.conftest import Checkout

_PYTHON = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True)
class Arrived:
    """A file about to be admitted."""

    hotfolder: str
    name: str
    media_type: str
    size: int = 1


@pytest.fixture(scope="module")
def folder(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plug-in folder with every example in it."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, body in _PYTHON.findall(checkout.text("docs/plugins.md")):
        (folder / name).write_text(body)
    return folder


@pytest.fixture
def enable(folder: Path) -> Iterator[Any]:
    """Load examples by name, as the daemon does."""
    before = set(sys.modules)

    def enable(*names: str) -> Plugins:
        return find(names, [folder])

    yield enable
    for name in set(sys.modules) - before:
        if name.startswith("archived_file_"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def tested(folder: Path) -> str:
    """What pytest says about the tests that stand on the page."""
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "."]
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=200
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def test_hook_register_stages(enable: Any, tested: str) -> None:
    """The stage is known with its options, and its tests on the page pass."""
    plugins = enable("wordcount")
    assert set(plugins.stages) == {"wordcount"}
    assert plugins.stages["wordcount"].config().model_fields["fewest"].default == 1
    assert len(re.findall(r"^test_wordcount\.py::\w+ PASSED", tested, re.MULTILINE)) == 2


def test_hook_register_targets(enable: Any, tested: str) -> None:
    """The kind is known, and keeps the contract of targets."""
    assert set(enable("shelf").targets) == {"shelf"}
    kept = re.findall(r"^test_shelf\.py::TestShelf::\S+ PASSED", tested, re.MULTILINE)
    assert len(kept) > 20


async def test_hook_register_runners(enable: Any, tmp_path: Path) -> None:
    """Two lanes run a real step each, one after the other."""
    plugins = enable("wordcount", "onecard")
    made = plugins.runners["one-card"]
    lanes = [made(name, 1, plugins.sources) for name in ("gpu", "cpu")]
    page = tmp_path / "page.txt"
    page.write_text("một hai ba")
    try:
        await asyncio.gather(*(lane.start() for lane in lanes))
        outcomes = await asyncio.gather(
            *(lane.run(request(tmp_path, page, str(n))) for n, lane in enumerate(lanes))
        )
    finally:
        await asyncio.gather(*(lane.stop() for lane in lanes))
    assert [outcome.ending for outcome in outcomes] == [Ending.FINISHED] * 2
    assert [outcome.facts for outcome in outcomes] == [{"words": 3}] * 2


def request(place: Path, page: Path, step: str) -> StepRequest:
    from archived.api import Artifact, Role

    folder = place / f"work-{step}"
    folder.mkdir()
    now = datetime.now(UTC)
    original = Artifact(page, "0001.txt", "text/plain", Role.ORIGINAL, digest_file(page), 11)
    document = Document("d", now, "scans", "page.txt", original, (original,))
    return StepRequest(
        step=step,
        stage="wordcount",
        options={"fewest": 1},
        document=StepDocument.of(document),
        folder=folder,
        deadline=now + timedelta(seconds=60),
    )


def test_hook_register_commands(folder: Path, tmp_path: Path) -> None:
    """The real `archivectl` has the command and answers, from the catalog when nobody runs."""
    config = tmp_path / "archived.toml"
    config.write_text(
        f'[archive]\nstate = "{tmp_path}"\n[store]\npath = "{tmp_path}/store"\n'
        f'[control]\nsocket = "{tmp_path}/none.sock"\n'
        f'[plugins]\nenabled = ["waiting"]\nfolders = ["{folder}"]\n'
    )
    Catalog.open(tmp_path / "catalog.db").close()
    command = [str(PROGRAMS / "archivectl"), "--config", str(config), "waiting"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


def test_hook_choose_pipeline(enable: Any) -> None:
    """Named for a file it knows; no opinion about others, nor on a pipeline that is not there."""
    plugins = enable("letterbox")
    letter = Arrived("letterbox", "a.pdf", "application/pdf")
    assert plugins.choose_pipeline(letter, ["paper", "born-digital"]) == "born-digital"
    assert plugins.choose_pipeline(letter, ["paper"]) is None
    scan = Arrived("scans", "a.tif", "image/tiff")
    assert plugins.choose_pipeline(scan, ["paper", "born-digital"]) is None
    assert not plugins.failures


def test_hook_on_event(enable: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of everything, it writes down what it is there for; its trouble stays its own."""
    plugins = enable("bell")
    module = sys.modules["archived_file_bell"]
    monkeypatch.setattr(module, "BELL", tmp_path / "bell")
    noon = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
    plugins.tell(Event("document-safe", noon, hotfolder="scans"))
    plugins.tell(Event("document-held", noon, hotfolder="scans", facts={"code": "encrypted"}))
    assert (tmp_path / "bell").read_text() == "12:00 scans: encrypted\n"
    monkeypatch.setattr(module, "BELL", tmp_path / "no folder" / "bell")
    plugins.tell(Event("document-held", noon, hotfolder="scans", facts={"code": "encrypted"}))
    assert plugins.failures["bell", "on_event"] == 1
