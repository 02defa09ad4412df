"""One house of the rig: a daemon that is started, struck and started again, and its last life.

It knows nothing of what strikes it (the other `fault_*` modules), nor whether all ended well
(`fault_judge`).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # ships no types
from fault_machine import until
from trial import HOT, STAGES, Trial, TrialError, program, tree

from archived.cli.asking import Session
from archived.errors import ArchivedError
from archived.testing.ports import free_port

FULL = STAGES
LIGHT = ("stamp", "seal", "replicate")
"""Where OCR is not the point."""
STALLED = 120.0
"""Seconds without any change after which a last life is given up."""
_PATIENCE = 2.0
"""A document that waits longer than this in its last life is told to go on, as a person would."""

_TABLES: dict[str, dict[str, str]] = {
    "spool": {"keep_free": '"4 MiB"'},
    "intake": {"quiet": '"200 ms"', "rescan": '"500 ms"'},
    "retry": {"first_wait": '"100 ms"', "longest_wait": '"1 s"'},
}


@dataclass
class House(Trial):
    """A trial whose daemon has many lives.

    `folder` may lie on a disk that is about to break; what the rig itself needs lies in `outside`.
    `full` runs the whole pipeline, otherwise `LIGHT`.
    """

    outside: Path | None = None
    full: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    also_ignored: frozenset[str] = frozenset()
    """Rules by which the rig itself has files ignored that it does not count."""
    acknowledged: dict[int, str] = field(default_factory=dict)
    """Ledger position -> hash, as the catalog once told: must stay so for ever."""
    _heard: int = 0
    """How long the log was when this life began."""
    unasked: int = 0
    """How often the daemon ended though nobody killed it."""

    @property
    def config(self) -> Path:
        """The configuration file."""
        return (self.outside or self.folder) / "archived.toml"

    @property
    def log(self) -> Path:
        """What the daemon said, in all its lives."""
        return (self.outside or self.folder) / "daemon.log"

    def prepare(self) -> None:
        """Make the folders and the configuration."""
        names = self.stages = FULL if self.full else LIGHT
        # A step that is struck with the daemon uses up an attempt, and here it is struck often.
        patient = {f"stage.{n}": {"attempts": '"100"'.strip('"')} for n in names if n != "seal"}
        tables = {**_TABLES, **patient, **self.tables}
        if self.full:
            self.tables = tables
            super().prepare()
            return
        for name in ("hot", "state", "store", "second"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._port, self._socket = free_port(), Path(tempfile.mkdtemp()) / "control.sock"
        wanted = {
            "archive": {"name": '"Rig"', "state": _text(self.folder / "state")},
            "store": {"path": _text(self.store)},
            "control": {"socket": _text(self._socket)},
            "web": {"listen": f'"127.0.0.1:{self._port}"'},
            "plugins": {"enabled": '["stamp", "replicate"]', "folders": "[]"},
            f"hotfolder.{HOT}": {"path": _text(self.hot), "pipeline": '"paper"'},
            "pipeline.paper": {"stages": json.dumps(list(LIGHT))},
            "target.second": {
                "kind": '"directory"', "path": _text(self.folder / "second"),
                "allow_same_filesystem": "true", "keep_free": '"1 MiB"',
            },
        }  # fmt: skip
        for table, keys in tables.items():
            wanted.setdefault(table, {}).update(keys)
        wanted["stage.replicate"]["to"] = '["second"]'
        lines = [
            line
            for table, keys in wanted.items()
            for line in (f"[{table}]", *(f"{key} = {value}" for key, value in keys.items()), "")
        ]
        self.config.write_text("\n".join(lines))

    # -- a life -----------------------------------------------------------------------------------

    def start(self) -> subprocess.Popen[bytes]:
        """A life begins; nobody waits for it: it may be struck while it starts, too."""
        with self.log.open("ab") as log:
            self._heard = log.tell()
            self.process = subprocess.Popen(
                [program("archived"), "run", "--config", str(self.config)],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
            )  # fmt: skip
        return self.process

    def start_ready(self) -> None:
        """A life begins and answers. Raises `TrialError`."""
        self.start()
        until(self._answers, "the daemon answers", 120)

    def start_somehow(self, dice: random.Random) -> None:
        """A life that is about to be struck: mostly when it works, sometimes while it starts."""
        if dice.random() < 0.3:
            self.start()
        else:
            self.start_ready()

    def _answers(self) -> bool:
        self.check_alive()
        with self.log.open("rb") as log:
            log.seek(self._heard)
            if b'"daemon-ready"' not in log.read():
                return False  # it may answer before its desks are at work
        try:
            # Not through the command: without a daemon that answers from the catalog.
            Session(config=self.config).ask_daemon("status", {})
        except ArchivedError:
            return False
        return True

    def keep_alive(self) -> None:
        """Start it again when it ended by itself, as the service manager would."""
        if self.process is not None and self.process.poll() is not None:
            self.unasked += 1
            self.start()

    def kill(self, *, whole: bool = False) -> None:
        """SIGKILL the daemon alone, or it and everything below it."""
        if self.process is None:
            return
        doomed = tree(self.process.pid) if whole else []
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for each in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(doomed, timeout=10)

    def freeze(self) -> None:
        """SIGSTOP the whole tree and wait until every thread stands still."""
        if self.process is None or self.process.poll() is not None:
            return
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            processes = tree(self.process.pid)
            for each in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.suspend()
            after = tree(self.process.pid)
            if {p.pid for p in after} <= {p.pid for p in processes} and all(map(_stands, after)):
                return
            time.sleep(0.002)
        raise TrialError("the daemon could not be stopped with SIGSTOP")

    def end(self, seconds: float = 120) -> None:
        """End a life in order. Raises `TrialError` when it does not end well."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill(whole=True)
            raise TrialError(f"the daemon did not end in {seconds:.0f} s") from None
        if status:
            raise TrialError(f"the daemon ended with status {status}:\n{self.last_words()}")

    def close(self) -> None:
        """Leave no process and no socket behind, whatever happened."""
        self.kill(whole=True)
        shutil.rmtree(self._socket.parent, ignore_errors=True)

    # -- looking ----------------------------------------------------------------------------------

    def acknowledge(self) -> None:
        """Note how far the ledger is now: what the catalog has told must not be untold."""
        with contextlib.suppress(Exception):  # it may be struck just now
            for row in self.rows(
                "SELECT sequence, hash FROM ledger ORDER BY sequence DESC LIMIT 5"
            ):
                self.acknowledged[row["sequence"]] = row["hash"]

    def said(self, *actions: str) -> Counter[str]:
        """How often the log has each of these actions or codes."""
        text = self.log.read_text(errors="replace")
        return Counter({a: n for a in actions if (n := text.count(f'"{a}"'))})

    def in_hot(self) -> list[Path]:
        """Files that still lie in the hot folder, the appliance's own not counted."""
        return [
            p for p in self.hot.rglob("*")
            if p.is_file() and p.relative_to(self.hot).parts[0] != "_archived"
        ]  # fmt: skip

    def in_work(self) -> bool:
        """Whether there are documents that have not come to their end."""
        spool = self.folder / "state" / "spool" / "documents"
        return spool.is_dir() and any(spool.iterdir())

    # -- the last life ----------------------------------------------------------------------------

    def finish(self, documents: int) -> None:
        """Until every document is at its end and the hot folder empty. Raises `TrialError`."""
        if self.process is None or self.process.poll() is not None:
            self.start_ready()
        before: Any = None
        changed = time.monotonic()
        while time.monotonic() - changed < STALLED:
            self.check_alive()
            states = Counter(r["state"] for r in self.rows("SELECT state FROM document"))
            left = self.in_hot()
            now = (states, len(left), self._progress())
            if now != before:
                before, changed = now, time.monotonic()
            quiet = time.monotonic() - changed
            if set(states) <= {"safe", "held"} and not left:
                if states.total() >= documents or quiet > 5:
                    self.end()
                    return
            elif quiet > _PATIENCE:
                self._tell_to_go_on()
            time.sleep(0.2)
        raise TrialError(
            f"stood still for {STALLED:.0f} s: {dict(states)}, {len(left)} of the files still in "
            f"the hot folder\n{self.last_words()}"
        )

    def _progress(self) -> int:
        return sum(r["n"] for r in self.rows("SELECT max(sequence) AS n FROM ledger") if r["n"])

    def _tell_to_go_on(self) -> None:
        """After a full or broken disk a document waits for half a minute or more; we do not."""
        for row in self.rows(
            "SELECT id FROM document WHERE running IS NULL AND state IN ('waiting', 'sealed') "
            "AND code IS NOT NULL"
        ):
            with contextlib.suppress(ArchivedError):
                Session(config=self.config).decide("retry", row["id"], "the rig mended the disk")


@contextlib.contextmanager
def living(house: House) -> Iterator[House]:
    """Prepared at the start, no process left at the end."""
    house.prepare()
    try:
        yield house
    finally:
        house.close()


def _stands(process: psutil.Process) -> bool:
    """Whether every thread is stopped, or ended."""
    states = set()
    with contextlib.suppress(OSError):  # the process is gone
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # this thread is, and no other
                states.add((task / "stat").read_text().rpartition(")")[2].split()[0])
    return states <= {"T", "t", "Z", "X"}


def _text(path: Path) -> str:
    return json.dumps(os.fspath(path))
