"""Where a document's bytes are right now: in the spool until it is sealed, then in the store."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from archived.api import Role
from archived.errors import StoreError
from archived.model.ids import object_id
from archived.storage.catalog import Catalog
from archived.storage.ocfl.store import Store
from archived.storage.rows import ArtifactRow, DocumentRow
from archived.storage.spool import Spool


class ArchiveStorage(NamedTuple):
    """The three places that hold an archive: bytes in work, sealed objects, what is known."""

    spool: Spool
    store: Store
    catalog: Catalog


def logical_path(artifact: ArtifactRow) -> str:
    """An artifact's path inside its object."""
    return f"{artifact.role}/{artifact.name}"


def path_of(spool: Spool, store: Store, document: DocumentRow, artifact: ArtifactRow) -> Path:
    """A readable path to an artifact's bytes. Raises `StoreError` when a sealed one is missing.

    What an upgrade made of a sealed document lies in the spool until its new version is sealed.
    """
    waits = spool.folder(document.id) / artifact.path
    if document.object_key is not None and not waits.is_file():
        return store.path_of(object_id(document.id), logical_path(artifact))
    return waits


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
