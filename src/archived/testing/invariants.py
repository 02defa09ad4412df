"""What must hold of a state folder and a store, whatever happened to them: one reusable judge.

`problems(state, store)` reads only; an empty list means that spool, catalog, store and ledger
agree. The store's tree itself is also judged by an independent program (`ocfl_judge`).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from archived.errors import ArchivedError
from archived.model.ids import object_id, of_object
from archived.model.lifecycle import ARCHIVED, State
from archived.model.outcome import SUPERSEDED, Ending
from archived.model.pipeline import SEAL, next_step
from archived.model.record import RECORD, from_json
from archived.storage import atomic, ledger
from archived.storage.catalog import Catalog
from archived.storage.ocfl.store import Store
from archived.storage.reconcile_query import settled
from archived.storage.rows import ArrivalState, DocumentRow, LedgerRow, StepRow

_ON_RECORD = {
    Ending.FINISHED: "step-finished",
    SUPERSEDED: "step-finished",
    Ending.REFUSED: "step-refused",
    Ending.FAILED: "step-failed",
    Ending.POSTPONED: "step-postponed",
    Ending.REQUEUED: "step-requeued",
    "skipped": "step-skipped",
    "lost": "step-lost",
}
"""How a step ended -> the kind of its one ledger entry; a finished `seal` has `document-sealed`."""
_FOUND = "found in the store"
"""Why an entry stands in the ledger of a catalog that was made from the store."""
_TOLD = (
    "step-finished",
    "step-skipped",
    "document-sealed",
    "document-upgraded",
    "document-safe",
    "document-held",
    "document-rejected",
    "document-released",
    "document-retried",
)
"""What stands in the ledger and is announced, each as often as the other."""


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
            *_news(catalog, documents),
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
    if sealed and folder.exists() and SEAL not in row.stages[row.position :]:
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
    for resting, kind in ((State.REJECTED, "document-rejected"), (State.HELD, "document-held")):
        if row.state is resting and kind not in kinds:
            found.append(f"{name}: no {kind} in the ledger")
    if row.due is not None and (
        row.state in {State.HELD, State.REJECTED} or next_step(row.stages, row.position) is None
    ):
        found.append(f"{name}: due, and there is nothing to do")
    under_way = [step.id for step in catalog.steps(row.id) if step.ending is None]
    if under_way != ([] if row.running is None else [row.running]):
        found.append(f"{name}: {row.running} runs, and {under_way} have not ended")
    found += _endings(catalog, row, name)
    found += _bytes(catalog, store, folder, row, name)
    return found


def _endings(catalog: Catalog, row: DocumentRow, name: str) -> list[str]:
    """Every ended step is on record by exactly one ledger entry, of the kind of its ending."""
    entries = catalog.ledger_of(row.id)
    kinds: dict[str, list[str]] = {}
    for entry in entries:
        step = entry.facts.get("step")
        if step is not None and entry.kind in {*_ON_RECORD.values(), *ledger.SEALED_KINDS}:
            kinds.setdefault(step, []).append(entry.kind)
    return [
        f"{name}: step {step.id} ({step.stage}, {step.ending}) is in the ledger as "
        f"{kinds.get(step.id, [])}"
        for step in _own_steps(catalog, row, entries)
        if step.ending is not None and kinds.get(step.id, []) not in _kinds_of(row, step)
    ]


def _kinds_of(row: DocumentRow, step: StepRow) -> list[list[str]]:
    """What may stand in the ledger for an ended step: the kinds of its entries."""
    if step.stage != SEAL or step.ending != Ending.FINISHED:
        return [[_ON_RECORD.get(step.ending or "", "")]]
    if SEAL in row.stages[: step.position]:  # a seal after an upgrade, which may have made nothing
        return [["document-upgraded"], ["step-finished"]]
    return [["document-sealed"]]


def _own_steps(catalog: Catalog, row: DocumentRow, entries: list[LedgerRow]) -> list[StepRow]:
    """The steps whose entries this ledger must have: not those of an object that was found in the
    store, nor the step of its master that cut a part out.
    """
    found = [e.at for e in entries if _FOUND in e.entry]
    return [
        step
        for step in catalog.steps(row.id)
        if not any(step.started <= at for at in found)
        and not (row.master is not None and step.id.rpartition("-")[2].isdigit())
    ]


def _news(catalog: Catalog, documents: list[DocumentRow]) -> list[str]:
    """Every finished step, hold, seal and safety was announced exactly once: of the documents
    whose first event has not been trimmed away.
    """
    told: dict[str, Counter[str]] = {}
    for event in catalog.events_for("", limit=1_000_000):
        if event.document is not None:
            told.setdefault(event.document, Counter())[event.name] += 1
    found = []
    for row in documents:
        seen = told.get(row.id, Counter())
        if seen["document-admitted"] == 0:
            continue
        entries = catalog.ledger_of(row.id)
        wanted = Counter(entry.kind for entry in entries)
        if any(_FOUND in entry.entry for entry in entries):
            continue
        found += [
            f"document {row.id}: {kind} is {wanted[kind]} times in the ledger and was announced "
            f"{seen[kind]} times"
            for kind in _TOLD
            if seen[kind] != wanted[kind]
        ]
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
            artifact.size,
            artifact.sha512,
            artifact.sha256,
        ):
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
    record = from_json(store.path_of(object_id(row.id), RECORD).read_bytes())
    if record.document != row.id or record.path != row.path:
        return [f"store: the record of {row.id} speaks of another document"]
    return [
        f"store: {row.id}: {file.logical} is not what its record says"
        for file in record.files
        if atomic.digest(store.path_of(object_id(row.id), file.logical)).sha512 != file.sha512
    ]
