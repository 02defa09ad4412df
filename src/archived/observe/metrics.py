"""What Prometheus scrapes: the figures behind the names of `measures`.

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
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from archived.observe.metric_defs import COUNTERS, METRICS
from archived.observe.stage_metrics import BoundedLabels, StageMetrics, number

_log = logging.getLogger("archived.observe")

# A second series per counter, which nobody asked for.
disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus-client leaves it untyped

_REST = 9
"""How much longer than reading a part of the figures the pause after it is."""
PATIENCE = 2.0
"""Seconds a scrape waits for fresh figures."""

_CONFIDENCE = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

Labelled = Mapping[tuple[str, ...], float]
Figures = Mapping[str, Labelled]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the archive at one scrape: metric name -> label values -> value."""

    gauges: Mapping[str, Labelled] = field(default_factory=dict)


class Metrics:
    """One registry. `watch` says where snapshots come from; `learned` is what stages told."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.learned = StageMetrics()
        self._take: Callable[[], Snapshot] = Snapshot
        self._reader = ThreadPoolExecutor(1, "archived-figures")
        self._reading = threading.Lock()
        self._under_way: Future[None] | None = None
        self._paced: dict[str, tuple[float, float, Figures]] = {}
        """Part of a snapshot -> when it was last read, for how long, what it was."""
        self._last = Snapshot(), time.monotonic()
        self._seconds = Histogram(
            *_named("archived_step_seconds"), buckets=_SECONDS, registry=self.registry
        )
        self._confidence = Histogram(
            *_named("archived_text_confidence_ratio"), buckets=_CONFIDENCE, registry=self.registry
        )
        self._waited = Histogram(
            *_named("archived_service_wait_seconds"), buckets=_SECONDS, registry=self.registry
        )
        self._few = BoundedLabels()
        self._cpu = Counter(*_named("archived_step_cpu_seconds"), registry=self.registry)
        self._endings = Counter(*_named("archived_step_attempts"), registry=self.registry)
        self._reviews = Counter(*_named("archived_reviews"), registry=self.registry)
        self._published = Counter(*_named("archived_events_published"), registry=self.registry)
        self._reload_ok = Gauge(*_named("archived_config_reload_success"), registry=self.registry)
        self._reload_at = Gauge(
            *_named("archived_config_reload_timestamp_seconds"), registry=self.registry
        )
        self._connected: Gauge | None = None
        self.reloaded(ok=True)
        self.registry.register(_Now(self))
        ProcessCollector(registry=self.registry)

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

    def paced(self, part: str, take: Callable[[], Figures]) -> Figures:
        """What `take` gives, or what it gave last where it takes long: it gets a tenth of the time.

        For one thread. What `take` raises comes through.
        """
        read, took, figures = self._paced.get(part, (0.0, -1.0, {}))
        began = time.monotonic()
        if took < 0 or began - read > _REST * took:
            figures = take()
            read = time.monotonic()
            self._paced[part] = read, read - began, figures
        return figures

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
        self._endings.labels(stage, ending, self._few(f"code of {stage}", code)).inc()
        if ending != "skipped":
            self._seconds.labels(stage).observe(wall)
            self._cpu.labels(stage).inc(cpu)

    def asked(self, stage: str, code: str, *, held: bool) -> None:
        """A stage ended well and asked that a person looks."""
        label = self._few(f"review of {stage}", code)
        self._reviews.labels(stage, label, "yes" if held else "no").inc()

    def told(self, stage: str, facts: Mapping[str, Any], tools: Mapping[str, str]) -> None:
        """A stage ended well and told what it found and what it used."""
        self.learned.hear(stage, facts, tools)
        confidence = number(facts.get("mean_confidence"), 0, 100)
        if confidence is not None:
            self._confidence.labels(stage).observe(confidence / 100)
        waited = facts.get("waited")
        for service, told in waited.items() if isinstance(waited, Mapping) else ():
            seconds = number(told, 0)
            if seconds is not None:
                label = self._few(f"service of {stage}", service)
                self._waited.labels(stage, label).observe(seconds)

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
            **self._metrics.learned.gauges(),
            "archived_snapshot_age_seconds": {(): age},
        }
        for name, values in gauges.items():
            text, labels = METRICS[name]
            kind = CounterMetricFamily if name in COUNTERS else GaugeMetricFamily
            family = kind(name, text, labels=labels)
            for of_labels, value in values.items():
                family.add_metric(list(of_labels), value)
            yield family

    def describe(self) -> Iterator[Metric]:
        return iter(())  # nothing is asked before there is a catalog


def _named(name: str) -> tuple[str, str, tuple[str, ...]]:
    text, labels = METRICS[name]
    return name, text, labels
