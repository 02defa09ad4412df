"""The state of the house as figures, taken at the moment somebody asks. Reads; changes nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from archived import __version__
from archived.daemon import cards
from archived.engine.runner import LocalRunner
from archived.errors import CatalogError
from archived.observe import readings
from archived.observe.metrics import Labelled, Snapshot

if TYPE_CHECKING:
    from archived.daemon.daemon import Daemon


def snapshot(daemon: Daemon) -> Snapshot:
    """Every gauge of `METRICS` that is not counted by `Metrics` itself. Reads the catalog."""
    now = datetime.now(UTC)
    parts: Mapping[str, Callable[[], Mapping[str, Labelled]]] = {
        "house": lambda: _house(daemon),
        "disks": lambda: _disks(daemon),
        "ledger": lambda: _ledger(daemon),
        "balance": lambda: _balance(daemon),
        "documents": lambda: _documents(daemon, now),
        "received": lambda: _received(daemon),
        "folders": lambda: _folders(daemon, now),
        "lanes": lambda: _lanes(daemon, now),
        "events": lambda: _events(daemon),
        "totals": lambda: _totals(daemon),
        "store": lambda: _store(daemon),
    }
    gauges: dict[str, Labelled] = {}
    unreadable: dict[tuple[str, ...], float] = {}
    for part, take in parts.items():
        try:
            gauges |= daemon.metrics.paced(part, take)
        except (CatalogError, OSError):
            unreadable[(part,)] = 1  # its figures are missing from this scrape, not the others
        else:
            unreadable[(part,)] = 0
    return Snapshot({**gauges, "archived_snapshot_unreadable": unreadable})


def _disks(daemon: Daemon) -> Mapping[str, Labelled]:
    free: dict[tuple[str, ...], float] = {}
    size: dict[tuple[str, ...], float] = {}
    reserved: dict[tuple[str, ...], float] = {}
    for name, path in {"spool": daemon.spool.documents, "store": daemon.store.ocfl}.items():
        with contextlib.suppress(OSError):  # a folder that is gone has no figure
            usage = shutil.disk_usage(path)
            free[(name,)], size[(name,)] = usage.free, usage.total
            reserved[(name,)] = daemon.scheduler.room.reserved(path)
    catalog = daemon.catalog.path
    files = (catalog, catalog.with_name(f"{catalog.name}-wal"))
    return {
        "archived_filesystem_free_bytes": free,
        "archived_filesystem_size_bytes": size,
        "archived_filesystem_reserved_bytes": reserved,
        "archived_steps_waiting_for_disk": {(): daemon.scheduler.waiting_for_room},
        "archived_catalog_bytes": {(): sum(f.stat().st_size for f in files if f.exists())},
        "archived_spool_bytes": {(): readings.spool_bytes(daemon.catalog)},
        "archived_uncleared_folders": {
            (place,): len(each.names()) for place, each in daemon.uncleared.items()
        },
    }


def _ledger(daemon: Daemon) -> Mapping[str, Labelled]:
    at = readings.ledger_time(daemon.catalog)
    return {
        "archived_ledger_sequence": {(): daemon.catalog.ledger_head().sequence},
        "archived_ledger_timestamp_seconds": {} if at is None else {(): at.timestamp()},
    }


def _store(daemon: Daemon) -> Mapping[str, Labelled]:
    audit = daemon.store_audit
    return {
        "archived_store_differences": {(kind,): n for kind, n in audit.counts.items()},
        "archived_store_compared_timestamp_seconds": {} if audit.at is None else {(): audit.at},
    }


def _refused(daemon: Daemon) -> Labelled:
    since = daemon.refused.since
    return {} if since is None else {(): since.timestamp()}


def _house(daemon: Daemon) -> Mapping[str, Labelled]:
    plugins = daemon.settings.plugins.catalogue()
    return {
        "archived_build_info": {(__version__,): 1},
        "archived_config_info": {(daemon.settings.digest,): 1},
        "archived_plugin_info": {(p.name, p.version): 1 for p in plugins},
        "archived_start_time_seconds": {(): daemon.started.timestamp()},
        "archived_ready": {(): not daemon.health.not_ready()},
        "archived_stage_problems": {
            (name,): len(daemon.checks.problems.get(name, ())) for name in daemon.settings.stages
        },
        "archived_config_refused_timestamp_seconds": _refused(daemon),
        "archived_plugin_failures": dict(list(daemon.settings.plugins.failures.items())),
    }


def _balance(daemon: Daemon) -> Mapping[str, Labelled]:
    sheets = {b.hotfolder: b for b in daemon.catalog.balance()}
    audit = daemon.audit
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
            for name in {*sheets, *by_books, *daemon.settings.hotfolders}
        },
        "archived_reconciliation_timestamp_seconds": (
            {} if audit.compared is None else {(): audit.compared}
        ),
        "archived_ignored_files": {
            (name, rule): n for name, b in sheets.items() for rule, n in b.rules.items()
        },
    }


def _documents(daemon: Daemon, now: datetime) -> Mapping[str, Labelled]:
    catalog = daemon.catalog

    def age(since: datetime | None) -> float:
        return 0.0 if since is None else max(0.0, (now - since).total_seconds())

    def ages(since: Mapping[str, datetime]) -> Labelled:
        return {(name,): age(since.get(name)) for name in {*since, *daemon.settings.hotfolders}}

    further = catalog.count_further_copies()
    return {
        "archived_documents": {
            (folder, str(state)): n for (folder, state), n in catalog.count_documents().items()
        },
        "archived_held_documents": {
            (code,): n for code, n in readings.held_by_code(catalog).items()
        },
        "archived_never_safe_documents": {(): catalog.count_never_safe()},
        "archived_further_copies_due": {
            (word,): further.get(failed, 0) for failed, word in ((False, "none"), (True, "failed"))
        },
        "archived_documents_without_step": {(): daemon.health.abandoned()},
        "archived_pages": {(): catalog.pages_archived()},
        "archived_oldest_unclaimed_file_seconds": ages(readings.oldest_unclaimed(catalog)),
        "archived_oldest_document_in_work_seconds": ages(readings.oldest_in_work(catalog)),
        "archived_oldest_uncopied_document_seconds": {(): age(readings.oldest_uncopied(catalog))},
    }


def _received(daemon: Daemon) -> Mapping[str, Labelled]:
    of = readings.received(daemon.catalog)
    return {
        "archived_received_documents": {(name,): r.documents for name, r in of.items()},
        "archived_received_bytes": {(name,): r.size for name, r in of.items()},
        "archived_received_pages": {(name,): r.pages for name, r in of.items()},
    }


def _folders(daemon: Daemon, now: datetime) -> Mapping[str, Labelled]:
    of = {name: reception.status for name, reception in list(daemon.receptions.items())}
    arrivals = {name: readings.last_arrival(daemon.catalog, name) for name in of}
    expected = {
        name: folder.expected_within.total_seconds()
        for name, folder in daemon.settings.hotfolders.items()
        if folder.expected_within is not None and name in of
    }
    hours = cards.expected_hours(daemon.settings)
    return {
        "archived_hotfolder_online": {(name,): not s.offline for name, s in of.items()},
        "archived_intake_paused": {(name,): bool(s.paused) for name, s in of.items()},
        "archived_arriving_files": {(name,): s.arriving for name, s in of.items()},
        "archived_sweep_failing": {(name,): bool(s.failing) for name, s in of.items()},
        "archived_stuck_files": {(name,): len(s.stuck) for name, s in of.items()},
        "archived_answers_doubted": {
            (name,): bool(why) for name, why in daemon.shares.doubts().items()
        },
        "archived_sweep_seconds": {(name,): s.sweep_seconds for name, s in of.items()},
        "archived_last_arrival_timestamp_seconds": {
            (name,): at.timestamp() for name, at in arrivals.items() if at is not None
        },
        "archived_hotfolder_expected_within_seconds": {(name,): s for name, s in expected.items()},
        "archived_hotfolder_silent_seconds": {
            (name,): hours[name].open_between(arrivals[name] or daemon.started, now).total_seconds()
            for name in expected
        },
    }


def _lanes(daemon: Daemon, now: datetime) -> Mapping[str, Labelled]:
    running = [active.lane for active in list(daemon.scheduler.active.values())]
    widths = dict(daemon.scheduler.widths)
    closed = daemon.scheduler.closed()
    due = daemon.catalog.count_due(now)
    oldest = {lane: daemon.catalog.next_due([lane]) for lane in widths}
    return {
        "archived_lane_width": {(lane,): width for lane, width in widths.items()},
        "archived_lane_running": {(lane,): running.count(lane) for lane in widths},
        "archived_lane_open": {(lane,): lane not in closed for lane in widths},
        "archived_lane_due_steps": {(lane,): due.get(lane, 0) for lane in widths},
        "archived_lane_oldest_due_seconds": {
            (lane,): max(0.0, (now - at).total_seconds()) if at is not None else 0.0
            for lane, at in oldest.items()
        },
        **_workers(daemon),
    }


def _workers(daemon: Daemon) -> Mapping[str, Labelled]:
    own = {n: r for n, r in daemon.runners.items() if isinstance(r, LocalRunner)}
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


def _events(daemon: Daemon) -> Mapping[str, Labelled]:
    last = readings.last_events(daemon.catalog)
    return {
        "archived_last_event_timestamp_seconds": {at: t.timestamp() for at, t in last.items()},
        "archived_outbox_lag_events": {
            (reader,): n for reader, n in readings.unread(daemon.catalog, daemon.readers()).items()
        },
    }


def _totals(daemon: Daemon) -> Mapping[str, Labelled]:
    totals = daemon.tally.read()
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
