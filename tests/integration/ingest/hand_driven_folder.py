"""A hot folder with everything behind it, on disk, without a daemon: real catalog, spool, store.

A test drops files and lets the desk sweep. Afterwards `settle_up` judges: every file is accounted
for, and every byte that was dropped is in the hot folder or in custody.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from archived.config import load
from archived.config.settings import Settings
from archived.daemon import wiring
from archived.daemon.ingest_services import ConfiguredServices
from archived.ingest.hotfolder import HotFolderIngest, Sweep
from archived.model.retry import RetryLimits
from archived.storage.atomic import digest
from archived.storage.catalog import Catalog
from archived.storage.ledger import verify
from archived.storage.ocfl.store import Store
from archived.storage.recovery import Recovered, recover
from archived.storage.rows import Arrival, Balance, DocumentRow
from archived.storage.spool import Spool
from archived.testing.invariants import problems

TEXT = "trang giấy số "
CONFIG = """
[archive]
state = "{root}/state"
[store]
path = "{root}/store"
[spool]
keep_free = "{keep_free}"
[plugins]
enabled = []
folders = []
[pipeline.paper]
stages = ["seal"]
[hotfolder.scans]
path = "{root}/hot"
pipeline = "paper"
settle_time = "1 ms"
rescan = "1 s"
arrival_deadline = "{deadline}"
max_file_size = "{largest}"
ignore = ["*.xml", "nháp-*"]
accept = {accept}
{more}
"""


_LOADED: dict[str, Settings] = {}
"""By its text: a start after every power cut of a test reads the same one."""


def paper(text: str) -> bytes:
    """A file that is whole, by its structure: a PDF in name and end only."""
    return b"%PDF-1.7\n" + text.encode() * 50 + b"\nstartxref\n9\n%%EOF\n"


class Place:
    """`drop` files, `sweep`, look at `catalog`. `deadline` is the hot folder's."""

    def __init__(
        self, root: Path, *, deadline: str = "1 h", keep_free: str = "1 B", more: str = ""
    ) -> None:
        self.root, self.hot = root, root / "hot"
        self.hot.mkdir(exist_ok=True)
        self.dropped: Counter[str] = Counter()
        self.configure(deadline=deadline, keep_free=keep_free, more=more)
        self.spool = Spool(root / "state")
        self.spool.create()
        self.store = Store(root / "store")
        self.store.create()
        self.catalog = Catalog.open(root / "state" / "catalog.db", busy=0.3)
        self.services = ConfiguredServices(self.settings, self.spool, self.store, self.catalog)
        self.new_desk()

    def configure(self, **values: str) -> None:
        """(Re)write the configuration; running services see it at once."""
        usual = {"keep_free": "1 B", "more": "", "largest": "1 MiB", "accept": '["any"]'}
        text = CONFIG.format(root=self.root, **(usual | values))
        file = self.root / "archived.toml"
        file.write_text(text)
        file.chmod(0o600)
        if text not in _LOADED:
            _LOADED[text] = load(file)
        self.settings = _LOADED[text]
        if hasattr(self, "services"):
            self.services.settings = self.settings

    def new_desk(self) -> HotFolderIngest:
        """An ingest that remembers nothing, as after a restart."""
        spec = wiring.folder(self.settings, self.settings.hotfolders["scans"])
        self.ingest = HotFolderIngest(spec, self.catalog, self.spool, self.services)
        return self.ingest

    def recover(self) -> Recovered:
        """What a starting daemon does first."""
        return recover(
            self.spool, self.store, self.catalog, lambda _: RetryLimits(), datetime.now(UTC)
        )

    def drop(self, name: str | bytes, content: bytes | None = None) -> Path:
        """Write a file, whole, under its final name."""
        path = self.hot / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = (
            paper(os.fsdecode(name).encode("utf-8", "replace").decode())
            if content is None
            else content
        )
        path.write_bytes(content)
        self.dropped[digest(path).sha256] += 1
        return path

    def destroyed(self, path: Path) -> None:
        """The writer itself is about to destroy a file's bytes: nobody can keep them."""
        self.dropped[digest(path).sha256] -= 1

    def sweep(self) -> Sweep:
        """One sweep."""
        return self.ingest.sweep()

    def until(self, condition: Callable[[Sweep], object], seconds: float = 60) -> Sweep:
        """Sweep until a condition on the sweep's report holds."""
        give_up = time.monotonic() + seconds
        while not condition(report := self.ingest.sweep()):
            assert time.monotonic() < give_up, f"not within {seconds} s; last: {report}"
        return report

    def quiet(self) -> list[DocumentRow]:
        """Sweep until nothing is arriving; returns all documents, oldest first."""
        self.sweep()
        self.until(lambda report: not report.arriving and not report.admitted)
        return self.documents()

    def documents(self) -> list[DocumentRow]:
        """Oldest first."""
        return self.catalog.documents(limit=10_000)[::-1]

    def arrivals(self) -> list[Arrival]:
        """All, oldest first."""
        return self.catalog.arrivals(limit=10_000)

    @property
    def balance(self) -> Balance:
        """The one folder's."""
        return next(iter(self.catalog.balance()), Balance("scans"))

    def custody(self, document: DocumentRow) -> bytes:
        """A document's first original."""
        return self.originals(document)[0]

    def originals(self, document: DocumentRow) -> list[bytes]:
        """The bytes of every original, in reading order."""
        paths = [
            self.services.find_bytes(document.id, f"original/{a.name}")
            for a in self.catalog.originals(document.id)
        ]
        return [path.read_bytes() for path in paths if path is not None]

    def left(self) -> list[str]:
        """What lies in the hot folder."""
        return sorted(
            os.path.relpath(f"{folder}/{name}", self.hot)
            for folder, _, names in os.walk(self.hot)
            for name in names
        )

    def settle_up(self) -> None:
        """The books must balance and no byte may be missing."""
        for balance in self.catalog.balance():
            assert balance.unaccounted == 0, balance
        verify(self.catalog.ledger_rows())
        found = problems(self.root / "state", self.root / "store")
        assert found == [], found
        assert list(self.spool.incoming.iterdir()) == []
        here = {digest(p).sha256 for p in self._files(self.hot)}
        ours = {digest(p).sha256 for p in self._files(self.spool.documents)}
        for wanted in +self.dropped:
            assert wanted in here | ours, "the bytes of a dropped file are nowhere"
        for document in self.documents():
            for original in self.catalog.originals(document.id):
                path = self.services.find_bytes(document.id, f"original/{original.name}")
                assert path is not None
                assert digest(path).sha512 == original.sha512
                assert path.stat().st_mode & 0o222 == 0, "originals are read-only"
        self.catalog.close()

    @staticmethod
    def _files(folder: Path) -> list[Path]:
        return [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
