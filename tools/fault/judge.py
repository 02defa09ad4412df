"""What is left of an installation after a fault, compared with what was dropped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from archived.testing.daemon import DaemonError
from archived.testing.invariants import problems
from tests.fault.storage.ocfl_judge import judge as ocfl_judge
from tools.fault.installation import Installation
from tools.fault.load import Load

ROOT = Path(__file__).resolve().parent.parent.parent


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


def settled(
    installation: Installation,
    load: Load,
    *,
    rounds: int,
    began: float,
    remarks: Callable[[], str] = str,
    documents: int | None = None,
) -> Outcome:
    """The last life and the judgement; a life that never gets there is a disagreement.

    `documents`: how many there are to be, when not each file is one.
    """
    stopped = []
    wanted = len(load.expected) if documents is None else documents
    try:
        installation.finish(wanted)
        installation.start()  # again: what was left aside must not become a second document
        installation.finish(wanted)
    except DaemonError as error:
        stopped.append(str(error))
        installation.kill(whole=True)
    outcome = judge(installation, load, rounds=rounds, began=began, remarks=remarks())
    return Outcome(**{**vars(outcome), "disagreements": [*stopped, *outcome.disagreements]})


def judge(
    installation: Installation, load: Load, *, rounds: int, began: float, remarks: str = ""
) -> Outcome:
    """Compare what is archived with what was dropped, and every part with every other."""
    found = Counter(
        r["sha256"]
        for r in installation.rows(
            "SELECT sha256 FROM artifact JOIN document ON document.id = artifact.document "
            "WHERE role = 'original' AND document.state IN ('safe', 'held')"
        )
    )
    told = [*_held(installation), *_untold(installation), *_arrivals(installation, load)]
    told += problems(installation.folder / "state", installation.store)
    told += _valid(installation.store / "ocfl", installation.folder / "second" / "ocfl")
    said = [
        remarks,
        f"ended by itself {installation.unasked} times" if installation.unasked else "",
    ]
    return Outcome(
        rounds=rounds,
        dropped=load.files,
        lost=len(set(load.expected) - set(found)),
        doubled=sum(n - 1 for n in found.values()),
        disagreements=told,
        seconds=time.monotonic() - began,
        remarks=", ".join(filter(None, said)),
    )


def _held(installation: Installation) -> list[str]:
    rows = installation.rows("SELECT name, code, reason FROM document WHERE state != 'safe'")
    return [f"{r['name']}: not safe ({r['code']}: {r['reason']})" for r in rows]


def _untold(installation: Installation) -> list[str]:
    ledger = {
        r["sequence"]: r["hash"] for r in installation.rows("SELECT sequence, hash FROM ledger")
    }
    return [
        f"ledger: entry {sequence} was told and is not there any more"
        for sequence, value in installation.acknowledged.items()
        if ledger.get(sequence) != value
    ]


def _arrivals(installation: Installation, load: Load) -> list[str]:
    """Each file dropped is one arrival that became (part of) a document, and no other is."""
    counts = Counter(
        f"{r['state']} ({r['code']})" if r["code"] and r["state"] != "admitted" else r["state"]
        for r in installation.rows("SELECT state, code FROM arrival")
    )
    admitted = counts.pop("admitted", 0)
    for rule in installation.also_ignored:
        counts.pop(f"ignored ({rule})", None)
    told = [f"{n} arrivals are {how}" for how, n in counts.items()]
    if admitted != load.files:
        told.append(f"{load.files} files were dropped, {admitted} arrivals were admitted")
    return told


def _valid(*roots: Path) -> list[str]:
    return ocfl_judge(*(root for root in roots if root.exists()))
