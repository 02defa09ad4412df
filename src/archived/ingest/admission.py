"""Taking files into custody, in the durable order.

*Must*: the bytes are fsynced in the spool and named in the catalog before the scanner's file may
leave the hot folder, and it leaves only after its bytes were compared with ours. Every other order
can lose the only copy of a page.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from archived.errors import CatalogError, NoSuchDocument
from archived.ingest.hold_reasons import HOLDS
from archived.ingest.recording import record_admission, record_again
from archived.ingest.source_file import SourceFile, open_source
from archived.ingest.submission import Candidate, Submission
from archived.model.ids import readable
from archived.model.lifecycle import State
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.storage.rows import DocumentRow, SpoolFile
from archived.storage.spool import IncomingFile, Spool


class StillArriving(Exception):
    """The file, or an older document with its bytes, changed while it was being read; nothing was
    kept, it will be looked at again.
    """


@dataclass(frozen=True, slots=True)
class Custody:
    """What came of it. `same_as`: the older document with the very same bytes, if there is one.

    `sha256` of the first original; `size` of all its files.
    """

    document: str
    sha256: str
    size: int
    same_as: str | None = None


class FindBytes(Protocol):
    """Gives a readable path to an artifact (`role/name`; `None`: the first original) of a document
    in custody, or `None` when it is not to be had.
    """

    def __call__(self, document: str, became: str | None = None) -> Path | None: ...


Examine = Callable[[Sequence[tuple[Submission, Sequence[SpoolFile]]]], None]
"""Asked when every byte was read and nothing is on record yet; what it raises undoes it all."""


def admit(
    spool: Spool,
    catalog: Catalog,
    items: Sequence[Submission],
    find_bytes: FindBytes,
    now: datetime,
    examine: Examine | None = None,
) -> list[Custody]:
    """Take some files into custody, all or none. The order is the point:

    1. their bytes are read, and they have not changed meanwhile: half a file never gets a name;
    2. they are durable in the spool, each document with a note that explains it;
    3. documents, arrivals, ledger entries and news are in the catalog, in one transaction;
    4. only then are the sources removed, after their bytes were compared (`remove_source`).

    `find_bytes` gives an older document's bytes, to compare with. A file that was not opened to be
    looked at is opened when it is read, and must be what was looked at. Raises `StillArriving` and
    `OSError` from 1 and 2 (nothing has happened), `CatalogError` from 3.
    """
    rows = [_document(item, now) for item in items]
    taken: list[tuple[Submission, DocumentRow, list[SpoolFile]]] = []
    try:
        for item, row in zip(items, rows, strict=True):
            taken.append((item, row, _take_in(spool, item, row)))  # 1, 2
        if examine is not None:
            examine([(item, kept) for item, _, kept in taken])
        twins = [_twin(spool, catalog, *each, find_bytes) for each in taken]
        with catalog.transaction() as change:  # 3
            for (item, row, kept), twin in zip(taken, twins, strict=True):
                if twin is not None:
                    record_again(change, item, catalog.document(twin), kept, now)
                else:
                    record_admission(change, item, row, kept, now)
    except Exception:
        # The next try gets new ids; what nobody names must not be found after a crash and taken
        # for a document whose source is gone.
        for item in items:
            if _is_unknown(catalog, item.document):
                spool.drop(item.document)
        raise
    found = []
    for (item, row, kept), twin in zip(taken, twins, strict=True):
        if twin is not None:
            with suppress(OSError):  # all is on record: what is left goes at the next start
                spool.drop(row.id)
        size = sum(each.size for each in kept)
        found.append(Custody(twin or item.document, kept[0].sha256, size, same_as=twin))
    return found


def _take_in(spool: Spool, item: Submission, row: DocumentRow) -> list[SpoolFile]:
    everything = item.everything()
    first = item.files[0] if item.opened is not None else None

    @contextmanager
    def reading(file: Candidate) -> Iterator[SourceFile]:
        with nullcontext(item.opened) if file is first else open_source(file.root, file.path) as it:
            assert it is not None  # noqa: S101 - `first` is set when it is
            if not file.sighting.is_of(it.status()):
                raise StillArriving(f"{file.source} is not the file that was looked at")
            yield it

    @contextmanager
    def bytes_of(file: Candidate) -> Iterator[atomic.OpenFile]:
        with reading(file) as it:
            yield it.open_file

    def still_the_same() -> None:
        for file, _ in everything:
            with reading(file) as it:
                if not it.has_its_name():
                    raise StillArriving(f"{file.source} was replaced while it was being read")

    files = [
        IncomingFile(partial(bytes_of, file), path, _note_of(file)) for file, path in everything
    ]
    return spool.take_in(item.document, files, _note(row), still_the_same)


def _is_unknown(catalog: Catalog, document: str) -> bool:
    try:
        catalog.document(document)
    except NoSuchDocument:
        return True
    except (CatalogError, OSError):
        return False  # it cannot be asked: recovery will, when it can
    return False


def _twin(
    spool: Spool,
    catalog: Catalog,
    item: Submission,
    row: DocumentRow,
    kept: Sequence[SpoolFile],
    find_bytes: FindBytes,
) -> str | None:
    """The older document with the very same bytes: compared, not guessed."""
    if item.companions:
        return None  # the ticket that came with it needs a document of its own
    folder = spool.folder(row.id)
    for older in dict.fromkeys(catalog.with_sha256(kept[0].sha256)):
        theirs, originals = catalog.document(older), catalog.originals(older)
        if (
            (theirs.hotfolder, theirs.dossier, theirs.collation, theirs.master)
            != (row.hotfolder, row.dossier, row.collation, None)
            or theirs.state is State.REJECTED
            or [each.sha256 for each in originals] != [each.sha256 for each in kept]
        ):
            continue
        pairs = [
            (find_bytes(older, f"{a.role}/{a.name}"), folder / b.path)
            for a, b in zip(originals, kept, strict=True)
        ]
        try:
            if all(a is not None and atomic.same_bytes(a, b) for a, b in pairs):
                return older
        except FileNotFoundError as error:
            # It is being sealed at this moment: the next try finds it.
            raise StillArriving(f"{older} is being sealed") from error
        except OSError:
            continue  # a disk's fault there must not keep these bytes out for ever
    return None


def _document(item: Submission, now: datetime) -> DocumentRow:
    route, first = item.route, item.files[0]
    code, reason = item.held or (None, None)
    return DocumentRow(
        id=item.document,
        state=State.ADMITTED,
        hotfolder=route.hotfolder,
        name=readable(item.name),
        path=item.name,
        media_type=first.media_type,
        size=sum(file.size for file in item.files),
        secrecy=route.secrecy,
        priority=route.priority,
        pipeline=route.pipeline,
        stages=route.stages,
        copies=route.copies,
        position=0,
        running=None,
        lane=route.lane,
        attempts=0,
        postponed=0,
        due=None if item.held else now,
        code=code,
        reason=reason,
        hint=HOLDS[code].hint if code else None,
        received=now,
        changed=now,
        origin=first.origin or route.hotfolder,
        dossier=item.dossier,
        given=dict(item.given) or None,
        collation=item.collation,
        owner=route.owner,
    )


def _note(row: DocumentRow) -> dict[str, Any]:
    """What `recovery` needs to finish an admission that a crash cut short."""
    facts = asdict(row)
    for instant in ("due", "received", "changed"):
        facts[instant] = facts[instant].isoformat() if facts[instant] else None
    facts["path"] = base64.b64encode(row.path).decode()
    return {"row": facts}


def _note_of(file: Candidate) -> dict[str, Any]:
    return {
        "arrival": file.arrival,
        "source": base64.b64encode(os.fsencode(file.source)).decode(),
        "path": base64.b64encode(file.path).decode(),
        "media_type": file.media_type,
    }
