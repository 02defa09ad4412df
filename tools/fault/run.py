"""Make every kind of fault under the daemon, and count what was lost: nothing may be.

Each fault has an installation of its own: files are dropped, the fault is made again and again,
then the daemon may finish. After that every file must be archived exactly once with the very bytes
that were dropped, and spool, catalog, store, copies, ledger and balance must agree. The seed is
printed: the same seed makes the same delays.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from archived.testing.daemon import DaemonError
from tools.fault import batches, calls, disks, kill, left_out, surroundings
from tools.fault.judge import Outcome
from tools.fault.machine import Skipped, remove_folder


@dataclass(frozen=True)
class Fault:
    """One kind of strike: how to make it, and how many rounds the short form has."""

    make: Callable[..., Outcome]
    rounds: int


FAULTS = {
    "kill": Fault(kill.kill, 8),
    "batches": Fault(batches.batches, 8),
    "power-ext4": Fault(partial(disks.power, kind="ext4"), 8),
    "power-xfs": Fault(partial(disks.power, kind="xfs"), 8),
    "calls": Fault(calls.calls, 8),
    "left-out": Fault(left_out.left_out, 1),
    "full-bytes": Fault(partial(disks.full, what="bytes"), 3),
    "full-inodes": Fault(partial(disks.full, what="inodes"), 3),
    "read-only": Fault(disks.read_only, 3),
    "clock": Fault(surroundings.clock, 6),
    "share": Fault(surroundings.share, 4),
    "catalog": Fault(surroundings.catalog, len(surroundings.DAMAGES)),
    "burst": Fault(surroundings.burst, 1),
}
BURST = 300
"""Files of the burst in the short form."""


def run(
    folder: Path, *, seed: int, only: str = "kill", rounds: int | None = None, **more: int
) -> Outcome:
    """Make one fault in a new folder. Raises `Skipped` when this machine cannot make it."""
    fault = FAULTS[only]
    folder.mkdir(parents=True, exist_ok=True)
    if only == "burst":
        return fault.make(folder, seed=seed, files=more.get("files", BURST))
    return fault.make(folder, seed=seed, rounds=rounds or fault.rounds, **more)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rig; 0 when nothing was lost and, on a build server, nothing left out."""
    given = _options(argv)
    if not os.environ.get("FAULT_RIG_INSIDE") and _may_unshare():
        # Mounts that nobody outside sees, and that go with the rig however it ends.
        os.environ["FAULT_RIG_INSIDE"] = "1"
        os.execvp(
            "unshare",
            ["unshare", "--mount", sys.executable, "-m", "tools.fault", *sys.argv[1:]],
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # no daemon and no mount stays behind
    base = Path(tempfile.mkdtemp(prefix="archived-fault-"))
    print(f"seed {given.seed}, folder {base}", flush=True)
    print(
        f"{'fault':<13}{'rounds':>7}{'files':>7}{'lost':>6}{'doubled':>9}{'disagree':>10}"
        f"{'seconds':>9}",
        flush=True,
    )
    good, ended = True, False
    try:
        for name in given.only:
            good &= _one(name, base / name, given)
        ended = True
    finally:  # what was found stays for a look; what was broken off is of no use
        if (good or not ended) and not given.keep:
            remove_folder(base)
    return 0 if good else 1


def _one(name: str, folder: Path, given: argparse.Namespace) -> bool:
    """Make one fault and print its line; whether all was well."""
    began = time.monotonic()
    try:
        found = run(
            folder,
            only=name,
            rounds=given.rounds,
            seed=given.seed,
            **({"files": given.files} if name == "burst" else {}),
        )
    except Skipped as why:
        print(f"{name:<13}  skipped: {why}", flush=True)
        return os.environ.get("CI", "").lower() not in {"1", "true"}
    except (DaemonError, OSError) as error:
        found = Outcome(0, 0, 0, 0, [f"{type(error).__name__}: {error}"], time.monotonic() - began)
    print(
        f"{name:<13}{found.rounds:>7}{found.dropped:>7}{found.lost:>6}{found.doubled:>9}"
        f"{len(found.disagreements):>10}{found.seconds:>9.0f}  {found.remarks}",
        flush=True,
    )
    for each in found.disagreements[:20]:
        print(f"    {each}", flush=True)
    if not found.good:
        print(f"    again: ./run fault --only {name} --rounds {found.rounds} --seed {given.seed}")
    elif not given.keep:
        remove_folder(folder)
    return found.good


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(FAULTS),
        metavar="NAMES",
        help=f"faults with commas between them: {', '.join(FAULTS)}",
    )
    options.add_argument("--rounds", "--kills", type=int, help="of each fault, not the short form")
    options.add_argument("--files", type=int, default=BURST, help="of the burst")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options.add_argument("--keep", action="store_true", help="keep the folders when all is well")
    given = options.parse_args(argv)
    unknown = set(given.only) - set(FAULTS)
    if unknown:
        options.error(f"there is no fault {', '.join(sorted(unknown))}")
    return given


def _may_unshare() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0
