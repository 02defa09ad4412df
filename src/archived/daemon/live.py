"""What only a running daemon knows, as JSON, for `archivectl status`. Reads; changes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archived import __version__
from archived.daemon.reception import FolderStatus
from archived.engine.runner import LocalRunner

if TYPE_CHECKING:
    from archived.daemon.daemon import Daemon


def live(daemon: Daemon) -> Mapping[str, Any]:
    """Its parts' own words about themselves; `archived.observe.answers` chooses from them."""
    return {
        "version": __version__,
        "started": daemon.started,
        "config": str(daemon.settings.path),
        "not_ready": daemon.health.not_ready(),
        "config_refused": asdict(daemon.refused) if daemon.refused.since else None,
        "metrics": f"{daemon.settings.web.address}/metrics",
        "hotfolders": [_hotfolder(r.status) for r in daemon.receptions.values()],
        "lanes": dict(daemon.scheduler.widths),
        "closed": [
            {"lane": lane, "opens": opens} for lane, opens in daemon.scheduler.closed().items()
        ],
        "running": [asdict(active) for active in list(daemon.scheduler.active.values())],
        "uncleared": {str(place.folder): len(place.names()) for place in daemon.uncleared.values()},
        "doubted_answers": {name: why for name, why in daemon.shares.doubts().items() if why},
        "accounts": {
            lane: runner.separate
            for lane, runner in daemon.runners.items()
            if isinstance(runner, LocalRunner) and runner.separate is not None
        },
        "confinement": {
            lane: dict(sorted(runner.confinement.items()))
            for lane, runner in daemon.runners.items()
            if isinstance(runner, LocalRunner)
        },
        "problems": daemon.checks.problems,
        "checked": daemon.checks.checked,
        "store": daemon.store_audit.result,
        "stages": {name: each.options_digest for name, each in daemon.settings.stages.items()},
        "credentials": _credentials(),
        "plugins": [asdict(plugin) for plugin in daemon.settings.plugins.catalogue()],
    }


def _hotfolder(status: FolderStatus) -> dict[str, Any]:
    files = [asdict(each) | {"why": each.why} for each in status.waiting]
    return asdict(status) | {"waiting": files}


def _credentials() -> dict[str, Any] | None:
    """The secrets that the service manager gave when the service started: names, never contents."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    try:
        files = list(Path(folder).iterdir())
        since = min((file.stat().st_mtime for file in files), default=0.0)
    except OSError:
        return None
    return {"folder": folder, "since": since, "names": sorted(file.name for file in files)}
