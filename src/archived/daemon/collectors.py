"""The state of the archive as metrics, read at each scrape. Changes nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from archived import __version__
from archived.daemon import wiring
from archived.daemon.components import Components
from archived.daemon.health import Health
from archived.engine.worker.runner import LocalRunner
from archived.errors import CatalogError
from archived.observe.metrics import Labelled, Snapshot
from archived.storage import metrics_queries


def snapshot(parts: Components, health: Health) -> Snapshot:
    """Every gauge of `METRICS` that is not counted by `Metrics` itself. Reads the catalog."""
    now = datetime.now(UTC)
    takers: Mapping[str, Callable[[], Mapping[str, Labelled]]] = {
        "archive": lambda: _archive(parts, health),
        "disks": lambda: _disks(parts),
        "ledger": lambda: _ledger(parts),
        "balance": lambda: _balance(parts),
        "documents": lambda: _documents(parts, health, now),
        "received": lambda: _received(parts),
        "folders": lambda: _folders(parts, now),
        "lanes": lambda: _lanes(parts, now),
        "events": lambda: _events(parts),
        "totals": lambda: _totals(parts),
        "store": lambda: _store(parts),
    }
    gauges: dict[str, Labelled] = {}
    unreadable: dict[tuple[str, ...], float] = {}
    for part, take in takers.items():
        try:
            gauges |= parts.metrics.paced(part, take)
        except (CatalogError, OSError):
            unreadable[(part,)] = 1  # its figures are missing from this scrape, not the others
        else:
            unreadable[(part,)] = 0
    return Snapshot({**gauges, "archived_snapshot_unreadable": unreadable})


def _disks(parts: Components) -> Mapping[str, Labelled]:
    free: dict[tuple[str, ...], float] = {}
    size: dict[tuple[str, ...], float] = {}
    reserved: dict[tuple[str, ...], float] = {}
    for name, path in {"spool": parts.spool.documents, "store": parts.store.ocfl}.items():
        with contextlib.suppress(OSError):  # a folder that is gone has no figure
            usage = shutil.disk_usage(path)
            free[(name,)], size[(name,)] = usage.free, usage.total
            reserved[(name,)] = parts.scheduler.room.reserved(path)
    catalog = parts.catalog.path
    files = (catalog, catalog.with_name(f"{catalog.name}-wal"))
    return {
        "archived_filesystem_free_bytes": free,
        "archived_filesystem_size_bytes": size,
        "archived_filesystem_reserved_bytes": reserved,
        "archived_steps_waiting_for_disk": {(): parts.scheduler.waiting_for_room},
        "archived_catalog_bytes": {(): sum(f.stat().st_size for f in files if f.exists())},
        "archived_spool_bytes": {(): metrics_queries.spool_bytes(parts.catalog)},
        "archived_uncleared_folders": {
            (place,): len(each.names()) for place, each in parts.uncleared.items()
        },
    }


def _ledger(parts: Components) -> Mapping[str, Labelled]:
    at = metrics_queries.ledger_time(parts.catalog)
    return {
        "archived_ledger_sequence": {(): parts.catalog.ledger_head().sequence},
        "archived_ledger_timestamp_seconds": {} if at is None else {(): at.timestamp()},
    }


def _store(parts: Components) -> Mapping[str, Labelled]:
    audit = parts.store_audit
    return {
        "archived_store_differences": {(kind,): n for kind, n in audit.counts.items()},
        "archived_store_compared_timestamp_seconds": {} if audit.at is None else {(): audit.at},
    }


def _refused(parts: Components) -> Labelled:
    since = parts.refused.since
    return {} if since is None else {(): since.timestamp()}


def _archive(parts: Components, health: Health) -> Mapping[str, Labelled]:
    plugins = parts.settings.plugins.catalogue()
    return {
        "archived_build_info": {(__version__,): 1},
        "archived_config_info": {(parts.settings.digest,): 1},
        "archived_plugin_info": {(p.name, p.version): 1 for p in plugins},
        "archived_start_time_seconds": {(): parts.started.timestamp()},
        "archived_ready": {(): not health.not_ready()},
        "archived_stage_problems": {
            (name,): len(parts.checks.problems.get(name, ())) for name in parts.settings.stages
        },
        "archived_config_refused_timestamp_seconds": _refused(parts),
        "archived_plugin_failures": dict(list(parts.settings.plugins.failures.items())),
    }


def _balance(parts: Components) -> Mapping[str, Labelled]:
    sheets = {b.hotfolder: b for b in parts.catalog.balance()}
    audit = parts.audit
    by_books = dict(audit.unaccounted)
    return {
        "archived_files_seen": {(name,): b.seen for name, b in sheets.items()},
        "archived_files": {
            (name, column): getattr(b, column)
            for name, b in sheets.items()
            for column in ("archived", "held", "ignored", "in_work")
        },
        "archived_unaccounted_files": {
            (name,): max(sheets[name].unaccounted if name in sheets else 0, by_books.get(name, 0))
            for name in {*sheets, *by_books, *parts.settings.hotfolders}
        },
        "archived_reconciliation_timestamp_seconds": (
            {} if audit.compared is None else {(): audit.compared}
        ),
        "archived_ignored_files": {
            (name, rule): n for name, b in sheets.items() for rule, n in b.rules.items()
        },
    }


def _documents(parts: Components, health: Health, now: datetime) -> Mapping[str, Labelled]:
    catalog = parts.catalog

    def age(since: datetime | None) -> float:
        return 0.0 if since is None else max(0.0, (now - since).total_seconds())

    def ages(since: Mapping[str, datetime]) -> Labelled:
        return {(name,): age(since.get(name)) for name in {*since, *parts.settings.hotfolders}}

    further = catalog.count_further_copies()
    return {
        "archived_documents": {
            (folder, str(state)): n for (folder, state), n in catalog.count_documents().items()
        },
        "archived_held_documents": {
            (code,): n for code, n in metrics_queries.held_by_code(catalog).items()
        },
        "archived_never_safe_documents": {(): catalog.count_never_safe()},
        "archived_further_copies_due": {
            (word,): further.get(failed, 0) for failed, word in ((False, "none"), (True, "failed"))
        },
        "archived_documents_without_step": {(): health.abandoned()},
        "archived_pages": {(): catalog.pages_archived()},
        "archived_oldest_unclaimed_file_seconds": ages(metrics_queries.oldest_unclaimed(catalog)),
        "archived_oldest_document_in_work_seconds": ages(metrics_queries.oldest_in_work(catalog)),
        "archived_oldest_uncopied_document_seconds": {
            (): age(metrics_queries.oldest_uncopied(catalog))
        },
    }


def _received(parts: Components) -> Mapping[str, Labelled]:
    of = metrics_queries.received(parts.catalog)
    return {
        "archived_received_documents": {(name,): r.documents for name, r in of.items()},
        "archived_received_bytes": {(name,): r.size for name, r in of.items()},
        "archived_received_pages": {(name,): r.pages for name, r in of.items()},
    }


def _folders(parts: Components, now: datetime) -> Mapping[str, Labelled]:
    of = {name: task.status for name, task in list(parts.hotfolder_tasks.items())}
    arrivals = {name: metrics_queries.last_arrival(parts.catalog, name) for name in of}
    expected = {
        name: folder.expected_within.total_seconds()
        for name, folder in parts.settings.hotfolders.items()
        if folder.expected_within is not None and name in of
    }
    hours = wiring.expected_hours(parts.settings)
    return {
        "archived_hotfolder_online": {(name,): not s.offline for name, s in of.items()},
        "archived_intake_paused": {(name,): bool(s.paused) for name, s in of.items()},
        "archived_arriving_files": {(name,): s.arriving for name, s in of.items()},
        "archived_sweep_failing": {(name,): bool(s.failing) for name, s in of.items()},
        "archived_stuck_files": {(name,): len(s.stuck) for name, s in of.items()},
        "archived_receipts_untrusted": {
            (name,): bool(why) for name, why in parts.shares.doubts().items()
        },
        "archived_sweep_seconds": {(name,): s.sweep_seconds for name, s in of.items()},
        "archived_last_arrival_timestamp_seconds": {
            (name,): at.timestamp() for name, at in arrivals.items() if at is not None
        },
        "archived_hotfolder_expected_within_seconds": {(name,): s for name, s in expected.items()},
        "archived_hotfolder_silent_seconds": {
            (name,): hours[name].open_between(arrivals[name] or parts.started, now).total_seconds()
            for name in expected
        },
    }


def _lanes(parts: Components, now: datetime) -> Mapping[str, Labelled]:
    running = [active.lane for active in list(parts.scheduler.active.values())]
    widths = dict(parts.scheduler.widths)
    closed = parts.scheduler.closed()
    due = parts.catalog.count_due(now)
    oldest = {lane: parts.catalog.next_due([lane]) for lane in widths}
    return {
        "archived_lane_width": {(lane,): width for lane, width in widths.items()},
        "archived_lane_running": {(lane,): running.count(lane) for lane in widths},
        "archived_lane_open": {(lane,): lane not in closed for lane in widths},
        "archived_lane_due_steps": {(lane,): due.get(lane, 0) for lane in widths},
        "archived_lane_oldest_due_seconds": {
            (lane,): max(0.0, (now - at).total_seconds()) if at is not None else 0.0
            for lane, at in oldest.items()
        },
        **_workers(parts),
    }


def _workers(parts: Components) -> Mapping[str, Labelled]:
    own = {n: r for n, r in parts.runners.items() if isinstance(r, LocalRunner)}
    held: dict[tuple[str, ...], float] = {}
    for lane, runner in own.items():
        for protection, verdict in dict(runner.confinement).items():
            word = verdict.partition(" (")[0]
            if word in {"yes", "no"}:  # else it was not asked for
                held[lane, protection] = word == "yes"
    return {
        "archived_worker_restarts": {(lane,): runner.restarts for lane, runner in own.items()},
        "archived_sandbox_active": held,
    }


def _events(parts: Components) -> Mapping[str, Labelled]:
    last = metrics_queries.last_events(parts.catalog)
    return {
        "archived_last_event_timestamp_seconds": {at: t.timestamp() for at, t in last.items()},
        "archived_outbox_lag_events": {
            (reader,): n
            for reader, n in metrics_queries.unread(parts.catalog, parts.readers()).items()
        },
    }


def _totals(parts: Components) -> Mapping[str, Labelled]:
    totals = parts.tally.read()
    if totals is None:
        return {}  # being counted
    copies = totals.copies.items()
    return {
        "archived_store_bytes": {(): totals.store_bytes},
        "archived_signatures_pending": {(): len(totals.pending)},
        "archived_copies": {(target,): of.count for target, of in copies},
        "archived_copy_bytes": {(target,): of.size for target, of in copies},
        "archived_last_copy_timestamp_seconds": {(target,): of.verified for target, of in copies},
    }
