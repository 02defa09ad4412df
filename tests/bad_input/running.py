"""A real daemon of its own, below one folder: configured, started, watched through the catalog."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archived.errors import CatalogError
from archived.storage.catalog import Catalog
from archived.storage.records import Arrival, ArrivalState, DocumentRow
from archived.testing.invariants import problems
from archived.testing.ports import free_port

BASE = """
[archive]
state = "{root}/state"
[store]
path = "{root}/store"
[intake]
quiet = "200 ms"
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
ENDED = frozenset({"safe", "held", "refused"})


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


class Running:
    """`with Running(folder, toml) as daemon: ...`; `toml` may name `{root}`."""

    def __init__(self, root: Path, toml: str) -> None:
        self.root = root
        self.port = free_port()
        self._sockets = Path(tempfile.mkdtemp(prefix="a-"))  # a socket's path must be short
        for name in ("state", "store", "second"):
            (root / name).mkdir(exist_ok=True)
        self.config = root / "archived.toml"
        place = {"root": root, "port": self.port, "socket": self._sockets / "s"}
        self.config.write_text((BASE + toml).replace("{root}", str(root)).format_map(_Only(place)))
        self.config.chmod(0o600)
        self._catalog: Catalog | None = None

    def __enter__(self) -> Running:
        self.log = self.root / "daemon.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [_program("archived"), "run", "--config", str(self.config)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            self.until(self._answers, 150, "it answers")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.check_alive()
        finally:
            self._end()
        assert self.process.returncode == 0, self.last_words()
        assert problems(self.root / "state", self.root / "store") == []

    def _end(self) -> None:
        if self._catalog is not None:
            self._catalog.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def check_alive(self) -> None:
        """The daemon must not have ended."""
        assert self.process.poll() is None, self.last_words()

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def until(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        """Poll until a condition holds, while the daemon lives."""
        give_up = time.monotonic() + seconds
        while not (found := condition()):
            self.check_alive()
            assert time.monotonic() < give_up, (
                f"not within {seconds} s: {what}\n{self.last_words()}"
            )
            time.sleep(0.1)
        return found

    def get(self, page: str) -> str:
        """A page of the daemon's web server, whatever its status."""
        opener = urllib.request.build_opener(_AnyStatus)
        with opener.open(f"http://127.0.0.1:{self.port}/{page}", timeout=10) as answer:
            return str(answer.read().decode())

    def _answers(self) -> bool:
        try:
            return bool(self.get("healthz"))
        except OSError:
            return False

    def status(self) -> Any:
        """`archivectl status --json`."""
        argv = [_program("archivectl"), "--config", str(self.config), "status", "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    @property
    def catalog(self) -> Catalog:
        if self._catalog is None:
            self._catalog = Catalog.open_to_read(self.root / "state" / "catalog.db")
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
            self.until(all_ended, seconds, f"{files} files in {hotfolder} have ended")
        except AssertionError:
            table(found)
            raise
        assert len(found) == files, [e.path for e in found]
        return {e.path: e for e in found}

    def assert_balanced(self) -> None:
        """No file is in no column, says the catalog and says Prometheus' page."""
        assert [b.hotfolder for b in self.catalog.balance() if b.unaccounted] == []
        lines = [
            line for line in self.get("metrics").splitlines()
            if line.startswith("archived_unaccounted_files{")
        ]  # fmt: skip
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
            arrival.path, str(arrival.state), arrival.code or "", arrival.reason or "",
            hint=arrival.reason or "",
        )  # fmt: skip
    ending = {"safe": "archived", "refused": "held"}.get(row.state, str(row.state))
    return Ending(
        arrival.path, ending, row.code or "", row.reason or "", row.hint or "", document=row.id
    )


class _Only(dict[str, Any]):
    """Braces that are TOML's own are left alone."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    def http_response(self, request: Any, response: Any) -> Any:
        return response


def _program(name: str) -> str:
    return os.fspath(Path(sys.executable).with_name(name))
