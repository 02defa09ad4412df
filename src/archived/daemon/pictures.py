"""The pictures of what a person must look at: found by what the catalog says, and handed out as
they are, in pieces.
"""

from __future__ import annotations

from pathlib import Path

from archived.api import Role
from archived.engine.custody import path_of
from archived.errors import NotNow
from archived.model.outcome import SUPERSEDED
from archived.model.review import PICTURE_LIMIT
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
        # One of the same name that a later stage made lies beside it while it is in the spool.
        for made in catalog.artifacts(document, current=False):
            if (made.role, made.name, made.step) == (Role.METADATA, name, step):
                return _whole(path_of(spool, store, catalog.document(document), made))
    raise NotNow(
        f"document {document} has no picture {name!r} of that step",
        hint="the stage ran again since; write the pictures again: archivectl review",
    )


def _whole(path: Path) -> Path:
    """The path of a picture that is there and within the limit. Raises `NotNow`."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise NotNow(
            f"the picture cannot be read: {error.strerror}",
            hint="it may have been sealed just now; write the pictures again: archivectl review",
        ) from None
    if size > PICTURE_LIMIT:
        raise NotNow(
            f"the picture takes {size} bytes; at most {PICTURE_LIMIT} are handed out",
            hint="look at the page itself: archivectl show names the document's files",
        )
    return path
