"""The small parts of observe: the line to systemd, the log, the figures that come late."""

from __future__ import annotations

import io
import json
import logging
import math
import secrets
import socket
import threading
import time

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from archived.observe import logs
from archived.observe import metrics as figures
from archived.observe.metrics import Metrics, Snapshot
from archived.observe.sd_notify import Notifier


@pytest.mark.parametrize("abstract", [True, False])
def test_both_kinds_of_address_are_understood(tmp_path, abstract):
    address = f"@archived-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("\0" + address[1:] if abstract else address)
        line.settimeout(30)
        notifier = Notifier(address)
        notifier.ready("ok")
        notifier.alive("two steps")
        notifier.reloading()
        notifier.stopping()
        said = [line.recv(4096).decode() for _ in range(4)]
    assert said[0] == "READY=1\nSTATUS=ok"
    assert said[1] == "WATCHDOG=1\nSTATUS=two steps"
    assert said[2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert said[3] == "STOPPING=1"


def test_nobody_to_tell_is_no_trouble(tmp_path):
    Notifier("").ready("ok")
    Notifier(str(tmp_path / "nobody")).alive("ok")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "deaf"))
        notifier = Notifier(str(tmp_path / "deaf"))
        began = time.monotonic()
        for _ in range(2000):  # nobody reads: the queue is full long before
            notifier.alive("ok")
        assert time.monotonic() - began < 20, "a line that waits for its reader waits for ever"


def test_figures_that_come_late_do_not_hold_up_a_scrape(monkeypatch):
    monkeypatch.setattr(figures, "PATIENCE", 60)
    metrics, go, asked = Metrics(), threading.Event(), []

    def take() -> Snapshot:
        asked.append(len(asked))
        if len(asked) > 1:
            go.wait(60)
        return Snapshot({"archived_ledger_sequence": {(): float(len(asked))}})

    metrics.watch(take)
    assert "archived_ledger_sequence 1.0" in metrics.exposition().decode()
    monkeypatch.setattr(figures, "PATIENCE", 0.2)
    began = time.monotonic()
    for _ in range(3):
        assert "archived_ledger_sequence 1.0" in metrics.exposition().decode(), "the last ones"
    assert time.monotonic() - began < 20
    assert len(asked) == 2, "one read at a time, however many scrapes"
    ages = [
        line
        for line in metrics.exposition().decode().splitlines()
        if line.startswith("archived_snapshot_age_seconds ")
    ]
    assert float(ages[0].split()[1]) > 0.5
    monkeypatch.setattr(figures, "PATIENCE", 60)
    go.set()
    metrics.exposition()
    assert "archived_ledger_sequence 3.0" in metrics.exposition().decode()
    metrics.close()


def test_a_part_that_takes_long_gets_a_tenth_of_the_time():
    metrics, asked = Metrics(), []

    def slow() -> dict:
        asked.append("slow")
        ends = time.monotonic() + 0.2
        while time.monotonic() < ends:
            pass
        return {"archived_ledger_sequence": {(): float(len(asked))}}

    began, quick = time.monotonic(), 0
    while quick < 100:
        assert metrics.paced("slow", slow)["archived_ledger_sequence"] == {(): float(len(asked))}
        quick += metrics.paced("quick", lambda: {"x": {(): 1.0}}) is not None
    assert len(asked) <= 1 + (time.monotonic() - began) / 2, "two tenths of two seconds"
    ends = time.monotonic() + 60
    while len(asked) < 2:
        assert time.monotonic() < ends
        metrics.paced("slow", slow)
    metrics.close()


def test_a_mistake_in_taking_the_figures_does_not_fail_a_scrape(caplog):
    metrics = Metrics()
    metrics.watch(lambda: 1 // 0)
    metrics.step_ended("stamp", "finished", "", 0.1, 0.1)
    assert 'archived_step_attempts_total{code="",outcome="finished",stage="stamp"} 1.0' in (
        metrics.exposition().decode()
    )
    assert "ZeroDivisionError" in caplog.text
    metrics.close()


@pytest.fixture
def root():
    """The process's logging as it was."""
    log = logging.getLogger()
    before = log.handlers[:], log.level
    yield log
    log.handlers[:], log.level = before
    structlog.reset_defaults()


def test_exceptions_and_foreign_lines_are_one_json_line_each(root):
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    structlog.get_logger("x").error("it broke\nbadly", action="test", document="1", code=None)
    try:
        int("chữ\nxấu")
    except ValueError:
        logging.getLogger("lib").exception("100%% of %s", "it", extra={"document": "2"})
    structlog.get_logger("x").debug("not shown", action="test")
    logging.getLogger("aiohttp.access").info("not shown")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["action"], first["document"]) == ("it broke\nbadly", "test", "1")
    assert "code" not in first, "what is nothing is left out"
    assert second["event"] == "100% of it"
    assert (second["document"], second["action"]) == ("2", "log")
    assert "chữ" in second["exception"]


def test_a_stream_that_is_gone_is_no_trouble(root, capsys):
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    logs.configure("info", "json", Gone())
    structlog.get_logger("x").info("lost", action="test")
    assert capsys.readouterr().err == ""


def test_what_a_plug_in_says_cannot_fill_or_spoil_the_figures():
    metrics = Metrics()
    for page in range(300):
        metrics.step_ended("odd", "refused", f"page-{page}-bad", 0.1, 0.1)
        metrics.told("odd", {"waited": {f"server-{page}": 1}}, {f"tool-{page}": "1" * 500})
    for nonsense in (math.nan, math.inf, -1, True, "1", None, {}):
        facts = {"mean_confidence": nonsense, "waited": {"tsa": nonsense}}
        metrics.told("even", facts | {"timestamp": {"ahead_of_us": nonsense}}, {})
        metrics.told("even", {"waited": nonsense, "timestamp": nonsense}, {})
    metrics.told("even", {"mean_confidence": 90, "waited": {"tsa": 0.5}}, {})
    samples = [
        sample
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        if sample.labels.get("le", "+Inf") == "+Inf"
    ]
    found = {
        (s.name, *(v for k, v in sorted(s.labels.items()) if k != "le")): s.value for s in samples
    }
    assert len([name for name, *_ in found if name == "archived_step_attempts_total"]) == 101
    assert found["archived_step_attempts_total", "other", "refused", "odd"] == 200
    assert found["archived_service_wait_seconds_count", "other", "odd"] == 200
    assert found["archived_tool_info", "tool-0", "1" * 64] == 1
    assert found["archived_tool_info", "other", ""] == 1
    assert found["archived_service_wait_seconds_sum", "tsa", "even"] == 0.5
    assert found["archived_text_confidence_ratio_sum", "even"] == 0.9
    assert found["archived_timestamp_ahead_seconds", "even"] == -1
    metrics.close()
