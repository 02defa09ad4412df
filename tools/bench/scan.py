"""What a hot folder full of files that stay costs: `./run bench sweep [COUNT] [KIND...]`.

Fills a folder with files that are ignored, held, or cannot be removed after they were taken into
custody, and sweeps it: the first time, later, and after a restart. Later sweeps take turns with
programs that only look at the same tree, so that a busy machine slows all of them: what counts is
the ratio, in seconds of processor.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert

from archived.ingest.hotfolder import HotFolderIngest, HotFolderSpec
from archived.ingest.submission import Candidate, Route
from archived.storage import schema
from archived.storage.catalog import Catalog
from archived.storage.spool import Spool

ROUTE = Route("scans", "paper", ("seal",), 1, "seal")

KINDS = {"ignored": "tmp", "held": "pdf", "stuck": "pdf"}
"""Why the files stay, and how their names end."""


class Installation:
    """What a desk asks for, with nothing behind it: nothing is admitted here."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def new_id(self, now: datetime) -> str:
        raise NotImplementedError(now)

    def route(self, spec: HotFolderSpec, candidate: Candidate) -> Route:
        raise NotImplementedError(candidate)

    def find_bytes(self, document: str, became: str | None = None) -> Path | None:
        """A document whose bytes cannot be found now: its source stays, and is stuck."""
        del document, became
        return None

    def room_for(self, size: int) -> bool:
        return size >= 0

    def stopping(self) -> bool:
        return False


def memory() -> float:
    """MiB that this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def fill(folder: Path, count: int, suffix: str) -> None:
    """`count` files in sub-folders of a thousand."""
    for number in range(count):
        if number % 1000 == 0:
            (folder / f"{suffix}-{number // 1000:03}").mkdir(parents=True)
        name = folder / f"{suffix}-{number // 1000:03}" / f"scan {number:06}.{suffix}"
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))


def timed(what: str, work: Callable[[], object]) -> float:
    """Tell seconds and memory on a line; returns seconds of processor, ended children's too."""
    before, began, cpu = memory(), time.monotonic(), processor()
    work()
    took, cpu = time.monotonic() - began, processor() - cpu
    print(
        f"{what:36} {took:7.2f} s, {cpu:6.2f} s of processor, {memory() - before:+5.0f} MiB to "
        f"{memory():.0f}",
        flush=True,
    )
    return cpu


def processor() -> float:
    """Seconds of processor that this process and its ended children have used."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def look(folder: Path) -> None:
    """The least that any scan does: every name, and `lstat` of each."""
    with os.scandir(folder) as entries:
        for entry in entries:
            entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                look(Path(entry.path))


def rounds(what: str, desk: HotFolderIngest, count: int) -> None:
    """Later sweeps and the others, in turn; tells the median and what a sweep costs beside it."""
    folder = desk.spec.path
    peers = {
        "scandir and lstat": lambda: look(folder),
        "find -newer": lambda: quietly("find", folder, "-newer", folder),
        "rsync --list-only": lambda: quietly("rsync", "-r", "--list-only", f"{folder}/"),
    }
    arms: dict[str, Callable[[], object]] = {
        name: work
        for name, work in peers.items()
        if " -" not in name or shutil.which(name.split()[0])
    }
    arms[what] = desk.sweep
    used: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(count):
        for name, work in arms.items():
            began = processor()
            work()
            used[name].append(processor() - began)
    ours = used.pop(what)
    print(f"{what:36} {statistics.median(ours):6.2f} s of processor (median of {count})")
    for name, theirs in used.items():
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(
            f"    beside {name:25} {statistics.median(theirs):6.2f} s: {ratio:.1f} times",
            flush=True,
        )


def quietly(*command: str | Path) -> None:
    """Run a program for what it costs; what it tells is thrown away."""
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def stuck(catalog: Catalog, folder: Path, count: int) -> None:
    """Put `count` files on record as in custody and still there."""
    fill(folder, count, "pdf")
    rows = []
    for path in sorted(folder.rglob("*.pdf")):
        status, name = path.lstat(), str(path.relative_to(folder))
        rows.append(
            {
                "hotfolder": "scans",
                "path": name.encode(),
                "name": name,
                "state": "admitted",
                "present": True,
                "device": status.st_dev,
                "inode": status.st_ino,
                "size": status.st_size,
                "mtime_ns": status.st_mtime_ns,
                "first_seen": datetime.now(UTC),
                "origin": "scans",
            }
        )
    with catalog.reading() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(insert(schema.arrival), rows)
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN")


def main() -> None:
    """Fill, sweep, tell."""
    parser = argparse.ArgumentParser(prog="./run bench sweep", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    parser.add_argument("kinds", nargs="*", default=list(KINDS), help="ignored, held, stuck")
    parser.add_argument("--rounds", type=int, default=5, help="later sweeps (5)")
    asked = parser.parse_args()
    count = asked.count
    for kind in asked.kinds:
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            (root / "hot").mkdir()
            spool = Spool(root / "state")
            spool.create()
            catalog = Catalog.open(root / "state" / "catalog.db")
            most = -1 if kind == "held" else 1 << 30
            spec = HotFolderSpec("scans", root / "hot", ROUTE, settle_time=0.0, max_size=most)
            if kind == "stuck":
                stuck(catalog, root / "hot", count)
            else:
                fill(root / "hot", count, KINDS[kind])
            desk = HotFolderIngest(spec, catalog, spool, Installation())
            timed(f"{count} {kind}, first sweep", desk.sweep)
            rounds(f"{count} {kind}, later sweeps", desk, asked.rounds)
            timed(
                f"{count} {kind}, after a restart",
                HotFolderIngest(spec, catalog, spool, Installation()).sweep,
            )
            catalog.close()


if __name__ == "__main__":
    main()
