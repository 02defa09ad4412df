"""Faults around the daemon other than of disks: clocks that jump, shares that are unmounted, bursts
of files, a damaged catalog.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from archived.testing.daemon import DaemonError, program
from tools.fault.disks import mounted, unmount
from tools.fault.installation import Installation, living
from tools.fault.judge import Outcome, settled
from tools.fault.load import Load
from tools.fault.machine import command, need, remove_folder, until

_FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def clock(folder: Path, *, rounds: int, seed: int) -> Outcome:
    """The running daemon's clock jumps a day forwards and back, again and again."""
    need("faketime", root=False)
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), _FAKETIME)
    dice = random.Random(seed)
    control = folder / "clock"
    control.write_text("+0\n")
    began = time.monotonic()
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(control),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    trial = Installation(folder)
    trial.environment.update(environment)
    with living(trial) as installation:
        installation.start()
        load = Load(dice, installation.hot())
        # The last jump is one back: what was due then is due a day from now.
        jumps = [("+0", "+1d", "-1d", "+2d")[n % 4] for n in range(rounds)]
        for jump in [*jumps, "+1d", "-1d"]:
            load.drop(5)
            time.sleep(dice.uniform(0.2, 1.2))
            fresh = folder / "clock.new"
            fresh.write_text(jump + "\n")
            fresh.rename(control)
            load.drop(3)
            time.sleep(dice.uniform(0.2, 1.2))
        return settled(
            installation, load, rounds=rounds, began=began, remarks=lambda: _span(installation)
        )


def _span(installation: Installation) -> str:
    """How far apart the instants on record lie. Raises `DaemonError` when no clock jumped."""
    rows = installation.rows(
        "SELECT julianday(max(at)) - julianday(min(at)) AS days FROM ledger WHERE at IS NOT NULL"
    )
    days = float(rows[0]["days"] or 0)
    if days < 0.9:
        raise DaemonError("the daemon's clock did not jump")
    return f"the ledger spans {days:.1f} days"


def share(folder: Path, *, rounds: int, seed: int) -> Outcome:
    """The hot folder is a mounted share that goes while files lie in it, and comes back."""
    need("mount")
    dice = random.Random(seed)
    began = time.monotonic()
    installation = Installation(
        folder,
        tables={"intake": {"settle_time": "700 ms", "rescan": "300 ms"}},
        also_ignored=frozenset({"temporary-name"}),
    )
    with (
        mounted(folder / "server", "-t", "tmpfs", "tmpfs") as server,
        living(installation),
    ):
        command("mount", "--bind", server, installation.hot())
        try:
            installation.start()
            load = Load(dice, installation.hot())
            for number in range(rounds):
                load.drop(6)
                time.sleep(dice.uniform(0.0, 1.2))
                command("umount", "--lazy", installation.hot())
                stray = installation.hot() / f"stray-{number}.part"
                if number % 2:  # somebody writes where the share should be
                    stray.write_bytes(b"lost between two disks")
                time.sleep(dice.uniform(0.8, 2.0))
                stray.unlink(missing_ok=True)
                command("mount", "--bind", server, installation.hot())
            return settled(
                installation,
                load,
                rounds=rounds,
                began=began,
                remarks=lambda: f"{installation.told('folder-offline').total()} times offline",
            )
        finally:
            if os.path.ismount(installation.hot()):
                installation.kill(whole=True)
                unmount(installation.hot())


def burst(folder: Path, *, files: int, seed: int) -> Outcome:
    """So many files at once, each with a name of its own, in one folder."""
    dice = random.Random(seed)
    began = time.monotonic()
    with living(Installation(folder)) as installation:
        installation.start()
        load = Load(dice, installation.hot())
        load.drop(files)
        dropped = time.monotonic()

        def all_in() -> bool:
            return not installation.in_hot()

        until(all_in, "all files admitted", seconds=60 + files)
        rate = files / (time.monotonic() - dropped)
        return settled(
            installation,
            load,
            rounds=1,
            began=began,
            remarks=lambda: f"admitted {rate:.0f} a second",
        )


# -- a damaged catalog ----------------------------------------------------------------------------

_PARTS = ("hot", "state", "store", "second")


def _cut_in_half(catalog: Path, _dice: random.Random) -> None:
    os.truncate(catalog, catalog.stat().st_size // 2)


def _emptied(catalog: Path, _dice: random.Random) -> None:
    os.truncate(catalog, 0)


def _removed(catalog: Path, _dice: random.Random) -> None:
    catalog.unlink()


def _head_overwritten(catalog: Path, dice: random.Random) -> None:
    with catalog.open("r+b") as file:
        file.write(dice.randbytes(512))


def _pages_overwritten(catalog: Path, dice: random.Random) -> None:
    """Everything but the first page and every fifth after it."""
    with catalog.open("r+b") as file:
        for page in range(1, catalog.stat().st_size // 4096):
            if page % 5:
                file.seek(page * 4096)
                file.write(dice.randbytes(4096))


def _a_folder(catalog: Path, _dice: random.Random) -> None:
    catalog.unlink()
    catalog.mkdir()


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (
    _head_overwritten,
    _cut_in_half,
    _pages_overwritten,
    _emptied,
    _removed,
    _a_folder,
)


def catalog(folder: Path, *, rounds: int, seed: int) -> Outcome:
    """The catalog's file is damaged: the daemon must refuse, say what helps, and change nothing."""
    dice = random.Random(seed)
    began = time.monotonic()
    told: list[str] = []
    with living(Installation(folder)) as installation:
        installation.start()
        load = Load(dice, installation.hot())
        load.drop(8)
        until(lambda: _count(installation, "safe") >= 3, "some documents safe")
        load.drop(8)
        installation.kill(whole=True)
        _fold(installation.folder / "state" / "catalog.db")
        backup = folder / "backup"
        _copy(installation.folder, backup)
        for number in range(rounds):
            damage = DAMAGES[number % len(DAMAGES)]
            what = damage.__name__.strip("_").replace("_", " ")
            state = installation.folder / "state"
            for name in ("catalog.db-wal", "catalog.db-shm"):
                (state / name).unlink(missing_ok=True)
            damage(state / "catalog.db", dice)
            told += [f"catalog {what}: {each}" for each in _refusal(installation)]
            _copy(backup, installation.folder)
        outcome = settled(installation, load, rounds=rounds, began=began)
    return Outcome(**{**vars(outcome), "disagreements": [*told, *outcome.disagreements]})


def _copy(source: Path, to: Path) -> None:
    """All that is precious, with its times, over whatever is there."""
    for name in _PARTS:
        if (to / name).exists():
            remove_folder(to / name)
        shutil.copytree(source / name, to / name, symlinks=True)


def _fold(catalog: Path) -> None:
    """The write-ahead log into the file, so that a damage of the file is one of all it holds."""
    connection = sqlite3.connect(catalog)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _count(installation: Installation, state: str) -> int:
    return len(installation.rows(f"SELECT id FROM document WHERE state = '{state}'"))


def _refusal(installation: Installation) -> list[str]:
    """What is wrong with how the daemon starts on this state."""
    before = _everything(installation)
    file = installation.folder / "state" / "catalog.db"
    before_size = file.stat().st_size if file.exists() else 0
    process = subprocess.Popen(
        [program("archived"), "run", "--config", str(installation.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    told = []
    try:
        words, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.terminate()
        words, _ = process.communicate(timeout=60)
        told.append("it started all the same")
    else:
        if process.returncode == 0:
            told.append("it ended as if all were well")
        if "Traceback" in words:
            told.append(f"it broke: {words.strip().splitlines()[-1]}")
        if "catalog" not in words or not any(w in words.lower() for w in ("restore", "rebuild")):
            told.append(f"it does not say what helps: {words.strip()[-300:]}")
    changed = {name for name, _ in before.symmetric_difference(_everything(installation))}
    if not before_size:
        changed.discard("state/catalog.db")  # what was empty or gone may be made anew, and empty
    return told + [f"{name} was changed" for name in sorted(changed)[:5]]


def _everything(installation: Installation) -> set[tuple[str, str]]:
    """Every file of the installation with its digest; not SQLite's shared memory and the lock."""
    return {
        (str(path.relative_to(installation.folder)), hashlib.sha256(path.read_bytes()).hexdigest())
        for name in _PARTS
        for path in (installation.folder / name).rglob("*")
        if path.is_file() and path.name not in {"lock", "catalog.db-shm", "catalog.db-wal"}
    }
