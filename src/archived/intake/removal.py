"""Taking a source out of its hot folder, once its bytes are in custody: never before, and never
anything else that lies under its name by then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from archived import AGENT
from archived.intake.item import Candidate
from archived.intake.pinned import pinned
from archived.intake.rules import TAKEN_PREFIX
from archived.intake.settle import Sighting
from archived.intake.watcher import has_writer
from archived.model.identity import is_document_id, readable
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.records import Arrival

_NUMBER = re.compile("[0-9]{1,18}", re.ASCII)


class Removal(StrEnum):
    """What became of a source whose bytes are in custody."""

    DONE = "done"
    CHANGED = "changed"
    """The name holds another file by now; the next scan will see it."""
    DIFFERENT = "different"
    """It looks like the file that was taken in, but its bytes differ: it is taken in once more."""
    OPEN = "open"
    """Somebody has it open for writing: what is written after an unlink would be lost."""


def remove_source(
    catalog: Catalog, candidate: Candidate, document: str, ours: Path, now: datetime
) -> Removal:
    """Take the source out of the hot folder, unless the name holds something else by now.

    The name is taken away first (a rename), then what is under it is compared byte for byte with
    what is in custody, and only then is it unlinked: whatever a clerk drops under the same name
    meanwhile is a new arrival. A crash in between is finished by `Clearing.finish`.
    """
    with pinned(candidate.root, candidate.path) as source:
        done = _remove(candidate, source, document, ours)
    if done is Removal.DONE:
        with catalog.transaction() as change:
            change.arrival_changed(candidate.arrival, present=False)
            change.record(
                Entry("source-removed", now, AGENT, document=document,
                      facts={"arrival": candidate.arrival})
            )  # fmt: skip
    return done


def _remove(candidate: Candidate, source: Path, document: str, ours: Path) -> Removal:
    taken = source.with_name(f"{os.fsdecode(TAKEN_PREFIX)}{document}.{candidate.arrival}")
    if not unchanged(candidate, source):
        return Removal.CHANGED
    if has_writer(source):
        return Removal.OPEN
    atomic.move_file(source, taken)
    # Nobody opens it by its name any more; whoever did so until now can still write to it.
    if has_writer(taken):
        give_back(taken, source)
        return Removal.OPEN
    # Some mounts (sshfs) give a file a new inode number with its new name.
    now_taken = taken.lstat()
    if (now_taken.st_size, now_taken.st_mtime_ns) != (candidate.size, candidate.mtime_ns):
        give_back(taken, source)
        return Removal.CHANGED
    if not atomic.same_bytes(taken, ours):
        give_back(taken, source)
        return Removal.DIFFERENT
    atomic.remove_file(taken)
    return Removal.DONE


def taken_for(path: bytes) -> tuple[str, int] | None:
    """The document and the arrival that a file was renamed for by `remove_source`, or `None`."""
    name = path.rsplit(b"/", 1)[-1]
    ours = name.removeprefix(TAKEN_PREFIX)
    document, _, arrival = readable(ours).partition(".")
    if ours == name or not is_document_id(document) or not _NUMBER.fullmatch(arrival):
        return None
    return document, int(arrival)


def finish_removal(taken: Path, ours: Path) -> bool:
    """Finish a removal that a crash cut short; `False` when the bytes are not `ours`."""
    if not atomic.same_bytes(taken, ours):
        return False
    atomic.remove_file(taken)
    return True


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
    arrival: Arrival, sighting: Sighting, path: Path, ours: Callable[[], Path | None]
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
        return kept is not None and atomic.same_bytes(path, kept)
    except OSError:
        return True


def unchanged(candidate: Candidate, path: Path) -> bool:
    """Whether what lies at `path` is, by all that `stat` tells, the file that was seen."""
    try:
        now = path.lstat()
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) == (
        candidate.device, candidate.inode, candidate.size, candidate.mtime_ns,
    )  # fmt: skip
