"""One house of the rig: a daemon that is started, struck and started again, and what is judged.

Everything here is the same for every fault: the load that is dropped, the last life in which all
must come to its end, and the comparison of what is archived with what was dropped. What strikes
the house is in the other `fault_*` modules.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # ships no types
from trial import HOT, STAGES, Trial, TrialError, free_port, program, tree

from archived.cli.asking import Session
from archived.errors import ArchivedError
from archived.testing.invariants import problems

ROOT = Path(__file__).resolve().parent.parent
FULL = STAGES
LIGHT = ("stamp", "seal", "replicate")
"""Where OCR is not the point."""
STALLED = 60.0
"""Seconds without any change after which a last life is given up."""
_PATIENCE = 2.0
"""A document that waits longer than this in its last life is told to go on, as a person would."""

_TABLES: dict[str, dict[str, str]] = {
    "spool": {"keep_free": '"4 MiB"'},
    "intake": {"quiet": '"200 ms"', "rescan": '"500 ms"'},
    "retry": {"first_wait": '"100 ms"', "longest_wait": '"1 s"'},
}


class Skipped(Exception):
    """The fault cannot be made on this machine; the sentence says why."""


@dataclass(frozen=True)
class Outcome:
    """What the rig found. `disagreements` are sentences; a good one has none and lost nothing."""

    rounds: int
    dropped: int
    lost: int
    doubled: int
    disagreements: list[str]
    seconds: float
    remarks: str = ""
    """What shows that the fault was really made."""

    @property
    def good(self) -> bool:
        """Nothing lost, nothing doubled, everything agrees."""
        return not (self.lost or self.doubled or self.disagreements)


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
            self.process = subprocess.Popen(
                [program("archived"), "run", "--config", str(self.config)],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
            )  # fmt: skip
        return self.process

    def start_ready(self) -> None:
        """A life begins and answers. Raises `TrialError`."""
        self.start()
        until(self._answers, "the daemon answers", 60)

    def start_somehow(self, dice: random.Random) -> None:
        """A life that is about to be struck: mostly when it works, sometimes while it starts."""
        if dice.random() < 0.3:
            self.start()
        else:
            self.start_ready()

    def _answers(self) -> bool:
        self.check_alive()
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

    def end(self, seconds: float = 40) -> None:
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
        return any((self.folder / "state" / "spool" / "documents").iterdir())

    # -- the last life ----------------------------------------------------------------------------

    def finish(self, documents: int) -> None:
        """Until every document is at its end and the hot folder empty. Raises `TrialError`."""
        if self.process is None or self.process.poll() is not None:
            self.start()
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

    # -- the judgement ----------------------------------------------------------------------------

    def judge(self, load: Load, *, rounds: int, began: float, remarks: str = "") -> Outcome:
        """Compare what is archived with what was dropped, and every part with every other."""
        found = Counter(
            r["sha256"]
            for r in self.rows(
                "SELECT sha256 FROM artifact JOIN document ON document.id = artifact.document "
                "WHERE role = 'original' AND document.state IN ('safe', 'held')"
            )
        )
        told = [*self._held(), *self._untold(), *self._arrivals(load)]
        told += problems(self.folder / "state", self.store)
        told += _valid(self.store / "ocfl", self.folder / "second" / "ocfl")
        said = [remarks, f"ended by itself {self.unasked} times" if self.unasked else ""]
        return Outcome(
            rounds=rounds, dropped=load.files, lost=len(set(load.expected) - set(found)),
            doubled=sum(n - 1 for n in found.values()), disagreements=told,
            seconds=time.monotonic() - began, remarks=", ".join(filter(None, said)),
        )  # fmt: skip

    def _held(self) -> list[str]:
        rows = self.rows("SELECT name, code, reason FROM document WHERE state != 'safe'")
        return [f"{r['name']}: not safe ({r['code']}: {r['reason']})" for r in rows]

    def _untold(self) -> list[str]:
        ledger = {r["sequence"]: r["hash"] for r in self.rows("SELECT sequence, hash FROM ledger")}
        return [
            f"ledger: entry {sequence} was told and is not there any more"
            for sequence, value in self.acknowledged.items()
            if ledger.get(sequence) != value
        ]

    def _arrivals(self, load: Load) -> list[str]:
        """Each file dropped is one arrival that became (part of) a document, and no other is."""
        counts = Counter(
            f"{r['state']} ({r['code']})" if r["code"] and r["state"] != "admitted" else r["state"]
            for r in self.rows("SELECT state, code FROM arrival")
        )
        admitted = counts.pop("admitted", 0)
        for rule in self.also_ignored:
            counts.pop(f"ignored ({rule})", None)
        told = [f"{n} arrivals are {how}" for how, n in counts.items()]
        if admitted != load.files:
            told.append(f"{load.files} files were dropped, {admitted} arrivals were admitted")
        return told


class Load:
    """What is dropped: small PDFs of many sizes, some in folders, some with the same bytes."""

    def __init__(self, dice: random.Random, hot: Path, *, durable: bool = False) -> None:
        self._dice, self._hot, self._durable = dice, hot, durable
        self._recent: list[bytes] = []
        self.expected: set[str] = set()
        """SHA-256 of everything dropped."""
        self.files = 0

    def drop(self, count: int) -> None:
        """Write `count` more files as a scanner would."""
        for _ in range(count):
            if self._recent and self._dice.random() < 0.05:
                content = self._dice.choice(self._recent)
            else:
                content = self._content()
                self._recent = [*self._recent[-4:], content]
            self.put(content, self._name("pdf"))

    def put(self, content: bytes, name: str) -> None:
        """Write one file."""
        path = self._hot / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            if self._durable:
                os.fsync(file.fileno())
        if self._durable:
            for folder in (path.parent, self._hot):
                handle = os.open(folder, os.O_RDONLY)
                os.fsync(handle)
                os.close(handle)
        self.expected.add(hashlib.sha256(content).hexdigest())
        self.files += 1

    def _name(self, extension: str) -> str:
        folder = self._dice.choice(["", "", "", "hồ sơ 12/", "b/"])
        return f"{folder}trang {self.files:05d}.{extension}"

    def _content(self) -> bytes:
        size = self._dice.choice([100, 3_000, 20_000, 150_000])
        return b"%PDF-1.4\n%" + self._dice.randbytes(size) + b"\nstartxref\n0\n%%EOF\n"


def settled(
    house: House, load: Load, *, rounds: int, began: float, remarks: Callable[[], str] = str
) -> Outcome:
    """The last life and the judgement; a life that never gets there is a disagreement."""
    stopped = []
    try:
        house.finish(len(load.expected))
        house.start_ready()  # once more: what was left aside must not become a second document
        house.finish(len(load.expected))
    except TrialError as error:
        stopped.append(str(error))
        house.kill(whole=True)
    outcome = house.judge(load, rounds=rounds, began=began, remarks=remarks())
    return Outcome(**{**vars(outcome), "disagreements": [*stopped, *outcome.disagreements]})


@contextlib.contextmanager
def living(house: House) -> Iterator[House]:
    """Prepared at the start, no process left at the end."""
    house.prepare()
    try:
        yield house
    finally:
        house.close()


def need(*programs: str, root: bool = True) -> None:
    """Raises `Skipped` unless these programs (and root's rights) are there."""
    if root and os.geteuid() != 0:
        raise Skipped("needs root, for mounts or tracing")
    for each in programs:
        if shutil.which(each, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            raise Skipped(f"{each} is not installed")


def command(*argv: str | Path) -> None:
    """Run a tool of the machine. Raises `TrialError` with what it said."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    done = subprocess.run(
        [str(a) for a in argv], capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, "LC_ALL": "C"},
    )  # fmt: skip
    if done.returncode:
        raise TrialError(f"{' '.join(map(str, argv))}: {(done.stderr or done.stdout).strip()}")


def until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Poll. Raises `TrialError`."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise TrialError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


def remove_folder(folder: Path) -> None:
    """A folder and all below it, read-only or not."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


def _valid(*roots: Path) -> list[str]:
    sys.path.insert(0, str(ROOT / "tests" / "storage_store"))
    from ocfl_judge import judge as ocfl_judge

    return ocfl_judge(*(root for root in roots if root.exists()))


def _stands(process: psutil.Process) -> bool:
    """Whether every thread is stopped, or ended."""
    try:
        tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
        states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks]
    except OSError:
        return True  # gone
    return set(states) <= {"T", "t", "Z", "X"}


def _text(path: Path) -> str:
    return json.dumps(os.fspath(path))
