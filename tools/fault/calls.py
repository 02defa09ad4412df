"""System calls that fail: strace makes some of the running daemon's calls end in an error."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

from archived.testing.daemon import DaemonError
from tools.fault.installation import Installation, living
from tools.fault.judge import Outcome, settled
from tools.fault.load import Load
from tools.fault.machine import need
from tools.trial import tree

_CALLS = (
    ("fsync,fdatasync", "EIO"),
    ("rename,renameat2", "EIO"),
    ("write,pwrite64", "EIO"),
    ("write,pwrite64", "ENOSPC"),
    ("fsync,fdatasync", "ENOSPC"),
    ("rename,renameat2", "ENOSPC"),
    ("unlink,unlinkat,rmdir", "EIO"),
    ("openat", "EIO"),
)
"""What fails, and how; one pair a round, in turn."""


def calls(folder: Path, *, rounds: int, seed: int) -> Outcome:
    """For about a second of each round some calls of the daemon and its children fail."""
    need("strace")
    dice = random.Random(seed)
    began = time.monotonic()
    with living(Installation(folder)) as installation:
        installation.start()
        load = Load(dice, installation.hot())
        failed = 0
        for number in range(rounds):
            names, error = _CALLS[number % len(_CALLS)]
            load.drop(5)
            time.sleep(dice.uniform(0.1, 0.5))
            # Writes are many, and most are the log's; some of each kind must get through.
            first, every = dice.randrange(1, 8), dice.choice([2, 3, 5, 9])
            report = folder / f"strace-{number}"
            _strike(
                installation, report, f"{names}:error={error}:when={first}+{every}", names, dice
            )
            failed += report.read_text(errors="replace").count("(INJECTED)")
            installation.keep_alive()
        if not failed:
            raise DaemonError("not one call was made to fail")
        return settled(
            installation, load, rounds=rounds, began=began, remarks=lambda: f"{failed} calls failed"
        )


def _strike(
    installation: Installation, report: Path, rule: str, names: str, dice: random.Random
) -> None:
    """Attach to the daemon and its children, let calls fail for a while, and let go."""
    pids = [part for process in tree(installation.pid) for part in ("-p", str(process.pid))]
    with subprocess.Popen(
        [
            "strace",
            "-qq",
            "-f",
            "-o",
            str(report),
            "-e",
            f"trace={names}",
            "-e",
            f"inject={rule}",
            *pids,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as strace:
        time.sleep(dice.uniform(0.6, 1.6))
        strace.send_signal(signal.SIGINT)
        try:
            strace.wait(20)
        except subprocess.TimeoutExpired:
            strace.kill()
            raise DaemonError("strace did not let go of the daemon") from None
