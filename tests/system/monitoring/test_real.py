"""The real daemon under a real Prometheus and Alertmanager: figures show, alerts arrive."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from archived.observe.metric_defs import METRICS
from archived.testing.ports import free_port
from tests.system.monitoring.monitoring_programs import (
    ROOT,
    RULES,
    Prometheus,
    Webhook,
    program,
    ran,
    running,
)

pytestmark = pytest.mark.skipif(
    not os.environ.get("ARCHIVED_MONITORING"), reason="takes a minute: ./run monitoring does it"
)

DASHBOARD = json.loads((ROOT / "packaging" / "grafana" / "archived.json").read_text())
EMPTY = {
    'sum(archived_store_differences{job="archived", instance=~".+"})': "from five minutes on",
}
"""Expression of the dashboard -> why nothing answers it here."""
LATER = {
    "archived_config_refused_timestamp_seconds": "once a configuration was refused",
    "archived_reconciliation_timestamp_seconds": "from a minute on",
    "archived_store_differences": "from five minutes on",
    "archived_store_compared_timestamp_seconds": "from five minutes on",
}
"""Figure -> why it is not there yet."""


def busy(box, elsewhere: Path) -> None:
    """A daemon in whose life everything happens that a figure tells of."""
    box.plugin("teller", TELLER)
    box.plugin("moody", MOODY)
    box.tables["plugins"]["enabled"].append("replicate")
    box.tables["target.second"] = {"kind": "directory", "path": elsewhere}
    box.tables["stage.replicate"] = {"to": ["second"]}
    box.tables["pipeline.paper"]["stages"] = ["teller", "stamp", "seal", "replicate"]
    box.tables["mqtt"] = {"host": "127.0.0.1", "port": 9}
    box.tables["hotfolder.scans"]["expected_within"] = "4 h"
    box.start()
    (box.hot() / ".hidden").write_text("x")
    box.drop("good.txt", "bad.txt", "other.txt", "look.txt")


def watched(folder: Path, stack: ExitStack, box_port: int, webhook: Webhook) -> Prometheus:
    """The shipped files, in a hurry: scraped each second, told at once."""
    own, alertmanager = free_port(), free_port()
    rules = re.sub(r"for: \w+", "for: 0s", (RULES / "archived.rules.yml").read_text())
    (folder / "archived.rules.yml").write_text(rules.replace("interval: 1m", "interval: 1s"))
    config = (RULES / "prometheus.yml").read_text()
    for old, new in (
        ("15s", "1s"),
        ("127.0.0.1:9477", f"127.0.0.1:{box_port}"),
        ("127.0.0.1:9093", f"127.0.0.1:{alertmanager}"),
    ):
        assert old in config
        config = config.replace(old, new)
    (folder / "prometheus.yml").write_text(config)
    told = (
        (RULES / "alertmanager.yml")
        .read_text()
        .replace("127.0.0.1:9095", f"127.0.0.1:{webhook.port}")
    )
    (folder / "alertmanager.yml").write_text(
        told.replace("group_wait: 30s", "group_wait: 0s").replace(
            "group_interval: 5m", "group_interval: 1s"
        )
    )
    for name, *arguments in (
        (
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{own}",
        ),
        (
            "prometheus-alertmanager",
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/alerts",
            "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{alertmanager}",
        ),
    ):
        stack.enter_context(running(program(name), *arguments, log=folder / f"{name}.log"))
    return Prometheus(own)


@pytest.mark.timeout(400)
def test_every_figure_shows_and_an_alert_arrives_and_is_resolved(box, until, tmp_path, elsewhere):
    program("prometheus"), program("prometheus-alertmanager")
    folder = tmp_path / "monitoring"
    folder.mkdir()
    webhook = Webhook()
    with ExitStack() as stack:
        stack.callback(webhook.close)
        prometheus = watched(folder, stack, box.port, webhook)
        until(prometheus.answers, "Prometheus is there")
        busy(box, elsewhere)
        until(lambda: box.states().get("good.txt") == "safe", "safe", 60, box.states)
        until(lambda: prometheus.query("archived_copies"), "scraped", 60)
        box.drop("late.txt")  # so that rates have two points
        until(lambda: box.states().get("late.txt") == "safe", "safe", 60)

        def unanswered() -> list[str]:
            asked = [
                t["expr"].replace("$instance", ".+")
                for panel in DASHBOARD["panels"]
                for t in panel.get("targets") or ()
            ]
            return [e for e in asked if e not in EMPTY and not prometheus.query(e)]

        until(lambda: not unanswered(), "every panel shows something", 60, unanswered)

        def missing() -> set[str]:
            return {
                m for m in METRICS if not prometheus.query(f'{{__name__=~"{m}(_total|_count)?"}}')
            } - set(LATER)

        until(lambda: not missing(), "every figure was scraped", 60, missing)
        # The broker nobody runs, a hook that raises, a document that is held: as they should.
        until(
            lambda: (
                {"ArchivedBrokerLost", "ArchivedPluginFails", "ArchivedDocumentsHeld"}
                <= prometheus.firing()
            ),
            "they fire",
            60,
            prometheus.firing,
        )
        # A busy machine may have missed a scrape, of which each has one second.
        until(lambda: "ArchivedDown" not in prometheus.firing(), "it is up")

        box.hot().rename(tmp_path / "away")
        until(
            lambda: webhook.of("ArchivedHotfolderOffline", "firing"),
            "told",
            60,
            lambda: webhook.heard,
        )
        said = webhook.of("ArchivedHotfolderOffline", "firing")[0]
        assert said["labels"]["hotfolder"] == "scans"
        assert said["annotations"]["runbook_url"].endswith("#archivedhotfolderoffline")
        assert "Hot folder scans cannot be listed" in said["annotations"]["summary"]
        (tmp_path / "away").rename(box.folder / "scans")
        until(lambda: webhook.of("ArchivedHotfolderOffline", "resolved"), "resolved", 60)

        webhook.heard.clear()  # it was down before it was started
        box.end(signal.SIGKILL)
        until(lambda: webhook.of("ArchivedDown", "firing"), "told")
        box.start()
        until(lambda: webhook.of("ArchivedDown", "resolved"), "resolved")


def test_sums_are_the_same_when_they_are_followed_and_when_they_are_counted_anew(
    box, until, elsewhere
):
    sums = (
        "archived_store_bytes",
        "archived_copies",
        "archived_copy_bytes",
        "archived_signatures_pending",
        "archived_last_copy_timestamp_seconds",
    )
    busy(box, elsewhere)
    until(lambda: box.states().get("good.txt") == "safe", "safe", 60, box.states)
    until(lambda: box.metric("archived_copies"), "counted")
    box.drop("late.txt")
    until(lambda: box.states().get("late.txt") == "safe", "safe", 60)
    until(lambda: box.metric("archived_copies") == {("second",): 3}, "followed")
    followed = {name: box.metric(name) for name in sums}
    assert followed["archived_signatures_pending"] == {(): 3}
    assert box.end() == 0
    box.start()
    until(lambda: box.metric("archived_copies"), "counted")
    assert {name: box.metric(name) for name in sums} == followed


def test_a_lane_whose_process_ends_is_counted(box, until):
    box.start()
    assert set(box.metric("archived_worker_restarts_total").values()) == {0}

    # The checks at start were the first steps to be confined.
    def confined() -> bool:
        return ("cpu", "limits") in box.metric("archived_sandbox_active")

    until(confined, "confined")
    for child in box.children():
        with contextlib.suppress(ProcessLookupError):  # those below it went with the one above
            os.kill(child, signal.SIGKILL)
    box.drop("a.txt")
    box.sealed("a.txt", seconds=60)
    restarts = box.metric("archived_worker_restarts_total")
    assert restarts["cpu",] >= 1


def test_prometheus_finds_nothing_odd_about_the_figures(box):
    box.start()
    status, text = box.get("/metrics")
    assert status == 200
    assert list(text_string_to_metric_families(text))
    import subprocess

    done = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert ran(program("promtool"), "--version")


TELLER = """
from archived.api import *


class Options(StageConfig):
    pass


class Teller(Stage[Options]):
    name = "teller"
    version = "1"

    def run(self, document, context):
        if document.name == "bad.txt":
            raise Refuse("not this one", code="not-this-one", hint="another")
        if document.name == "look.txt":
            return Result(reviews=[Review("teller-look", "a person looks")])
        told = {"mean_confidence": 91.5, "pending": "B-T", "pages": 2, "waited": {"tsa": 0.25},
                "not_after": "2030-01-01T00:00:00+00:00",
                "timestamp": {"not_after": "2031-01-01T00:00:00+00:00", "ahead_of_us": -0.5}}
        return Result(facts=told, tools={"reader": "2.0"})

    def check(self, options):
        yield "something is odd here, and that is shown"


@hookimpl
def register_stages(register):
    register(Teller)
"""

MOODY = """
from archived.api import hookimpl


@hookimpl
def on_event(event):
    raise RuntimeError("not today")
"""
