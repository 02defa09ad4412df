"""What must hold of a state folder and a store, whatever happened to them: one reusable judge.

`problems(state, store)` reads only; an empty list means that spool, catalog, store and ledger
agree. The store's tree itself is also judged by an independent program (`ocfl_judge`).
"""

from __future__ import annotations

from pathlib import Path

from archived.errors import ArchivedError
from archived.model import manifest
from archived.model.document import ARCHIVED, State
from archived.model.identity import object_id, of_object
from archived.storage import atomic, ledger
from archived.storage.books import settled
from archived.storage.catalog import Catalog
from archived.storage.records import ArrivalState, DocumentRow
from archived.storage.store import Store


def problems(state: Path, store_root: Path) -> list[str]:
    """Every way in which the parts disagree, in words."""
    catalog = Catalog.open_to_read(state / "catalog.db")
    try:
        store = Store(store_root)
        documents = catalog.documents(limit=1_000_000)
        return [
            *_ledger(catalog),
            *_balance(catalog),
            *[p for row in documents for p in _document(catalog, store, state, row)],
            *_orphans(store, state, documents),
        ]
    finally:
        catalog.close()


def _ledger(catalog: Catalog) -> list[str]:
    try:
        ledger.verify(catalog.ledger_rows())
    except ArchivedError as error:
        return [f"ledger: {error}"]
    return []


def _balance(catalog: Catalog) -> list[str]:
    found = [
        f"{sheet.hotfolder}: {sheet.unaccounted} of {sheet.seen} files are unaccounted for"
        for sheet in catalog.balance()
        if sheet.unaccounted
    ]
    found += [f"{file.hotfolder}/{file.name}: {file.why}" for file in settled(catalog) if file.why]
    admitted = catalog.arrivals(states=[ArrivalState.ADMITTED], limit=1_000_000)
    named = {a.document for a in admitted}
    documents = catalog.documents(limit=1_000_000)
    lost = [d.id for d in documents if d.id not in named and d.master is None]
    return found + [f"document {each} has no arrival" for each in lost]


def _document(catalog: Catalog, store: Store, state: Path, row: DocumentRow) -> list[str]:
    found = []
    name = f"document {row.id} ({row.state})"
    folder = state / "spool" / "documents" / row.id
    sealed = row.object_key is not None
    if row.state in ARCHIVED and not sealed:
        found.append(f"{name}: archived without an object")
    if sealed and folder.exists():
        found.append(f"{name}: sealed, and its spool folder is still there")
    kinds = [e.kind for e in catalog.ledger_of(row.id)]
    if not {"document-admitted", "part-admitted", "recovered"} & set(kinds):
        found.append(f"{name}: its admission is not in the ledger")
    if kinds.count("document-sealed") != int(sealed):
        found.append(f"{name}: sealed {kinds.count('document-sealed')} times by the ledger")
    if (row.state is State.SAFE) != ("document-safe" in kinds):
        found.append(f"{name}: ledger and catalog disagree on its safety")
    if row.state is State.SAFE and len(catalog.replicas(row.id)) < row.copies:
        found.append(f"{name}: safe with too few copies")
    found += _bytes(catalog, store, folder, row, name)
    return found


def _bytes(catalog: Catalog, store: Store, folder: Path, row: DocumentRow, name: str) -> list[str]:
    found = []
    for artifact in catalog.artifacts(row.id):
        if row.object_key is not None:
            path = store.path_of(object_id(row.id), f"{artifact.role}/{artifact.name}")
        else:
            path = folder / artifact.path
        if not path.is_file():
            found.append(f"{name}: {artifact.role}/{artifact.name} is missing")
            continue
        seen = atomic.digest(path)
        if (seen.size, seen.sha512, seen.sha256) != (
            artifact.size, artifact.sha512, artifact.sha256,
        ):  # fmt: skip
            found.append(f"{name}: {artifact.role}/{artifact.name} has other bytes")
    became = {a.became for a in catalog.arrivals(document=row.id, limit=1_000_000)}
    received = {f"{a.role}/{a.name}" for a in catalog.artifacts(row.id) if a.step is None}
    if not catalog.originals(row.id):
        found.append(f"{name}: no original")
    if became - received:
        found.append(f"{name}: {became - received} arrived and are not in it")
    if row.master is None and received - became:
        found.append(f"{name}: {received - became} never arrived")
    return found


def _orphans(store: Store, state: Path, documents: list[DocumentRow]) -> list[str]:
    found = []
    known = {row.id: row for row in documents}
    in_spool = {path.name for path in (state / "spool" / "documents").iterdir()}
    found += [f"spool: {each} belongs to no document" for each in in_spool - set(known)]
    sealed = set()
    for key in store.objects():
        stored = store.read_key(key)
        document = of_object(stored.id)
        sealed.add(document)
        row = known.get(document)
        if row is None or row.object_key != key:
            found.append(f"store: object {stored.id} is not what the catalog says")
            continue
        found += _record(store, row)
    found += [
        f"store: no object for {row.id}"
        for row in documents
        if row.object_key is not None and row.id not in sealed
    ]
    return found


def _record(store: Store, row: DocumentRow) -> list[str]:
    """The object explains itself: its record names the document and every file's digest."""
    record = manifest.from_json(store.path_of(object_id(row.id), manifest.RECORD).read_bytes())
    if record.document != row.id or record.path != row.path:
        return [f"store: the record of {row.id} speaks of another document"]
    return [
        f"store: {row.id}: {file.logical} is not what its record says"
        for file in record.files
        if atomic.digest(store.path_of(object_id(row.id), file.logical)).sha512 != file.sha512
    ]
