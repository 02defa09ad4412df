"""Write packaging/grafana/archived.json: `.venv-dashboard/bin/python -m tools.docs.dashboard`.

The dashboard is authored here, with grafana-foundation-sdk (requirements/dashboard.in), and nowhere
else; `--check` changes nothing and tells whether the file is out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as prometheus_model

TARGET = Path(__file__).resolve().parent.parent.parent / "packaging" / "grafana" / "archived.json"
ONE = '{job="archived", instance=~"$instance"}'
"""Which figures: stands in an expression for `@`, and without its braces for `&`."""
ALL = ONE[1:-1]

FIRING = 'sum(ALERTS{alertname=~"Archived.+", alertstate="firing"}) or vector(0)'


@dataclass(frozen=True)
class Shown:
    """One panel. `queries`: expression -> legend. `bad`: from this value on it is red; `good`: from
    this value on it is green, and red below."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    width: int = 8
    kind: str = "lines"
    told: str = ""
    bad: float | None = None
    good: float | None = None
    stacked: bool = False
    top: float | None = None
    whole: bool = False
    """A count: without decimals, which `increase` makes of it."""
    yes_no: bool = False
    """1 is shown as yes, 0 as no."""


def one(metric: str) -> dict[str, str]:
    """A query for a single number."""
    return {metric: ""}


def greatest(*metrics: str) -> str:
    """The greatest value of any of them; without a label of its own each would hide the next."""
    each = [f'label_replace(max({name}@), "of", "{name}", "", "")' for name in metrics]
    return f"max({' or '.join(each)})"


ROWS: Sequence[tuple[str, Sequence[Shown]]] = (
    (
        "Is all well?",
        (
            Shown(
                "Safe documents",
                one('sum(archived_documents{state="safe", &}) or vector(0)'),
                kind="number",
                width=3,
                told="Sealed, and all wanted copies written and read back.",
            ),
            Shown(
                "Sealed, not yet safe",
                one('sum(archived_documents{state="sealed", &}) or vector(0)'),
                kind="number",
                width=3,
                told="Copies are still to be made.",
            ),
            Shown(
                "Held documents",
                one("sum(archived_held_documents@) or vector(0)"),
                kind="number",
                width=3,
                bad=1,
                told="They wait for a person: archivectl documents --state held",
            ),
            Shown(
                "Waiting",
                one('sum(archived_documents{state=~"admitted|working|waiting", &}) or vector(0)'),
                kind="number",
                width=3,
                told="Taken in and neither sealed nor held.",
            ),
            Shown(
                "Oldest that is not safe",
                one(
                    greatest(
                        "archived_oldest_unclaimed_file_seconds",
                        "archived_oldest_document_in_work_seconds",
                        "archived_oldest_uncopied_document_seconds",
                    )
                ),
                "s",
                kind="number",
                width=3,
                bad=86400,
                told="Age of the file or document that has waited longest, held ones not counted.",
            ),
            Shown(
                "Unaccounted files",
                one("sum(archived_unaccounted_files@)"),
                kind="number",
                width=3,
                bad=1,
                told="Files in no column of the balance sheet. Must be 0.",
            ),
            Shown(
                "Store differs",
                one("sum(archived_store_differences@)"),
                kind="number",
                width=3,
                bad=1,
                told="On what catalog, ledger and store do not agree: archivectl compare",
            ),
            Shown("Alerts", one(FIRING), kind="number", width=3, bad=1),
            Shown(
                "Ready",
                one("min(archived_ready@)"),
                kind="number",
                width=3,
                good=1,
                yes_no=True,
                told="No: archivectl status and /readyz say why.",
            ),
            Shown(
                "Running for",
                one("time() - min(archived_start_time_seconds@)"),
                "s",
                kind="number",
                width=3,
            ),
            Shown(
                "Last file came",
                one("time() - max(archived_last_arrival_timestamp_seconds@)"),
                "s",
                kind="number",
                width=3,
            ),
            Shown(
                "Received in 24 h",
                one("sum(increase(archived_received_documents_total@[24h]))"),
                kind="number",
                width=3,
                whole=True,
                told="Documents.",
            ),
            Shown(
                "Pages in 24 h",
                one("sum(increase(archived_received_pages_total@[24h]))"),
                kind="number",
                width=3,
                whole=True,
                told="Once they are counted.",
            ),
            Shown(
                "Bytes in 24 h",
                one("sum(increase(archived_received_bytes_total@[24h]))"),
                "bytes",
                kind="number",
                width=3,
            ),
            Shown("Pages archived", one("sum(archived_pages@)"), kind="number", width=3),
            Shown(
                "Least room for copies",
                one("min(archived_target_free_bytes@)"),
                "bytes",
                kind="number",
                width=3,
                told="Of all copy targets, as their last copies found.",
            ),
        ),
    ),
    (
        "What arrives",
        (
            Shown(
                "Files taken up per hour",
                {"sum by (hotfolder) (increase(archived_files_seen_total@[1h]))": "{{hotfolder}}"},
                told="Files seen within the hour before.",
            ),
            Shown(
                "Files by what became of them",
                {"sum by (column) (archived_files@)": "{{column}}"},
                stacked=True,
                told="Their sum is every file that was ever seen.",
            ),
            Shown(
                "What has waited longest",
                {
                    "max by (hotfolder) (archived_oldest_unclaimed_file_seconds@)": "file in {{hotfolder}}",
                    "max by (hotfolder) (archived_oldest_document_in_work_seconds@)": "document of {{hotfolder}} in work",
                    "max(archived_oldest_uncopied_document_seconds@)": "sealed, without its copy",
                },
                "s",
            ),
            Shown(
                "Hot folders that can be reached",
                {"min by (hotfolder) (archived_hotfolder_online@)": "{{hotfolder}}"},
                top=1,
                good=1,
            ),
            Shown(
                "Intake paused, files stuck, scan failing",
                {
                    "max by (hotfolder) (archived_intake_paused@)": "paused {{hotfolder}}",
                    "sum by (hotfolder) (archived_stuck_files@)": "stuck {{hotfolder}}",
                    "max by (hotfolder) (archived_sweep_failing@)": "failing {{hotfolder}}",
                },
            ),
            Shown(
                "Duration of a folder's scan",
                {"max by (hotfolder) (archived_sweep_seconds@)": "{{hotfolder}}"},
                "s",
            ),
        ),
    ),
    (
        "The work",
        (
            Shown(
                "Steps that ended well, per minute",
                {
                    'sum by (stage) (rate(archived_step_attempts_total{outcome="finished", &}[5m])) * 60': "{{stage}}"
                },
                stacked=True,
            ),
            Shown(
                "Duration of a step, 95 of 100 are shorter",
                {
                    "histogram_quantile(0.95, sum by (stage, le) "
                    "(rate(archived_step_seconds_bucket@[15m])))": "{{stage}}"
                },
                "s",
            ),
            Shown(
                "Processors in use",
                {"sum by (stage) (rate(archived_step_cpu_seconds_total@[5m]))": "{{stage}}"},
                told="Cores in use.",
                stacked=True,
            ),
            Shown(
                "Steps running and lanes' width",
                {
                    "sum by (lane) (archived_lane_running@)": "{{lane}}",
                    "sum by (lane) (archived_lane_width@)": "{{lane}}, at most",
                },
            ),
            Shown(
                "Steps that wait for their turn",
                {"sum by (lane) (archived_lane_due_steps@)": "{{lane}}"},
                stacked=True,
            ),
            Shown(
                "How long the first in line has waited",
                {"max by (lane) (archived_lane_oldest_due_seconds@)": "{{lane}}"},
                "s",
                told="A lane outside of its working hours waits on purpose.",
            ),
        ),
    ),
    (
        "What went wrong",
        (
            Shown(
                "Held documents by code",
                {"sum by (code) (archived_held_documents@)": "{{code}}"},
                stacked=True,
            ),
            Shown(
                "Attempts that did not end well, since the start",
                {
                    "sum by (stage, code) (archived_step_attempts_total"
                    '{outcome=~"failed|refused|postponed", &})': "{{stage}}: {{code}}"
                },
                told="Not a rate: a code that appears for the first time would not show in one.",
            ),
            Shown(
                "When something last happened",
                {
                    "time() - max by (event, stage) (archived_last_event_timestamp_seconds@)": "{{event}} {{stage}}"
                },
                "s",
                kind="table",
            ),
            Shown(
                "What stages say of their surroundings",
                {"sum by (stage) (archived_stage_problems@)": "{{stage}}"},
                width=12,
                bad=1,
            ),
            Shown(
                "Failures of plug-ins' hooks, restarts of lanes",
                {
                    "sum by (plugin, hook) (archived_plugin_failures_total@)": "{{plugin}} {{hook}}",
                    "sum by (lane) (archived_worker_restarts_total@)": "restarts of {{lane}}",
                },
                width=12,
            ),
        ),
    ),
    (
        "The archive",
        (
            Shown(
                "Documents by state",
                {"sum by (state) (archived_documents@)": "{{state}}"},
                stacked=True,
                width=6,
            ),
            Shown(
                "Copies read back", {"sum by (target) (archived_copies@)": "{{target}}"}, width=6
            ),
            Shown(
                "Copies that are missing",
                {
                    "sum(archived_never_safe_documents@)": "sealed, and nothing makes their copies",
                    "sum by (result) (archived_further_copies_due@)": "safe, a further copy is due ({{result}})",
                },
                width=6,
            ),
            Shown(
                "Since the last copy",
                {"time() - max by (target) (archived_last_copy_timestamp_seconds@)": "{{target}}"},
                "s",
                width=6,
            ),
            Shown(
                "What it holds",
                {
                    "sum(archived_store_bytes@)": "store",
                    "sum(archived_spool_bytes@)": "spool",
                    "sum(archived_catalog_bytes@)": "catalog",
                },
                "bytes",
            ),
            Shown(
                "Disks, how full",
                {
                    "1 - min by (volume) (archived_filesystem_free_bytes@ / "
                    "archived_filesystem_size_bytes@)": "{{volume}}"
                },
                "percentunit",
                top=1,
                bad=0.95,
            ),
            Shown(
                "Ledger entries per minute",
                {"sum(deriv(archived_ledger_sequence@[10m])) * 60": "entries"},
            ),
        ),
    ),
    (
        "Text and signatures",
        (
            Shown(
                "Confidence of what was read",
                {
                    "histogram_quantile(0.5, sum by (le) "
                    "(increase(archived_text_confidence_ratio_bucket@[1h])))": "half of the documents are below",
                    "histogram_quantile(0.1, sum by (le) "
                    "(increase(archived_text_confidence_ratio_bucket@[1h])))": "a tenth is below",
                },
                "percentunit",
                width=6,
                top=1,
            ),
            Shown(
                "Signatures that wait for a time stamp",
                {"sum(archived_signatures_pending@)": "documents"},
                width=6,
                bad=1,
            ),
            Shown(
                "How long steps wait for services",
                {
                    "sum by (stage, service) (rate(archived_service_wait_seconds_sum@[1h])) / "
                    "(sum by (stage, service) (rate(archived_service_wait_seconds_count@[1h])) > 0)": "{{stage}}: {{service}}, mean",
                    "histogram_quantile(0.95, sum by (stage, service, le) "
                    "(rate(archived_service_wait_seconds_bucket@[1h])))": "{{stage}}: {{service}}, 95 of 100 are shorter",
                },
                "s",
                width=6,
                told="tsa: the time stamp server.",
            ),
            Shown(
                "Certificates end in",
                {
                    "min by (stage, use) (archived_certificate_expiry_timestamp_seconds@) - time()": "{{stage}} {{use}}"
                },
                "s",
                width=6,
                kind="table",
            ),
        ),
    ),
    (
        "The service",
        (
            Shown(
                "Events not yet given on",
                {"sum by (reader) (archived_outbox_lag_events@)": "{{reader}}"},
            ),
            Shown(
                "Broker, configuration",
                {
                    "min(archived_mqtt_connected@)": "broker connected",
                    "min(archived_config_reload_success@)": "configuration in force is the files'",
                },
                top=1,
            ),
            Shown("Age of these figures", {"max(archived_snapshot_age_seconds@)": "age"}, "s"),
            Shown(
                "What confines the steps",
                {
                    "min by (lane, protection) (archived_sandbox_active@)": "{{lane}}: {{protection}}"
                },
                kind="table",
                yes_no=True,
                told="Yes: it holds.",
            ),
            Shown(
                "Versions",
                {
                    "archived_build_info@": "archived {{version}}",
                    "archived_plugin_info@": "{{plugin}} {{version}}",
                    "archived_tool_info@": "{{tool}} {{version}}",
                },
                kind="table",
            ),
            Shown("Configuration", {"archived_config_info@": "{{digest}}"}, kind="table"),
        ),
    ),
)


def expression(text: str) -> str:
    """`@` and `&` stand for the conditions that every figure shares."""
    return text.replace("@", ONE).replace("&", ALL)


def panel(shown: Shown) -> Any:
    """The panel as the library builds it."""
    kinds = {"number": stat.Panel, "table": table.Panel, "lines": timeseries.Panel}
    made = (
        kinds[shown.kind]()
        .title(shown.title)
        .description(shown.told)
        .unit(shown.unit)
        .datasource(model.DataSourceRef(type_val="prometheus", uid="$source"))
        .span(shown.width)
        .height(4 if shown.kind == "number" else 8)
        .min(0)
    )
    for number, (expr, legend) in enumerate(shown.queries.items()):
        query = prometheus.Dataquery().expr(expression(expr)).ref_id(chr(ord("A") + number))
        query = query.legend_format(legend) if legend else query
        if shown.kind == "table":
            query = query.format(prometheus_model.PromQueryFormat.TABLE)
        made = made.with_target(query.range() if shown.kind == "lines" else query.instant())
    if shown.whole:
        made = made.decimals(0)
    if shown.yes_no:
        said = {
            number: model.ValueMappingResult(text=text)
            for number, text in (("0", "no"), ("1", "yes"))
        }
        made = made.mappings([model.ValueMap(options=said)])
    if shown.top is not None:
        made = made.max(shown.top)
    if shown.kind == "table":
        unsaid = dict.fromkeys(("Time", "__name__", "instance", "job"), True)
        made = made.with_transformation(model.DataTransformerConfig("merge", options={}))
        made = made.with_transformation(
            model.DataTransformerConfig("organize", options={"excludeByName": unsaid})
        )
    turning = shown.good if shown.bad is None else shown.bad
    if turning is not None:
        colours = ("green", "red") if shown.good is None else ("red", "green")
        steps = [
            model.Threshold(value=None, color=colours[0]),
            model.Threshold(value=turning, color=colours[1]),
        ]
        made = made.thresholds(
            dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
        )
    if shown.kind == "lines":
        made = made.fill_opacity(30 if shown.stacked else 5).line_width(1)
    if shown.stacked:
        from grafana_foundation_sdk.builders import common as styles

        made = made.stacking(styles.StackingConfig().mode(common.StackingMode.NORMAL))
    return made


def build() -> str:
    """The dashboard as JSON."""
    source = dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus")
    instance = (
        dashboard.QueryVariable("instance")
        .label("Archive")
        .datasource(model.DataSourceRef(type_val="prometheus", uid="$source"))
        .query('label_values(archived_start_time_seconds{job="archived"}, instance)')
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(text="All", value="$__all", selected=True))
    )
    made = (
        dashboard.Dashboard("archived")
        .uid("archived")
        .tags(["archived"])
        .description(
            "What docs/metrics.md of archived explains. Written by tools/docs/dashboard.py."
        )
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .readonly()
        .with_variable(source)
        .with_variable(instance)
        .link(
            dashboard.DashboardLink("Runbook")
            .url("file:///usr/share/doc/archived/docs/runbook.md")
            .type(model.DashboardLinkType.LINK)
        )
    )
    for title, panels in ROWS:
        made = made.with_row(dashboard.Row(title))
        for shown in panels:
            made = made.with_panel(panel(shown))
    built = made.build()
    for number, each in enumerate(built.panels or (), start=1):
        each.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write, or with `--check` only compare; returns the exit status."""
    text = build()
    if "--check" in sys.argv[1:]:
        same = TARGET.exists() and TARGET.read_text() == text
        print("up to date" if same else f"out of date: {TARGET.name}; run tools/docs/dashboard.py")
        return 0 if same else 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
