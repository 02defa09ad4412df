"""The pictures of what a person must look at: found by what the catalog says, never opened here."""

from __future__ import annotations

from pathlib import Path

from archived.api import Role
from archived.engine.custody import path_of
from archived.errors import NotNow
from archived.model.outcome import SUPERSEDED
from archived.observe.reviews import names_picture
from archived.storage.catalog import Catalog
from archived.storage.spool import Spool
from archived.storage.store import Store


def picture(
    spool: Spool, store: Store, catalog: Catalog, document: str, step: str, name: str
) -> Path:
    """Where the picture lies that a step made of a region. Raises `NotNow` for anything else."""
    asked = next((each for each in catalog.steps(document) if each.id == step), None)
    if asked is not None and asked.ending != SUPERSEDED and names_picture(asked, name):
        for made in catalog.artifacts(document):
            if (made.role, made.name, made.step) == (Role.METADATA, name, step):
                return path_of(spool, store, catalog.document(document), made)
    raise NotNow(
        f"document {document} has no picture {name!r} of that step",
        hint="the stage ran again since; write the pictures again: archivectl review",
    )
