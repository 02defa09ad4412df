"""A catalog of before file numbers were text, with documents in every state, keeps everything."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from archived.model.lifecycle import COLUMN, State
from archived.observe.api import QueryApi
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.rows import ArrivalState, SeenFile

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).isoformat(timespec="microseconds")
NUMBERS = [
    (1, 2, 3, 4),
    (2**63 - 1, 2**63 - 1, 2**63 - 1, 2**63 - 1),
    (0, 0, 0, -(2**63)),
    (66306, 10**18, 0, 1_700_000_000_123_456_789),
]
OLD = {"words": [0, 5], "confidence": [None, 90.0], "blank_pages": [1], "flags": [], "text": "ocr"}


def insert(db: sqlite3.Connection, table: str, **columns: object) -> None:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
    db.execute(statement, tuple(columns.values()))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.db"
    config = Config()
    config.set_main_option("script_location", str(files("archived.storage") / "migrations"))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    engine.dispose()
    db = sqlite3.connect(path)
    for number, state in enumerate(State):
        insert(
            db,
            "document",
            id=f"d{number}",
            state=state,
            hotfolder="scans",
            name=f"{number}.pdf",
            path=b"%d.pdf" % number,
            media_type="application/pdf",
            size=2**40,
            secrecy="",
            priority=0,
            pipeline="paper",
            stages='["ocr","seal"]',
            copies=0,
            position=1,
            lane="cpu",
            attempts=0,
            postponed=0,
            due=None,
            received=NOON,
            changed=NOON,
            pages=2,
            origin="scans",
        )
        insert(
            db,
            "step",
            id=f"s{number}",
            document=f"d{number}",
            position=0,
            stage="ocr",
            attempt=1,
            version="0.1.0",
            distribution="archived-ocr 0.1.0",
            options_digest="",
            started=NOON,
            ended=NOON,
            ending="finished",
            facts=json.dumps(OLD),
        )
        insert(
            db,
            "artifact",
            document=f"d{number}",
            role="original",
            name="0001.pdf",
            media_type="application/pdf",
            size=2**40,
            sha512="",
            sha256=f"{number}",
            path="original/0001.pdf",
            current=True,
            main=True,
        )
    places = [(state, n) for state in ArrivalState for n in range(len(NUMBERS))]
    for number, (state, which) in enumerate(places, start=1):
        device, inode, size, mtime = NUMBERS[which]
        insert(
            db,
            "arrival",
            id=number,
            hotfolder="scans",
            path=b"\xff%d" % number,
            name=f"{number}",
            state=state,
            code="temporary-name" if state == "ignored" else None,
            reason=None,
            present=number % 2,
            device=device,
            inode=inode,
            size=size,
            mtime_ns=mtime,
            document=f"d{number % len(State)}" if state == "admitted" else None,
            first_seen=NOON,
            origin="scans",
            became="original/0001.pdf" if state == "admitted" else None,
        )
    db.commit()
    db.close()
    return path


def rows(path: Path, table: str) -> list[dict[str, Any]]:
    db = sqlite3.connect(path)
    db.row_factory = sqlite3.Row
    found = [dict(row) for row in db.execute(f"SELECT * FROM {table} ORDER BY 1")]
    db.close()
    return found


def test_everything_is_kept_and_goes_on(old: Path) -> None:
    tables = ("document", "artifact", "step", "arrival")
    before = {table: rows(old, table) for table in tables}
    catalog = Catalog.open(old)
    for table in ("document", "artifact", "step"):
        for was, now in zip(before[table], rows(old, table), strict=True):
            assert {name: now[name] for name in was} == was
    numbers = ("device", "inode", "size", "mtime_ns")
    for was, now in zip(before["arrival"], rows(old, "arrival"), strict=True):
        assert now == {**was, **{name: str(was[name]) for name in numbers}}
    for was, seen in zip(before["arrival"], catalog.arrivals(), strict=True):
        assert [getattr(seen, name) for name in numbers] == [was[name] for name in numbers]
    assert {d.state for d in catalog.documents()} == set(State)
    [sheet] = catalog.balance()
    assert sheet.unaccounted == 0
    assert sheet.seen == len(before["arrival"])
    assert len(catalog.arrivals_present("scans")) == sum(r["present"] for r in before["arrival"])
    with catalog.transaction() as change:  # and it is written to as before
        new = change.arrival_seen(
            SeenFile(
                hotfolder="scans",
                path=b"new",
                name="new",
                device=2**64 - 1,
                inode=2**64 - 1,
                size=1,
                mtime_ns=910_692_730_085 * 10**9,
            ),
            datetime.fromisoformat(NOON),
        )
        change.record(Entry("daemon-started", datetime.fromisoformat(NOON), "archived 0"))
    arrival = catalog.arrival(new)
    assert arrival is not None
    assert (arrival.device, arrival.inode) == (2**64 - 1, 2**64 - 1)
    assert arrival.mtime_ns == 910_692_730_085 * 10**9
    assert new == len(before["arrival"]) + 1
    assert old.with_name("catalog.db.shape-0003").exists()
    catalog.close()


def test_two_files_of_one_name_cannot_both_be_there_after_it_either(old: Path) -> None:
    catalog = Catalog.open(old)
    present = next(iter(catalog.arrivals_present("scans").values()))
    import sqlalchemy.exc

    with pytest.raises(sqlalchemy.exc.IntegrityError), catalog.transaction() as change:
        change.arrival_seen(
            SeenFile(
                hotfolder="scans",
                path=present.path,
                name="x",
                device=1,
                inode=1,
                size=1,
                mtime_ns=1,
            ),
            datetime.fromisoformat(NOON),
        )
    catalog.close()


def test_sealed_documents_of_the_old_reading_are_listed_and_no_others(old: Path) -> None:
    catalog = Catalog.open(old)
    answers = QueryApi(catalog, old.parent / "store")
    found = answers.answer("old-readings", {})["documents"]
    sealed = {f"d{n}" for n, state in enumerate(State) if COLUMN[state] == "archived"}
    assert {each["id"] for each in found} == sealed
    assert {each["state"] for each in found} == {"sealed", "safe"}
    for each in found:
        assert each["doubtful_pages"] == {"blank": [1]}
        assert (each["read_by"], each["originals"]) == ("0.1.0", ["original/0001.pdf"])
    assert [each["id"] for each in found] == sorted(sealed, reverse=True)
    assert len(answers.answer("old-readings", {"limit": "1"})["documents"]) == 1
    assert answers.answer("old-readings", {"hotfolder": "other"})["documents"] == []
    [last, *_] = found
    db = sqlite3.connect(old)
    insert(
        db,
        "step",
        id="s-new",
        document=last["id"],
        position=0,
        stage="ocr",
        attempt=2,
        version="0.2.0",
        distribution="",
        options_digest="",
        started=NOON.replace("12:", "13:"),
        ended=NOON,
        ending="finished",
        facts=json.dumps(OLD),
    )
    db.commit()
    db.close()
    again = answers.answer("old-readings", {})["documents"]
    assert last["id"] not in {each["id"] for each in again}  # it was read again, by the new rule
    catalog.close()
