"""Where a document's bytes are right now: in the spool until it is sealed, then in the store."""

from __future__ import annotations

import json
from pathlib import Path

from archived.api import Artifact, Role, Sealed
from archived.engine.boundary import DocumentCard
from archived.errors import StoreError
from archived.model.identity import object_id
from archived.model.plan import next_step
from archived.model.review import SECRECY_OPEN
from archived.storage.catalog import Catalog
from archived.storage.records import ArtifactRow, DocumentRow
from archived.storage.spool import Spool
from archived.storage.store import Store


def logical_path(artifact: ArtifactRow) -> str:
    """An artifact's path inside its object."""
    return f"{artifact.role}/{artifact.name}"


def path_of(spool: Spool, store: Store, document: DocumentRow, artifact: ArtifactRow) -> Path:
    """A readable path to an artifact's bytes. Raises `StoreError` when a sealed one is missing."""
    if document.object_key is not None:
        return store.path_of(object_id(document.id), logical_path(artifact))
    return spool.folder(document.id) / artifact.path


def bytes_of(
    spool: Spool, store: Store, catalog: Catalog, document: str, became: str | None = None
) -> Path | None:
    """The bytes of a received artifact (`role/name`, else the first original), to compare with.

    `None` when they are not to be had.
    """
    for _ in range(2):  # it may be sealed just now: on record first, then the spool lets it go
        path = _bytes_now(spool, store, catalog, document, became)
        if path is not None and path.exists():
            return path
    return None


def _bytes_now(
    spool: Spool, store: Store, catalog: Catalog, document: str, became: str | None
) -> Path | None:
    if document not in catalog.documents_like(document):
        return None
    row = catalog.document(document)
    for artifact in catalog.artifacts(document):
        received = artifact.step is None and became == logical_path(artifact)
        if received or (became is None and artifact.role == Role.ORIGINAL):
            try:
                return path_of(spool, store, row, artifact)
            except (StoreError, OSError):
                return None
    return None


def document_card(spool: Spool, store: Store, catalog: Catalog, row: DocumentRow) -> DocumentCard:
    """The document as a stage will see it."""
    rows = catalog.artifacts(row.id)
    artifacts = [
        Artifact(
            path=path_of(spool, store, row, a), name=a.name, media_type=a.media_type,
            role=Role(a.role), sha512=a.sha512, size=a.size,
        )
        for a in rows
    ]  # fmt: skip
    return DocumentCard(
        id=row.id, received=row.received, hotfolder=row.hotfolder, name=row.name,
        artifacts=artifacts, main=next(i for i, a in enumerate(rows) if a.main),
        facts=catalog.facts(row.id), secrecy=row.secrecy, sealed=_sealed(store, row),
        dossier=row.dossier, given=row.given or {}, collation=row.collation,
        answers=_answers(catalog, row),
    )  # fmt: skip


def _answers(catalog: Catalog, row: DocumentRow) -> dict[str, str]:
    """What people answered, by note, to the refusals and reviews of the stage that comes next.

    That secrecy is not established is answered by a release that names what was shown, by no note.
    """
    stage = next_step(row.stages, row.position)
    told = (
        json.loads(entry.entry).get("facts") or {}
        for entry in catalog.ledger_of(row.id)
        if entry.kind == "document-retried"
    )
    return {
        was: note
        for facts in told
        if facts.get("stage") == stage
        and (was := facts.get("was"))
        and was not in SECRECY_OPEN
        and (note := (facts.get("note") or "").strip())
    }


def _sealed(store: Store, row: DocumentRow) -> Sealed | None:
    if row.object_key is None:
        return None
    return Sealed(
        root=store.ocfl / row.object_key, key=row.object_key, version=row.object_version or 1,
        inventory_sha512=row.inventory_sha512 or "",
    )  # fmt: skip
