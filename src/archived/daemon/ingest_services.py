"""What ingest asks of the daemon: the time, a new id, a route, free space, an artifact's bytes."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from archived.config import Settings
from archived.daemon import wiring
from archived.ingest.hotfolder import HotFolderSpec
from archived.ingest.submission import Candidate, Route
from archived.model.ids import document_id, readable
from archived.storage.artifacts import bytes_of
from archived.storage.catalog import Catalog
from archived.storage.ocfl.store import Store
from archived.storage.spool import Spool


@dataclass(frozen=True, slots=True)
class _Arrived:
    """What `choose_pipeline` may look at."""

    hotfolder: str
    name: str
    media_type: str
    size: int


class ConfiguredServices:
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

    def route(self, spec: HotFolderSpec, candidate: Candidate) -> Route:
        """The hot folder's pipeline, unless a plug-in names another."""
        settings = self.settings
        setting = settings.hotfolders.get(spec.name)
        arrived = _Arrived(
            spec.name, readable(candidate.path), candidate.media_type, candidate.size
        )
        chosen = settings.plugins.choose_pipeline(arrived, tuple(settings.pipelines))
        if chosen is None or setting is None:
            return spec.route
        return wiring.route(settings, setting, chosen)

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

    def seen_by(self, beat: Callable[[], None]) -> HotFolderServices:
        """The same services for one hot folder, which reports at each file."""
        return HotFolderServices(self, beat)

    def stop(self) -> None:
        """Desks break off at the next file."""
        self._stopping = True

    def stopping(self) -> bool:
        """True once the daemon is being stopped."""
        return self._stopping


class HotFolderServices:
    """The services of one hot folder. `beat` is called before each file.

    A sweep over many files may take long; while it gets from file to file it is alive.
    """

    def __init__(self, services: ConfiguredServices, beat: Callable[[], None]) -> None:
        self._services = services
        self._beat = beat
        self.now = services.now
        self.new_id = services.new_id
        self.route = services.route
        self.find_bytes = services.find_bytes
        self.room_for = services.room_for

    def stopping(self) -> bool:
        """Whether the daemon stops; asked before each file."""
        self._beat()
        return self._services.stopping()
