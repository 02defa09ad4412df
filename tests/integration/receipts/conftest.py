"""A share to look at: the real daemon's, or one that is spoken to by hand."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from archived.ingest.hotfolder_spec import Waiting
from archived.model.outcome import CopyMade, Ending, Outcome
from archived.observe.receipts import ReceiptSpec
from archived.observe.receipts.writer import ReceiptWriter
from archived.storage import atomic
from archived.testing.daemon import Daemon, until
from tests.fault.hand_driven_archive import World

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., object]:
    """Poll a condition with a deadline."""
    return until


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of one's own, not started yet."""
    box = Daemon(tmp_path)
    yield box
    box.close()


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
        self.writer = self.new_voice()

    def new_voice(self) -> ReceiptWriter:
        """As after a restart."""
        card = ReceiptSpec("scans", self.hot, "_archived", self.keep, ZONE)
        return ReceiptWriter(card, self.catalog, self.now)

    def now(self):
        return super().now() + self.late

    def update(self) -> None:
        self.writer.update(self.intake)

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
    """Path below the receipts folder -> content."""
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
