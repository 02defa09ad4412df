"""The catalog made from the store: every object says in its `record.json` what it is.

The same for a catalog that was lost and for one restored from a backup, which lacks what was sealed
since. Nothing is deleted, nothing in the store is written. On record afterwards is what the objects
say. What only the catalog knew is not made up: the old ledger is gone, and a document counts as
sealed, not as safe, until its copies have been verified anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from archived import AGENT
from archived.engine import commit, found
from archived.engine.cards import Deck
from archived.errors import SpoolError, StoreError
from archived.model import description
from archived.model.document import SOURCE_GREW, Happened
from archived.model.identity import of_object, readable
from archived.model.manifest import ArrivedFile, LedgerPosition
from archived.model.plan import SEAL
from archived.storage import store_comparison
from archived.storage.catalog import Catalog
from archived.storage.change import Change
from archived.storage.ledger import Entry, Head
from archived.storage.records import Arrival, ArrivalState
from archived.storage.spool import Spool
from archived.storage.store import Store
from archived.storage.store_comparison import Archived
from archived.storage.stored import Answer, StoredObject

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
class Promises:
    """What the configuration says today, for what an object does not say of itself."""

    copies: Mapping[str, int] = field(default_factory=dict)
    """Pipeline -> wanted copies; asked for objects of versions that did not record it."""
    priority: Mapping[str, int] = field(default_factory=dict)
    """Hot folder -> priority."""


def rebuild(
    spool: Spool, store: Store, catalog: Catalog, deck: Deck, promises: Promises, now: datetime,
    tell: Callable[[int], object] = lambda _: None,
) -> Rebuilt:  # fmt: skip
    """Take up every object of the store that the catalog does not have as sealed. Idempotent.

    `tell` is given the number of objects looked at, now and again. Content is hashed again only
    for documents whose bytes are still in the spool, for these will be let go. Raises
    `CatalogError`, `OSError`; what is wrong with an object is in the result.
    """
    return _Work(spool, store, catalog, deck, promises, now).do(tell)


class _Work:
    def __init__(
        self, spool: Spool, store: Store, catalog: Catalog, deck: Deck, promises: Promises,
        now: datetime,
    ) -> None:  # fmt: skip
        self._spool, self._store, self._catalog = spool, store, catalog
        self._deck, self._promises, self._now = deck, promises, now
        self._taken = _highest_arrival(spool)
        self._watched: dict[str, Mapping[bytes, Arrival]] = {}
        self._done = Rebuilt()
        self._ledger_before = catalog.ledger_head()

    def do(self, tell: Callable[[int], object]) -> Rebuilt:
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
            "objects": done.objects, "found": done.found, "settled": done.settled,
            "unreadable": len(done.unreadable), "missing": len(done.missing),
            "doubted": done.doubted, "entered": done.entered,
        }  # fmt: skip
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
                    **_place(Head(noted.sequence, noted.hash)), "at": noted.at.isoformat()
                }  # fmt: skip
        return told

    def _new(self, keys: list[str]) -> Iterator[tuple[found.Found, bool]]:
        """Those that are to be taken up, and whether the catalog knows the document."""
        for key in keys:
            try:
                stored = self._store.read_key(key)
                document = of_object(stored.id)
                known = document in self._catalog.documents_like(document)
                if known and self._catalog.document(document).object_key:
                    self._prove(stored, document)
                    continue
                it = found.read(stored)
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
                    row, Happened.FOUND_SEALED, self._now, safe_at=None,
                    position=row.stages.index(SEAL),
                )  # fmt: skip
                commit.advance(change, self._deck, document, self._now)
                self._done.doubted += 1

    def _enter(self, change: Change, stored: StoredObject, known: Archived) -> None:
        """Tell the ledger again what it told before somebody cut it, as far as the catalog knows.

        An arrival of the document that the ledger does not know is entered with it.
        """
        document = known.id
        entered = {
            json.loads(entry.entry).get("facts", {}).get("arrival")
            for entry in self._catalog.ledger_of(document)
        }
        kind = "arrival-joined" if entered - {None} else "recovered"
        for arrival in self._catalog.arrivals(document=document, limit=_EVERY):
            if arrival.id in entered:
                continue
            facts = {"why": "the ledger did not tell of it", "arrival": arrival.id,
                     "hotfolder": arrival.hotfolder, "device": arrival.origin,
                     "name": arrival.name, "size": arrival.size}  # fmt: skip
            change.record(Entry(kind, self._now, AGENT, document=document, facts=facts))
            kind = "arrival-joined"
        pages = self._catalog.document(document).pages
        facts = {"object": stored.key, "version": stored.head, "pages": pages,
                 "why": "found in the store; the ledger did not tell of it"}  # fmt: skip
        change.record(
            Entry("document-sealed", self._now, AGENT, document=document,
                  digests={"inventory.json": stored.inventory_sha512},
                  facts={k: v for k, v in facts.items() if v})
        )  # fmt: skip
        self._done.entered += 1

    def _be_whole(self, identifier: str) -> None:
        verdict = self._store.verify(identifier)
        if verdict.answer is not Answer.YES:
            raise ValueError(f"{'; '.join(verdict.problems)}. Its bytes are still in the spool")

    def _take_up(self, change: Change, it: found.Found, *, known: bool) -> None:
        record, done = it.record, self._done
        if done.before is None or record.ledger.sequence > done.before.sequence:
            done.before = record.ledger
        if known:
            row = change.document(record.document)
            change.move(row, Happened.FOUND_SEALED, self._now, running=None, **it.place)
            done.settled += 1
        else:
            row = it.document(
                priority=self._promises.priority.get(record.hotfolder, 0),
                copies=self._promises.copies.get(record.pipeline, 1), now=self._now,
            )  # fmt: skip
            change.admit(row, ())
            done.found += 1
        change.replace_work(row.id, list(it.artifacts()), list(it.steps()))
        self._arrived(change, it, known=known)
        sealed = {"object": it.stored.key, "version": it.stored.head, "pages": it.pages,
                  "why": "found in the store"}  # fmt: skip
        self._record(
            change, it, "document-sealed", {k: v for k, v in sealed.items() if v},
            digests={"inventory.json": it.stored.inventory_sha512},
        )  # fmt: skip
        described = description.findable(it.facts, record.dossier, record.given)
        change.index_words(row.id, row.name, described, it.words)
        commit.advance(change, self._deck, row.id, self._now)

    def _arrived(self, change: Change, it: found.Found, *, known: bool) -> None:
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
                change, it, "part-admitted",
                {"hotfolder": record.hotfolder, "device": it.origin,
                 "master": of_object(record.master), "why": "found in the store"},
            )  # fmt: skip

    def _arrived_file(self, change: Change, it: found.Found, file: ArrivedFile, kind: str) -> None:
        record, name = it.record, readable(file.path)
        arrival = self._sighting(record.hotfolder, file)
        if arrival is None:
            arrival = change.arrival_seen(
                hotfolder=record.hotfolder, path=file.path, name=name, device=0, inode=0,
                size=file.size, mtime_ns=file.mtime_ns, now=file.first_seen, origin=it.origin,
                above=self._taken, present=False,
            )  # fmt: skip
        became = next(each for each in record.files if each.logical == file.logical)
        change.arrival_ended(
            arrival, ArrivalState.ADMITTED, record.received, document=record.document,
            sha256=became.sha256, became=became.logical, code=SOURCE_GREW if file.grew else None,
        )  # fmt: skip
        why = {"why": "found in the store"} if kind == "recovered" else {}
        self._record(
            change, it, kind,
            {**why, "arrival": arrival, "hotfolder": record.hotfolder, "device": it.origin,
             "name": name, "size": file.size},
            digests={became.logical: became.sha512},
        )  # fmt: skip

    def _sighting(self, hotfolder: str, file: ArrivedFile) -> int | None:
        """The file as it was last seen waiting, by a catalog that is older than its admission."""
        if hotfolder not in self._watched:
            self._watched[hotfolder] = self._catalog.arrivals_present(hotfolder)
        seen = self._watched[hotfolder].get(file.path)
        if seen is None or seen.state is not ArrivalState.SEEN:
            return None
        return seen.id if (seen.size, seen.mtime_ns) == (file.size, file.mtime_ns) else None

    def _record(
        self, change: Change, it: found.Found, kind: str, facts: Mapping[str, Any],
        digests: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
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
