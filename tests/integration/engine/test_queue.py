"""The queue on a real catalog: who is started, and how long it takes to find out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from archived.engine.lane_assignment import Queue
from archived.storage import schema
from archived.storage.catalog import Catalog
from archived.storage.queries import _LINES

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog.open(tmp_path / "catalog.db")
    yield catalog
    catalog.close()


def wait(
    catalog: Catalog,
    device: str,
    count: int = 1,
    *,
    priority: int = 0,
    position: int = 0,
    due: datetime = NOON,
    lane: str = "cpu",
) -> None:
    """Documents of one device that wait in a lane, each due a moment after the one before."""
    rows = [
        {
            "id": f"{device}-{priority}-{position}-{lane}-{n:06}",
            "state": "working",
            "hotfolder": "scans",
            "name": "n",
            "path": b"n",
            "media_type": "x/y",
            "size": 1,
            "secrecy": "",
            "priority": priority,
            "pipeline": "paper",
            "stages": ["a", "b", "seal"],
            "copies": 1,
            "position": position,
            "lane": lane,
            "attempts": 0,
            "postponed": 0,
            "due": due + timedelta(milliseconds=n),
            "received": due,
            "changed": due,
            "origin": device,
        }
        for n in range(count)
    ]
    with catalog.transaction() as change:
        change._connection.execute(insert(schema.document), rows)


def start(catalog: Catalog, queue: Queue, now: datetime, free: int = 2) -> list[str]:
    """Start what the queue gives, as the scheduler does."""
    rows = queue.next("cpu", now, free, ())
    with catalog.transaction() as change:
        for row in rows:
            change.set_columns(row.id, running="step")
    return [row.id.split("-")[0] for row in rows]


def test_a_clerks_one_document_is_not_behind_a_scanners_two_thousand(catalog: Catalog) -> None:
    queue, now = Queue(catalog), NOON + timedelta(seconds=5)
    wait(catalog, "A", 2000)
    assert start(catalog, queue, now) == ["A", "A"]

    wait(catalog, "B")

    assert "B" in start(catalog, queue, now)


def test_priority_holds_until_a_document_has_waited_too_long(catalog: Catalog) -> None:
    queue = Queue(catalog)
    wait(catalog, "slow")
    wait(catalog, "urgent", 100, priority=9, due=NOON + timedelta(minutes=29))

    assert start(catalog, queue, NOON + timedelta(minutes=29, seconds=30)) == ["urgent"] * 2
    assert "slow" in start(catalog, queue, NOON + timedelta(minutes=31))


def test_each_document_is_given_once_and_those_under_way_are_left_out(catalog: Catalog) -> None:
    queue, now = Queue(catalog), NOON + timedelta(hours=1)
    wait(catalog, "A", 3)
    wait(catalog, "A", 2, position=1)
    wait(catalog, "B", 2)
    wait(catalog, "B", 1, due=now + timedelta(seconds=1), position=1)
    wait(catalog, "C", 5, lane="network")

    rows = queue.next("cpu", now, 100, ("A-0-0-cpu-000001",))

    found = [row.id for row in rows]
    assert len(found) == len(set(found)) == 6
    assert "A-0-0-cpu-000001" not in found
    assert {row.origin for row in rows} == {"A", "B"}


def test_waking_times_are_those_of_the_lanes_asked_for(catalog: Catalog) -> None:
    wait(catalog, "A", due=NOON)
    wait(catalog, "A", due=NOON + timedelta(hours=1), position=1)
    wait(catalog, "A", due=NOON - timedelta(hours=1), lane="night")

    assert catalog.next_due(["cpu", "seal"]) == NOON
    assert catalog.next_due(["cpu", "night"]) == NOON - timedelta(hours=1)
    assert catalog.next_due(["cpu", "night"], after=NOON) == NOON + timedelta(hours=1)
    assert catalog.next_due(["seal"]) is None
    assert catalog.count_due(NOON) == {"cpu": 1, "night": 1}


def test_a_long_queue_is_not_read_to_choose_from_it(catalog: Catalog) -> None:
    """20,000 documents of 40 devices: as long as 40 lines take, far from reading them all."""
    for number in range(40):
        wait(catalog, f"device {number}", 500, position=number % 3, priority=number % 2)
    queue, now = Queue(catalog), NOON + timedelta(hours=1)
    queue.next("cpu", now, 2, ())

    began = time.process_time()
    for _ in range(10):
        assert len(queue.next("cpu", now, 2, ())) == 2
    each = (time.process_time() - began) / 10

    assert each < 0.05, f"{each * 1000:.1f} ms"
    with catalog.reading() as connection:
        plan = connection.execute(
            text(f"EXPLAIN QUERY PLAN {_LINES.text}"), {"lane": "", "now": "", "then": ""}
        )
        steps = [row[3] for row in plan]
    assert (
        sum(
            "USING COVERING INDEX document_line" in step or "USING INDEX document_line" in step
            for step in steps
        )
        == 4
    ), steps
    assert not any("TEMP B-TREE" in step or step == "SCAN document" for step in steps), steps
