"""The ledger's table takes a next entry, and no other change: SQLite itself refuses it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry, verify

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROW = "INSERT INTO ledger SELECT {sequence}, entry, {hash}, kind, document, at FROM ledger LIMIT 1"


def enter(catalog: Catalog, count: int = 5) -> None:
    with catalog.transaction() as change:
        change.record(*(Entry("recovered", NOON, "archived 0") for _ in range(count)))


@pytest.fixture(params=["new", "migrated"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A catalog with five entries: made now, or by the version before the triggers."""
    path = tmp_path / "catalog.db"
    if request.param == "migrated":
        config = Config()
        config.set_main_option("script_location", str(files("archived.storage") / "migrations"))
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0006")
        engine.dispose()
    catalog = Catalog.open(path)
    enter(catalog)
    catalog.close()
    return path


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET entry = 'x' WHERE sequence = 2",
        "UPDATE ledger SET at = at WHERE sequence = 2",
        "UPDATE OR IGNORE ledger SET sequence = 9 WHERE sequence = 5",
        "DELETE FROM ledger WHERE sequence = 5",
        "DELETE FROM ledger",
        ROW.format(sequence=0, hash="'x'"),
        ROW.format(sequence=7, hash="'x'"),
        ROW.replace("INSERT", "INSERT OR REPLACE").format(sequence=2, hash="'x'"),
        ROW.replace("INSERT", "INSERT OR REPLACE").format(sequence=6, hash="hash"),
        ROW.replace("INSERT", "INSERT OR IGNORE").format(sequence=2, hash="'x'"),
    ],
)
def test_a_statement_that_changes_an_entry_fails_and_changes_nothing(
    path: Path, statement: str
) -> None:
    with closing(sqlite3.connect(path)) as db:
        before = db.execute("SELECT * FROM ledger").fetchall()
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement)
        db.rollback()
        assert db.execute("SELECT * FROM ledger").fetchall() == before


def test_entries_are_added_as_before(path: Path) -> None:
    catalog = Catalog.open(path)
    enter(catalog)
    assert verify(catalog.ledger_rows()).sequence == 10
    catalog.close()
