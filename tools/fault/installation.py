"""One installation of the rig: a daemon that is started, hit by faults and started again.

Which faults there are is in the other modules of this package; `tools.fault.judge` compares what is
left with what was dropped.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from archived.cli.client import Session
from archived.errors import ArchivedError
from archived.testing.daemon import DaemonError
from tools.trial import STAGES, Tables, Trial, tree

FULL = STAGES
LIGHT = ("stamp", "seal", "replicate")
"""Where OCR is not the point."""
STALLED = 120.0
"""Seconds without any change after which a last life is given up."""
_PATIENCE = 2.0
"""A document that waits longer than this in its last life is told to go on, as a person would."""

_TABLES: Tables = {
    "spool": {"keep_free": "4 MiB"},
    "intake": {"settle_time": "200 ms", "rescan": "500 ms"},
    "retry": {"first_wait": "100 ms", "longest_wait": "1 s"},
}


class Installation(Trial):
    """A trial whose daemon is started many times.

    `folder` may lie on a disk that is about to break; what the rig itself needs lies in `outside`.
    `full` runs the whole pipeline, otherwise `LIGHT`.
    """

    def __init__(
        self,
        folder: Path,
        tables: Tables | None = None,
        *,
        outside: Path | None = None,
        full: bool = False,
        also_ignored: frozenset[str] = frozenset(),
    ) -> None:
        """`also_ignored`: rules by which the rig has files ignored that it does not count."""
        self.stages = FULL if full else LIGHT
        super().__init__(folder, outside=outside)
        # A step that is struck with the daemon uses up an attempt, and here it is struck often.
        patient = {f"stage.{n}": {"attempts": 100} for n in self.stages if n != "seal"}
        for more in (_TABLES, patient, tables or {}):
            for table, keys in more.items():
                self.tables.setdefault(table, {}).update(keys)
        self.also_ignored = also_ignored
        self.acknowledged: dict[int, str] = {}
        """Ledger position -> hash, as the catalog once told: must stay so for ever."""
        self.unasked = 0
        """How often the daemon ended though nobody killed it."""

    def base(self) -> dict[str, Any]:
        """Without what the light pipeline has no use for."""
        tables = super().base()
        if self.stages == LIGHT:
            del tables["stage.sign"]
            tables["plugins"]["enabled"] = ["stamp", "replicate"]
            tables["target.second"]["keep_free"] = "1 MiB"
        return tables

    # -- a life -----------------------------------------------------------------------------------

    def start_somehow(self, dice: random.Random) -> None:
        """A life that is about to be struck: mostly when it works, sometimes while it starts."""
        if dice.random() < 0.3:
            self.start(ready=False)
        else:
            self.start()

    def ready(self) -> bool:
        """Whether its hot folders are at work: it answers before."""
        if b'"daemon-ready"' not in self.log_of_this_run():
            return False
        try:
            # Not through the command: without a daemon that answers from the catalog.
            self.ask("status")
        except DaemonError:
            return False
        return True

    def keep_alive(self) -> None:
        """Start it again when it ended by itself, as the service manager would."""
        if self.process is not None and self.process.poll() is not None:
            self.unasked += 1
            self.start(ready=False)

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
        raise DaemonError("the daemon could not be stopped with SIGSTOP")

    def end_well(self) -> None:
        """End it in order. Raises `DaemonError` when it does not end well."""
        if self.running() and (status := self.end(seconds=120)):
            raise DaemonError(f"it ended with status {status}:\n{self.last_lines()}")

    # -- looking ----------------------------------------------------------------------------------

    def acknowledge(self) -> None:
        """Note how far the ledger is now: what the catalog has told must not be untold."""
        with contextlib.suppress(Exception):  # it may be struck just now
            for row in self.rows(
                "SELECT sequence, hash FROM ledger ORDER BY sequence DESC LIMIT 5"
            ):
                self.acknowledged[row["sequence"]] = row["hash"]

    def told(self, *actions: str) -> Counter[str]:
        """How often the log has each of these actions or codes."""
        text = self.log.read_text(errors="replace")
        return Counter({a: n for a in actions if (n := text.count(f'"{a}"'))})

    def in_hot(self) -> list[Path]:
        """Files that still lie in the hot folder, the appliance's own not counted."""
        return [
            p
            for p in self.hot().rglob("*")
            if p.is_file() and p.relative_to(self.hot()).parts[0] != "_archived"
        ]

    def in_work(self) -> bool:
        """Whether there are documents that have not come to their end."""
        spool = self.folder / "state" / "spool" / "documents"
        return spool.is_dir() and any(spool.iterdir())

    # -- the last life ----------------------------------------------------------------------------

    def finish(self, documents: int) -> None:
        """Until every document is at its end and the hot folder empty. Raises `DaemonError`."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        before: Any = None
        changed = time.monotonic()
        while time.monotonic() - changed < STALLED:
            self.alive()
            states = Counter(r["state"] for r in self.rows("SELECT state FROM document"))
            left = self.in_hot()
            now = (states, len(left), self._progress())
            if now != before:
                before, changed = now, time.monotonic()
            quiet = time.monotonic() - changed
            if set(states) <= {"safe", "held"} and not left:
                if states.total() >= documents or quiet > 5:
                    self.end_well()
                    return
            elif quiet > _PATIENCE:
                self._tell_to_go_on()
            time.sleep(0.2)
        raise DaemonError(
            f"stood still for {STALLED:.0f} s: {dict(states)}, {len(left)} of the files still in "
            f"the hot folder\n{self.last_lines()}"
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
def living(installation: Installation) -> Iterator[Installation]:
    """Prepared at the start, no process left at the end."""
    installation.prepare()
    try:
        yield installation
    finally:
        installation.close()


def _stands(process: psutil.Process) -> bool:
    """Whether every thread is stopped, or ended."""
    states = set()
    with contextlib.suppress(OSError):  # the process is gone
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # this thread is, and no other
                states.add((task / "stat").read_text().rpartition(")")[2].split()[0])
    return states <= {"T", "t", "Z", "X"}
