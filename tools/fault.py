"""Kill the daemon at random instants while it works, and count what was lost: nothing may be.

Small documents keep arriving while the daemon is killed (SIGKILL, by its own process id) and
started again, over and over; at last it may finish. Then every document must be there exactly
once with the very bytes that were dropped, and spool, catalog, store and ledger must agree. The
seed is printed: the same seed kills after the same delays.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from trial import Trial, TrialError, program

from archived.testing.invariants import problems
from archived.testing.samples import tiny

ROOT = Path(__file__).resolve().parent.parent
TABLES = {
    "intake": {"quiet": '"200 ms"', "rescan": '"500 ms"'},
    "retry": {"first_wait": '"100 ms"', "longest_wait": '"1 s"'},
    # A step that is killed with the daemon uses up an attempt, and here it is killed often.
    **{f"stage.{name}": {"attempts": "100"} for name in ("ocr", "classify", "sign", "replicate")},
}


@dataclass(frozen=True)
class Outcome:
    """What the rig found. `disagreements` are sentences; all three must be empty or zero."""

    kills: int
    dropped: int
    lost: int
    doubled: int
    disagreements: list[str]
    seconds: float

    @property
    def good(self) -> bool:
        """Nothing lost, nothing doubled, everything agrees."""
        return not (self.lost or self.doubled or self.disagreements)


def start(trial: Trial) -> subprocess.Popen[bytes]:
    """The daemon, without waiting for it: it may be killed while it starts, too."""
    with trial.log.open("ab") as log:
        return subprocess.Popen(
            [program("archived"), "run", "--config", str(trial.config)],
            stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip


def run(folder: Path, *, kills: int, documents: int, seed: int) -> Outcome:
    """Drop `documents` small documents over `kills` lives of the daemon; then let it finish."""
    dice = random.Random(seed)
    trial = Trial(folder, TABLES)
    trial.prepare()
    (folder / "made").mkdir()
    waiting = [s.path for s in tiny(folder / "made", count=documents, seed=seed)]
    expected = {hashlib.sha256(path.read_bytes()).hexdigest() for path in waiting}
    assert len(expected) == documents, "the samples must differ"
    began = time.monotonic()
    for number in range(kills):
        daemon = start(trial)
        share = -(-len(waiting) // max(1, kills - number))
        for _ in range(min(share, len(waiting))):
            source = waiting.pop()
            shutil.copyfile(source, trial.hot / source.name)
        time.sleep(dice.uniform(0.2, 4.0))
        daemon.kill()
        daemon.wait()
    finish(trial, documents)
    return judge(trial, expected, kills, time.monotonic() - began)


def finish(trial: Trial, documents: int, seconds: float = 300.0) -> None:
    """A last life that may end by itself. Raises `TrialError` when it never gets there."""
    daemon = start(trial)
    trial.process = daemon
    try:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            trial.check_alive()
            states = [r["state"] for r in trial.rows("SELECT state FROM document")]
            left = [p for p in trial.hot.iterdir() if not p.name.startswith("_")]
            if len(states) >= documents and set(states) <= {"safe", "held"} and not left:
                return
            time.sleep(0.2)
        raise TrialError(f"not done after {seconds:.0f} s: {sorted(states)}\n{trial.last_words()}")
    finally:
        trial.stop()


def judge(trial: Trial, expected: set[str], kills: int, seconds: float) -> Outcome:
    """Compare what is archived with what was dropped, and every part with every other."""
    found = [
        r["sha256"]
        for r in trial.rows(
            "SELECT sha256 FROM artifact JOIN document ON document.id = artifact.document "
            "WHERE role = 'original' AND document.state = 'safe'"
        )
    ]
    disagreements = problems(trial.folder / "state", trial.store)
    sys.path.insert(0, str(ROOT / "tests" / "storage_store"))
    from ocfl_judge import judge as ocfl_judge

    disagreements += ocfl_judge(trial.store / "ocfl", trial.folder / "second" / "ocfl")
    return Outcome(
        kills=kills, dropped=len(expected), lost=len(expected - set(found)),
        doubled=len(found) - len(set(found)), disagreements=disagreements, seconds=seconds,
    )  # fmt: skip


def main() -> int:
    """Run the rig; 0 when nothing was lost."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--kills", type=int, default=30)
    options.add_argument("--documents", type=int, default=60)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options.add_argument("--keep", action="store_true", help="keep the folder when all is well")
    given = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="archived-fault-"))
    print(f"seed {given.seed}, folder {folder}")
    found = run(folder, kills=given.kills, documents=given.documents, seed=given.seed)
    print(f"{'kills':>8}{'files':>8}{'lost':>8}{'doubled':>9}{'disagree':>10}{'seconds':>9}")
    print(
        f"{found.kills:>8}{found.dropped:>8}{found.lost:>8}{found.doubled:>9}"
        f"{len(found.disagreements):>10}{found.seconds:>9.0f}"
    )
    for each in found.disagreements:
        print(f"  {each}")
    if found.good and not given.keep:
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(folder)
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
