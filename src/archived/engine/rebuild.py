"""The catalog made from the store: each object says in its `record.json` which document it is.

The same for a catalog that was lost and for one restored from a backup, which lacks what was
sealed since. Nothing is deleted, and nothing in the store is written. An object's inventory must
agree with its sidecar, its `record.json` with the inventory; other content is not hashed here.
What only the catalog knew is not invented: the old ledger is gone, and a document counts as
sealed, not as safe, until its copies have been verified anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from archived import AGENT
from archived.engine import commit
from archived.engine.sealing import search_text
from archived.engine.specs import Specs
from archived.errors import SpoolError, StoreError
from archived.message import Message, sequence
from archived.model import review
from archived.model.ids import object_id, of_object, readable
from archived.model.lifecycle import SOURCE_GREW, State, Transition
from archived.model.pipeline import SEAL, copying_begins
from archived.model.record import (
    RECORD,
    ArrivedFile,
    LedgerPosition,
    Record,
    findable,
    from_json,
    pages_of,
)
from archived.storage import atomic, store_comparison
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry, Head
from archived.storage.ocfl.reader import StoredObject, Validity
from archived.storage.ocfl.store import Store
from archived.storage.rows import (
    Arrival,
    ArrivalState,
    ArtifactRow,
    BecameArtifact,
    DocumentRow,
    SeenFile,
    StepRow,
)
from archived.storage.spool import Spool
from archived.storage.store_comparison import ArchivedDocument
from archived.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """An object and what it says of itself; `words` are its texts."""

    stored: StoredObject
    record: Record
    words: str

    @property
    def facts(self) -> dict[str, Mapping[str, Any]]:
        """As the stages gave them, in the pipeline's order: later stages win."""
        known = self.record.facts
        order = dict.fromkeys((*self.record.stages, *known))
        return {stage: known[stage] for stage in order if stage in known}

    @property
    def pages(self) -> int | None:
        """The number of pages, when a stage counted them."""
        return pages_of(self.facts)

    @property
    def origin(self) -> str:
        """The device it came from; where the record does not say, its hot folder."""
        return self.record.device or self.record.hotfolder

    @property
    def place(self) -> dict[str, Any]:
        """The columns that say where the object lies and what proves it."""
        return {
            "object_key": self.stored.key,
            "object_version": self.stored.head,
            "inventory_sha512": self.stored.inventory_sha512,
            "sealed_at": self.record.sealed,
            "position": copying_begins(self.record.stages) - 1,
            "pages": self.pages,
        }

    def document(self, *, priority: int, copies: int, now: datetime) -> DocumentRow:
        """The document just sealed. `copies`: when the record does not say how many."""
        record = self.record
        return DocumentRow(
            id=record.document,
            state=State.SEALED,
            hotfolder=record.hotfolder,
            name=record.label or record.name,
            path=record.path,
            media_type=record.media_type,
            size=sum(file.size for file in record.originals),
            secrecy=record.secrecy,
            priority=priority,
            pipeline=record.pipeline,
            stages=record.stages,
            copies=record.copies or copies,
            running=None,
            lane="",
            attempts=0,
            postponed=0,
            due=None,
            code=None,
            reason=None,
            hint=None,
            received=record.received,
            changed=now,
            origin=self.origin,
            dossier=record.dossier,
            given=record.given or None,
            collation=record.collation,
            owner=record.owner,
            master=of_object(record.master) if record.master else None,
            **self.place,
        )

    def artifacts(self) -> Iterator[ArtifactRow]:
        """Its bitstreams."""
        for file in self.record.files:
            yield ArtifactRow(
                document=self.record.document,
                role=file.role,
                name=file.name,
                media_type=file.media_type,
                size=file.size,
                sha512=file.sha512,
                sha256=file.sha256,
                path=file.logical,
                step=file.step,
                main=file.main,
            )

    def steps(self) -> Iterator[StepRow]:
        """The attempts on record; a stage's facts stand with its last one that ended well."""
        steps = self.record.steps
        ended_well = {step.stage: step.id for step in steps if step.ending == "finished"}
        for step in steps:
            facts = self.facts.get(step.stage) if ended_well.get(step.stage) == step.id else {}
            yield StepRow(
                id=step.id,
                document=self.record.document,
                position=step.position,
                stage=step.stage,
                attempt=step.attempt,
                version=step.version,
                distribution=step.distribution,
                options_digest=step.options_digest,
                started=step.started,
                ended=step.ended,
                ending=step.ending,
                code=step.code or None,
                message=step.message or None,
                facts=facts or {},
                tools=dict(step.tools),
                notes=list(step.notes),
                reviews=review.to_json(step.reviews) or None,
            )


def read_document(stored: StoredObject) -> StoredDocument:
    """What an object is. Raises `ValueError` (says what is wrong), `StoreError`, `OSError`."""
    files = stored.files()
    if RECORD not in files:
        raise ValueError(f"it has no {RECORD}")
    own = files[RECORD]
    if atomic.digest(own.path).sha512 != own.sha512:
        raise ValueError(Message("its {record} is damaged: its SHA-512 differs", record=RECORD))
    record = from_json(own.path.read_bytes())
    _agree(stored, record)
    texts = [
        files[file.logical].path
        for file in record.files
        if file.role == "text" and file.media_type == "text/plain"
    ]
    return StoredDocument(stored, record, search_text(texts).text)


def _agree(stored: StoredObject, record: Record) -> None:
    """Raises `ValueError` when the record is another object's, or tells of other bytes."""
    if record.object != stored.id or object_id(record.document) != stored.id:
        raise ValueError(f"its {RECORD} is that of {record.object}")
    state = stored.inventory.state
    for file in record.files:
        if state.get(file.logical) != file.sha512:
            raise ValueError(f"{file.logical} is not what its {RECORD} says")
    if not record.originals or not any(file.main for file in record.files):
        raise ValueError(f"its {RECORD} names no original, or no main file")
    if SEAL not in record.stages:
        raise ValueError(f"its {RECORD} names no pipeline that seals")
    if not {arrived.logical for arrived in record.arrived} <= {f.logical for f in record.files}:
        raise ValueError(f"its {RECORD} tells of a file that arrived and is not in it")
    if not record.arrived and not record.master:
        raise ValueError(f"its {RECORD} does not say where it came from")


_AT_ONCE = 25
"""Objects in one transaction."""
_EVERY = 1_000_000


@dataclass(slots=True)
class Rebuilt:
    """What was found in the store."""

    objects: int = 0
    """Everything that is or should be an object."""
    found: int = 0
    """Documents that the catalog did not know."""
    settled: int = 0
    """Documents that the catalog had in work or held, and that are sealed."""
    doubted: int = 0
    """Documents that the catalog called safe without proof: their copies are verified anew."""
    entered: int = 0
    """Documents of whose seal the ledger did not tell."""
    missing: dict[str, str] = field(default_factory=dict)
    """Document -> key of its object, which is not in the store. Bring it back from a copy."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Key of an object -> why it could not be taken up. A person must look at them."""
    before: LedgerPosition | None = None
    """The furthest place in the ledger of its time that an object names."""


@dataclass(frozen=True, slots=True)
class ConfiguredDefaults:
    """What the configuration says today, for what an object does not say of itself."""

    copies: Mapping[str, int] = field(default_factory=dict)
    """Pipeline -> wanted copies; asked for objects of versions that did not record it."""
    priority: Mapping[str, int] = field(default_factory=dict)
    """Hot folder -> priority."""


class Rebuild:
    """Takes up every object of the store that the catalog does not have as sealed. Idempotent."""

    def __init__(
        self,
        spool: Spool,
        store: Store,
        catalog: Catalog,
        specs: Specs,
        promises: ConfiguredDefaults,
        now: datetime,
    ) -> None:
        self._spool, self._store, self._catalog = spool, store, catalog
        self._specs, self._promises, self._now = specs, promises, now
        self._taken = _highest_arrival(spool)
        self._watched: dict[str, Mapping[bytes, Arrival]] = {}
        self._done = Rebuilt()
        self._ledger_before = catalog.ledger_head()

    def run(self, tell: Callable[[int], object] = lambda _: None) -> Rebuilt:
        done = self._done
        keys = sorted(self._store.objects(), key=lambda key: key.rpartition("/")[2])  # by time
        for begin in range(0, len(keys), _AT_ONCE):
            new = list(self._new(keys[begin : begin + _AT_ONCE]))
            with self._catalog.transaction() as change:
                if change.ledger_head().sequence == 0:
                    change.record(Entry("ledger-opened", self._now, AGENT))
                for each, known in new:
                    self._take_up(change, each, known=known)
            done.objects = min(begin + _AT_ONCE, len(keys))
            tell(done.objects)
        done.missing = {
            each.id: each.key
            for each in store_comparison.documents(self._catalog)
            if each.key is not None and store_comparison.is_missing(self._store, each.key)
        }
        with self._catalog.transaction() as change:
            change.record(Entry("catalog-rebuilt", self._now, AGENT, facts=self._facts()))
        self._store.head.replace(self._catalog, self._now, done.missing)
        return done

    def _facts(self) -> Mapping[str, Any]:
        """What the ledger is told, with the heads that this entry takes the place of."""
        done = self._done
        told: dict[str, Any] = {
            "objects": done.objects,
            "found": done.found,
            "settled": done.settled,
            "unreadable": len(done.unreadable),
            "missing": len(done.missing),
            "doubted": done.doubted,
            "entered": done.entered,
        }
        if done.before:
            told["before"] = _place(done.before)
        if self._ledger_before.sequence:
            told["ledger_before"] = _place(self._ledger_before)
        try:
            noted = self._store.head.read()
        except StoreError as error:
            told["head_file_before"] = error.message
        else:
            if noted is not None:
                told["head_file_before"] = {
                    **_place(Head(noted.sequence, noted.hash)),
                    "at": noted.at.isoformat(),
                }
        return told

    def _new(self, keys: list[str]) -> Iterator[tuple[StoredDocument, bool]]:
        """Those that are to be taken up, and whether the catalog knows the document."""
        for key in keys:
            try:
                stored = self._store.read_key(key)
                document = of_object(stored.id)
                known = document in self._catalog.documents_like(document)
                if known and self._catalog.document(document).object_key:
                    self._prove(stored, document)
                    continue
                it = read_document(stored)
                if self._spool.folder(document).exists():
                    self._be_whole(stored.id)
            except (StoreError, ValueError, OSError) as error:
                self._done.unreadable[key] = str(error)
            else:
                yield it, known

    def _prove(self, stored: StoredObject, document: str) -> None:
        """What the catalog says of a document that it has as sealed must be in the ledger too.

        Raises `ValueError` when the object is not the one that was sealed.
        """
        known = next(store_comparison.documents(self._catalog, only=document))
        if (known.key, known.inventory_sha512) != (stored.key, stored.inventory_sha512):
            raise ValueError("it is not the object that was sealed. Bring that back from a copy")
        if known.sealed and not known.unproven:
            return
        with self._catalog.transaction() as change:
            if not known.sealed:
                self._enter(change, stored, known)
            if known.unproven:
                row = change.document(document)
                change.move(
                    row,
                    Transition.FOUND_SEALED,
                    self._now,
                    safe_at=None,
                    position=copying_begins(row.stages) - 1,
                )
                commit.advance(change, self._specs, document, self._now)
                self._done.doubted += 1

    def _enter(self, change: Transaction, stored: StoredObject, known: ArchivedDocument) -> None:
        """Tell the ledger again what it told before somebody cut it, as far as the catalog knows.

        An arrival of the document that the ledger does not know is entered with it.
        """
        document = known.id
        entered = {entry.facts.get("arrival") for entry in self._catalog.ledger_of(document)}
        kind = "arrival-joined" if entered - {None} else "recovered"
        for arrival in self._catalog.arrivals(document=document, limit=_EVERY):
            if arrival.id in entered:
                continue
            facts = {
                "why": "the ledger did not tell of it",
                "arrival": arrival.id,
                "hotfolder": arrival.hotfolder,
                "device": arrival.origin,
                "name": arrival.name,
                "size": arrival.size,
            }
            change.record(Entry(kind, self._now, AGENT, document=document, facts=facts))
            kind = "arrival-joined"
        pages = self._catalog.document(document).pages
        facts = {
            "object": stored.key,
            "version": stored.head,
            "pages": pages,
            "why": "found in the store; the ledger did not tell of it",
        }
        change.record(
            Entry(
                "document-sealed",
                self._now,
                AGENT,
                document=document,
                digests={"inventory.json": stored.inventory_sha512},
                facts={k: v for k, v in facts.items() if v},
            )
        )
        self._done.entered += 1

    def _be_whole(self, identifier: str) -> None:
        verdict = self._store.verify(identifier)
        if verdict.answer is not Validity.YES:
            raise ValueError(
                Message(
                    "{problems}. Its bytes are still in the spool",
                    problems=sequence(verdict.problems, "; "),
                )
            )

    def _take_up(self, change: Transaction, it: StoredDocument, *, known: bool) -> None:
        record, done = it.record, self._done
        if done.before is None or record.ledger.sequence > done.before.sequence:
            done.before = record.ledger
        if known:
            row = change.document(record.document)
            change.move(row, Transition.FOUND_SEALED, self._now, running=None, **it.place)
            done.settled += 1
        else:
            row = it.document(
                priority=self._promises.priority.get(record.hotfolder, 0),
                copies=self._promises.copies.get(record.pipeline, 1),
                now=self._now,
            )
            change.admit(row, ())
            done.found += 1
        change.replace_work(row.id, list(it.artifacts()), list(it.steps()))
        self._arrived(change, it, known=known)
        sealed = {
            "object": it.stored.key,
            "version": it.stored.head,
            "pages": it.pages,
            "why": "found in the store",
        }
        self._record(
            change,
            it,
            "document-sealed",
            {k: v for k, v in sealed.items() if v},
            digests={"inventory.json": it.stored.inventory_sha512},
        )
        described = findable(it.facts, record.dossier, record.given)
        change.index_words(row.id, row.name, described, it.words)
        commit.advance(change, self._specs, row.id, self._now)

    def _arrived(self, change: Transaction, it: StoredDocument, *, known: bool) -> None:
        """The files it came from, each once; of a part, that it was cut out."""
        record = it.record
        before = self._catalog.arrivals(document=record.document, limit=_EVERY) if known else []
        on_record = {(arrival.path, arrival.first_seen) for arrival in before}
        kind = "arrival-joined" if known else "recovered"
        for file in record.arrived:
            if (file.path, file.first_seen) not in on_record:
                self._arrived_file(change, it, file, kind)
                kind = "arrival-joined"
        if not record.arrived and not known:
            self._record(
                change,
                it,
                "part-admitted",
                {
                    "hotfolder": record.hotfolder,
                    "device": it.origin,
                    "master": of_object(record.master),
                    "why": "found in the store",
                },
            )

    def _arrived_file(
        self, change: Transaction, it: StoredDocument, file: ArrivedFile, kind: str
    ) -> None:
        record, name = it.record, readable(file.path)
        arrival = self._sighting(record.hotfolder, file)
        if arrival is None:
            seen = SeenFile(
                hotfolder=record.hotfolder,
                path=file.path,
                name=name,
                size=file.size,
                mtime_ns=file.mtime_ns,
                origin=it.origin,
            )
            arrival = change.arrival_seen(seen, file.first_seen, above=self._taken, present=False)
        became = next(each for each in record.files if each.logical == file.logical)
        change.arrival_admitted(
            arrival,
            record.received,
            BecameArtifact(record.document, became.sha256, became.logical),
            code=SOURCE_GREW if file.grew else None,
        )
        why = {"why": "found in the store"} if kind == "recovered" else {}
        self._record(
            change,
            it,
            kind,
            {
                **why,
                "arrival": arrival,
                "hotfolder": record.hotfolder,
                "device": it.origin,
                "name": name,
                "size": file.size,
            },
            digests={became.logical: became.sha512},
        )

    def _sighting(self, hotfolder: str, file: ArrivedFile) -> int | None:
        """The file as it was last seen waiting, by a catalog that is older than its admission."""
        if hotfolder not in self._watched:
            self._watched[hotfolder] = self._catalog.arrivals_present(hotfolder)
        seen = self._watched[hotfolder].get(file.path)
        if seen is None or seen.state is not ArrivalState.SEEN:
            return None
        return seen.id if (seen.size, seen.mtime_ns) == (file.size, file.mtime_ns) else None

    def _record(
        self,
        change: Transaction,
        it: StoredDocument,
        kind: str,
        facts: Mapping[str, Any],
        digests: Mapping[str, str] | None = None,
    ) -> None:
        document = it.record.document
        change.record(
            Entry(kind, self._now, AGENT, document=document, digests=digests, facts=facts)
        )


def _place(at: Head | LedgerPosition) -> Mapping[str, Any]:
    return {"sequence": at.sequence, "hash": at.hash}


def _highest_arrival(spool: Spool) -> int:
    """Notes in the spool name arrivals by number: no new one may be given one of these."""
    highest = 0
    for document in spool.held_documents():
        try:
            numbers = [int(file["arrival"]) for file in spool.arrival(document)["files"]]
        except (SpoolError, LookupError, TypeError, ValueError):
            continue  # a part has none; what cannot be explained is named when the daemon starts
        highest = max([highest, *numbers])
    return highest
