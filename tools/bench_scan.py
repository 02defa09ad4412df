"""What a hot folder full of files that stay costs: `python tools/bench_scan.py [COUNT] [KIND...]`.

Fills a folder with files that are ignored, held, or cannot be removed after they were taken into
custody, and sweeps it: the first time, later, and after a restart. Tells seconds and memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert

from archived.intake.desk import Desk, FolderCard
from archived.intake.item import Candidate, Route
from archived.storage import schema
from archived.storage.catalog import Catalog
from archived.storage.spool import Spool

ROUTE = Route("scans", "paper", ("seal",), 1, "seal")

KINDS = {"ignored": "tmp", "held": "pdf", "stuck": "pdf"}
"""Why the files stay, and how their names end."""


class House:
    """What a desk asks for, with nothing behind it: nothing is admitted here."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def new_id(self, now: datetime) -> str:
        raise NotImplementedError(now)

    def route(self, card: FolderCard, candidate: Candidate) -> Route:
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


def timed(what: str, desk: Desk) -> None:
    """One sweep, told on a line."""
    before, began, cpu = memory(), time.monotonic(), time.process_time()
    report = desk.sweep()
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    print(f"{what:36} {took:7.2f} s, {cpu:6.2f} s of processor, {memory() - before:+5.0f} MiB to "
          f"{memory():.0f}, {len(report.stuck)} stuck")  # fmt: skip


def stuck(catalog: Catalog, folder: Path, count: int) -> None:
    """Put `count` files on record as in custody and still there."""
    fill(folder, count, "pdf")
    rows = []
    for path in sorted(folder.rglob("*.pdf")):
        status, name = path.lstat(), str(path.relative_to(folder))
        rows.append(
            {"hotfolder": "scans", "path": name.encode(), "name": name, "state": "admitted",
             "present": True, "device": status.st_dev, "inode": status.st_ino,
             "size": status.st_size, "mtime_ns": status.st_mtime_ns,
             "first_seen": datetime.now(UTC), "origin": "scans"}
        )  # fmt: skip
    with catalog.reading() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(insert(schema.arrival), rows)
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN")


def main() -> None:
    """Fill, sweep, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    parser.add_argument("kinds", nargs="*", default=list(KINDS), help="ignored, held, stuck")
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
            card = FolderCard("scans", root / "hot", ROUTE, quiet=0.0, max_size=most)
            if kind == "stuck":
                stuck(catalog, root / "hot", count)
            else:
                fill(root / "hot", count, KINDS[kind])
            desk = Desk(card, catalog, spool, House())
            for sweep in ("first", "second", "third", "fourth"):
                timed(f"{count} {kind}, {sweep} sweep", desk)
            again = Desk(card, catalog, spool, House())
            timed(f"{count} {kind}, after a restart", again)
            catalog.close()


if __name__ == "__main__":
    main()
