"""What a crash left, and the repair of each case. Run once, before anything else moves.

Every repair is safe to be cut short and run again. Nothing is thrown away that is not proven to be
somewhere else: half-written files that nothing mentions, and bytes whose sealed object is durable.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from archived import AGENT
from archived.errors import ArchivedError, CatalogError, SpoolError
from archived.model.document import Happened, State
from archived.model.identity import object_id
from archived.model.plan import next_step
from archived.model.policy import Limits, Verdict, interrupted, wait
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.records import ArrivalState, ArtifactRow, DocumentRow
from archived.storage.spool import Spool
from archived.storage.store import Store


@dataclass(slots=True)
class Recovered:
    """What was found and put right, for the log and for `archivectl status`."""

    cleared: list[str] = field(default_factory=list)
    """Half-written files and folders that nothing mentioned."""
    interrupted: list[str] = field(default_factory=list)
    """Documents whose step died with the daemon."""
    adopted: list[str] = field(default_factory=list)
    """Documents found in the spool but not in the catalog."""
    dropped: list[str] = field(default_factory=list)
    """Spool folders whose document is sealed, or whose bytes are proven to be elsewhere."""
    repaired: list[str] = field(default_factory=list)
    """What was half done in the store and is whole again."""
    unmended: list[str] = field(default_factory=list)
    """Objects in the store that could not be mended; a person must look at them."""
    unexplained: list[str] = field(default_factory=list)
    """Spool folders that explain nothing; kept, for a person to look at."""

    def counted(self) -> dict[str, int]:
        """Each kind of finding that there was, with its number."""
        return {name: len(found) for name, found in asdict(self).items() if found}

    def __bool__(self) -> bool:
        return bool(self.counted())


def recover(
    spool: Spool, store: Store, catalog: Catalog, limits_of: Callable[[str], Limits], now: datetime
) -> Recovered:
    """Bring spool, store and catalog into agreement after whatever happened. Idempotent.

    Raises `CatalogError`, having changed nothing, when the catalog was lost.
    """
    _refuse_a_lost_catalog(store, catalog)
    found = Recovered()
    mended = store.repair()
    found.repaired = [str(repaired) for repaired in mended if repaired.mended]
    found.unmended = [str(repaired) for repaired in mended if not repaired.mended]
    found.cleared = spool.clear_unfinished()
    for document in catalog.running():
        _interrupted(catalog, document, limits_of, now)
        found.interrupted.append(document.id)
    for identifier in list(spool.held_documents()):
        _spool_folder(spool, store, catalog, identifier, found, now)
    return found


def _refuse_a_lost_catalog(store: Store, catalog: Catalog) -> None:
    """An empty catalog beside a store with objects: going on would start a second history."""
    if catalog.ledger_head().sequence == 0 and next(store.objects(), None) is not None:
        raise CatalogError(
            f"{catalog.path}: the catalog is empty, but there are objects in {store.root}",
            hint=f"nothing was changed in the store. Restore the catalog from a backup: "
            f"cp BACKUP/{catalog.path.name} {catalog.path}; or, if this is to be a new archive, "
            "give it a store of its own",
            code="catalog-lost",
        )


def _interrupted(
    catalog: Catalog, document: DocumentRow, limits_of: Callable[[str], Limits], now: datetime
) -> None:
    """The daemon died under a step: the attempt stays counted, the document goes on or is held."""
    stage = next_step(document.stages, document.position) or ""
    limits = limits_of(stage)
    facts = {"stage": stage, "step": document.running, "attempt": document.attempts}
    with catalog.transaction() as change:
        change.step_ended(
            str(document.running), now, ending="lost", code="interrupted",
            message="archived or the machine stopped while this step ran",
        )  # fmt: skip
        change.record(Entry("step-lost", now, AGENT, document=document.id, facts=facts))
        if interrupted(document.attempts, limits) is Verdict.HOLD:
            reason = f"the machine or archived died {document.attempts} times during {stage}"
            change.move(
                document, Happened.STEP_HELD, now, running=None, due=None, code="interrupted",
                reason=reason, hint="look at the log of that time; archivectl retry tries again",
            )  # fmt: skip
            change.record(
                Entry("document-held", now, AGENT, document=document.id,
                      facts={"code": "interrupted", "reason": reason})
            )  # fmt: skip
            change.announce(
                "document-held", now, document=document.id, hotfolder=document.hotfolder,
                facts={"code": "interrupted"},
            )  # fmt: skip
        else:
            pause = wait(document.attempts, limits.first_wait, limits.longest_wait)
            # The first interruption costs no wait: most are a reboot, not the document.
            due = now if document.attempts <= 1 else now + pause
            change.move(document, Happened.STEP_POSTPONED, now, running=None, due=due)


def _spool_folder(
    spool: Spool, store: Store, catalog: Catalog, identifier: str, found: Recovered, now: datetime
) -> None:  # fmt: skip
    known = catalog.documents_like(identifier)
    if identifier in known:
        if catalog.document(identifier).object_key is not None:
            spool.drop(identifier)  # sealed, durable and on record: the spool may let go
            found.dropped.append(identifier)
        return
    try:
        note = spool.arrival(identifier)
        source = Path(os.fsdecode(base64.b64decode(note["source"])))
        ours = spool.folder(identifier) / note["file"]
        # The catalog never heard of it. The scan will find the source, or a later try has it.
        if _still_there(source, ours) or _taken_in_later(spool, store, catalog, note, ours):
            spool.drop(identifier)
            found.dropped.append(identifier)
            return
        _adopt(catalog, identifier, note, ours, now)
        found.adopted.append(identifier)
    except (SpoolError, KeyError, ValueError, TypeError, OSError):
        found.unexplained.append(identifier)


def _still_there(source: Path, ours: Path) -> bool:
    try:
        return atomic.same_bytes(source, ours)
    except OSError:
        return False


def _taken_in_later(
    spool: Spool, store: Store, catalog: Catalog, note: Mapping[str, Any], ours: Path
) -> bool:
    """Whether this file's admission failed here, and a later try put it into custody elsewhere."""
    arrival = catalog.arrival(note["arrival"])
    if arrival is None or arrival.document is None or arrival.sha256 != note["sha256"]:
        return False
    row = catalog.document(arrival.document)
    (original,) = (a for a in catalog.artifacts(row.id) if a.role == "original")
    try:
        theirs = (
            spool.folder(row.id) / original.path if row.object_key is None
            else store.path_of(object_id(row.id), f"original/{original.name}")
        )  # fmt: skip
        return atomic.same_bytes(theirs, ours)
    except (ArchivedError, OSError):
        return False


def _adopt(
    catalog: Catalog, identifier: str, note: Mapping[str, Any], ours: Path, now: datetime
) -> None:
    """The source is gone and only the spool has the bytes: the document is admitted from here."""
    if atomic.digest(ours).sha512 != note["sha512"]:
        raise SpoolError(f"{ours}: not the bytes that arrived")  # a removal that was cut short
    facts = dict(note["row"])
    for instant in ("due", "received", "changed"):
        facts[instant] = datetime.fromisoformat(facts[instant]) if facts[instant] else None
    facts |= {"path": base64.b64decode(facts["path"]), "state": State(facts["state"])}
    row = DocumentRow(**({"origin": facts["hotfolder"]} | facts))
    original = ArtifactRow(
        document=identifier, role="original", name=note["file"].rsplit("/", 1)[-1],
        media_type=row.media_type, size=note["size"], sha512=note["sha512"],
        sha256=note["sha256"], path=note["file"], main=True,
    )  # fmt: skip
    seen = catalog.arrival(note["arrival"])
    with catalog.transaction() as change:
        change.admit(row, [original])
        arrival = (
            seen.id if seen is not None and seen.state is ArrivalState.SEEN
            else change.arrival_seen(
                hotfolder=row.hotfolder, path=row.path, name=row.name, device=0, inode=0,
                size=row.size, mtime_ns=0, now=now, origin=row.origin,
            )
        )  # fmt: skip
        change.arrival_changed(arrival, present=False)
        change.arrival_ended(
            arrival, ArrivalState.ADMITTED, now, document=identifier, sha256=note["sha256"]
        )
        change.record(
            Entry("recovered", now, AGENT, document=identifier,
                  digests={"original/0001": note["sha512"]},
                  facts={"why": "found in the spool, named nowhere else", "arrival": arrival,
                         "hotfolder": row.hotfolder, "device": row.origin, "name": row.name,
                         "size": row.size})
        )  # fmt: skip
        if row.due is None:
            change.move(row, Happened.ADMITTED_HELD, now)
            held = {"code": row.code, "reason": row.reason}
            change.record(Entry("document-held", now, AGENT, document=identifier, facts=held))
        change.announce(
            "document-admitted", now, document=identifier, hotfolder=row.hotfolder,
            facts={"size": note["size"], "sha256": note["sha256"]},
        )  # fmt: skip
