"""A row that cannot be read is left out of every list, logged once, and taken back when whole."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archived.errors import CatalogError
from archived.model.lifecycle import State
from archived.model.scheduling import WaitingLine
from archived.storage.catalog import Catalog
from tests.unit.storage.catalog_rows import PLAIN

NOW = datetime(2026, 12, 1, tzinfo=UTC)
DAMAGE = {
    "no time": "due = 'soon'",
    "a time before all others": "due = '0'",
    "no state": "state = 'nowhere'",
    "no JSON": "stages = '['",
    "no list": "stages = '5'",
    "no names": "stages = '[1]'",
    "a word for a place": "position = 'x'",
    "a place before the first": "position = -1",
    "a word for a count": "attempts = 'x'",
}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db")
    with opened.transaction() as change:
        for name in ("bad", "good"):
            change.admit(
                replace(PLAIN, id=name, lane="cpu", due=NOW, state=State.WORKING, running=None), ()
            )
    yield opened
    opened.close()


def edit(catalog: Catalog, what: str) -> None:
    with sqlite3.connect(catalog.path) as connection:
        connection.execute(f"UPDATE document SET {what} WHERE id = 'bad'")
    connection.close()


def ids(rows: list) -> list[str]:
    return [row.id for row in rows]


@pytest.mark.parametrize("what", DAMAGE)
def test_all_others_are_read(catalog: Catalog, what: str) -> None:
    edit(catalog, DAMAGE[what])
    assert ids(catalog.documents()) == ["good"]
    assert ids(catalog.documents(limit=1)) == ["good"], "it takes no other's place in a list"
    line = WaitingLine(PLAIN.origin, PLAIN.priority, PLAIN.position, NOW)
    assert ids(catalog.first_in("cpu", line, NOW, 1)) == ["good"]
    assert catalog.next_due(["cpu"]) in {NOW, None}
    waiting = catalog.lines("cpu", NOW + timedelta(hours=1))
    assert (PLAIN.origin, PLAIN.priority, PLAIN.position) in {
        (each.device, each.priority, each.position) for each in waiting
    }
    assert catalog.count_documents()
    with pytest.raises(CatalogError, match="document bad") as told:
        catalog.document("bad")
    assert "archived rebuild" in (told.value.hint or "")
    assert catalog.unreadable_documents() == ["bad"]


def test_it_is_logged_once_for_each_damage_and_forgotten_when_it_is_whole(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "archived.storage"):
        edit(catalog, DAMAGE["no list"])
        for _ in range(3):
            catalog.documents()
        assert len(caplog.records) == 1
        told = vars(caplog.records[0])
        assert (told["action"], told["document"]) == ("row-unreadable", "bad")
        edit(catalog, "stages = '[\"seal\"]', position = -3")
        catalog.documents()
        assert len(caplog.records) == 2
    edit(catalog, "position = 0")
    assert catalog.unreadable_documents() == []
    assert sorted(ids(catalog.documents())) == ["bad", "good"]


def test_a_row_that_is_gone_is_none_that_cannot_be_read(catalog: Catalog) -> None:
    edit(catalog, DAMAGE["no list"])
    catalog.documents()
    with sqlite3.connect(catalog.path) as connection:
        connection.execute("DELETE FROM document WHERE id = 'bad'")
    connection.close()
    assert catalog.unreadable_documents() == []
