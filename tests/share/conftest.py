"""A share to look at: the real daemon's, or one that is spoken to by hand."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from zoneinfo import ZoneInfo

import pytest
from world import World

from archived.intake.waiting import Waiting
from archived.model.outcome import CopyMade, Ending, Outcome
from archived.observe.share import ShareCard
from archived.observe.share.voice import Voice
from archived.storage import atomic

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


def _daemons() -> ModuleType:
    """The daemon's own tests know how to run one."""
    path = Path(__file__).resolve().parents[1] / "daemon" / "conftest.py"
    spec = importlib.util.spec_from_file_location("daemons_of_tests", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


DAEMONS = _daemons()


@pytest.fixture
def until() -> Callable[..., object]:
    """Poll a condition with a deadline."""
    return DAEMONS.until


@pytest.fixture
def box(tmp_path: Path) -> Iterator[object]:
    """A daemon of one's own, not started yet."""
    box = DAEMONS.Box(tmp_path)
    yield box
    if box.process is not None and box.process.poll() is None:
        box.end()


@dataclass
class Intake:
    """How a hot folder's intake stands."""

    offline: str = ""
    paused: str = ""
    failing: str = ""
    arriving: int = 0
    stuck: list[str] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)


class Told(World):
    """A hot folder, a catalog, and the share's answers, spoken by hand."""

    def __init__(self, root: Path, *, keep: int = 64 << 20) -> None:
        super().__init__(root)
        self.intake = Intake()
        self.keep = keep
        self.late = timedelta(0)
        """How much later it is than the clock says."""
        self.voice = self.new_voice()

    def new_voice(self) -> Voice:
        """As after a restart."""
        card = ShareCard("scans", self.hot, "_archived", self.keep, ZONE)
        return Voice(card, self.catalog, self.now)

    def now(self):
        return super().now() + self.late

    def speak(self) -> None:
        self.voice.speak(self.intake)

    def drop(self, *names: str | bytes, text: str = "") -> None:
        for name in names:
            path = self.hot / (
                name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
            )
            path.write_text(text or f"words of {name!r}")
        self.sweep()

    def step(self, sealer, row) -> None:
        """As in the world; the stage after the seal makes the one copy that is wanted."""
        if row.stages[row.position] != "after":
            super().step(sealer, row)
            return
        copy = CopyMade("d", "key", row.inventory_sha512 or "", 1, 1, self.now())
        self.end(self.begin(row), Outcome(Ending.FINISHED, copies=[copy]))

    def refuse_all(self, code: str = "encrypted", message: str = "it says: burn this") -> None:
        """Every document's first stage refuses it."""
        for row in self.catalog.documents():
            self.end(self.begin(row), Outcome(Ending.REFUSED, code, message, "a hint"))

    def files(self) -> dict[str, bytes]:
        return answers(self.hot)


def answers(hot: Path) -> dict[str, bytes]:
    """Path below the answers' folder -> content."""
    top, found = hot / "_archived", {}
    for path in sorted(top.rglob("*")):
        # A daemon that is at it writes beside and renames.
        if path.is_file() and not path.name.startswith(atomic.SCRATCH_PREFIX):
            with contextlib.suppress(FileNotFoundError):
                found[path.relative_to(top).as_posix()] = path.read_bytes()
    return found


def safe_rows(hot: Path) -> list[dict[str, str]]:
    """Every row of every list of what is safe."""
    found = []
    for name, content in answers(hot).items():
        if name.startswith("safe/"):
            assert content.startswith(b"\xef\xbb\xbf"), "Excel takes it for UTF-8"
            found += list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    return found


@pytest.fixture(name="safe_rows")
def _safe_rows() -> Callable[[Path], list[dict[str, str]]]:
    return safe_rows


@pytest.fixture(name="answers")
def _answers() -> Callable[[Path], dict[str, bytes]]:
    return answers


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    """A share with room enough."""
    told = Told(tmp_path)
    yield told
    atomic.fuse = None
    told.catalog.close()


@pytest.fixture
def told_little(tmp_path: Path) -> Iterator[Told]:
    """A share with room for 8 receipts, of two files each."""
    told = Told(tmp_path, keep=64 << 10)
    yield told
    told.catalog.close()
