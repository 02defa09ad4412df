"""The state folder: one daemon at a time, and no new catalog beside a store with objects."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from archived.errors import ArchivedError, CatalogError
from archived.message import Message
from archived.storage.ocfl.store import Store


@contextlib.contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the state folder's lock: two daemons on one would each think they own it."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        handle = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise unusable(state, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchivedError(
                Message("{state}: another archived is running here", state=state),
                hint="systemctl status archived",
                code="already-running",
            ) from None
        yield
    finally:
        os.close(handle)


def unusable(state: Path, error: OSError) -> ArchivedError:
    """The state folder is not there, or not for us."""
    return ArchivedError(
        Message("{state}: cannot be used ({why})", state=state, why=error.strerror),
        hint=Message("make the folder and give it to the user that runs archived"),
        code="no-state",
    )


def no_second_history(catalog: Path, store: Store) -> None:
    """Refuse to make a catalog beside a store with objects. Raises `CatalogError`.

    Opening makes the file when it is not there, and an empty one in its place would look like a
    catalog to whoever comes to restore it.
    """
    if catalog.exists() or next(store.objects(), None) is None:
        return
    raise CatalogError(
        Message(
            "{catalog}: there is no catalog, but there are objects in {root}",
            catalog=catalog,
            root=store.root,
        ),
        hint=Message(
            "nothing was made or changed. Is the right disk mounted? Restore the catalog "
            "from a backup (cp BACKUP/{name} {catalog}), then, or at once without a "
            "backup: archived rebuild; or, if this is to be a new archive, give it a store "
            "of its own",
            name=catalog.name,
            catalog=catalog,
        ),
        code="catalog-lost",
    )
