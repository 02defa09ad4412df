"""A file of which ledger and catalog tell different stories shows in the figures."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from archived.observe.reconciler import Reconciler


def test_a_catalog_that_was_edited_is_found_out(box):
    box.start()
    box.drop("a.txt", "b.txt", "c.txt")
    box.sealed("a.txt", "b.txt", "c.txt")
    catalog = box.folder / "state" / "catalog.db"

    async def compared(audit: Reconciler) -> Reconciler:
        await audit.compare()
        return audit

    sound = asyncio.run(compared(Reconciler(catalog)))  # beside the running daemon
    assert sound.unaccounted == {}
    assert sound.compared is not None
    assert box.end() == 0
    with contextlib.closing(sqlite3.connect(catalog)) as edited:
        edited.execute("UPDATE arrival SET state = 'ignored', code = 'hidden' WHERE name = 'b.txt'")
        edited.commit()
    assert asyncio.run(compared(Reconciler(catalog))).unaccounted == {"scans": 1}


def test_what_cannot_be_compared_stays_as_it_was(tmp_path: Path, caplog):
    audit = Reconciler(tmp_path / "none.db")
    audit.unaccounted, audit.compared = {"scans": 1}, 5.0
    asyncio.run(audit.compare())
    assert (audit.unaccounted, audit.compared) == ({"scans": 1}, 5.0)
