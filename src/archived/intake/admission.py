"""Taking one file into custody, in the durable order.

*Must*: the bytes are fsynced in the spool and named in the catalog before the scanner's file may
leave the hot folder, and it leaves only after its bytes were compared with ours. Every other order
can lose the only copy of a page.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from archived import AGENT
from archived.errors import CatalogError, NoSuchDocument
from archived.intake.holds import HOLDS
from archived.intake.rules import TAKEN_PREFIX
from archived.intake.settle import Sighting
from archived.intake.watcher import has_writer
from archived.model.document import Happened, State
from archived.model.identity import is_document_id, readable
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.storage.change import Change
from archived.storage.ledger import Entry
from archived.storage.records import Arrival, ArrivalState, ArtifactRow, DocumentRow
from archived.storage.spool import Kept, Spool


class StillArriving(Exception):
    """The file changed while it was being read; nothing was kept, it will be looked at again."""


class Removal(StrEnum):
    """What became of a source whose bytes are in custody."""

    DONE = "done"
    CHANGED = "changed"
    """The name holds another file by now; the next scan will see it."""
    DIFFERENT = "different"
    """It looks like the file that was taken in, but its bytes differ: it is taken in once more."""
    OPEN = "open"
    """Somebody has it open for writing: what is written after an unlink would be lost."""


@dataclass(frozen=True, slots=True)
class Route:
    """What becomes of a file from this hot folder: decided before admission, kept for ever."""

    hotfolder: str
    pipeline: str
    stages: tuple[str, ...]
    copies: int
    lane: str
    priority: int = 0
    secrecy: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A settled file: where it is and what it looked like when it was last seen."""

    arrival: int
    root: Path
    path: bytes
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    media_type: str
    extension: str
    held: tuple[str, str] | None = None
    """(code, reason) when a person must look at it before anything else happens."""
    origin: str = ""
    """The device it came from."""

    @property
    def source(self) -> Path:
        """The file, absolute. Its name may hold any byte but `/` and NUL."""
        return Path(os.fsdecode(os.path.join(os.fsencode(self.root), self.path)))  # noqa: PTH118


@dataclass(frozen=True, slots=True)
class Custody:
    """What came of it. `same_as`: the older document with the very same bytes, if there is one."""

    document: str
    sha256: str
    size: int
    same_as: str | None = None


def admit(
    spool: Spool, catalog: Catalog, candidate: Candidate, route: Route, document: str,
    find_bytes: Callable[[str], Path | None], now: datetime,
) -> Custody:  # fmt: skip
    """Take a file into custody. The order is the point:

    1. its bytes are read, and it has not changed meanwhile: half of it never gets a name;
    2. they are durable in the spool, with a note that explains them;
    3. document, arrival, ledger entry and news are in the catalog, in one transaction;
    4. only then is the source removed, after its bytes were compared (`remove_source`).

    `find_bytes` gives a readable path to an older document's first original, to compare with.
    Raises `StillArriving` and `OSError` from 1 and 2 (nothing has happened), `CatalogError` from 3.
    """
    row = _document(candidate, route, document, now)
    note = _note(candidate, row)

    def still_the_same() -> None:
        # Whoever puts the time of a file back cannot put back when its inode was changed.
        if (
            not _unchanged(candidate, candidate.source)
            or candidate.source.lstat().st_ctime_ns != candidate.ctime_ns
        ):
            raise StillArriving(f"{candidate.source} changed while it was being read")

    name = f"0001.{candidate.extension}"
    kept = spool.take_in(candidate.source, document, name, note, still_the_same)  # 1, 2
    try:
        twin = _same_bytes(spool, catalog, kept, route, document, find_bytes)
        with catalog.transaction() as change:  # 3
            if twin is not None:
                _record_again(change, candidate, catalog.document(twin), kept, now)
            else:
                _record_admission(change, candidate, row, kept, now)
    except Exception:
        # The next try gets a new id; what nobody names must not be found after a crash and taken
        # for a document whose source is gone.
        if _is_unknown(catalog, document):
            spool.drop(document)
        raise
    if twin is not None:
        spool.drop(document)
    return Custody(twin or document, kept.sha256, kept.size, same_as=twin)


def _is_unknown(catalog: Catalog, document: str) -> bool:
    try:
        catalog.document(document)
    except NoSuchDocument:
        return True
    except (CatalogError, OSError):
        return False  # it cannot be asked: recovery will, when it can
    return False


def remove_source(
    catalog: Catalog, candidate: Candidate, document: str, ours: Path, now: datetime
) -> Removal:
    """Take the source out of the hot folder, unless the name holds something else by now.

    The name is taken away first (a rename), then what is under it is compared byte for byte with
    what is in custody, and only then is it unlinked: whatever a clerk drops under the same name
    meanwhile is a new arrival. A crash in between is finished by `finish_removals`.
    """
    source = candidate.source
    taken = source.with_name(os.fsdecode(TAKEN_PREFIX) + document)
    if not _unchanged(candidate, source):
        return Removal.CHANGED
    if has_writer(source):
        return Removal.OPEN
    atomic.move_file(source, taken)
    # Nobody opens it by its name any more; whoever did so until now can still write to it.
    if has_writer(taken):
        give_back(taken, source)
        return Removal.OPEN
    # Some mounts (sshfs) give a file a new inode number with its new name.
    now_taken = taken.lstat()
    if (now_taken.st_size, now_taken.st_mtime_ns) != (candidate.size, candidate.mtime_ns):
        give_back(taken, source)
        return Removal.CHANGED
    if not atomic.same_bytes(taken, ours):
        give_back(taken, source)
        return Removal.DIFFERENT
    atomic.remove_file(taken)
    with catalog.transaction() as change:
        change.arrival_changed(candidate.arrival, present=False)
        change.record(
            Entry("source-removed", now, AGENT, document=document,
                  facts={"arrival": candidate.arrival})
        )  # fmt: skip
    return Removal.DONE


def taken_for(path: bytes) -> str | None:
    """The document that a file was renamed for by `remove_source`, or `None`."""
    name = path.rsplit(b"/", 1)[-1]
    document = name.removeprefix(TAKEN_PREFIX)
    if document == name or not is_document_id(readable(document)):
        return None
    return readable(document)


def finish_removal(taken: Path, ours: Path) -> bool:
    """Finish a removal that a crash cut short; `False` when the bytes are not `ours`."""
    if not atomic.same_bytes(taken, ours):
        return False
    atomic.remove_file(taken)
    return True


def give_back(taken: Path, source: Path) -> None:
    """Give a file its name back, or one beside it when the name is in use by now."""
    number, other = 0, source
    while True:
        try:
            return atomic.move_file(taken, other)
        except FileExistsError:
            number += 1
            name = os.fsencode(source.name)
            before = b"%d-" % number
            # A name may fill its 255 bytes; its end, with the suffix, is worth more.
            other = source.with_name(os.fsdecode(before + name[-(255 - len(before)) :]))


def is_still_ours(
    arrival: Arrival, sighting: Sighting, path: Path, ours: Callable[[], Path | None]
) -> bool:
    """Whether what lies under an admitted name is still the file that was taken in.

    Numbers are no proof of the contrary: a mount may number its files and itself afresh. Where
    only they differ, the bytes tell. A file that cannot be read is not news yet.
    """
    if (arrival.size, arrival.mtime_ns) != (sighting.size, sighting.mtime_ns):
        return False
    if (arrival.device, arrival.inode) == (sighting.device, sighting.inode):
        return True
    try:
        kept = ours()
        return kept is not None and atomic.same_bytes(path, kept)
    except OSError:
        return True


def _unchanged(candidate: Candidate, path: Path) -> bool:
    try:
        now = path.lstat()
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) == (
        candidate.device, candidate.inode, candidate.size, candidate.mtime_ns,
    )  # fmt: skip


def _same_bytes(
    spool: Spool, catalog: Catalog, kept: Kept, route: Route, document: str,
    find_bytes: Callable[[str], Path | None],
) -> str | None:  # fmt: skip
    """An older document of the same hot folder with the very same bytes, compared, not guessed."""
    for older in catalog.with_sha256(kept.sha256):
        row = catalog.document(older)
        theirs = find_bytes(older)
        if (
            row.hotfolder == route.hotfolder
            and row.state is not State.REFUSED
            and theirs is not None
            and atomic.same_bytes(theirs, spool.folder(document) / kept.path)
        ):
            return older
    return None


def _document(candidate: Candidate, route: Route, document: str, now: datetime) -> DocumentRow:
    code, reason = candidate.held or (None, None)
    return DocumentRow(
        id=document, state=State.ADMITTED, hotfolder=route.hotfolder,
        name=readable(candidate.path), path=candidate.path, media_type=candidate.media_type,
        size=candidate.size, secrecy=route.secrecy, priority=route.priority,
        pipeline=route.pipeline, stages=route.stages, copies=route.copies, position=0,
        running=None, lane=route.lane, attempts=0, postponed=0,
        due=None if candidate.held else now, code=code, reason=reason,
        hint=HOLDS[code].hint if code else None,
        received=now, changed=now, origin=candidate.origin or route.hotfolder,
    )  # fmt: skip


def _note(candidate: Candidate, row: DocumentRow) -> dict[str, Any]:
    """What `recovery` needs to finish an admission that a crash cut short."""
    facts = asdict(row)
    for instant in ("due", "received", "changed"):
        facts[instant] = facts[instant].isoformat() if facts[instant] else None
    facts["path"] = base64.b64encode(row.path).decode()
    return {
        "arrival": candidate.arrival,
        "source": base64.b64encode(os.fsencode(candidate.source)).decode(),
        "row": facts,
    }


def _record_admission(
    change: Change, candidate: Candidate, row: DocumentRow, kept: Kept, now: datetime
) -> None:
    change.admit(row, [original(row, kept)])
    _record_identity(change, candidate)
    change.arrival_ended(
        candidate.arrival, ArrivalState.ADMITTED, now, document=row.id, sha256=kept.sha256
    )
    change.record(
        Entry(
            "document-admitted", now, AGENT, document=row.id,
            digests={"original/0001": kept.sha512},
            facts={"hotfolder": row.hotfolder, "device": row.origin, "name": row.name,
                   "size": kept.size, "sha256": kept.sha256, "arrival": candidate.arrival},
        )
    )  # fmt: skip
    change.announce(
        "document-admitted", now, document=row.id, hotfolder=row.hotfolder,
        facts={"size": kept.size, "sha256": kept.sha256},
    )  # fmt: skip
    if candidate.held is not None:
        code, reason = candidate.held
        change.move(row, Happened.ADMITTED_HELD, now)
        facts = {"code": code, "reason": reason}
        change.record(Entry("document-held", now, AGENT, document=row.id, facts=facts))
        change.announce(
            "document-held", now, document=row.id, hotfolder=row.hotfolder, facts={"code": code}
        )


def _record_again(
    change: Change, candidate: Candidate, older: DocumentRow, kept: Kept, now: datetime
) -> None:
    _record_identity(change, candidate)
    change.arrival_ended(
        candidate.arrival, ArrivalState.ADMITTED, now, code="same-bytes", document=older.id,
        sha256=kept.sha256, reason="the same bytes are in custody already",
    )  # fmt: skip
    facts = {
        "hotfolder": older.hotfolder, "device": candidate.origin or older.hotfolder,
        "name": readable(candidate.path), "size": kept.size, "arrival": candidate.arrival,
    }  # fmt: skip
    change.record(
        Entry("arrival-repeated", now, AGENT, document=older.id,
              digests={"original/0001": kept.sha512}, facts=facts)
    )  # fmt: skip
    change.announce("arrival-repeated", now, document=older.id, facts={"size": kept.size})


def _record_identity(change: Change, candidate: Candidate) -> None:
    """Which file exactly was taken in: until it is removed, only this one is not news."""
    change.arrival_changed(
        candidate.arrival, device=candidate.device, inode=candidate.inode, size=candidate.size,
        mtime_ns=candidate.mtime_ns,
    )  # fmt: skip


def original(row: DocumentRow, kept: Kept) -> ArtifactRow:
    """The artifact a received file becomes."""
    return ArtifactRow(
        document=row.id, role="original", name=kept.path.rsplit("/", 1)[-1],
        media_type=row.media_type, size=kept.size, sha512=kept.sha512, sha256=kept.sha256,
        path=kept.path, main=True,
    )  # fmt: skip
