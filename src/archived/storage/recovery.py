"""What a crash left, and the repair of each case. Run once, before anything else moves.

Every repair is safe to be cut short and run again. Nothing is thrown away that is not proven to be
somewhere else: half-written files that nothing mentions, and bytes whose sealed object is durable.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from archived import AGENT
from archived.errors import ArchivedError, CatalogError, SpoolError, StoreError
from archived.message import Message
from archived.model.ids import object_id, readable
from archived.model.lifecycle import ARCHIVED, State, Transition
from archived.model.pipeline import SEAL, next_step
from archived.model.retry import RetryLimits, RetryVerdict, interrupted, wait
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.storage.head_check import compare_heads
from archived.storage.ledger import Entry
from archived.storage.libc import open_beneath
from archived.storage.ocfl.store import Store
from archived.storage.rows import (
    ArrivalState,
    BecameArtifact,
    DocumentFilter,
    DocumentRow,
    SeenFile,
    SpoolFile,
    received,
)
from archived.storage.spool import Spool
from archived.storage.transaction import Transaction


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
    undropped: list[str] = field(default_factory=list)
    """Sealed documents whose spool folder cannot be removed; the next start tries again."""
    unexplained: list[str] = field(default_factory=list)
    """Spool folders that explain nothing; kept, for a person to look at."""
    differing: list[str] = field(default_factory=list)
    """On what store and catalog do not agree, in sentences: no crash leaves that."""

    def counted(self) -> dict[str, int]:
        """Each kind of finding that a crash left, with its number."""
        found = {name: len(found) for name, found in asdict(self).items() if found}
        found.pop("differing", None)
        return found

    def __bool__(self) -> bool:
        return bool(self.counted())


def recover(
    spool: Spool,
    store: Store,
    catalog: Catalog,
    limits_of: Callable[[str], RetryLimits],
    now: datetime,
) -> Recovered:
    """Bring spool, store and catalog into agreement after whatever happened. Idempotent.

    Raises `CatalogError` or `StoreError`, having changed nothing, when the catalog was lost, or
    when it and the store are not of the same archive at the same time.
    """
    _refuse_a_lost_catalog(store, catalog)
    _refuse_another_store(store, catalog)
    found = Recovered(differing=compare_heads(store, catalog))
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
            Message(
                "{path}: the catalog is empty, but there are objects in {root}",
                path=catalog.path,
                root=store.root,
            ),
            hint=Message(
                "nothing was changed in the store. Move this catalog aside. Restore it "
                "from a backup: cp BACKUP/{name} {path}; then, or at once without a "
                "backup: archived rebuild; or, if this is to be a new archive, give it a "
                "store of its own",
                name=catalog.path.name,
                path=catalog.path,
            ),
            code="catalog-lost",
        )


def _refuse_another_store(store: Store, catalog: Catalog) -> None:
    """A store without an object is not the one in which documents were sealed: its disk is not
    mounted, say. What would be sealed into it would lie hidden below the mount, and its spool bytes
    be gone.
    """
    if (
        catalog.documents(DocumentFilter(states=sorted(ARCHIVED)), limit=1)
        and next(store.objects(), None) is None
    ):
        raise StoreError(
            Message("{root} holds nothing of what was sealed", root=store.root),
            hint="nothing was sealed or removed. Is the store's disk mounted? If it is lost, bring "
            "its objects back from a target first (docs/operations.md)",
            code="no-store",
        )


def _interrupted(
    catalog: Catalog, document: DocumentRow, limits_of: Callable[[str], RetryLimits], now: datetime
) -> None:
    """The daemon died under a step: the attempt stays counted, the document goes on or is held."""
    stage = next_step(document.stages, document.position) or ""
    limits = limits_of(stage)
    facts = {"stage": stage, "step": document.running, "attempt": document.attempts}
    with catalog.transaction() as change:
        change.step_ended(
            str(document.running),
            now,
            ending="lost",
            code="interrupted",
            message=Message("archived or the machine stopped while this step ran"),
        )
        change.record(Entry("step-lost", now, AGENT, document=document.id, facts=facts))
        last = interrupted(document.attempts, limits) is RetryVerdict.HOLD
        if last and document.state is not State.SAFE:  # of a safe one it is a further copy
            reason = Message(
                "the machine or archived died {attempts} times during {stage}",
                attempts=document.attempts,
                stage=stage,
            )
            change.move(
                document,
                Transition.STEP_HELD,
                now,
                running=None,
                due=None,
                code="interrupted",
                reason=reason,
                hint=Message("look at the log of that time; archivectl retry tries again"),
            )
            change.record(
                Entry(
                    "document-held",
                    now,
                    AGENT,
                    document=document.id,
                    facts={"code": "interrupted", "reason": reason},
                )
            )
            change.announce(
                "document-held",
                now,
                document=document.id,
                hotfolder=document.hotfolder,
                facts={"code": "interrupted"},
            )
        else:
            pause = wait(document.attempts, limits.first_wait, limits.longest_wait)
            # The first interruption costs no wait: most are a reboot, not the document.
            due = now if document.attempts <= 1 else now + pause
            change.move(document, Transition.STEP_POSTPONED, now, running=None, due=due)


def _spool_folder(
    spool: Spool, store: Store, catalog: Catalog, identifier: str, found: Recovered, now: datetime
) -> None:
    known = catalog.documents_like(identifier)
    if identifier in known:
        row = catalog.document(identifier)
        if row.object_key is None or SEAL in row.stages[row.position :]:
            return  # an upgrade's files wait here for the seal of their version
        try:
            spool.drop(identifier)  # sealed, durable and on record: the spool may let go
            found.dropped.append(identifier)
        except OSError:
            found.undropped.append(identifier)
        return
    try:
        note = spool.arrival(identifier)
        is_part = "master" in note
        files = (
            [] if is_part else [_File.of(each, spool.folder(identifier)) for each in note["files"]]
        )
        # The catalog never heard of it. The scan will find the sources, or a later try has them;
        # a part that was being cut out is still in its master.
        if is_part or all(
            _still_there(each) or _taken_in_later(spool, store, catalog, each) for each in files
        ):
            spool.drop(identifier)
            found.dropped.append(identifier)
            return
        _adopt(catalog, identifier, note, files, now)
        found.adopted.append(identifier)
    except (SpoolError, KeyError, ValueError, TypeError, OSError):
        found.unexplained.append(identifier)


@dataclass(frozen=True, slots=True)
class _File:
    """One received file of a spool folder, by its note."""

    arrival: int
    source: Path
    path: bytes
    media_type: str
    ours: Path
    kept: SpoolFile

    @classmethod
    def of(cls, note: Mapping[str, Any], folder: Path) -> _File:
        """Raises `KeyError`, `ValueError` or `TypeError` for a note that is none."""
        return cls(
            note["arrival"],
            Path(os.fsdecode(base64.b64decode(note["source"]))),
            base64.b64decode(note["path"]),
            note["media_type"],
            folder / note["file"],
            SpoolFile(note["file"], note["size"], note["sha256"], note["sha512"]),
        )


def _still_there(file: _File) -> bool:
    """Whether the very bytes lie in the hot folder: not where a link leads by now."""
    root = os.fsencode(file.source).removesuffix(b"/" + file.path)
    try:
        folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            handle = open_beneath(folder, file.path, os.O_RDONLY | os.O_NONBLOCK)
        finally:
            os.close(folder)
        with atomic.regular_file(handle, file.source) as source:
            return atomic.same_bytes(atomic.OpenFile(source, file.source), file.ours)
    except OSError:
        return False


def _taken_in_later(spool: Spool, store: Store, catalog: Catalog, file: _File) -> bool:
    """Whether this file's admission failed here, and a later try put it into custody elsewhere."""
    arrival = catalog.arrival(file.arrival)
    if arrival is None or arrival.document is None or arrival.sha256 != file.kept.sha256:
        return False
    row = catalog.document(arrival.document)
    kept = [
        a
        for a in catalog.artifacts(row.id)
        if a.step is None and arrival.became in {None, f"{a.role}/{a.name}"}
    ]
    try:
        theirs = (
            spool.folder(row.id) / kept[0].path
            if row.object_key is None
            else store.path_of(object_id(row.id), f"{kept[0].role}/{kept[0].name}")
        )
        return atomic.same_bytes(theirs, file.ours)
    except (ArchivedError, OSError, IndexError):
        return False


def _adopt(
    catalog: Catalog,
    identifier: str,
    note: Mapping[str, Any],
    files: Sequence[_File],
    now: datetime,
) -> None:
    """A source is gone and only the spool has its bytes: the document is admitted from here."""
    for file in files:
        if atomic.digest(file.ours).sha512 != file.kept.sha512:
            # a removal that was cut short
            raise SpoolError(Message("{ours}: not the bytes that arrived", ours=file.ours))
    facts = dict(note["row"])
    for instant in ("due", "received", "changed"):
        facts[instant] = datetime.fromisoformat(facts[instant]) if facts[instant] else None
    facts |= {"path": base64.b64decode(facts["path"]), "state": State(facts["state"])}
    row = DocumentRow(**facts)
    if parts := catalog.parts(identifier):
        row = replace(
            row,
            due=None,
            code="parts-found",
            reason=Message(
                "{count} documents that were cut out of it are archived already", count=len(parts)
            ),
            hint=Message(
                "they were found in the store when the catalog was made from it. Are all "
                "of them there (archivectl show)? Then reject this one: its bytes are "
                "kept. A retry would cut it again, and each part would be there twice"
            ),
        )
    with catalog.transaction() as change:
        change.admit(
            row,
            [
                received(row.id, file.kept, file.media_type, main=number == 0)
                for number, file in enumerate(files)
            ],
        )
        for number, file in enumerate(files):
            _adopt_file(change, catalog, row, file, now, first=number == 0)
        if row.due is None:
            change.move(row, Transition.ADMITTED_HELD, now)
            held = {"code": row.code, "reason": row.reason}
            change.record(Entry("document-held", now, AGENT, document=identifier, facts=held))
            change.announce(
                "document-held",
                now,
                document=identifier,
                hotfolder=row.hotfolder,
                facts={"code": row.code},
            )
        change.announce(
            "document-admitted",
            now,
            document=identifier,
            hotfolder=row.hotfolder,
            facts={"size": row.size, "sha256": files[0].kept.sha256},
        )


def _adopt_file(
    change: Transaction,
    catalog: Catalog,
    row: DocumentRow,
    file: _File,
    now: datetime,
    *,
    first: bool,
) -> None:
    seen, name = catalog.arrival(file.arrival), readable(file.path)
    if seen is not None and seen.state in {ArrivalState.SEEN, ArrivalState.HELD}:
        arrival = seen.id
        # One that is still there is on record as such: the next sweep removes it.
        change.arrival_changed(arrival, present=_still_there(file))
    else:  # not as present: another arrival may stand for what lies under its name by now
        lost = SeenFile(
            hotfolder=row.hotfolder,
            path=file.path,
            name=name,
            size=file.kept.size,
            origin=row.origin,
        )
        arrival = change.arrival_seen(lost, now, present=False)
    became = BecameArtifact(row.id, file.kept.sha256, file.kept.path)
    change.arrival_admitted(arrival, now, became)
    facts = {
        "arrival": arrival,
        "hotfolder": row.hotfolder,
        "device": row.origin,
        "name": name,
        "size": file.kept.size,
    }
    why = {"why": Message("found in the spool, named nowhere else")} if first else {}
    change.record(
        Entry(
            "recovered" if first else "arrival-joined",
            now,
            AGENT,
            document=row.id,
            digests={file.kept.path.rpartition(".")[0] or file.kept.path: file.kept.sha512},
            facts={**why, **facts},
        )
    )
