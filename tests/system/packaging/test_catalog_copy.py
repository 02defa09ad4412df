"""An upgrade that changes the catalog's shape keeps a copy of the catalog as it was."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from importlib.resources import files

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from archived.storage.catalog import Catalog


def old_catalog(path):
    """A catalog in the shape of the first release, with something in it."""
    config = Config()
    config.set_main_option("script_location", str(files("archived.storage") / "migrations"))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()


def revision(path) -> str:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    finally:
        connection.close()


def test_the_catalog_as_it_was_lies_beside_the_migrated_one(tmp_path):
    path = tmp_path / "catalog.db"
    old_catalog(path)
    Catalog.open(path).close()
    assert revision(path) != "0001"
    assert revision(tmp_path / "catalog.db.shape-0001") == "0001"
    assert [p.name for p in tmp_path.glob("*unfinished*")] == []


def test_a_catalog_that_is_new_or_keeps_its_shape_is_not_copied(tmp_path):
    for _ in range(2):
        Catalog.open(tmp_path / "catalog.db").close()
    assert list(tmp_path.glob("*shape*")) == []


def test_without_a_copy_nothing_is_migrated(tmp_path):
    path = tmp_path / "catalog.db"
    old_catalog(path)
    (tmp_path / "catalog.db.shape-0001").mkdir()
    with pytest.raises(OSError, match="shape-0001"):
        Catalog.open(path)
    assert revision(path) == "0001"


def test_a_catalog_that_may_not_be_read_is_a_sentence_and_not_a_fault(tmp_path):
    closed = tmp_path / "state"
    closed.mkdir(mode=0o700)
    Catalog.open(closed / "catalog.db").close()
    code = (
        "import os, sys; from archived.storage.catalog import Catalog, CatalogError; "
        "os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534)); "
        'exec(\'try: Catalog.open_to_read(__import__("pathlib").Path(sys.argv[1]))\\n'
        "except CatalogError as error: print(error.message)')"
    )
    closed.chmod(0)
    try:
        asked = subprocess.run(
            [sys.executable, "-c", code, closed / "catalog.db"],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        closed.chmod(0o700)
    assert "you may not read the catalog" in asked.stdout


def test_a_migration_that_is_tried_again_replaces_the_copy(tmp_path):
    path = tmp_path / "catalog.db"
    old_catalog(path)
    (tmp_path / "catalog.db.shape-0001").write_bytes(b"of an earlier time")
    (tmp_path / "catalog.db.shape-0001.unfinished").write_bytes(b"cut short")
    Catalog.open(path).close()
    assert revision(tmp_path / "catalog.db.shape-0001") == "0001"
