"""A real daemon in a folder of its own: configured, started, asked, reloaded, stopped or killed.

    with Daemon(tmp_path) as daemon:
        daemon.drop("letter.txt")
        daemon.sealed("letter.txt")

It is the program itself (`archived run`), talked to as a person or a monitoring server would: by
files in hot folders, the control socket, HTTP and signals. The catalog is only read. Every wait has
a deadline, and ends at once when the daemon has ended.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

from archived.storage import tree
from archived.testing.ports import free_port
from archived.testing.processes import (
    DaemonError,
    children_of,
    lives,
    processes_below,
    program,
    until,
)

__all__ = ["Daemon", "DaemonError", "program", "toml_value", "until"]

READY = 150.0
"""Seconds a start may take, on a machine that has much else to do."""
_LONGEST_PATH = 107
"""Bytes a socket's path may have (unix(7))."""


class Daemon:
    """One daemon below `folder`; what is not said otherwise has small times and short pipelines.

    `tables` is the configuration (table -> key -> value) that `start` and `reload` write; change
    it before. With `toml` the file is that text; `{folder}`, `{port}` and `{socket}` in it are
    filled in, other braces are left alone.
    """

    row_factory: Any = None
    """How `rows` gives a row; see `sqlite3.Connection.row_factory`."""
    until = staticmethod(until)

    def __init__(self, folder: Path, *, toml: str | None = None, outside: Path | None = None):
        """`outside` is where configuration and log lie, when `folder` may be lost."""
        self.folder = folder
        self.outside = outside or folder
        self.port = free_port()
        self.toml = toml
        self.environment: dict[str, str] = {}
        """What is added to the program's environment."""
        self.executable = [program("archived")]
        """The program; another command line that behaves like it may stand here."""
        self.process: subprocess.Popen[bytes] | None = None
        self._own: Path | None = None
        self._read_from = 0
        self.socket = self._short(folder / "c.sock")
        self.tables: dict[str, Any] = {} if toml is not None else self.base()

    def base(self) -> dict[str, Any]:
        """The configuration that a test begins with."""
        return {
            "archive": {"state": self.state},
            "store": {"path": self.store},
            "spool": {"keep_free": "1 MiB"},
            "intake": {"settle_time": "0.2 s", "rescan": "1 s", "accept": ["any"]},
            "retry": {"first_wait": "0.3 s", "longest_wait": "1 s"},
            "web": {"listen": f"127.0.0.1:{self.port}"},
            "control": {"socket": self.socket},
            "log": {"level": "debug", "format": "json"},
            "plugins": {"enabled": ["stamp"], "folders": [self.plugins]},
            "lanes": {"cpu": 2},
            "hotfolder.scans": {"path": self.hot("scans"), "pipeline": "paper"},
            "pipeline.paper": {"stages": ["stamp", "seal"]},
        }

    def _short(self, path: Path) -> Path:
        if len(os.fsencode(path)) <= _LONGEST_PATH:
            return path
        self._own = Path(tempfile.mkdtemp(prefix="archived-"))
        return self._own / path.name

    # Where things lie ------------------------------------------------------------------------

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.outside / "archived.toml"

    @property
    def log(self) -> Path:
        """What the daemon wrote, in all its runs."""
        return self.outside / "daemon.log"

    @property
    def state(self) -> Path:
        """Catalog and spool."""
        return self.folder / "state"

    @property
    def store(self) -> Path:
        """The preservation store."""
        return self.folder / "store"

    @property
    def plugins(self) -> Path:
        """Plug-ins of one file each; made when it is first asked for."""
        path = self.folder / "plugins"
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        return path

    def hot(self, name: str = "scans") -> Path:
        """A hot folder's path; made when it is first asked for."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    # Set up ----------------------------------------------------------------------------------

    def plugin(self, name: str, source: str) -> None:
        """A plug-in of one file, enabled."""
        (self.plugins / f"{name}.py").write_text(source)
        enabled = self.tables["plugins"]["enabled"]
        if name not in enabled:
            enabled.append(name)

    def write(self) -> None:
        """Write the configuration file as `tables` or `toml` has it now."""
        self.config.write_text(self._text())
        self.config.chmod(0o600)

    def _text(self) -> str:
        if self.toml is not None:
            text = self.toml
            for name in ("folder", "port", "socket"):
                text = text.replace(f"{{{name}}}", str(getattr(self, name)))
            return text
        lines = []
        for name, keys in self.tables.items():
            lines += [f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in keys.items())]
        return "\n".join(lines) + "\n"

    # Runs ------------------------------------------------------------------------------------

    def command(self) -> list[str]:
        """What starts it."""
        return [*self.executable, "run", "--config", str(self.config)]

    def start(self, *, ready: bool = True, **environment: str) -> None:
        """Write the configuration and start; `ready` waits until it answers for itself."""
        self.write()
        with self.log.open("ab") as log:
            self._read_from = log.tell()
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self.environment | environment,
            )
        if ready:
            until(lambda: self.alive() and self.ready(), "it is ready", READY, self.last_lines)

    def ready(self) -> bool:
        """Whether it is at work: what `start` waits for."""
        return self.get("/readyz")[0] == 200

    @property
    def pid(self) -> int:
        """Its process. Raises `DaemonError` when it was never started."""
        return self._started().pid

    def _started(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise DaemonError("the daemon was not started")
        return self.process

    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def alive(self) -> bool:
        """True. Raises `DaemonError` when it has ended."""
        process = self._started()
        if process.poll() is not None:
            raise DaemonError(f"it ended with status {process.returncode}:\n{self.last_lines()}")
        return True

    def end(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Signal it, unless it has ended, and wait; returns the exit status.

        One that does not end is killed, with all its processes, and `DaemonError` is raised.
        """
        process = self._started()
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill(whole=True)
            message = f"it did not end within {seconds:g} s:\n{self.last_lines()}"
            raise DaemonError(message) from None

    def kill(self, *, whole: bool = False) -> None:
        """SIGKILL it and wait; with `whole` every process below it too."""
        if self.process is None:
            return
        below = self.children() if whole and self.running() else []
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(self.lives, below)), "all its processes are gone")

    def close(self) -> None:
        """Leave no process and no socket behind, whatever happened."""
        self.kill(whole=True)
        if self._own is not None:
            with contextlib.suppress(OSError):
                tree.remove(self._own)

    def reload(self) -> None:
        """Write the configuration, SIGHUP, and wait for the verdict: `said` has it."""
        verdicts = ("reloaded", "reload-refused")
        before = sum(len(self.said(each)) for each in verdicts)
        self.write()
        self._started().send_signal(signal.SIGHUP)
        until(lambda: sum(len(self.said(each)) for each in verdicts) > before, "it reloaded")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.running():
                self.end()
        finally:
            self.close()

    # Ask -------------------------------------------------------------------------------------

    def ask(self, question: str, **given: str) -> Any:
        """What the control socket answers to `archivectl`'s question. Raises `DaemonError`."""
        line = _ControlLine(self.socket)
        try:
            line.request("GET", f"/v1/{quote(question)}?{urlencode(given)}")
            answer = line.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise DaemonError(f"the control socket does not answer: {error}") from error
        finally:
            line.close()
        if answer.status != http.client.OK:
            raise DaemonError(f"{question}: {answer.status} {text}")
        return json.loads(text)

    def archivectl(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`archivectl` with this configuration, to its end."""
        return subprocess.run(
            [program("archivectl"), *words],
            capture_output=True,
            text=True,
            timeout=150,
            env=os.environ | {"ARCHIVED_CONFIG": str(self.config)} | environment,
            check=False,
        )

    def get(self, path: str, timeout: float = 10.0) -> tuple[int, str]:
        """Status and body of a page of its web server; status 0 when nobody answers."""
        try:
            address = f"http://127.0.0.1:{self.port}/{path.removeprefix('/')}"
            with urllib.request.urlopen(address, timeout=timeout) as got:
                return got.status, got.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)

    def metric(self, name: str) -> dict[tuple[str, ...], float]:
        """Label values (in the order of the labels' names) -> value, as scraped now."""
        from prometheus_client.parser import text_string_to_metric_families

        status, text = self.get("/metrics")
        if status != 200:
            raise DaemonError(f"/metrics: {status} {text}")
        return {
            tuple(v for _, v in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        }

    def drop(self, *names: str, folder: str = "scans", text: str = "") -> None:
        """Write files into a hot folder."""
        for name in names:
            (self.hot(folder) / name).write_text(text or f"the words of {name}\n")

    # Look ------------------------------------------------------------------------------------

    def rows(self, query: str) -> list[Any]:
        """What a SELECT on the catalog finds; nothing while there is no catalog yet."""
        path = self.state / "catalog.db"
        if not path.exists():
            return []
        address = f"{path.as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=30)) as db:
            db.row_factory = self.row_factory
            try:
                return db.execute(query).fetchall()
            except sqlite3.OperationalError:
                return []

    def documents(self) -> dict[str, tuple[Any, ...]]:
        """Name -> (state, code, attempts, id)."""
        rows = self.rows("SELECT name, state, code, attempts, id FROM document")
        return {row[0]: tuple(row[1:]) for row in rows}

    def states(self) -> dict[str, str]:
        """Name of a document -> its state."""
        return {name: row[0] for name, row in self.documents().items()}

    def sealed(self, *names: str, seconds: float = 60.0) -> None:
        """Wait until these documents are in the store."""
        until(
            lambda: all(self.states().get(n) in {"sealed", "safe"} for n in names),
            f"{names} sealed, not",
            seconds,
            self.documents,
        )

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line of its log, which must be JSON."""
        told = []
        for line in self.log.read_text().rpartition("\n")[0].splitlines():
            try:
                told.append(json.loads(line))
            except ValueError as error:
                raise DaemonError(f"not a line of the log: {line!r}") from error
        return told

    def said(self, action: str, **fields: Any) -> list[dict[str, Any]]:
        """Lines of the log with this action and these fields."""
        return [
            line
            for line in self.lines()
            if line["action"] == action and fields.items() <= line.items()
        ]

    def log_of_this_run(self) -> bytes:
        """What it wrote since it was started last."""
        with self.log.open("rb") as log:
            log.seek(self._read_from)
            return log.read()

    def last_lines(self, count: int = 20) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def children(self) -> list[int]:
        """Every process below it."""
        return list(processes_below(self.pid))

    def fork_servers(self) -> list[int]:
        """Its fork servers, and not the steps, which are copies of them."""
        found = []
        for pid in children_of(self.pid):
            with contextlib.suppress(OSError):
                if (
                    b"archived.engine.worker.forkserver"
                    in Path(f"/proc/{pid}/cmdline").read_bytes()
                ):
                    found.append(pid)
        return found

    lives = staticmethod(lives)


def toml_value(value: Any) -> str:
    """A Python value as TOML text."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key} = {toml_value(each)}" for key, each in value.items())
        return "{ " + inner + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


class _ControlLine(http.client.HTTPConnection):
    """HTTP over the control socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
