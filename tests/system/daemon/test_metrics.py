"""What a running daemon shows: figures, health, log, and its word to the service manager."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from archived.observe.metric_defs import CONDITIONAL, COUNTERS, HISTOGRAMS, METRICS

LEVELS = {"debug", "info", "warning", "error", "critical"}


def _families(box) -> dict[str, Any]:
    status, text = box.get("/metrics")
    assert status == 200
    return {f.name: f for f in text_string_to_metric_families(text)}


def test_every_metric_is_documented_and_every_documented_one_appears(box, until):
    box.plugin("picky", PICKY)
    box.tables["pipeline.paper"]["stages"] = ["picky", "stamp", "seal"]
    box.tables["mqtt"] = {"host": "127.0.0.1", "port": 9}
    box.start()
    box.drop("good.txt", "bad.txt")
    (box.hot() / ".hidden").write_text("x")
    box.sealed("good.txt")
    until(lambda: box.metric("archived_held_documents") == {("not-this-one",): 1}, "held")
    until(lambda: box.metric("archived_signatures_pending") == {(): 1}, "counted")
    families = _families(box)
    found = {name for name in families if name.startswith("archived_")}
    assert found <= set(METRICS)
    missing = set(METRICS) - found
    not_here = {
        "archived_hotfolder_silent_seconds",
        "archived_hotfolder_expected_within_seconds",
        "archived_target_free_bytes",
        "archived_reconciliation_timestamp_seconds",
        "archived_copies",
        "archived_copy_bytes",
        "archived_last_copy_timestamp_seconds",
    }
    assert missing <= {"archived_plugin_failures", *not_here}, missing
    assert missing <= set(CONDITIONAL)
    for name in found:
        kind = "histogram" if name in HISTOGRAMS else "counter" if name in COUNTERS else "gauge"
        assert families[name].type == kind, name
        for sample in families[name].samples:
            labels = set(sample.labels) - {"le"}
            assert labels == set(METRICS[name][1]), sample
            assert not any("txt" in value or len(value) > 64 for value in sample.labels.values())
    assert box.metric("archived_unaccounted_files") == {("scans",): 0}
    until(
        lambda: (
            box.metric("archived_step_attempts_total").get(("not-this-one", "refused", "picky"))
            == 1
        ),
        "the ending is counted",
    )
    assert box.metric("archived_tool_info") == {("reader", "2.0"): 1}
    assert box.metric("archived_text_confidence_ratio_sum") == {("picky",): 0.915}
    assert box.metric("archived_timestamp_ahead_seconds") == {("picky",): -0.5}
    ends = box.metric("archived_certificate_expiry_timestamp_seconds")
    assert ends["picky", "timestamp"] - ends["picky", "signing"] == 365 * 86400
    assert box.metric("archived_outbox_lag_events")["mqtt",] > 0, "nobody listens there"
    assert box.metric("archived_last_event_timestamp_seconds").keys() >= {
        ("document-admitted", ""),
        ("step-finished", "picky"),
        ("document-sealed", "seal"),
    }


def test_what_was_received_is_counted_on_after_a_restart_and_the_process_is_seen(box, until):
    began = time.time()
    box.start()
    box.drop("a.txt", "b.txt")
    box.sealed("a.txt")
    box.sealed("b.txt")
    size = sum(row[0] for row in box.rows("SELECT size FROM document"))
    wanted = {
        "archived_received_documents_total": 2,
        "archived_received_bytes_total": size,
        "archived_files_seen_total": 2,
    }
    for name, value in wanted.items():
        until(lambda: box.metric(name) == {("scans",): value}, name)  # noqa: B023 - at once
    came = box.metric("archived_last_arrival_timestamp_seconds")["scans",]
    assert began - 1 <= came <= time.time()
    before = box.metric("archived_start_time_seconds")[()]
    assert began - 1 <= before <= time.time()
    box.end()
    box.start()
    for name, value in wanted.items():
        assert box.metric(name) == {("scans",): value}, name
    assert box.metric("archived_start_time_seconds")[()] > before
    assert box.metric("archived_last_arrival_timestamp_seconds")["scans",] == came
    assert box.metric("process_resident_memory_bytes")[()] > 2**20
    assert box.metric("process_open_fds")[()] > 3


def test_a_silent_scanner_shows_within_its_hours_only(box, until):
    box.tables["hotfolder.scans"]["expected_within"] = "2 h"
    box.start()
    assert box.metric("archived_hotfolder_expected_within_seconds") == {("scans",): 7200}
    first = box.metric("archived_hotfolder_silent_seconds")["scans",]
    until(lambda: box.metric("archived_hotfolder_silent_seconds")["scans",] > first, "it grows")
    box.end()
    aged = "UPDATE arrival SET first_seen = '2020-01-06T03:00:00+00:00'"
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    until(lambda: box.metric("archived_hotfolder_silent_seconds")["scans",] < first + 60, "it came")
    box.end()
    with sqlite3.connect(box.folder / "state" / "catalog.db") as catalog:
        catalog.execute(aged)
    box.start()
    assert box.metric("archived_hotfolder_silent_seconds")["scans",] > 7200
    box.end()
    # A window of one minute that is not now, on one day of the week that is not today.
    other_day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[(time.gmtime().tm_wday + 3) % 7]
    box.tables["hotfolder.scans"]["expected_hours"] = f"{other_day} 10:00-10:01"
    box.start()
    silent = box.metric("archived_hotfolder_silent_seconds")["scans",]
    assert 50 * 60 <= silent <= 54 * 60, "a minute a week, of a year at the most"


def test_a_new_daemon_shows_everything_that_is_not_conditional(box):
    box.start()
    assert set(METRICS) - set(CONDITIONAL) <= set(_families(box))


def test_a_scrape_neither_fails_nor_waits_when_the_catalog_is_locked_or_a_disk_is_gone(box, until):
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    (box.folder / "store").rename(box.folder / "store-gone")
    until(
        lambda: ("store",) not in box.metric("archived_filesystem_free_bytes"),
        "the store's disk is gone",
    )
    assert ("spool",) in box.metric("archived_filesystem_free_bytes")
    (box.folder / "store-gone").rename(box.folder / "store")
    lock = sqlite3.connect(box.folder / "state" / "catalog.db", isolation_level=None)
    with contextlib.closing(lock):
        lock.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        assert box.metric("archived_pages")
        took = time.monotonic() - began
        print(f"a scrape while the catalog is locked took {took:.3f} s")
        assert took < 4
        box.drop("b.txt")
        assert box.get("/healthz")[0] == 200
        lock.execute("ROLLBACK")
    box.sealed("b.txt")


def test_it_says_why_it_is_not_ready_and_when_it_is_again(box, until):
    box.start()
    assert box.get("/readyz") == (200, "ok\n")
    assert box.get("/healthz") == (200, "ok\n")
    box.hot().rename(box.folder / "away")
    until(lambda: "hot folder scans is offline" in box.get("/readyz")[1], "offline")
    assert box.get("/readyz")[0] == 503
    assert box.get("/healthz")[0] == 200, "no restart brings a share back"
    assert box.metric("archived_hotfolder_online") == {("scans",): 0}
    assert box.metric("archived_ready") == {(): 0}
    (box.folder / "away").rename(box.hot().parent / "back")
    with contextlib.suppress(OSError):
        box.hot().rmdir()
    (box.folder / "back").rename(box.folder / "scans")
    until(lambda: box.get("/readyz")[0] == 200, "back")
    assert box.said("folder-online")

    box.tables["spool"]["keep_free"] = "900 TiB"
    box.reload()
    box.drop("a.txt")
    until(lambda: "hot folder scans is paused" in box.get("/readyz")[1], "paused")
    assert box.metric("archived_intake_paused") == {("scans",): 1}
    assert (box.hot() / "a.txt").exists()
    box.tables["spool"]["keep_free"] = "1 MiB"
    box.reload()
    box.sealed("a.txt")
    until(lambda: box.get("/readyz")[0] == 200, "room again")
    events = [row[0] for row in box.rows("SELECT name FROM outbox ORDER BY sequence")]
    assert "intake-paused" in events


def test_it_starts_without_its_hot_folder_and_takes_it_up_when_it_comes(box, until):
    box.hot().rmdir()
    box.start(ready=False)
    until(lambda: "hot folder scans is offline" in box.get("/readyz")[1], "started, and says so")
    box.drop("a.txt")
    box.sealed("a.txt")
    until(lambda: box.get("/readyz")[0] == 200, "ready")


def test_while_it_starts_it_is_alive_and_not_ready(box, until):
    box.plugin("sluggish", SLUGGISH)
    box.tables["pipeline.paper"]["stages"] = ["sluggish", "seal"]
    box.start(ready=False)
    until(lambda: box.alive() and box.get("/readyz")[0] == 503, "answers")
    assert box.get("/readyz") == (503, "starting\n")
    assert box.get("/healthz")[0] == 200
    assert box.metric("archived_ready") == {(): 0}
    (box.plugins / "go").touch()
    until(lambda: box.get("/readyz")[0] == 200, "ready")


def test_every_line_of_a_run_is_json_with_an_action_that_is_documented(box, gate, until):
    (gate / "open").touch()
    box.tables["pipeline.paper"]["stages"] = ["gate", "stamp", "seal"]
    box.plugin("moody", MOODY)
    box.start()
    box.drop("a.txt", "b.txt")
    box.sealed("a.txt", "b.txt")
    box.hot().rename(box.folder / "away")
    until(lambda: box.said("folder-offline"), "offline")
    assert box.end() == 0
    lines = box.lines()
    ids = {row[3] for row in box.documents().values()}
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", _page(), re.MULTILINE))
    for line in lines:
        assert {"event", "level", "timestamp", "action"} <= set(line), line
        assert line["level"] in LEVELS
        assert line["action"] in documented, line
        if line["action"].startswith(("step-", "document-", "stage-output")):
            assert line["document"] in ids, line
    [output, *_] = box.said("stage-output")
    assert output["level"] == "debug"
    assert "the gate is waiting for" in output["event"]
    assert output["stage"] == "gate"
    [foreign, *_] = [line for line in lines if "a library speaks" in line["event"]]
    assert (foreign["level"], foreign["action"]) == ("warning", "log")
    raised = [line for line in lines if "on_event failed" in line["event"]]
    assert "not today" in raised[0]["exception"]


def _page() -> str:
    return (Path(__file__).parents[3] / "docs" / "events.md").read_text().split("## Log lines")[1]


def test_the_console_form_is_readable(box):
    box.tables["log"] |= {"format": "console", "level": "info"}
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    assert box.end() == 0
    text = box.log.read_text()
    assert re.search(r"\[info +\] ready +action=daemon-ready", text), text
    assert "\x1b[" not in text, "no colours where nobody sees them"


class Manager:
    """The service manager's end of the line."""

    def __init__(self, address: str) -> None:
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.line.bind(address)
        self.said: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.said.append(self.line.recv(4096).decode())


def test_the_service_manager_hears_of_ready_reload_life_and_stop(box, until):
    manager = Manager(str(box.folder / "notify"))
    box.start(NOTIFY_SOCKET=str(box.folder / "notify"))
    until(lambda: any("WATCHDOG=1" in m for m in manager.said), "the watchdog is fed")
    ready = next(m for m in manager.said if m.startswith("READY=1"))
    assert "STATUS=1 hot folders" in ready
    assert manager.said.index("STATUS=starting") < manager.said.index(ready)
    box.reload()
    until(lambda: [m for m in manager.said if m.startswith("READY=1")][1:], "the reload's end")
    reloading = next(m for m in manager.said if m.startswith("RELOADING=1\n"))
    stamp = int(re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", reloading)[1])
    assert abs(stamp / 1e6 - time.clock_gettime(time.CLOCK_MONOTONIC)) < 60
    assert manager.said.index(reloading) < len(manager.said) - 1
    assert box.end(signal.SIGTERM) == 0
    until(lambda: "STOPPING=1" in manager.said, "stopping")


SLUGGISH = """
import os, time
from pathlib import Path
from typing import Any
from archived.api import *

if "ARCHIVED_RUNNER" in os.environ:  # in a fork server, not in the daemon
    while not Path(__file__).with_name("go").exists():
        time.sleep(0.02)


class Options(StageConfig):
    pass


class Sluggish(Stage[Options]):
    name = "sluggish"
    version = "1"

    def run(self, document, context):
        return Result()


@hookimpl
def register_stages(register):
    register(Sluggish)
"""

PICKY = """
from archived.api import *


class Options(StageConfig):
    pass


class Picky(Stage[Options]):
    name = "picky"
    version = "1"

    def run(self, document, context):
        if document.name == "bad.txt":
            raise Refuse("not this one", code="not-this-one", hint="another")
        told = {"mean_confidence": 91.5, "pending": "B-T", "waited": {"tsa": 0.25},
                "not_after": "2030-01-01T00:00:00+00:00",
                "timestamp": {"not_after": "2031-01-01T00:00:00+00:00", "ahead_of_us": -0.5}}
        return Result(facts=told, tools={"reader": "2.0"})


@hookimpl
def register_stages(register):
    register(Picky)
"""

MOODY = """
import logging
from archived.api import hookimpl


@hookimpl
def on_event(event):
    logging.getLogger("some.library").warning("a library speaks of %s", event.name)
    raise RuntimeError("not today")
"""
