"""Alerts mean something: each is tested both ways, has a page, and asks for figures there are."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from archived.observe.metric_defs import COUNTERS, HISTOGRAMS, METRICS
from tests.system.monitoring.monitoring_programs import ROOT, RULES, program, ran

GROUPS = yaml.safe_load((RULES / "archived.rules.yml").read_text())["groups"]
EVERY = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in EVERY if "alert" in rule}
RECORDED = {rule["record"] for rule in EVERY if "record" in rule}
TESTS = yaml.safe_load((RULES / "archived.rules.test.yml").read_text())["tests"]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
DASHBOARD = json.loads((ROOT / "packaging" / "grafana" / "archived.json").read_text())


def names(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:stage:)?archived[_:][a-z0-9_:]+", expression))


def exposed(metric: str) -> set[str]:
    """A metric's series."""
    if metric in HISTOGRAMS:
        return {f"{metric}_{part}" for part in ("bucket", "sum", "count")}
    return {f"{metric}_total" if metric in COUNTERS else metric}


KNOWN = {series for metric in METRICS for series in exposed(metric)} | RECORDED


def test_prometheus_accepts_the_rules_and_the_examples():
    assert f"{len(EVERY)} rules found" in ran(
        program("promtool"), "check", "rules", RULES / "archived.rules.yml"
    )
    ran(program("promtool"), "check", "config", RULES / "prometheus.yml")
    ran(program("amtool"), "check-config", RULES / "alertmanager.yml")


def test_every_alert_fires_when_it_should_and_not_otherwise():
    assert "SUCCESS" in ran(program("promtool"), "test", "rules", RULES / "archived.rules.test.yml")


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tested_both_ways_and_has_its_page(alert: str):
    asked = [
        bool(case["exp_alerts"])
        for test in TESTS
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]
    assert set(asked) == {True, False}
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook_url"].endswith(f"/runbook.md#{alert.lower()}")
    page = RUNBOOK.partition(f"\n## {alert}\n")[2].partition("\n## ")[0]
    assert page.strip().startswith(f"**{rule['labels']['severity']}.**"), page[:60]
    assert "\n1. " in page, "what to do"


def test_the_runbook_has_no_page_of_an_alert_that_is_gone():
    assert set(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)) == set(ALERTS)


def test_rules_and_dashboard_ask_for_figures_that_exist():
    asked: list[Any] = [rule["expr"] for rule in EVERY]
    asked += [t["expr"] for panel in DASHBOARD["panels"] for t in panel.get("targets") or ()]
    for expression in asked:
        assert names(expression) <= KNOWN, expression


def test_the_commands_of_the_runbook_exist():
    from archived.cli.archivectl import cli as archivectl
    from archived.cli.archived import cli as archived

    for program_, group in (("archivectl", archivectl), ("archived", archived)):
        named = set(re.findall(rf"`{program_} ([a-z-]+)", RUNBOOK))
        assert named
        assert named <= set(group.commands), program_


def test_panels_do_not_lie_on_one_another():
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_panels_fill_their_rows_and_lie_over_nothing():
    rows: dict[int, list[tuple[int, int]]] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        rows.setdefault(at["y"], []).append((at["x"], at["x"] + at["w"]))
    for y, panels in rows.items():
        edges = [edge for panel in sorted(panels) for edge in panel]
        assert edges[0] == 0 and edges[-1] == 24, (y, panels)
        assert edges[1:-1:2] == edges[2::2], (y, panels)
