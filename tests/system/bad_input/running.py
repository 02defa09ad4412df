"""A real daemon of its own, below one folder: configured, started, watched through the catalog."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archived.errors import CatalogError
from archived.storage.catalog import Catalog
from archived.storage.rows import Arrival, ArrivalState, DocumentRow
from archived.testing.daemon import Daemon, until
from archived.testing.invariants import problems

BASE = """
[archive]
state = "{folder}/state"
[store]
path = "{folder}/store"
[intake]
settle_time = "200 ms"
rescan = "500 ms"
arrival_deadline = "2 s"
accept = ["any"]
[retry]
first_wait = "100 ms"
longest_wait = "500 ms"
[web]
listen = "127.0.0.1:{port}"
[control]
socket = "{socket}"
[log]
format = "json"
"""
ENDED = frozenset({"safe", "held", "rejected"})


@dataclass(frozen=True)
class Ending:
    """How one file ended."""

    path: bytes
    ending: str
    """archived, held, ignored, or the state it is still in."""
    code: str = ""
    reason: str = ""
    hint: str = ""
    document: str = ""

    @property
    def final(self) -> bool:
        return self.ending in {"archived", "held", "ignored"}


class Running(Daemon):
    """`with Running(folder, toml) as daemon: ...`; at its end nothing disagrees with anything."""

    def __init__(self, root: Path, toml: str) -> None:
        super().__init__(root, toml=BASE + toml)
        for name in ("state", "store", "second"):
            (root / name).mkdir(exist_ok=True)
        self._catalog: Catalog | None = None

    def ready(self) -> bool:
        """Whether it answers: with some of these inputs it never says that it is ready."""
        return self.get("healthz")[0] != 0

    def __exit__(self, *_: object) -> None:
        try:
            self.alive()
            assert self.end() == 0, self.last_lines()
        finally:
            if self._catalog is not None:
                self._catalog.close()
            self.close()
        assert problems(self.state, self.store) == []

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        """Poll until a condition holds, while the daemon lives."""
        return until(lambda: self.alive() and condition(), what, seconds, self.last_lines)

    def status(self) -> Any:
        """What `archivectl status` is told."""
        return self.ask("status")

    @property
    def catalog(self) -> Catalog:
        if self._catalog is None:
            self._catalog = Catalog.open_to_read(self.state / "catalog.db")
        return self._catalog

    def endings(self, hotfolder: str) -> list[Ending]:
        """Every arrival of a hot folder and how it ended, oldest first."""
        try:
            rows = {row.id: row for row in self.catalog.documents(limit=10_000)}
            arrivals = self.catalog.arrivals(limit=10_000)
        except CatalogError:
            return []
        return [
            _ending(a, rows.get(a.document or "")) for a in arrivals if a.hotfolder == hotfolder
        ]

    def wait_for(self, hotfolder: str, files: int, seconds: float) -> dict[bytes, Ending]:
        """Until `files` arrivals of a hot folder are on record and all of them have ended."""
        found: list[Ending] = []

        def all_ended() -> bool:
            found[:] = self.endings(hotfolder)
            return len(found) >= files and all(e.final for e in found)

        try:
            self.wait(all_ended, f"{files} files in {hotfolder} have ended", seconds)
        except AssertionError:
            table(found)
            raise
        assert len(found) == files, [e.path for e in found]
        return {e.path: e for e in found}

    def assert_balanced(self) -> None:
        """No file is in no column, says the catalog and says Prometheus' page."""
        assert [b.hotfolder for b in self.catalog.balance() if b.unaccounted] == []
        lines = [
            line
            for line in self.get("metrics")[1].splitlines()
            if line.startswith("archived_unaccounted_files{")
        ]
        assert lines
        assert all(line.endswith(" 0.0") for line in lines), lines


def table(found: list[Ending]) -> None:
    """For the eyes of whoever reads the test's output."""
    for e in found:
        name = e.path.decode("utf-8", "backslashreplace")[:40]
        print(f"{ascii(name)[1:-1]:44} {e.ending:10} {e.code:22} {e.reason[:100]}")


def _ending(arrival: Arrival, row: DocumentRow | None) -> Ending:
    if arrival.state is not ArrivalState.ADMITTED or row is None:
        return Ending(
            arrival.path,
            str(arrival.state),
            arrival.code or "",
            arrival.reason or "",
            hint=arrival.reason or "",
        )
    ending = {"safe": "archived", "rejected": "held"}.get(row.state, str(row.state))
    return Ending(
        arrival.path, ending, row.code or "", row.reason or "", row.hint or "", document=row.id
    )
