"""A catalog of the first version, with rows in it, is brought up to date and keeps everything."""

import json
import sqlite3
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from archived.storage.catalog import Catalog
from archived.storage.ledger import GENESIS, Entry, canonical, digest, verify
from archived.storage.reconcile_query import settled

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENTRIES = [
    Entry("ledger-opened", NOON, "archived 0"),
    Entry(
        "document-admitted",
        NOON,
        "archived 0",
        document="d1",
        facts={"hotfolder": "scans", "name": "a.pdf", "arrival": 1},
    ),
    Entry("document-sealed", NOON, "archived 0", document="d1", facts={"object": "k"}),
    Entry(
        "arrival-repeated",
        NOON,
        "archived 0",
        document="d1",
        facts={"arrival": 2, "name": "b.pdf", "size": 1},
    ),
    Entry("recovered", NOON, "archived 0", document="d2", facts={"why": "found in the spool"}),
    Entry(
        "arrival-ignored",
        NOON,
        "archived 0",
        facts={"arrival": 4, "hotfolder": "late", "name": "x.tmp", "rule": "temporary-name"},
    ),
]
"""As the first version wrote them: without device, one without a folder, one without arrival."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A catalog as the first version left it."""
    path = tmp_path / "catalog.db"
    config = Config()
    config.set_main_option("script_location", str(files("archived.storage") / "migrations"))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    catalog = sqlite3.connect(path)
    for document, state, pages in (("d1", "sealed", 7), ("d2", "waiting", None)):
        insert(
            catalog,
            "document",
            id=document,
            state=state,
            hotfolder="scans",
            name="a.pdf",
            path=b"a.pdf",
            media_type="application/pdf",
            size=1,
            secrecy="",
            priority=0,
            pipeline="paper",
            stages='["note","seal"]',
            copies=1,
            position=0,
            lane="cpu",
            attempts=0,
            postponed=0,
            due=NOON.isoformat(timespec="microseconds"),
            received=NOON.isoformat(),
            changed=NOON.isoformat(),
            pages=pages,
        )
    rows = (
        ("admitted", "d1", "scans"),
        ("admitted", "d1", "scans"),
        ("admitted", "d2", "scans"),
        ("ignored", None, "late"),
        ("seen", None, "late"),
    )
    for number, (state, document, folder) in enumerate(rows, start=1):
        insert(
            catalog,
            "arrival",
            id=number,
            hotfolder=folder,
            path=b"%d" % number,
            name="n",
            state=state,
            code="temporary-name" if state == "ignored" else None,
            present=0,
            device=1,
            inode=number,
            size=1,
            mtime_ns=1,
            document=document,
            first_seen=NOON.isoformat(),
        )
    before = GENESIS
    for sequence, entry in enumerate(ENTRIES, start=1):
        line = canonical(entry, sequence, before)
        before = digest(line)
        insert(
            catalog,
            "ledger",
            sequence=sequence,
            entry=line,
            hash=before,
            kind=entry.kind,
            document=entry.document,
            at=json.loads(line)["at"],
        )
    catalog.commit()
    catalog.close()
    return path


def insert(catalog: sqlite3.Connection, table: str, **columns: object) -> None:
    marks = ", ".join("?" * len(columns))
    catalog.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})",
        tuple(columns.values()),
    )


def test_every_row_is_kept_and_comes_from_the_device_of_its_folder(old: Path) -> None:
    catalog = Catalog.open(old)

    assert {row.id: (row.origin, row.pages) for row in catalog.documents()} == {
        "d1": ("scans", 7),
        "d2": ("scans", None),
    }
    assert [a.origin for a in catalog.arrivals()] == ["scans"] * 3 + ["late"] * 2
    assert verify(catalog.ledger_rows()).sequence == len(ENTRIES)
    catalog.close()


def test_entries_of_the_first_version_balance(old: Path) -> None:
    catalog = Catalog.open(old)

    files = {file.arrival: file for file in settled(catalog)}

    assert {n: (f.column, f.why) for n, f in files.items()} == {
        1: ("archived", ""),
        2: ("archived", ""),
        3: ("in_work", ""),
        4: ("ignored", ""),
        5: ("in_work", ""),
    }
    assert files[1].pages == 7
    catalog.close()
