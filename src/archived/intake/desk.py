"""One hot folder's desk: watches files arrive, decides when one is whole, hands it to admission.

The scan is the truth and the catalog the memory; what is kept here can be lost at any time and is
found again. Every file seen is on record from the first scan that sees it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from archived import AGENT
from archived.intake.admission import (
    Candidate,
    Custody,
    Route,
    StillArriving,
    admit,
    finish_removal,
    remove_source,
)
from archived.intake.formats import Look, Whole, look
from archived.intake.rules import RULES, TAKEN_PREFIX, rule_for
from archived.intake.scan import Seen, scan
from archived.intake.settle import Sighting, has_settled, unchanged_since
from archived.intake.watcher import Mode, has_writer
from archived.model.identity import readable
from archived.storage.catalog import Catalog
from archived.storage.change import Change
from archived.storage.ledger import Entry
from archived.storage.records import Arrival, ArrivalState
from archived.storage.spool import Spool

HELD_CODES = {
    "arrived-incomplete": "the file never became whole",
    "arrived-empty": "the file has no content",
    "unreadable": "archived may not read the file",
    "too-large": "the file is larger than this hot folder accepts",
}
"""Codes under which intake itself holds a file, and why."""


@dataclass(frozen=True, slots=True)
class FolderCard:
    """One configured hot folder. Times in seconds, sizes in bytes."""

    name: str
    path: Path
    route: Route
    quiet: float = 5.0
    rescan: float = 30.0
    deadline: float = 900.0
    """How long a file may stay unfinished, unchanged, before it is held."""
    max_size: int = 4 << 30
    mode: Mode = "auto"
    recursive: bool = True
    ignore: tuple[str, ...] = ()


class House(Protocol):
    """What a desk needs of the rest: who decides routes, gives ids, finds bytes, knows space."""

    def now(self) -> datetime: ...
    def new_id(self, now: datetime) -> str: ...
    def route(self, card: FolderCard, candidate: Candidate) -> Route: ...
    def find_bytes(self, document: str) -> Path | None: ...
    def room_for(self, size: int) -> bool: ...
    def stopping(self) -> bool: ...


@dataclass(slots=True)
class _Watched:
    arrival: Arrival
    first: Sighting | None = None
    """Since when it has looked as it does now."""
    last: Sighting | None = None
    seen: Look | None = None
    """What a look at it found, as long as it does not change."""


@dataclass(slots=True)
class Sweep:
    """What one pass over the folder did."""

    admitted: list[Custody] = field(default_factory=list)
    arriving: int = 0
    """Files that are not whole or not settled yet."""
    no_room: bool = False
    """Something waits for free space."""
    stuck: list[str] = field(default_factory=list)
    """Sources in custody that could not be removed."""
    errors: list[str] = field(default_factory=list)


class Desk:
    """All state is per path, for files present. `sweep` blocks: call it in a thread."""

    def __init__(self, card: FolderCard, catalog: Catalog, spool: Spool, house: House) -> None:
        self.card = card
        self._catalog = catalog
        self._spool = spool
        self._house = house
        self._watched: dict[bytes, _Watched] | None = None

    def sweep(self) -> Sweep:
        """Scan once and act on it. Raises `FolderOffline` and `CatalogError`; nothing is lost."""
        if self._watched is None:
            present = self._catalog.arrivals_present(self.card.name)
            self._watched = {path: _Watched(arrival) for path, arrival in present.items()}
        report = Sweep()
        here = {}
        for seen in scan(self.card.path, recursive=self.card.recursive):
            if seen.path.rsplit(b"/", 1)[-1].startswith(TAKEN_PREFIX):
                self._finish_removal(seen)
            else:
                here[seen.path] = seen
        self._note_gone(here)
        self._note_new(here)
        for path, watched in list(self._watched.items()):
            if self._house.stopping():
                break
            self._attend(watched, here[path], report)
        return report

    def _note_gone(self, here: dict[bytes, Seen]) -> None:
        assert self._watched is not None  # noqa: S101 - sweep filled it
        gone = [w for path, w in self._watched.items() if path not in here]
        if gone:
            with self._catalog.transaction() as change:
                for watched in gone:
                    self._record_gone(change, watched.arrival)
            for watched in gone:
                del self._watched[watched.arrival.path]

    def _record_gone(self, change: Change, arrival: Arrival) -> None:
        change.arrival_changed(arrival.id, present=False)
        if arrival.state in {ArrivalState.SEEN, ArrivalState.HELD}:
            self._record_ignored(change, arrival.id, arrival.name, "withdrawn")

    def _record_ignored(self, change: Change, arrival: int, name: str, rule: str) -> None:
        now = self._house.now()
        change.arrival_ended(arrival, ArrivalState.IGNORED, now, code=rule, reason=RULES[rule])
        facts = {"arrival": arrival, "hotfolder": self.card.name, "name": name, "rule": rule}
        change.record(Entry("arrival-ignored", now, AGENT, facts=facts))
        change.announce("arrival-ignored", now, hotfolder=self.card.name, facts={"rule": rule})

    def _note_new(self, here: dict[bytes, Seen]) -> None:
        """Put files on record that are not, and files that took another's name."""
        assert self._watched is not None  # noqa: S101 - sweep filled it
        fresh = [s for path, s in here.items() if self._is_news(self._watched.get(path), s)]
        if not fresh:
            return
        with self._catalog.transaction() as change:
            ids = [self._record_new(change, seen) for seen in fresh]
        for identifier, seen in zip(ids, fresh, strict=True):
            arrival = self._catalog.arrival(identifier)
            if arrival is not None:
                self._watched[seen.path] = _Watched(arrival)

    def _is_news(self, watched: _Watched | None, seen: Seen) -> bool:
        if watched is None:
            return True
        arrival = watched.arrival
        ignored = rule_for(seen.path, seen.mode, self.card.ignore) is not None
        match arrival.state:
            case ArrivalState.ADMITTED:  # still here: ours to remove, or something else by now
                return not _is_same_file(arrival, seen.sighting)
            case ArrivalState.IGNORED:
                return not ignored
            case _:
                return ignored

    def _record_new(self, change: Change, seen: Seen) -> int:
        assert self._watched is not None  # noqa: S101 - sweep filled it
        before = self._watched.get(seen.path)
        if before is not None:
            self._record_gone(change, before.arrival)
        sighting = seen.sighting
        identifier = change.arrival_seen(
            hotfolder=self.card.name, path=seen.path, name=readable(seen.path),
            device=sighting.device, inode=sighting.inode, size=sighting.size,
            mtime_ns=sighting.mtime_ns, now=self._house.now(),
        )  # fmt: skip
        rule = rule_for(seen.path, seen.mode, self.card.ignore)
        if rule is not None:
            self._record_ignored(change, identifier, readable(seen.path), rule)
        return identifier

    def _attend(self, watched: _Watched, seen: Seen, report: Sweep) -> None:
        """Bring one present file a step further, if it is ready."""
        arrival, sighting = watched.arrival, seen.sighting
        if arrival.state is ArrivalState.IGNORED:
            return
        first = unchanged_since(watched.first, sighting)
        if first is sighting:
            watched.seen = None
        watched.first, watched.last = first, sighting
        try:
            if arrival.state is ArrivalState.ADMITTED:
                self._remove(watched, report)
            elif has_settled(first, sighting, self.card.quiet):
                self._settled(watched, report)
            else:
                report.arriving += 1
        except StillArriving:
            watched.first = None
            report.arriving += 1
        except FileNotFoundError:
            report.arriving += 1  # gone since the scan: the next one will say so
        except OSError as error:
            if isinstance(error, PermissionError) and error.filename == str(self._path(watched)):
                self._hold(watched, "unreadable", f"{HELD_CODES['unreadable']}: {error.strerror}")
                return
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                report.no_room = True
            report.arriving += 1
            report.errors.append(f"{readable(arrival.path)}: {error.strerror or error}")

    def _settled(self, watched: _Watched, report: Sweep) -> None:
        first, last = watched.first, watched.last
        assert first is not None  # noqa: S101 - _attend set both
        assert last is not None  # noqa: S101
        if last.size > self.card.max_size:
            self._hold(watched, "too-large", f"{HELD_CODES['too-large']}: {last.size} bytes")
            return
        path = self._path(watched)
        if watched.seen is None:
            watched.seen = _look_at(path)
        found, held = watched.seen, None
        if found.whole is Whole.NO or has_writer(path):
            if last.at - first.at < self.card.deadline:
                report.arriving += 1
                return
            code = "arrived-empty" if last.size == 0 else "arrived-incomplete"
            held = (code, f"{HELD_CODES[code]}: {found.why or 'somebody still has it open'}")
        if not self._house.room_for(last.size):
            report.no_room = True
            report.arriving += 1
            return
        self._admit(watched, found, last, held, report)

    def _admit(
        self, watched: _Watched, found: Look, last: Sighting, held: tuple[str, str] | None,
        report: Sweep,
    ) -> None:  # fmt: skip
        candidate = _candidate(self.card, watched, last, found, held)
        now = self._house.now()
        route = self._house.route(self.card, candidate)
        custody = admit(
            self._spool, self._catalog, candidate, route, self._house.new_id(now),
            self._house.find_bytes, now,
        )  # fmt: skip
        report.admitted.append(custody)
        self._refresh(watched)
        self._remove(watched, report)

    def _path(self, watched: _Watched) -> Path:
        root = os.fsencode(self.card.path)
        return Path(os.fsdecode(os.path.join(root, watched.arrival.path)))  # noqa: PTH118

    def _remove(self, watched: _Watched, report: Sweep) -> None:
        """The document is in custody: its source may go, once its bytes were compared.

        A source that cannot be removed stays on record as present and is never taken in again.
        """
        arrival, last = watched.arrival, watched.last
        assert last is not None  # noqa: S101 - _attend set it
        ours = self._house.find_bytes(arrival.document or "")
        if ours is None:
            report.stuck.append(arrival.name)  # the bytes in custody cannot be read to compare
            return
        found = Look("", "", Whole.UNKNOWN)
        candidate = _candidate(self.card, watched, last, found, None)
        if remove_source(self._catalog, candidate, arrival.document or "", ours, self._house.now()):
            assert self._watched is not None  # noqa: S101 - sweep filled it
            del self._watched[arrival.path]

    def _finish_removal(self, seen: Seen) -> None:
        path = Path(os.fsdecode(os.path.join(os.fsencode(self.card.path), seen.path)))  # noqa: PTH118
        document = finish_removal(path, self._house.find_bytes)
        if document is not None:
            now = self._house.now()
            with self._catalog.transaction() as change:
                change.record(Entry("source-removed", now, AGENT, document=document))

    def _hold(self, watched: _Watched, code: str, reason: str) -> None:
        arrival = watched.arrival
        if arrival.state is ArrivalState.HELD and arrival.code == code:
            return
        now = self._house.now()
        with self._catalog.transaction() as change:
            change.arrival_ended(arrival.id, ArrivalState.HELD, now, code=code, reason=reason)
            facts = {"arrival": arrival.id, "hotfolder": self.card.name, "name": arrival.name,
                     "code": code, "reason": reason}  # fmt: skip
            change.record(Entry("arrival-held", now, AGENT, facts=facts))
            change.announce("arrival-held", now, hotfolder=self.card.name, facts={"code": code})
        self._refresh(watched)

    def _refresh(self, watched: _Watched) -> None:
        watched.arrival = self._catalog.arrival(watched.arrival.id) or watched.arrival


def _is_same_file(arrival: Arrival, sighting: Sighting) -> bool:
    return (arrival.device, arrival.inode, arrival.size, arrival.mtime_ns) == (
        sighting.device, sighting.inode, sighting.size, sighting.mtime_ns,
    )  # fmt: skip


def _candidate(
    card: FolderCard, watched: _Watched, last: Sighting, found: Look,
    held: tuple[str, str] | None,
) -> Candidate:  # fmt: skip
    return Candidate(
        arrival=watched.arrival.id, root=card.path, path=watched.arrival.path,
        device=last.device, inode=last.inode, size=last.size, mtime_ns=last.mtime_ns,
        media_type=found.media_type, extension=found.extension, held=held,
    )  # fmt: skip


class _OpenFile:
    """A file as `formats.Reader`."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.size = os.fstat(handle).st_size

    def at(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._handle, length, offset)
        except OverflowError:
            return b""  # an offset no file can have


def _look_at(path: Path) -> Look:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return look(_OpenFile(handle))
    finally:
        os.close(handle)
