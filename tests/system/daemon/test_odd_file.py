"""One odd file, an error that lasts and a zone: as an administrator meets them in a real daemon."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CLOCK = """
from datetime import datetime
from archived.api import Result, Stage, StageConfig, hookimpl


class Clock(Stage[StageConfig]):
    name = "clock"
    version = "1"

    def run(self, document, context):
        return Result(facts={"read": datetime(2014, 5, 26, 10, 15).astimezone().isoformat()})


@hookimpl
def register_stages(register):
    register(Clock)
"""


@pytest.mark.parametrize(
    ("zone", "read"),
    [
        ("Asia/Ho_Chi_Minh", "2014-05-26T10:15:00+07:00"),
        ("Europe/Paris", "2014-05-26T10:15:00+02:00"),
    ],
)
def test_a_time_without_a_zone_is_the_archives_own(box: Any, zone: str, read: str) -> None:
    box.plugin("clock", CLOCK)
    box.tables["archive"]["timezone"] = zone
    box.tables["pipeline.paper"]["stages"] = ["clock", "seal"]
    box.start(TZ="UTC")
    box.drop("a.txt")
    box.sealed("a.txt")
    [(facts,)] = box.rows("SELECT facts FROM step WHERE stage = 'clock'")
    assert json.loads(facts)["read"] == read


def test_a_file_with_a_time_far_away_is_taken_in_with_the_others(box: Any) -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no tmpfs, which keeps such times")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        box.tables["hotfolder.scans"]["path"] = memory
        box.start()
        for name, seconds in (("a", None), ("odd", 910_692_730_085), ("old", -11_644_473_600)):
            path = Path(memory) / f".{name}"
            path.write_text(f"the words of {name}\n")
            if seconds is not None:
                os.utime(path, (seconds, seconds))
            path.rename(path.with_name(f"{name}.txt"))
        (Path(memory) / "three.txt").write_text("three\n")
        os.utime(Path(memory) / "three.txt", (910_692_730_085, 910_692_730_085))
        box.sealed("a.txt", "odd.txt", "old.txt", "three.txt")
        assert box.metric("archived_sweep_failing")[("scans",)] == 0
        records = box.folder.joinpath("store").rglob("record.json")
        times = {json.loads(r.read_text())["arrived"][0]["mtime_ns"] for r in records}
        assert {910_692_730_085 * 10**9, -11_644_473_600 * 10**9} <= times
        box.end()


def test_what_keeps_every_file_out_is_one_steady_metric(
    box: Any, until: Callable[..., Any]
) -> None:
    box.start()
    incoming = box.folder / "state" / "spool" / "incoming"
    aside = incoming.with_name("aside")
    incoming.rename(aside)
    box.drop("a.txt", "b.txt")
    failing = "archived_sweep_failing"
    until(lambda: box.metric(failing)[("scans",)] == 1, "the metric says so")
    seen, ends = set(), time.monotonic() + 6  # many sweeps, at a fifth of a second and a second
    while time.monotonic() < ends:
        seen.add(box.metric(failing)[("scans",)])
    assert seen == {1}
    assert box.get("/readyz")[0] != 200
    assert not box.documents()
    aside.rename(incoming)
    box.sealed("a.txt", "b.txt")
    until(lambda: box.metric(failing)[("scans",)] == 0, "the metric is calm again")
    until(lambda: box.get("/readyz")[0] == 200, "ready again")
