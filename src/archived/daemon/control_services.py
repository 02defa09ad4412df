"""What the control socket asks of the running daemon: decisions, review pictures, live state."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from archived import __version__
from archived.api import Role
from archived.daemon.components import Components
from archived.daemon.health import Health
from archived.daemon.hotfolder_task import FolderStatus
from archived.engine.copy_requests import ask_for_copies
from archived.engine.decisions import PersonDecision, reject, release
from archived.engine.specs import Specs
from archived.engine.worker.runner import LocalRunner
from archived.errors import ArchivedError, NotNow
from archived.message import Message
from archived.model.lifecycle import IllegalTransition, State
from archived.model.review import PICTURE_LIMIT
from archived.storage.artifacts import path_of
from archived.storage.catalog import Catalog
from archived.storage.ocfl.store import Store
from archived.storage.spool import Spool


def carry_out(
    catalog: Catalog, specs: Specs, what: str, document: str, by: PersonDecision
) -> State:
    """Do what was decided: `retry`, `release`, `reject` or `copy`. Returns the document's state
    afterwards. Blocking; raises `ArchivedError`.
    """
    try:
        return _carry_out(catalog, specs, what, document, by)
    except IllegalTransition as error:
        hint = Message(
            "archivectl explain {document} says how it stands and what can be done",
            document=document,
        )
        raise NotNow(_why_not(error.state), hint=hint) from error


def _why_not(state: State) -> str:
    match state:
        case State.SEALED | State.SAFE:
            return Message("the document is archived: there is nothing to decide about it")
        case State.REJECTED:
            return Message("the document was rejected: only a retry takes it up again")
        case _:
            return Message("the document is in work: it waits for no decision")


def _carry_out(
    catalog: Catalog, specs: Specs, what: str, document: str, by: PersonDecision
) -> State:
    match what:
        case "reject":
            return reject(catalog, document, by)
        case "copy":
            return ask_for_copies(catalog, specs, document, by)
        case "retry" | "release":
            return release(catalog, specs, document, by, skip=what == "release")
    raise ArchivedError(Message("{what!r} is not a decision", what=what), code="bad-question")


def picture(
    spool: Spool, store: Store, catalog: Catalog, document: str, step: str, name: str
) -> Path:
    """Where the picture lies that a step made of a region. Raises `NotNow` for anything else."""
    # One of the same name that a later stage made lies beside it while it is in the spool.
    made = catalog.made(document, step, Role.METADATA, name)
    if made is not None and name in _named(catalog, step):
        return _whole(path_of(spool, store, catalog.document(document), made))
    raise NotNow(
        Message(
            "document {document} has no picture {name!r} of that step", document=document, name=name
        ),
        hint=Message("the stage ran again since; write the pictures again: archivectl review"),
    )


@lru_cache(maxsize=4)
def _named(catalog: Catalog, step: str) -> frozenset[str]:
    """Pictures of a step's regions. They never change, and are asked about one by one."""
    return frozenset(
        region["picture"] for asked in catalog.reviews_of(step) for region in asked["regions"]
    )


def _whole(path: Path) -> Path:
    """The path of a picture that is there and within the limit. Raises `NotNow`."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise NotNow(
            Message("the picture cannot be read: {why}", why=error.strerror),
            hint=Message(
                "it may have been sealed just now; write the pictures again: archivectl review"
            ),
        ) from None
    if size > PICTURE_LIMIT:
        raise NotNow(
            Message(
                "the picture takes {size} bytes; at most {picture_limit} are handed out",
                size=size,
                picture_limit=PICTURE_LIMIT,
            ),
            hint=Message("look at the page itself: archivectl show names the document's files"),
        )
    return path


def live(parts: Components, health: Health) -> Mapping[str, Any]:
    """Its parts' own words about themselves; `archived.observe.api` chooses from them."""
    return {
        "version": __version__,
        "started": parts.started,
        "config": str(parts.settings.path),
        "not_ready": health.not_ready(),
        "config_refused": asdict(parts.refused) if parts.refused.since else None,
        "metrics": f"{parts.settings.web.address}/metrics",
        "hotfolders": [_hotfolder(r.status) for r in parts.hotfolder_tasks.values()],
        "lanes": dict(parts.scheduler.widths),
        "closed": [
            {"lane": lane, "opens": opens} for lane, opens in parts.scheduler.closed().items()
        ],
        "running": [asdict(active) for active in list(parts.scheduler.active.values())],
        "uncleared": {str(place.folder): len(place.names()) for place in parts.uncleared.values()},
        "untrusted_receipts": {name: why for name, why in parts.shares.doubts().items() if why},
        "accounts": {
            lane: runner.separate
            for lane, runner in parts.runners.items()
            if isinstance(runner, LocalRunner) and runner.separate is not None
        },
        "confinement": {
            lane: dict(sorted(runner.confinement.items()))
            for lane, runner in parts.runners.items()
            if isinstance(runner, LocalRunner)
        },
        "problems": parts.checks.problems,
        "checked": parts.checks.checked,
        "store": parts.store_audit.result,
        "stages": {name: each.options_digest for name, each in parts.settings.stages.items()},
        "credentials": _credentials(),
        "plugins": [asdict(plugin) for plugin in parts.settings.plugins.catalogue()],
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
