"""What somebody does first who may write the catalog's file: the ledger's triggers are dropped."""

from __future__ import annotations

import sqlite3


def unguard(db: sqlite3.Connection) -> None:
    """Let this database change entries of its ledger."""
    guards = db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'ledger'"
    )
    for (name,) in guards.fetchall():
        db.execute(f"DROP TRIGGER {name}")
