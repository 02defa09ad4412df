"""Catalog and store compared, document by document and object by object: what each lacks.

Reads inventories, not content, and streams: nothing is kept but what is found. It reads the
catalog in short transactions, so that documents may move meanwhile; what moved is looked at the
next time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import unquote

from sqlalchemy import or_, select

from archived.errors import LedgerError, StoreError
from archived.message import Message
from archived.model.ids import of_object
from archived.model.lifecycle import ARCHIVED, State
from archived.storage import atomic, ledger
from archived.storage import schema as t
from archived.storage.catalog import Catalog
from archived.storage.ledger import SEALED_KINDS
from archived.storage.ocfl.inventory import FILE_NAME, SIDECAR_NAME, is_sidecar, parse, sidecar_of
from archived.storage.ocfl.reader import inside
from archived.storage.ocfl.store import Store

KINDS: Mapping[str, str] = {
    "ledger-broken": "The ledger's chain is broken, or not the one that the store knows.",
    "not-sealed": "The catalog calls the document sealed or safe, and it has no object.",
    "object-missing": "The document's object is not in the store.",
    "object-differs": "What lies in the object's place is not what was sealed.",
    "object-damaged": "The object's inventory or its sidecar is missing or does not fit.",
    "object-unreadable": "The object could not be read; it may be whole.",
    "object-unknown": "It lies in the store, and the catalog does not have it as sealed.",
    "seal-unrecorded": "The ledger has no entry that this object was sealed.",
    "safe-unproven": "The document is called safe, and its verified copies are not on record.",
}
"""Kind of difference -> what it means. Kinds are an interface."""

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which catalog, ledger and store do not agree. `what` says more than the kind."""

    kind: str
    what: str
    document: str | None = None
    name: str | None = None
    key: str | None = None
    copies: tuple[str, ...] = ()
    """Targets at which a verified copy of the sealed object is on record."""


def compare(store: Store, catalog: Catalog) -> Iterator[Difference]:
    """Everything that differs. Raises `CatalogError`, and `OSError` when the store cannot be
    walked.
    """
    yield from _ledger(store, catalog)
    for each in documents(catalog):
        yield from each.differences(store)
    yield from _unknown(store, catalog)


def look_at(store: Store, key: str, inventory_sha512: str) -> tuple[str, str] | None:
    """The kind and a sentence, when the object there is not the one with this inventory."""
    try:
        root = inside(store.ocfl, key)
    except (FileNotFoundError, NotADirectoryError):
        return "object-missing", Message("there is no object {key}", key=key)
    except StoreError as error:
        return "object-damaged", error.message
    except OSError as error:
        return "object-unreadable", Message("{key}: {why}", key=key, why=error.strerror)
    try:
        content = atomic.read_bytes(inside(root, FILE_NAME))
        sidecar = atomic.read_bytes(inside(root, SIDECAR_NAME))
    except (FileNotFoundError, NotADirectoryError) as error:
        return "object-damaged", Message("{filename} is missing", filename=error.filename)
    except StoreError as error:
        return "object-damaged", error.message
    except OSError as error:
        return "object-unreadable", Message("{key}: {why}", key=key, why=error.strerror)
    if _digest(content) != inventory_sha512:
        return "object-differs", _whose(key, content)
    if not is_sidecar(sidecar, content):
        return "object-damaged", Message(
            "{key}/{file_name} does not match its sidecar", key=key, file_name=FILE_NAME
        )
    return None


def is_missing(store: Store, key: str) -> bool:
    """Whether nothing lies in an object's place."""
    try:
        inside(store.ocfl, key)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (StoreError, OSError):
        pass  # something is there
    return False


def _digest(content: bytes) -> str:
    return sidecar_of(content).split()[0].decode()


def _whose(key: str, content: bytes) -> str:
    """What lies there instead."""
    try:
        found = parse(content).id
    except StoreError:
        return Message(
            "{key}/{file_name} is not the one that was sealed, and no inventory",
            key=key,
            file_name=FILE_NAME,
        )
    if unquote(key.rpartition("/")[2]) != found:
        return Message("the object {found} lies at {key}", found=found, key=key)
    return Message("{key}/{file_name} is not the one that was sealed", key=key, file_name=FILE_NAME)


@dataclass(frozen=True, slots=True)
class ArchivedDocument:
    """A document that the catalog has as archived, with what proves that in catalog and ledger."""

    id: str
    name: str
    state: State
    key: str | None
    inventory_sha512: str
    wanted: int
    copies: tuple[str, ...]
    """Targets with a verified copy of this very version, by catalog and ledger."""
    sealed: bool
    """The ledger tells of its seal."""
    safe: bool
    """The ledger says that it became safe."""

    def differences(self, store: Store) -> Iterator[Difference]:
        """What is wrong with it."""
        if self.key is None:
            yield self._differs(
                "not-sealed", Message("it is {state}, and has no object", state=self.state)
            )
            return
        if found := look_at(store, self.key, self.inventory_sha512):
            yield self._differs(*found)
        if not self.sealed:
            yield self._differs("seal-unrecorded", Message("the ledger does not tell of its seal"))
        if self.unproven:
            what = Message(
                "{count} of {wanted} wanted copies are on record as verified",
                count=len(self.copies),
                wanted=self.wanted,
            )
            if not self.safe:
                what = Message("the ledger does not tell that it became safe")
            yield self._differs("safe-unproven", what)

    @property
    def unproven(self) -> bool:
        """Called safe without proof."""
        return self.state is State.SAFE and (not self.safe or len(self.copies) < self.wanted)

    def _differs(self, kind: str, what: str) -> Difference:
        return Difference(kind, what, self.id, self.name, self.key, self.copies)


def documents(catalog: Catalog, only: str | None = None) -> Iterator[ArchivedDocument]:
    """Every document that is archived by the catalog, or one of them; oldest first."""
    d = t.document.c
    after = ""
    while True:
        statement = (
            select(d.id, d.name, d.state, d.object_key, d.inventory_sha512, d.copies)
            .where(or_(d.object_key.is_not(None), d.state.in_(ARCHIVED)), d.id > after)
            .order_by(d.id)
            .limit(_AT_ONCE)
        )
        if only is not None:
            statement = statement.where(d.id == only)
        with catalog.reading() as connection:
            rows = list(connection.execute(statement))
            proofs = _proofs(connection, [row.id for row in rows])
        for row in rows:
            yield _archived(row, proofs.get(row.id, []))
        if len(rows) < _AT_ONCE:
            return
        after = rows[-1].id


def _proofs(connection: Any, ids: list[str]) -> Mapping[str, list[tuple[str, Any]]]:
    """Document -> (kind of entry or "replica", what it says)."""
    found: dict[str, list[tuple[str, Any]]] = {}
    e, r = t.ledger.c, t.replica.c
    kinds = (*SEALED_KINDS, "copy-verified", "document-safe")
    entries = select(e.document, e.kind, e.entry).where(e.document.in_(ids), e.kind.in_(kinds))
    for document, kind, entry in connection.execute(entries):
        found.setdefault(document, []).append((kind, json.loads(entry)))
    copies = select(r.document, r.target, r.inventory_sha512).where(r.document.in_(ids))
    for document, target, inventory in connection.execute(copies):
        found.setdefault(document, []).append(("replica", (target, inventory)))
    return found


def _archived(row: Any, proofs: list[tuple[str, Any]]) -> ArchivedDocument:
    inventory = row.inventory_sha512 or ""

    def entries(kind: str) -> list[Mapping[str, Any]]:
        of_kind = [it for name, it in proofs if name == kind]
        return [
            it.get("facts") or {}
            for it in of_kind
            if (it.get("digests") or {}).get("inventory.json") == inventory
        ]

    on_record = {it[0] for name, it in proofs if name == "replica" and it[1] == inventory}
    by_ledger = {str(facts.get("target")) for facts in entries("copy-verified")}
    return ArchivedDocument(
        row.id,
        row.name,
        State(row.state),
        row.object_key,
        inventory,
        row.copies,
        tuple(sorted(on_record & by_ledger)),
        any(entries(kind) for kind in SEALED_KINDS),
        any(name == "document-safe" for name, _ in proofs),
    )


def _unknown(store: Store, catalog: Catalog) -> Iterator[Difference]:
    """What lies in the store and is not sealed by the catalog. What is being sealed is let be."""
    d = t.document.c
    keys = store.objects()
    while some := list(islice(keys, _AT_ONCE)):
        named = {key: _document_of(key) for key in some}
        ids = [each for each in named.values() if each is not None]
        statement = select(d.id, d.name, d.object_key, d.due, d.running).where(d.id.in_(ids))
        with catalog.reading() as connection:
            known = {row.id: row for row in connection.execute(statement)}
        for key, document in named.items():
            row = known.get(document) if document else None
            if row is None:
                yield Difference(
                    "object-unknown", Message("{key} is in no catalog", key=key), document, key=key
                )
            elif row.object_key is None and row.due is None and row.running is None:
                what = Message(
                    "{key} is there, and the document is not sealed by the catalog", key=key
                )
                yield Difference("object-unknown", what, document, row.name, key)
            elif row.object_key not in {None, key}:
                what = Message(
                    "the document's object is {object_key} by the catalog, not {key}",
                    object_key=row.object_key,
                    key=key,
                )
                yield Difference("object-unknown", what, document, row.name, key)


def _document_of(key: str) -> str | None:
    try:
        return of_object(unquote(key.rpartition("/")[2]))
    except ValueError:
        return None


def _ledger(store: Store, catalog: Catalog) -> Iterator[Difference]:
    """The chain, and whether it is the one that the head file was written for."""
    try:
        head = store.head.read()
    except StoreError as error:
        yield Difference("ledger-broken", error.message)
        head = None
    found: str | None = None

    def rows() -> Iterator[ledger.Row]:
        nonlocal found
        for row in catalog.ledger_rows():
            if head is not None and row[0] == head.sequence:
                found = row[2]
            yield row

    try:
        ledger.verify(rows())
    except LedgerError as error:
        yield Difference("ledger-broken", error.message)
        return
    if head is not None and found != head.hash:
        what = Message(
            "entry {sequence} is not the one that was noted in the store", sequence=head.sequence
        )
        yield Difference("ledger-broken", what)
