"""The pictures of what a person must look at: found by what the catalog says, and handed out as
they are, in pieces.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from archived.api import Role
from archived.engine.custody import path_of
from archived.errors import NotNow
from archived.model.review import PICTURE_LIMIT
from archived.storage.catalog import Catalog
from archived.storage.spool import Spool
from archived.storage.store import Store


def picture(
    spool: Spool, store: Store, catalog: Catalog, document: str, step: str, name: str
) -> Path:
    """Where the picture lies that a step made of a region. Raises `NotNow` for anything else."""
    # One of the same name that a later stage made lies beside it while it is in the spool.
    made = catalog.made(document, step, Role.METADATA, name)
    if made is not None and name in _named(catalog, step):
        return _whole(path_of(spool, store, catalog.document(document), made))
    raise NotNow(
        f"document {document} has no picture {name!r} of that step",
        hint="the stage ran again since; write the pictures again: archivectl review",
    )


@lru_cache(maxsize=4)
def _named(catalog: Catalog, step: str) -> frozenset[str]:
    """Pictures of a step's regions. They never change, and are asked about one by one."""
    return frozenset(
        region["picture"] for asked in catalog.reviews_of(step) for region in asked["regions"]
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
