"""Removes a source from its hot folder once its bytes are in custody, and nothing else.

Where the kernel cannot tell whether somebody still writes to the file, the source is renamed,
watched for a further settle time, compared again byte for byte, and only then unlinked. What a
crash left of a removal is finished by the next sweep.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from archived import AGENT
from archived.errors import CatalogError
from archived.ingest.file_errors import sentence
from archived.ingest.filetypes import Completeness, Inspection
from archived.ingest.hotfolder_spec import HotFolderSpec, IngestServices
from archived.ingest.ignore_rules import TAKEN_PREFIX
from archived.ingest.recording import RemovalRetries, record_grown
from archived.ingest.scanner import ScanEntry, StatSample, unchanged_since
from archived.ingest.source_file import SourceFile, open_source
from archived.ingest.submission import Candidate
from archived.ingest.tracking import TrackedFile, candidate
from archived.message import Message
from archived.model.ids import is_document_id, readable
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.rows import Arrival

_NUMBER = re.compile("[0-9]{1,18}", re.ASCII)


class RemovalResult(StrEnum):
    """What became of a source whose bytes are in custody."""

    DONE = "done"
    WATCHED = "watched"
    """It has lost its name, and nobody can tell whether somebody still writes to it: it is compared
    again when it has been quiet for long enough (`Clearing`)."""
    CHANGED = "changed"
    """The name holds another file by now; the next scan will see it."""
    DIFFERENT = "different"
    """It looks like the file that was taken in, but its bytes differ: it is taken in once more."""
    OPEN = "open"
    """Somebody has it open for writing: what is written after an unlink would be lost."""


def remove_source(
    catalog: Catalog,
    candidate: Candidate,
    document: str,
    ours: Path,
    now: datetime,
    already_open: SourceFile | None = None,
) -> RemovalResult:
    """Take the source out of the hot folder, unless the name holds something else by now.

    The name is taken away first (a rename), then what is under it is compared byte for byte with
    what is in custody, and only then is it unlinked: whatever a clerk drops under the same name
    meanwhile is a new arrival. A crash in between is finished by `Clearing.finish`.
    `already_open`: the file, where it was opened to be taken in.
    """
    with (
        nullcontext(already_open)
        if already_open is not None
        else open_source(candidate.root, candidate.path) as source
    ):
        assert source is not None  # noqa: S101 - one of the two
        done = _remove(candidate, source, document, ours)
    if done in {RemovalResult.DONE, RemovalResult.WATCHED}:
        with catalog.transaction() as change:
            change.arrival_changed(candidate.arrival, present=False)
            if done is RemovalResult.DONE:
                change.record(
                    Entry(
                        "source-removed",
                        now,
                        AGENT,
                        document=document,
                        facts={"arrival": candidate.arrival},
                    )
                )
    return done


def _remove(candidate: Candidate, source: SourceFile, document: str, ours: Path) -> RemovalResult:
    name = f"{os.fsdecode(TAKEN_PREFIX)}{document}.{candidate.arrival}"
    taken = source.here.with_name(name)
    there = source.named()
    if there is None or _differs(there, candidate) or not source.has_its_name():
        return RemovalResult.CHANGED
    if source.has_writer():
        return RemovalResult.OPEN
    atomic.move_file(source.here, taken)
    found = source.named(name)
    if found is None:
        return RemovalResult.CHANGED  # somebody removed it meanwhile
    own = source.status()
    if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
        return _judge(candidate, replace(source, name=name), source.here, ours)
    # Another file came under the name, or the mount (sshfs) gave it a number with its new name.
    path = candidate.path.rpartition(b"/")[0] + b"/" + os.fsencode(name)
    with open_source(candidate.root, path.lstrip(b"/")) as moved:
        return _judge(candidate, moved, source.here, ours)


def _judge(candidate: Candidate, taken: SourceFile, source: Path, ours: Path) -> RemovalResult:
    """What has lost its name is removed, watched, or given back as `source`."""
    # Nobody opens it by its name any more; whoever did so until now can still write to it.
    writer, before = taken.has_writer(), taken.status()
    if writer:
        done = RemovalResult.OPEN
    elif _shape(before) != (candidate.size, candidate.mtime_ns):
        done = RemovalResult.CHANGED
    elif not atomic.same_bytes(taken.open_file, ours):
        done = RemovalResult.DIFFERENT
    elif writer is None:
        return RemovalResult.WATCHED
    elif taken.has_its_name() and _shape(taken.status()) == _shape(before):
        atomic.remove_file(taken.here)
        return RemovalResult.DONE
    else:
        done = RemovalResult.DIFFERENT
    give_back(taken.here, source)
    return done


def _shape(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _differs(there: os.stat_result, candidate: Candidate) -> bool:
    """Whether what lies under the name is, by what a mount keeps, not the file that was seen."""
    return (there.st_dev, there.st_ino, *_shape(there)) != (
        candidate.device,
        candidate.inode,
        candidate.size,
        candidate.mtime_ns,
    )


def taken_for(path: bytes) -> tuple[str, int] | None:
    """The document and the arrival that a file was renamed for by `remove_source`, or `None`."""
    name = path.rsplit(b"/", 1)[-1]
    ours = name.removeprefix(TAKEN_PREFIX)
    document, _, arrival = readable(ours).partition(".")
    if ours == name or not is_document_id(document) or not _NUMBER.fullmatch(arrival):
        return None
    return document, int(arrival)


def give_back(taken: Path, source: Path) -> None:
    """Give a file its name back, or one beside it when the name is in use by now."""
    number, other = 0, source
    while True:
        try:
            return atomic.move_file(taken, other)
        except FileExistsError:
            number += 1
            name = os.fsencode(source.name)
            before = b"%d-" % number
            # A name may fill its 255 bytes; its end, with the suffix, is worth more.
            other = source.with_name(os.fsdecode(before + name[-(255 - len(before)) :]))


def is_still_ours(
    arrival: Arrival, sighting: StatSample, root: Path, ours: Callable[[], Path | None]
) -> bool:
    """Whether what lies under an admitted name is still the file that was taken in.

    Numbers are no proof of the contrary: a mount may number its files and itself afresh. Where
    only they differ, the bytes tell. A file that cannot be read is not news yet.
    """
    if (arrival.size, arrival.mtime_ns) != (sighting.size, sighting.mtime_ns):
        return False
    if (arrival.device, arrival.inode) == (sighting.device, sighting.inode):
        return True
    try:
        kept = ours()
        if kept is None:
            return False
        with open_source(root, arrival.path) as it:
            return atomic.same_bytes(it.open_file, kept)
    except OSError:
        return True


_UNLOOKED = Inspection("", "", Completeness.UNKNOWN)


@dataclass(slots=True)
class _Quiet:
    """A source that has lost its name, and since when it has looked as it does."""

    arrival: Arrival
    first: StatSample


class SourceRemovals:
    """For one hot folder. A source that cannot be removed is tried again, in turn with others."""

    def __init__(self, spec: HotFolderSpec, catalog: Catalog, services: IngestServices) -> None:
        self._spec = spec
        self._catalog = catalog
        self._services = services
        self._removals = RemovalRetries()
        self._watched: dict[bytes, _Quiet] = {}
        self._before: dict[bytes, _Quiet] = {}
        self.settles = math.inf
        """Seconds until the first of the sources that are watched has been quiet long enough."""
        self.forget = self._removals.forget

    def begin(self) -> None:
        """A sweep begins."""
        self._removals.begin()
        self._before, self._watched = {**self._before, **self._watched}, {}
        self.settles = math.inf

    def ended(self) -> None:
        """A sweep went through: what it did not meet is there no more."""
        self._before = {}

    def remove(
        self, watched: TrackedFile, already_open: SourceFile | None = None
    ) -> tuple[RemovalResult | None, str]:
        """What became of a source in custody; `None`, and perhaps why, when it is stuck.

        Raises `FileNotFoundError` when somebody else took it away, and `CatalogError`.
        """
        arrival, last = watched.arrival, watched.last
        assert last is not None  # noqa: S101 - a file is removed in a sweep that saw it
        if not self._removals.may_try(arrival.path):
            return None, ""
        document, now = arrival.document or "", self._services.now()
        try:
            ours = self._services.find_bytes(document, arrival.became)
            if ours is None:
                self._removals.failed(arrival.path)
                return None, ""  # no bytes to compare with
            source = candidate(self._spec, arrival, last, _UNLOOKED)
            done = remove_source(self._catalog, source, document, ours, now, already_open)
        except (FileNotFoundError, CatalogError):
            raise
        except Exception as error:  # noqa: BLE001 - as an error of the disk: it is stuck
            self._removals.failed(arrival.path)
            return None, Message("cannot be removed: {sentence}", sentence=sentence(error))
        if done is RemovalResult.OPEN:
            self._removals.failed(arrival.path)
            return None, "somebody has it open for writing again"
        if done is RemovalResult.WATCHED:
            self.settles = min(self.settles, self._spec.long_settle_time)
        self._removals.forget(arrival.path)
        return done, ""

    def finish(self, seen: ScanEntry) -> list[str] | None:
        """`None` unless this was a source in custody that has lost its name.

        Then the names of what could not be removed even now: none, or this one.
        """
        known = self._before.get(seen.path)
        if known is not None and self._is_watched(seen, known):
            return []
        arrival = known.arrival if known is not None else self._arrival_of(seen)
        if arrival is None:
            return None
        try:
            with open_source(self._spec.path, seen.path) as taken:
                done = self._finish(seen, arrival, taken)
        except CatalogError:
            raise
        except Exception:  # noqa: BLE001 - one source that cannot be removed must not stop the rest
            return [readable(seen.path)]
        return [] if done else [readable(seen.path)]

    def _arrival_of(self, seen: ScanEntry) -> Arrival | None:
        document, number = taken_for(seen.path) or ("", 0)
        arrival = self._catalog.arrival(number) if document else None
        return None if arrival is None or arrival.document != document else arrival

    def _is_watched(self, seen: ScanEntry, known: _Quiet) -> bool:
        """Whether it looks as before, and has not been quiet for long enough."""
        still = seen.at - known.first.at
        if not known.first.same_as(seen.sighting) or still >= self._spec.long_settle_time:
            return False
        self._watch(seen, known.arrival, known.first)
        return True

    def _watch(self, seen: ScanEntry, arrival: Arrival, first: StatSample) -> None:
        self._watched[seen.path] = _Quiet(arrival, first)
        left = self._spec.long_settle_time - (seen.at - first.at)
        self.settles = min(self.settles, max(0.0, left))

    def _finish(self, seen: ScanEntry, arrival: Arrival, taken: SourceFile) -> bool:
        """Remove it, watch it or give it its name back; `False` when none of that can be done."""
        writer, before = taken.has_writer(), taken.status()
        ours = None if writer else self._services.find_bytes(arrival.document or "", arrival.became)
        if ours is None:
            return False
        if not atomic.same_bytes(taken.open_file, ours):
            return self._give_back(arrival, taken, ours)
        if writer is None:
            known = self._before.get(seen.path)
            first = unchanged_since(known.first if known else None, seen.sighting)
            if seen.at - first.at < self._spec.long_settle_time:
                self._watch(seen, arrival, first)
                return True
        now = taken.status()
        if not taken.has_its_name() or (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
            now.st_size,
            now.st_mtime_ns,
            now.st_ctime_ns,
        ):
            self._watch(seen, arrival, seen.sighting)  # it changed while it was compared
            return True
        atomic.remove_file(taken.here)
        with self._catalog.transaction() as change:
            change.record(
                Entry(
                    "source-removed",
                    self._services.now(),
                    AGENT,
                    document=arrival.document,
                    facts={"arrival": arrival.id},
                )
            )
        return True

    def _give_back(self, arrival: Arrival, taken: SourceFile, ours: Path) -> bool:
        """What lies there is not what was taken in: it arrives, as it is now.

        When it is the same file or goes on where ours ends, ours is the shorter one.
        """
        status = taken.status()
        same_file = (status.st_dev, status.st_ino) == (arrival.device, arrival.inode)
        if (same_file or atomic.begins_with(taken.open_file, ours)) and not record_grown(
            self._catalog, arrival, self._services.now()
        ):
            self.settles = min(self.settles, self._spec.settle_time)
            return True  # a step of the document runs: the next sweep asks again
        name = os.fsdecode(arrival.path.rpartition(b"/")[2])
        give_back(taken.here, taken.here.with_name(name))
        return True

    def may_arrive_anew(self, arrival: Arrival, seen: ScanEntry) -> bool:
        """A source that still has its name is another file by now, or the same one with more in it.

        Of the latter it is on record first that the document holds the shorter bytes; `False` while
        that cannot be recorded, because a step of the document runs.
        """
        if (seen.device, seen.inode) != (arrival.device, arrival.inode):
            return True
        if seen.size <= arrival.size:
            return True
        try:
            ours = self._services.find_bytes(arrival.document or "", arrival.became)
            with open_source(self._spec.path, arrival.path) as it:
                if ours is None or not atomic.begins_with(it.open_file, ours):
                    return True
        except OSError:
            return True
        return record_grown(self._catalog, arrival, self._services.now())
