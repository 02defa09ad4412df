"""Disks that break under the installation: the power goes, they fill up, they turn read-only."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

from archived.testing.daemon import DaemonError
from tools.fault.installation import Installation, living
from tools.fault.judge import Outcome, settled
from tools.fault.load import Load
from tools.fault.machine import Skipped, command, need, until

_SIZE = {"ext4": 192, "xfs": 320}
"""MiB; xfs refuses to be smaller."""


@contextlib.contextmanager
def mounted(point: Path, *options: str | Path) -> Iterator[Path]:
    """A mount as long as the block lasts."""
    point.mkdir(parents=True, exist_ok=True)
    command("mount", *options, point)
    try:
        yield point
    finally:
        unmount(point)


def unmount(point: Path) -> None:
    """As soon as the last process has let go of it."""

    def gone() -> bool:
        with contextlib.suppress(DaemonError):
            command("umount", point)
        return not os.path.ismount(point)

    until(gone, f"umount {point}")


def power(folder: Path, kind: str, *, rounds: int, seed: int) -> Outcome:
    """Power cuts: the whole installation is on one disk that stops between two instants, for good.

    The writers are stopped first, so that no call of theirs can seem to succeed on a disk that is
    gone; then the file system is shut down without flushing, and what it comes back with after a
    mount is what a machine would find. Files are dropped durably: a scanner's own unwritten bytes
    are not ours to save.
    """
    need(f"mkfs.{kind}", "xfs_io", "mount")
    dice = random.Random(seed)
    image, point = folder / "disk", folder / "mnt"
    with image.open("wb") as file:
        file.truncate(_SIZE[kind] << 20)
    command(f"mkfs.{kind}", "-q", "-F" if kind == "ext4" else "-f", image)
    point.mkdir()
    try:
        command("mount", "-o", "loop", image, point)
    except DaemonError as error:  # a container without loop devices
        raise Skipped(f"a disk image cannot be mounted here: {error}") from error
    began = time.monotonic()
    try:
        installation = Installation(point / "house", outside=folder)
        with living(installation):
            load = Load(dice, installation.hot(), durable=True)
            busy = 0
            for _ in range(rounds):
                installation.start_somehow(dice)
                for _ in range(3):
                    time.sleep(dice.uniform(0.0, 0.6))
                    load.drop(dice.randrange(1, 5))
                time.sleep(dice.uniform(0.0, 0.4))
                installation.acknowledge()
                installation.freeze()
                busy += installation.in_work()
                command("xfs_io", "-x", "-c", "shutdown", point)
                installation.kill(whole=True)
                unmount(point)
                command("mount", "-o", "loop", image, point)
            return settled(
                installation,
                load,
                rounds=rounds,
                began=began,
                remarks=lambda: f"{busy} while in work",
            )
    finally:
        if os.path.ismount(point):
            unmount(point)


def full(folder: Path, what: str, *, rounds: int, seed: int) -> Outcome:
    """State, store or second place is full, by `bytes` or by `inodes`, and later has room again."""
    need("mount")
    dice = random.Random(seed)
    began = time.monotonic()
    installation = Installation(folder, tables={"spool": {"keep_free": "1 MiB"}})
    with contextlib.ExitStack() as stack:
        disks = []
        for name in ("state", "store", "second"):
            size = f"size={60 + 40 * rounds}m,nr_inodes={2000 + 1000 * rounds}"
            options = ("-t", "tmpfs", "-o", size, "tmpfs")
            disks.append(stack.enter_context(mounted(folder / name, *options)))
        stack.enter_context(living(installation))
        installation.start()
        load = Load(dice, installation.hot())
        for number in range(rounds):
            disk = disks[number % len(disks)]
            load.drop(6)
            time.sleep(dice.uniform(0.0, 0.6))
            ballast = _fill(disk, what, spare=dice.choice([0, 3, 70]))
            load.drop(6)
            time.sleep(dice.uniform(1.5, 3.0))
            installation.keep_alive()
            for each in ballast:
                each.unlink()
        words = ("no-space", "intake-paused", "catalog-no-space", "sweep-failed", "target-full")
        return settled(
            installation,
            load,
            rounds=rounds,
            began=began,
            remarks=lambda: _told(installation, *words),
        )


def _fill(disk: Path, what: str, *, spare: int) -> list[Path]:
    """Nothing more fits, but `spare` pages or names."""
    ballast: list[Path] = []
    try:
        while True:
            path = disk / f".ballast-{len(ballast)}"
            ballast.append(path)
            with path.open("wb", buffering=0) as file:
                while what == "bytes" and file.write(bytes(1 << 12)):
                    pass
    except OSError:
        pass
    if not ballast[-1].exists():
        ballast.pop()
    if what == "bytes":
        os.truncate(ballast[0], max(0, ballast[0].stat().st_size - spare * (1 << 12)))
    else:
        for _ in range(min(spare, len(ballast))):
            ballast.pop().unlink()
    return ballast


def read_only(folder: Path, *, rounds: int, seed: int) -> Outcome:
    """The store's disk turns read-only while it is written, and is made writable again."""
    need("mount")
    dice = random.Random(seed)
    began = time.monotonic()
    installation = Installation(folder)
    with mounted(folder / "store", "-t", "tmpfs", "tmpfs") as store, living(installation):
        installation.start()
        load = Load(dice, installation.hot())
        for _ in range(rounds):
            load.drop(6)
            time.sleep(dice.uniform(0.2, 0.8))
            until(lambda: _remount(store, "ro"), "remount read-only")
            load.drop(4)
            time.sleep(dice.uniform(1.0, 2.5))
            installation.keep_alive()
            until(lambda: _remount(store, "rw"), "remount writable")
        return settled(
            installation,
            load,
            rounds=rounds,
            began=began,
            remarks=lambda: _told(installation, "store-io"),
        )


def _remount(point: Path, mode: str) -> bool:
    try:
        command("mount", "-o", f"remount,{mode}", point)
    except DaemonError:
        return False  # a file is open for writing just now
    return True


def _told(installation: Installation, *words: str) -> str:
    said = installation.told(*words)
    if not said:
        raise DaemonError("the fault was not felt: the log says nothing of it")
    return ", ".join(f"{name} {n}" for name, n in said.items())
