"""What Prometheus scrapes. Names and labels are an interface; `METRICS` is the complete list.

What the catalog knows is read from it at each scrape, so that a restart changes no figure; only
what nobody else remembers (durations, endings) is counted here. Labels have few values: hot
folders, stages, lanes, codes; never documents.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from types import MappingProxyType

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_log = logging.getLogger("archived.observe")

# A second series per counter, which nobody asked for.
disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus-client leaves it untyped

METRICS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "archived_build_info": ("Version of archived; always 1.", ("version",)),
        "archived_config_info": ("Digest of the configuration in force; always 1.", ("digest",)),
        "archived_plugin_info": ("An enabled plug-in; always 1.", ("plugin", "version")),
        "archived_up_seconds": ("Seconds since the daemon started.", ()),
        "archived_ready": ("1 when work goes on as it should, else 0 (see /readyz).", ()),
        "archived_files": (
            "Files ever seen, by column of the balance sheet: archived, held, ignored, in_work.",
            ("hotfolder", "column"),
        ),
        "archived_files_seen": ("Files ever seen.", ("hotfolder",)),
        "archived_unaccounted_files": (
            "Files seen that are in no column; must be 0.", ("hotfolder",),
        ),
        "archived_ignored_files": ("Files left alone, by rule.", ("hotfolder", "rule")),
        "archived_documents": ("Documents by state.", ("hotfolder", "state")),
        "archived_held_documents": ("Documents that wait for a person, by code.", ("code",)),
        "archived_archived_pages": ("Pages of archived documents, where counted.", ()),
        "archived_oldest_unclaimed_file_seconds": (
            "Age of the oldest file that was seen and not taken in; 0 when there is none.", (),
        ),
        "archived_oldest_document_in_work_seconds": (
            "Age of the oldest document that is neither sealed nor held; 0 when there is none.", (),
        ),
        "archived_hotfolder_online": ("1 when the folder can be listed.", ("hotfolder",)),
        "archived_intake_paused": ("1 while there is no room to take in more.", ("hotfolder",)),
        "archived_stuck_files": (
            "Files in custody that cannot be removed from the hot folder.", ("hotfolder",),
        ),
        "archived_sweep_seconds": ("How long the last scan of the folder took.", ("hotfolder",)),
        "archived_lane_width": ("Steps that may run at once.", ("lane",)),
        "archived_lane_running": ("Steps that run now.", ("lane",)),
        "archived_free_bytes": ("Free disk space, by what lies there.", ("place",)),
        "archived_ledger_sequence": ("Entries in the ledger.", ()),
        "archived_plugin_failures": (
            "Times a plug-in's hook raised or answered nonsense since the configuration was read.",
            ("plugin", "hook"),
        ),
        "archived_snapshot_unreadable": (
            "1 when a part of these figures could not be read and is missing.", ("part",),
        ),
        "archived_snapshot_age_seconds": (
            "Age of the figures that are read from the catalog; more than a few seconds when "
            "reading them takes too long and the last ones are shown.", (),
        ),
        "archived_stage_problems": ("What a stage's own check complains about.", ("stage",)),
        "archived_step_seconds": ("Wall clock of one attempt at a stage.", ("stage",)),
        "archived_step_cpu_seconds": ("Processor time spent in a stage.", ("stage",)),
        "archived_step_endings": (
            "Attempts by ending: finished, skipped, refused, postponed, broke, put-back.",
            ("stage", "ending", "code"),
        ),
        "archived_mqtt_connected": ("1 while the broker is connected; absent without MQTT.", ()),
        "archived_events_published": ("Events given to the broker.", ()),
        "archived_config_reload_success": ("1 when the last reload was used, else 0.", ()),
        "archived_config_reload_timestamp_seconds": ("When it was last tried (Unix time).", ()),
    }
)  # fmt: skip
"""Name -> (what it says, labels). Counters are exposed with `_total`."""

CONDITIONAL: Mapping[str, str] = MappingProxyType(
    {
        "archived_mqtt_connected": "with `[mqtt]` in the configuration",
        "archived_held_documents": "while a document is held",
        "archived_ignored_files": "once a file was ignored",
        "archived_plugin_failures": "once a plug-in failed",
        "archived_files": "once a file was seen in the hot folder",
        "archived_files_seen": "once a file was seen in the hot folder",
        "archived_documents": "once a document was taken in",
        "archived_step_seconds": "once the stage ran",
        "archived_step_cpu_seconds": "once the stage ran",
        "archived_step_endings": "once the stage ran",
        "archived_stage_problems": "for each stage that is configured",
        "archived_plugin_info": "for each plug-in that is enabled",
    }
)
"""Metrics that are not there at all times -> when they are."""

COUNTERS = frozenset(
    {"archived_step_cpu_seconds", "archived_step_endings", "archived_events_published"}
)
HISTOGRAMS = frozenset({"archived_step_seconds"})

PATIENCE = 2.0
"""Seconds a scrape waits for fresh figures."""

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

Labelled = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the house at one scrape: metric name -> label values -> value."""

    gauges: Mapping[str, Labelled] = field(default_factory=dict)


class Metrics:
    """One registry. `watch` says where snapshots come from."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._take: Callable[[], Snapshot] = Snapshot
        self._reader = ThreadPoolExecutor(1, "archived-figures")
        self._reading = threading.Lock()
        self._under_way: Future[None] | None = None
        self._last = Snapshot(), time.monotonic()
        self._seconds = Histogram(*_named("archived_step_seconds"), buckets=_SECONDS,
                                  registry=self.registry)  # fmt: skip
        self._cpu = Counter(*_named("archived_step_cpu_seconds"), registry=self.registry)
        self._endings = Counter(*_named("archived_step_endings"), registry=self.registry)
        self._published = Counter(*_named("archived_events_published"), registry=self.registry)
        self._reload_ok = Gauge(*_named("archived_config_reload_success"), registry=self.registry)
        self._reload_at = Gauge(
            *_named("archived_config_reload_timestamp_seconds"), registry=self.registry
        )
        self._connected: Gauge | None = None
        self.reloaded(ok=True)
        self.registry.register(_Now(self))

    def watch(self, take: Callable[[], Snapshot]) -> None:
        """Ask `take` for a snapshot at each scrape; it may read the catalog."""
        self._take = take

    def snapshot(self) -> tuple[Snapshot, float]:
        """The state and its age in seconds. Never waits longer than `PATIENCE`, never raises.

        A read that takes longer goes on by itself; until it comes back the last one is shown.
        """
        with self._reading:
            if self._under_way is None:
                self._under_way = self._reader.submit(self._read)
            under_way = self._under_way
        wait([under_way], timeout=PATIENCE)
        with self._reading:
            taken, at = self._last
        return taken, time.monotonic() - at

    def _read(self) -> None:
        try:
            taken = self._take()
        except Exception:  # noqa: BLE001 - a scrape never fails
            _log.exception("the figures cannot be read", extra={"action": "metrics-unreadable"})
            taken = None
        with self._reading:
            if taken is not None:
                self._last = taken, time.monotonic()
            self._under_way = None

    def close(self) -> None:
        """No more snapshots are taken."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def step_ended(self, stage: str, ending: str, code: str, wall: float, cpu: float) -> None:
        """Count one attempt. Seconds."""
        self._endings.labels(stage, ending, code).inc()
        if ending != "skipped":
            self._seconds.labels(stage).observe(wall)
            self._cpu.labels(stage).inc(cpu)

    def reloaded(self, *, ok: bool) -> None:
        """A configuration was read: at start, or by a reload."""
        self._reload_ok.set(ok)
        self._reload_at.set(time.time())

    def connected(self, connected: bool) -> None:
        """The broker came or went."""
        if self._connected is None:
            self._connected = Gauge(*_named("archived_mqtt_connected"), registry=self.registry)
        self._connected.set(connected)

    def no_broker(self) -> None:
        """None is configured (any more)."""
        if self._connected is not None:
            self.registry.unregister(self._connected)
            self._connected = None

    def published(self) -> None:
        """An event was acknowledged by the broker."""
        self._published.inc()

    def exposition(self) -> bytes:
        """The text Prometheus reads. Blocks: call it in a thread."""
        return generate_latest(self.registry)


class _Now(Collector):
    """Turns a snapshot into gauges, at the moment somebody asks."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        snapshot, age = self._metrics.snapshot()
        gauges: dict[str, Labelled] = {
            **snapshot.gauges,
            "archived_snapshot_age_seconds": {(): age},
        }
        for name, values in gauges.items():
            text, labels = METRICS[name]
            family = GaugeMetricFamily(name, text, labels=labels)
            for of_labels, value in values.items():
                family.add_metric(list(of_labels), value)
            yield family

    def describe(self) -> Iterator[Metric]:
        return iter(())  # nothing is asked before there is a catalog


def _named(name: str) -> tuple[str, str, tuple[str, ...]]:
    text, labels = METRICS[name]
    return name, text, labels


def table() -> str:
    """`METRICS` as the table of docs/metrics.md: python -m archived.observe.metrics."""
    lines = ["| Metric | Kind | Labels | Meaning | There |", "| --- | --- | --- | --- | --- |"]
    for name, (text, labels) in METRICS.items():
        kind = "histogram" if name in HISTOGRAMS else "counter" if name in COUNTERS else "gauge"
        shown = f"{name}_total" if kind == "counter" else name
        when = CONDITIONAL.get(name, "always")
        named = ", ".join(f"`{label}`" for label in labels) or "none"
        lines.append(f"| `{shown}` | {kind} | {named} | {text} | {when} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201 - that is what it is run for
