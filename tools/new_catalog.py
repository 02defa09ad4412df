"""Write src/archived/storage/new_catalog.sql: what the migrations make of an empty file.

A first start runs these statements instead of every migration there ever was. Run it after a
migration was added; a test fails until then.
"""

from __future__ import annotations

import sqlite3
import tempfile
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

FILE = Path(__file__).parent.parent / "src/archived/storage/new_catalog.sql"


def migrated(path: Path) -> None:
    """Make a catalog by all migrations, one after the other."""
    config = Config()
    config.set_main_option("script_location", str(files("archived.storage") / "migrations"))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()


def statements(path: Path) -> str:
    """What makes the tables, indexes and triggers of a database, and says which migration it is."""
    db = sqlite3.connect(path)
    try:
        rows = db.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
        ).fetchall()
        (revision,) = db.execute("SELECT version_num FROM alembic_version").fetchone()
        virtual = [name for name, sql in rows if sql.startswith("CREATE VIRTUAL TABLE")]
    finally:
        db.close()
    made = [
        "".join(f"{line.rstrip()}\n" for line in f"{sql};".splitlines())
        for name, sql in rows
        if not any(name.startswith(f"{table}_") for table in virtual)  # it makes these itself
    ]
    return "".join(made) + f"INSERT INTO alembic_version VALUES ('{revision}');\n"


def made() -> str:
    """The file's text as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.db"
        migrated(path)
        return statements(path)


if __name__ == "__main__":
    FILE.write_text(made())
