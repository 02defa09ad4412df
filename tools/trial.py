"""A daemon of its own in a scratch folder: configured, started, asked, measured and stopped.

Used by `bench` and `stress`. It talks to the program as a person would, through its commands; the
catalog is read (never written) because polling a command would cost the time that is measured.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]  # ships no types

from archived.testing.ports import free_port

STAGES = ("ocr", "classify", "sign", "seal", "replicate")
PLUGINS = tuple(stage for stage in STAGES if stage != "seal")
HOT = "scans"
_MIB = 1 << 20


class TrialError(Exception):
    """The daemon could not be run; the sentence says why."""


def program(name: str) -> str:
    """The command beside this interpreter, or the one on PATH. Raises `TrialError`."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise TrialError(f"{name} is not installed here (run: ./run setup)")
    return found


def tree(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_of(pid: int) -> float:
    """CPU seconds of the tree so far, ended and reaped children included."""
    total = 0.0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def pss_of(pid: int) -> float:
    """Proportional set size of the tree, MiB: what it really takes, shared pages counted once."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            total += process.memory_full_info().pss
    return total / _MIB


class Sampler:
    """Reads the tree's PSS about once a second while it is open."""

    def __init__(self, pid: int, every: float = 1.0) -> None:
        self.values: list[float] = []
        self._pid, self._every = pid, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while True:
            value = pss_of(self._pid)
            if value:
                self.values.append(value)
            if self._over.wait(self._every):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def middle(self) -> float:
        """Median, MiB."""
        return statistics.median(self.values) if self.values else 0.0

    @property
    def peak(self) -> float:
        """The largest reading, MiB."""
        return max(self.values, default=0.0)


@dataclass
class Trial:
    """One daemon below `folder`, with hot folder, store and a second place for copies.

    `tables` adds keys to the configuration: table -> key -> TOML text of the value.
    """

    folder: Path
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    stages: Sequence[str] = STAGES
    process: subprocess.Popen[bytes] | None = None

    @property
    def hot(self) -> Path:
        """Where files are dropped."""
        return self.folder / "hot"

    @property
    def store(self) -> Path:
        """The preservation store."""
        return self.folder / "store"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "archived.toml"

    @property
    def log(self) -> Path:
        """What the daemon said."""
        return self.folder / "daemon.log"

    # -- set up ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make folders, a throw-away signing key and the configuration."""
        for name in ("hot", "state", "store", "second"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.folder / "key"
        made = subprocess.run(
            [sys.executable, "-m", "archived_sign.throwaway", str(key)],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise TrialError(f"no throw-away key: {made.stderr.strip()[-400:]}")
        self._port = free_port()
        self._socket = Path(tempfile.mkdtemp(prefix="archived-")) / "control.sock"
        wanted: dict[str, dict[str, str]] = {
            "archive": {"name": '"Trial"', "state": _text(self.folder / "state")},
            "store": {"path": _text(self.store)},
            "spool": {"keep_free": '"256 MiB"'},
            "control": {"socket": _text(self._socket)},
            "web": {"listen": f'"127.0.0.1:{self._port}"'},
            "plugins": {"enabled": json.dumps(PLUGINS), "folders": "[]"},
            f"hotfolder.{HOT}": {"path": _text(self.hot), "pipeline": '"paper"'},
            "pipeline.paper": {"stages": json.dumps(list(self.stages))},
            "stage.sign": {
                "key": f"{{ file = {_text(key / 'signing.p12')} }}",
                "passphrase": f"{{ file = {_text(key / 'signing.passphrase')} }}",
                "allow_throwaway": "true",
            },
            "stage.replicate": {"to": '["second"]'},
            "target.second": {
                "kind": '"directory"',
                "path": _text(self.folder / "second"),
                "allow_same_filesystem": "true",
            },
        }
        for table, keys in self.tables.items():
            wanted.setdefault(table, {}).update(keys)
        lines = []
        for table, keys in wanted.items():
            lines += [f"[{table}]", *(f"{key} = {value}" for key, value in keys.items()), ""]
        self.config.write_text("\n".join(lines))

    # -- run ------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.prepare()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program("archived"), "run", "--config", str(self.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        if self.process is None:
            raise TrialError("the daemon was not started")
        return self.process.pid

    def check_alive(self) -> None:
        """Raises `TrialError` with the end of the log when the daemon has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise TrialError(
                f"the daemon ended with status {self.process.returncode}:\n{self.last_words()}"
            )

    def last_words(self, lines: int = 15) -> str:
        """The end of the daemon's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _wait_until_it_answers(self, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        said = ""
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                self.ask("status")
            except TrialError as error:
                said = str(error)
                time.sleep(0.3)
            else:
                return
        raise TrialError(f"no answer within {seconds:.0f} s ({said}):\n{self.last_words()}")

    def ask(self, noun: str) -> Any:
        """`archivectl --config FILE NOUN --json`, parsed."""
        argv = [program("archivectl"), "--config", str(self.config), noun, "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise TrialError(f"archivectl {noun}: {(done.stderr or done.stdout).strip()[-400:]}")
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            raise TrialError(f"archivectl {noun} --json: not JSON: {error}") from None

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels, as `/metrics` has it now."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        except OSError as error:
            raise TrialError(f"/metrics: {error}") from None
        finally:
            connection.close()
        values = [line.rsplit(" ", 1)[1] for line in lines if re.match(rf"{name}[{{ ]", line)]
        if not values:
            raise TrialError(f"/metrics has no {name}")
        return sum(map(float, values))

    def stop(self, seconds: float = 60) -> int | None:
        """Ask it to end, then insist. Returns its status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                for each in reversed(tree(self.process.pid)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        each.kill()
                self.process.wait(60)
        shutil.rmtree(self._socket.parent, ignore_errors=True)
        return self.process.returncode

    # -- look -----------------------------------------------------------------------------------

    def rows(self, statement: str) -> list[sqlite3.Row]:
        """What a SELECT on the catalog finds; nothing while there is no catalog yet."""
        path = self.folder / "state" / "catalog.db"
        if not path.exists():
            return []
        with self._reading(path) as connection:
            return connection.execute(statement).fetchall()

    @staticmethod
    @contextlib.contextmanager
    def _reading(path: Path) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)
        connection.row_factory = sqlite3.Row
        try:
            yield connection
        finally:
            connection.close()


def _text(path: Path) -> str:
    return json.dumps(os.fspath(path))
