"""What the desks ask of the rest of the house: the time, a new id, a route, room, older bytes."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from archived.config import Settings
from archived.daemon import cards
from archived.engine.custody import bytes_of
from archived.intake.desk import FolderCard
from archived.intake.item import Candidate, Route
from archived.model.identity import document_id, readable
from archived.storage.catalog import Catalog
from archived.storage.spool import Spool
from archived.storage.store import Store


@dataclass(frozen=True, slots=True)
class _Arrived:
    """What `choose_pipeline` may look at."""

    hotfolder: str
    name: str
    media_type: str
    size: int


class House:
    """The real one. `settings` is replaced by a reload; the rest stays."""

    def __init__(self, settings: Settings, spool: Spool, store: Store, catalog: Catalog) -> None:
        self.settings = settings
        self._spool = spool
        self._store = store
        self._catalog = catalog
        self._stopping = False
        self.reserved: Callable[[Path], int] = lambda _: 0
        """Bytes kept for running steps where a folder lies; the engine says."""

    def now(self) -> datetime:
        """The time, UTC."""
        return datetime.now(UTC)

    def new_id(self, now: datetime) -> str:
        """An id nobody else has."""
        return document_id(now, secrets.token_bytes(10))

    def route(self, card: FolderCard, candidate: Candidate) -> Route:
        """The hot folder's pipeline, unless a plug-in names another."""
        settings = self.settings
        setting = settings.hotfolders.get(card.name)
        arrived = _Arrived(
            card.name, readable(candidate.path), candidate.media_type, candidate.size
        )
        chosen = settings.plugins.choose_pipeline(arrived, tuple(settings.pipelines))
        if chosen is None or setting is None:
            return card.route
        return cards.route(settings, setting, chosen)

    def find_bytes(self, document: str, became: str | None = None) -> Path | None:
        """An artifact of a document (its first original), wherever it lies now."""
        return bytes_of(self._spool, self._store, self._catalog, document, became)

    def free(self) -> int:
        """Free bytes for us where the spool lies."""
        return shutil.disk_usage(self._spool.documents).free

    def room_for(self, size: int) -> bool:
        """Whether a file of this size may be taken in without going below the floor."""
        inodes = os.statvfs(self._spool.documents)
        enough_names = inodes.f_files == 0 or inodes.f_favail > 64
        left = self.free() - self.reserved(self._spool.documents) - size
        return enough_names and left >= self.settings.spool.keep_free

    def seen_by(self, beat: Callable[[], None]) -> SeenBy:
        """The same house for one desk, which is heard of at each file it attends to."""
        return SeenBy(self, beat)

    def stop(self) -> None:
        """Desks break off at the next file."""
        self._stopping = True

    def stopping(self) -> bool:
        """True once the daemon is being stopped."""
        return self._stopping


class SeenBy:
    """The house as one desk sees it. `beat` is called before each file.

    A sweep over many files may take long; while it gets from file to file it is alive.
    """

    def __init__(self, house: House, beat: Callable[[], None]) -> None:
        self._house = house
        self._beat = beat
        self.now = house.now
        self.new_id = house.new_id
        self.route = house.route
        self.find_bytes = house.find_bytes
        self.room_for = house.room_for

    def stopping(self) -> bool:
        """As the house says; a desk asks before each file."""
        self._beat()
        return self._house.stopping()
