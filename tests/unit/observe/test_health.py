"""The watchdog is fed while there is progress, and not when there is none."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from archived.daemon import health
from archived.daemon.health import Health
from archived.daemon.hotfolder_task import FolderStatus
from archived.ingest.hotfolder import HotFolderSpec
from archived.ingest.submission import Route
from archived.model.lifecycle import State
from archived.storage.catalog import Catalog
from archived.storage.rows import DocumentRow


class Parts:
    """The parts of a daemon that `Health` asks, in a state of our choice."""

    def __init__(self, catalog: Catalog) -> None:
        route = Route("scans", "paper", ("seal",), 1, "seal", 0, "")
        self.spec = HotFolderSpec("scans", Path("/srv/scans"), route, rescan=30.0, max_size=4 << 20)
        self.status = FolderStatus("scans", "/srv/scans", moved=time.monotonic())
        self.hotfolder_tasks = {"scans": SimpleNamespace(spec=self.spec, status=self.status)}
        self.scheduler = SimpleNamespace(active={}, open_lanes=lambda: ["cpu", "seal"])
        self.catalog = catalog
        self.store = SimpleNamespace(head=SimpleNamespace(cut=""))


@pytest.fixture
def parts(tmp_path) -> Parts:
    return Parts(Catalog.open(tmp_path / "catalog.db"))


def test_a_desk_that_does_not_come_back_is_a_standstill(parts):
    asked = Health(parts)
    asked.started = True
    assert asked.stuck() == ""
    patience = health.SILENT + 2 * 30 + 1
    parts.status.moved -= patience - 5
    assert asked.stuck() == "", "a sweep over large files takes its time"
    parts.status.moved -= 10
    assert "hot folder scans: its sweep does not come back" in asked.stuck()
    assert asked.not_ready() == [asked.stuck()]
    parts.status.moved = time.monotonic()
    assert asked.stuck() == "", "it got on"


def test_due_steps_that_nobody_starts_are_a_standstill(parts):
    asked = Health(parts)
    due = datetime.now(UTC) - timedelta(seconds=health.OVERDUE + 60)
    document = DocumentRow(
        id="1",
        state=State.WORKING,
        hotfolder="scans",
        name="a",
        path=b"a",
        media_type="x/y",
        size=1,
        secrecy="",
        priority=0,
        pipeline="paper",
        stages=("seal",),
        copies=1,
        position=0,
        running=None,
        lane="seal",
        attempts=0,
        postponed=0,
        due=due,
        code=None,
        reason=None,
        hint=None,
        received=due,
        changed=due,
    )
    with parts.catalog.transaction() as change:
        change.admit(document, [])
    assert asked.stuck() == "", "it has just started"
    asked._moved -= health.OVERDUE + 1
    assert asked.stuck() == "steps are due, but none is started"
    parts.scheduler.active["x"] = object()
    assert asked.stuck() == "", "the lanes are busy"
    parts.scheduler.active.clear()
    asked.progressed()
    assert asked.stuck() == "", "a step just ended"


def test_a_document_that_is_recorded_as_running_without_a_step_is_told(parts, monkeypatch):
    asked = Health(parts)
    asked.started = True
    now = datetime.now(UTC)
    document = DocumentRow(
        id="1",
        state=State.WORKING,
        hotfolder="scans",
        name="a",
        path=b"a",
        media_type="x/y",
        size=1,
        secrecy="",
        priority=0,
        pipeline="paper",
        stages=("seal",),
        copies=1,
        position=0,
        running="a-step",
        lane="seal",
        attempts=1,
        postponed=0,
        due=now,
        code=None,
        reason=None,
        hint=None,
        received=now,
        changed=now,
    )
    with parts.catalog.transaction() as change:
        change.admit(document, [])
    parts.scheduler.active["1"] = object()
    assert asked.abandoned() == 0
    parts.scheduler.active.clear()
    assert asked.abandoned() == 0, "it may just have ended"
    monkeypatch.setattr(health, "ABANDONED", 0.0)
    assert asked.abandoned() == 1
    assert any("no step of them lives" in reason for reason in asked.not_ready())
    parts.scheduler.active["1"] = object()
    assert asked.abandoned() == 0
    assert asked.not_ready() == []


def test_what_no_restart_cures_is_shown_but_is_no_standstill(parts, tmp_path):
    asked = Health(parts)
    assert asked.not_ready() == ["starting"]
    asked.started = True
    assert asked.not_ready() == []
    parts.status.offline, parts.status.failing = "no such folder", "a disk error"
    parts.status.stuck = ["a", "b"]

    (tmp_path / "damaged.db").write_bytes(b"no database at all" * 500)
    parts.catalog = Catalog(tmp_path / "damaged.db")
    assert asked.stuck() == ""
    reasons = "; ".join(asked.not_ready())
    for words in (
        "offline: no such folder",
        "a disk error",
        "2 files in custody",
        "cannot be read",
    ):
        assert words in reasons
