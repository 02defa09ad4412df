"""A daemon of one's own: the real program in a scratch folder, with small, fast pipelines."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from archived.testing.ports import free_port

PROGRAM = Path(sys.executable).parent / "archived"


def until(
    condition: Callable[[], Any], what: str, seconds: float = 60.0,
    else_show: Callable[[], Any] = str,
) -> Any:  # fmt: skip
    """Poll until `condition` is true; returns what it returned."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, f"not within {seconds} s: {what} {else_show()}"
        time.sleep(0.03)
    return found


class Box:
    """One daemon below `folder`. `tables` is the configuration; `write` puts it into the file."""

    until = staticmethod(until)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.plugins = folder / "plugins"
        self.plugins.mkdir(mode=0o755)
        self.log = folder / "log"
        self.config = folder / "archived.toml"
        self.tables: dict[str, Any] = {
            "archive": {"state": folder / "state"},
            "store": {"path": folder / "store"},
            "spool": {"keep_free": "1 MiB"},
            "intake": {"quiet": "0.2 s", "rescan": "1 s", "accept": ["any"]},
            "retry": {"first_wait": "0.3 s", "longest_wait": "1 s"},
            "web": {"listen": f"127.0.0.1:{self.port}"},
            "control": {"socket": folder / "c.sock"},
            "log": {"level": "debug", "format": "json"},
            "plugins": {"enabled": ["stamp"], "folders": [self.plugins]},
            "lanes": {"cpu": 2},
            "hotfolder.scans": {"path": self.hot("scans"), "pipeline": "paper"},
            "pipeline.paper": {"stages": ["stamp", "seal"]},
        }

    def hot(self, name: str = "scans") -> Path:
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def plugin(self, name: str, source: str) -> None:
        """A single-file plug-in, enabled."""
        (self.plugins / f"{name}.py").write_text(source)
        if name not in self.tables["plugins"]["enabled"]:
            self.tables["plugins"]["enabled"].append(name)

    def write(self) -> None:
        lines = []
        for name, keys in self.tables.items():
            lines.append(f"[{name}]")
            lines += [f"{key} = {_toml(value)}" for key, value in keys.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def command(self, grace: float | None = None) -> list[str]:
        """What runs it; with another grace for running steps than the usual twenty seconds."""
        arguments = ["run", "--config", str(self.config)]
        if grace is None:
            return [str(PROGRAM), *arguments]
        code = (f"import archived.daemon.daemon as d; d.GRACE = {grace}\n"
                "from archived.cli.archived import main; main()")  # fmt: skip
        return [sys.executable, "-c", code, *arguments]

    def start(self, *, ready: bool = True, grace: float | None = None, **environment: str) -> None:
        self.write()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(grace), stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, env=os.environ | environment,
            )  # fmt: skip
        if ready:
            until(lambda: self.alive() and self.get("/readyz")[0] == 200, "ready", 150)

    def alive(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended: {self.log.read_text()[-3000:]}"
        return True

    def end(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Signal it and wait; returns the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def get(self, path: str, timeout: float = 10.0) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=timeout
            ) as got:
                return got.status, got.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)

    def drop(self, *names: str, folder: str = "scans", text: str = "") -> None:
        for name in names:
            (self.hot(folder) / name).write_text(text or f"the words of {name}\n")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read the catalog, if it is there."""
        path = self.folder / "state" / "catalog.db"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            try:
                return db.execute(query).fetchall()
            except sqlite3.OperationalError:
                return []

    def documents(self) -> dict[str, tuple[Any, ...]]:
        """Name -> (state, code, attempts, id)."""
        rows = self.rows("SELECT name, state, code, attempts, id FROM document")
        return {row[0]: row[1:] for row in rows}

    def states(self) -> dict[str, str]:
        return {name: row[0] for name, row in self.documents().items()}

    def sealed(self, *names: str, seconds: float = 60.0) -> None:
        """Wait until these documents are in the store."""
        until(lambda: all(self.states().get(n) in {"sealed", "safe"} for n in names),
              f"{names} sealed, not {self.documents()}", seconds)  # fmt: skip

    def lines(self) -> list[dict[str, Any]]:
        whole = self.log.read_text().rpartition("\n")[0].splitlines()
        told = []
        for line in whole:
            try:
                told.append(json.loads(line))
            except ValueError as error:
                raise AssertionError(f"not a line of the log: {line!r}") from error
        return told

    def said(self, action: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            line for line in self.lines()
            if line["action"] == action and fields.items() <= line.items()
        ]  # fmt: skip

    def reload(self) -> None:
        """SIGHUP, and wait for the verdict."""
        before = len(self.said("reloaded")) + len(self.said("reload-refused"))
        self.write()
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)
        until(lambda: len(self.said("reloaded")) + len(self.said("reload-refused")) > before,
              "reloaded")  # fmt: skip

    def metric(self, name: str) -> dict[tuple[str, ...], float]:
        """Values of its labels (these in alphabetical order) -> value, as scraped now."""
        from prometheus_client.parser import text_string_to_metric_families

        status, text = self.get("/metrics")
        assert status == 200, text
        return {
            tuple(v for _, v in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        }

    @staticmethod
    def lives(pid: int) -> bool:
        """What only waits for its parent (in a container maybe for ever) is not."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def children(self) -> list[int]:
        """Every process below the daemon."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            return [
                child.pid for child in psutil.Process(self.process.pid).children(recursive=True)
            ]
        return []

    def fork_servers(self) -> list[int]:
        """The daemon's fork servers, and not the steps, which are copies of them."""
        assert self.process is not None
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # a zombie too has no command line
                if "archived.engine.forkserver" in child.cmdline():
                    found.append(child.pid)
        return found


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    if box.process is not None and box.process.poll() is None:
        box.process.kill()
        box.process.wait(10)


@pytest.fixture(scope="session")
def new_box() -> type[Box]:
    """For a daemon that several tests share."""
    return Box


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
def gate(box: Box) -> Path:
    """The pipeline's first stage waits for `open` in this folder."""
    folder = box.folder / "gate"
    folder.mkdir()
    box.plugin("gate", GATE)
    box.tables["pipeline.paper"]["stages"] = ["gate", "seal"]
    box.tables["stage.gate"] = {"folder": folder}
    return folder
