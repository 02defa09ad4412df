"""At start, before anything is changed: is the catalog the one that the store was sealed with?

The ledger is compared with the store's head file, and the newest documents of the catalog with
their objects. The store is not walked: `storage.store_comparison` does that, in the background.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from archived.errors import CatalogError, StoreError
from archived.message import Message
from archived.model.record import RECORD, from_json
from archived.storage import atomic
from archived.storage import schema as t
from archived.storage.catalog import Catalog
from archived.storage.ledger import SEALED_KINDS
from archived.storage.ledger_head import NewestObject, RecordedHead, hash_at, newest_objects
from archived.storage.ocfl.inventory import FILE_NAME, parse
from archived.storage.ocfl.reader import inside
from archived.storage.ocfl.store import Store
from archived.storage.store_comparison import look_at


@dataclass(frozen=True, slots=True)
class _Sealing:
    """Where the ledger stood when an object was made, by the object's own record."""

    document: str
    sequence: int
    hash: str
    at: datetime


def compare_heads(store: Store, catalog: Catalog) -> list[str]:
    """Sentences about what is not as it should be, though work may go on. Changes nothing.

    Raises `CatalogError` (`catalog-behind`, `catalog-differs`) when the catalog is older than the
    store, or not the one it was sealed with; `StoreError` (`store-behind`, `head-file-damaged`).
    """
    head = store.head.read()
    if head is not None:
        _reaches(catalog, head)
    told = [] if head is not None else list(_head_file_is_gone(store, catalog))
    newest = newest_objects(catalog)
    _has_sealed(catalog, newest)
    problems = {}
    for each in newest:
        if found := look_at(store, each.key, each.inventory_sha512):
            problems[each.document] = found
    missing = [document for document, found in problems.items() if found[0] == "object-missing"]
    _is_not_older(store, newest, missing, head)
    _continues(catalog, _sealings(store, newest, problems))
    told += [
        Message("document {document}: {what}", document=document, what=what)
        for document, (_kind, what) in problems.items()
    ]
    return told


def _reaches(catalog: Catalog, head: RecordedHead) -> None:
    last = catalog.ledger_head().sequence
    if last < head.sequence:
        raise CatalogError(
            Message(
                "{path}: the catalog is older than the store. Its ledger ends with entry "
                "{last}; the store knows it up to entry {sequence}, of {at}: "
                "{missing} entries are missing",
                path=catalog.path,
                last=last,
                sequence=head.sequence,
                at=head.at.isoformat(timespec="seconds"),
                missing=head.sequence - last,
            ),
            hint=_hint(catalog),
            code="catalog-behind",
        )
    if hash_at(catalog, head.sequence) != head.hash:
        raise _another(
            catalog,
            Message(
                "entry {sequence} of its ledger is not the one that was noted in the store",
                sequence=head.sequence,
            ),
        )
    for each in head.newest:
        if not _has(catalog, each):
            raise _another(
                catalog,
                f"document {each.document} was sealed, and the catalog does not have it as sealed",
            )


def _has(catalog: Catalog, it: NewestObject) -> bool:
    d = t.document.c
    with catalog.reading() as connection:
        row = connection.execute(
            select(d.object_key, d.object_version, d.inventory_sha512).where(d.id == it.document)
        ).one_or_none()
    if row is None or row[0] != it.key or row[1] is None:
        return False
    return bool(row[1] > it.version or (row[1], row[2]) == (it.version, it.inventory_sha512))


def _has_sealed(catalog: Catalog, newest: Iterable[NewestObject]) -> None:
    """The ledger must tell of the newest documents that they were sealed, and how."""
    for each in newest:
        sealed = [e for e in catalog.ledger_of(each.document) if e.kind in SEALED_KINDS]
        if not any(each.inventory_sha512 in e.entry for e in sealed):
            raise _another(
                catalog,
                f"document {each.document} is sealed by the catalog, and the "
                "ledger has no entry of that",
            )


def _is_not_older(
    store: Store, newest: tuple[NewestObject, ...], missing: list[str], head: RecordedHead | None
) -> None:
    known = set(head.missing) if head is not None else set()
    if not missing or len(missing) < len(newest) or known.issuperset(missing):
        return
    raise StoreError(
        Message(
            "{root} is older than the catalog: none of the {count} objects that were "
            "sealed last is there ({missing})",
            root=store.root,
            count=len(newest),
            missing=", ".join(missing),
        ),
        hint=Message(
            "nothing was changed. Is the right disk mounted? Bring the objects back from a "
            "target or a backup (docs/operations.md, The store's disk is lost). If they "
            "are lost: archived rebuild names every document without an object, and the "
            "archive starts without them"
        ),
        code="store-behind",
    )


def _sealings(
    store: Store, newest: Iterable[NewestObject], problems: Iterable[str]
) -> Iterator[_Sealing]:
    """What the newest sound objects say of the ledger. What cannot be read says nothing."""
    for each in newest:
        if each.document in problems:
            continue
        try:
            root = inside(store.ocfl, each.key)
            inventory = parse(atomic.read_bytes(root / FILE_NAME))
            path = inside(root, inventory.content_path(RECORD))
            record = from_json(atomic.read_bytes(path))
        except (OSError, StoreError, ValueError, KeyError):
            continue
        yield _Sealing(each.document, record.ledger.sequence, record.ledger.hash, record.sealed)


def _continues(catalog: Catalog, sealings: Iterable[_Sealing]) -> None:
    """The ledger holds the entries that the objects name; those of a ledger before the last
    rebuild apart, for that may have begun a new one.
    """
    differing = [it for it in sealings if hash_at(catalog, it.sequence) != it.hash]
    if not differing:
        return
    rebuilt = _newest_entry(catalog, "catalog-rebuilt")
    since = datetime.fromisoformat(rebuilt["at"]) if rebuilt else None
    for each in differing:
        if since is None or each.at > since:
            raise _another(
                catalog,
                f"document {each.document} was sealed under entry "
                f"{each.sequence} of another ledger",
            )


def _head_file_is_gone(store: Store, catalog: Catalog) -> Iterator[str]:
    started = _newest_entry(catalog, "daemon-started")
    if started and (started.get("facts") or {}).get("head_file"):
        yield (
            f"{store.head.path} is gone, and was there at the last start. An older catalog would "
            "not have been noticed. If the store was not brought back from a target or a backup, "
            "find out who removed it"
        )


def _newest_entry(catalog: Catalog, kind: str) -> dict[str, Any] | None:
    statement = (
        select(t.ledger.c.entry)
        .where(t.ledger.c.kind == kind)
        .order_by(t.ledger.c.sequence.desc())
        .limit(1)
    )
    with catalog.reading() as connection:
        entry = connection.execute(statement).scalar()
    return None if entry is None else dict(json.loads(entry))


def _another(catalog: Catalog, why: str) -> CatalogError:
    return CatalogError(
        Message(
            "{path}: this is not the catalog that the store was sealed with: {why}",
            path=catalog.path,
            why=why,
        ),
        hint=_hint(catalog),
        code="catalog-differs",
    )


def _hint(catalog: Catalog) -> str:
    path = catalog.path
    return Message(
        "nothing was changed. Is there a newer backup? Move the catalog aside "
        "({path}*) and keep it; cp BACKUP/{name} {path}; archived rebuild. If there is "
        "none, leave it where it is: archived rebuild takes up what the store holds "
        "and the catalog lacks, and writes into the ledger that it did "
        "(docs/operations.md)",
        path=path,
        name=path.name,
    )
