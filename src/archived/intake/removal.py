"""Taking a source out of its hot folder, once its bytes are in custody: never before, and never
anything else that lies under its name by then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from archived import AGENT
from archived.intake.item import Candidate
from archived.intake.opened import Opened, opened
from archived.intake.rules import TAKEN_PREFIX
from archived.intake.settle import Sighting
from archived.model.identity import is_document_id, readable
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.records import Arrival

_NUMBER = re.compile("[0-9]{1,18}", re.ASCII)


class Removal(StrEnum):
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
    catalog: Catalog, candidate: Candidate, document: str, ours: Path, now: datetime,
    already_open: Opened | None = None,
) -> Removal:  # fmt: skip
    """Take the source out of the hot folder, unless the name holds something else by now.

    The name is taken away first (a rename), then what is under it is compared byte for byte with
    what is in custody, and only then is it unlinked: whatever a clerk drops under the same name
    meanwhile is a new arrival. A crash in between is finished by `Clearing.finish`.
    `already_open`: the file, where it was opened to be taken in.
    """
    with (
        nullcontext(already_open) if already_open is not None
        else opened(candidate.root, candidate.path) as source
    ):  # fmt: skip
        assert source is not None  # noqa: S101 - one of the two
        done = _remove(candidate, source, document, ours)
    if done in {Removal.DONE, Removal.WATCHED}:
        with catalog.transaction() as change:
            change.arrival_changed(candidate.arrival, present=False)
            if done is Removal.DONE:
                change.record(
                    Entry("source-removed", now, AGENT, document=document,
                          facts={"arrival": candidate.arrival})
                )  # fmt: skip
    return done


def _remove(candidate: Candidate, source: Opened, document: str, ours: Path) -> Removal:
    name = f"{os.fsdecode(TAKEN_PREFIX)}{document}.{candidate.arrival}"
    taken = source.here.with_name(name)
    there = source.named()
    if there is None or _differs(there, candidate) or not source.has_its_name():
        return Removal.CHANGED
    if source.has_writer():
        return Removal.OPEN
    atomic.move_file(source.here, taken)
    found = source.named(name)
    if found is None:
        return Removal.CHANGED  # somebody took it away from under our hands
    own = source.status()
    if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
        return _judge(candidate, replace(source, name=name), source.here, ours)
    # Another file came under the name, or the mount (sshfs) gave it a number with its new name.
    path = candidate.path.rpartition(b"/")[0] + b"/" + os.fsencode(name)
    with opened(candidate.root, path.lstrip(b"/")) as moved:
        return _judge(candidate, moved, source.here, ours)


def _judge(candidate: Candidate, taken: Opened, source: Path, ours: Path) -> Removal:
    """What has lost its name is removed, watched, or given back as `source`."""
    # Nobody opens it by its name any more; whoever did so until now can still write to it.
    writer, before = taken.has_writer(), taken.status()
    if writer:
        done = Removal.OPEN
    elif _shape(before) != (candidate.size, candidate.mtime_ns):
        done = Removal.CHANGED
    elif not atomic.same_bytes(taken.open_file, ours):
        done = Removal.DIFFERENT
    elif writer is None:
        return Removal.WATCHED
    elif taken.has_its_name() and _shape(taken.status()) == _shape(before):
        atomic.remove_file(taken.here)
        return Removal.DONE
    else:
        done = Removal.DIFFERENT
    give_back(taken.here, source)
    return done


def _shape(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _differs(there: os.stat_result, candidate: Candidate) -> bool:
    """Whether what lies under the name is, by what a mount keeps, not the file that was seen."""
    return (there.st_dev, there.st_ino, *_shape(there)) != (
        candidate.device, candidate.inode, candidate.size, candidate.mtime_ns,
    )  # fmt: skip


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
    arrival: Arrival, sighting: Sighting, root: Path, ours: Callable[[], Path | None]
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
        with opened(root, arrival.path) as it:
            return atomic.same_bytes(it.open_file, kept)
    except OSError:
        return True
