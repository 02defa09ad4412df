"""A file that got another name before it was taken in is the arrival that it was.

Else every name that a client gives it in turn would stay on record as a file that was withdrawn.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from archived.ingest.recording import NamedFolder
from archived.ingest.scanner import ScanEntry
from archived.ingest.tracking import TrackedFile
from archived.model.ids import readable
from archived.storage.rows import ArrivalState
from archived.storage.transaction import Transaction


def renamed(
    watched: Mapping[bytes, TrackedFile],
    here: Mapping[bytes, ScanEntry],
    rule: Callable[[ScanEntry], str | None],
) -> list[tuple[TrackedFile, ScanEntry]]:
    """Files that were waiting under a name that is gone, each with how it is seen now.

    The same file: of one device and inode, and neither size nor time of change is another. One that
    `rule` now leaves alone is not among them.
    """
    gone = {
        (each.last.device, each.last.inode, each.last.size, each.last.mtime_ns): each
        for path, each in watched.items()
        if path not in here and each.last is not None and each.arrival.state is ArrivalState.SEEN
    }
    if not gone:
        return []
    found = []
    for path, seen in here.items():
        if path in watched or seen.fault or seen.closed or not stat.S_ISREG(seen.mode):
            continue
        key = (seen.device, seen.inode, seen.size, seen.mtime_ns)
        if key in gone and rule(seen) is None:
            found.append((gone.pop(key), seen))
    return found


def record_renamed(
    change: Transaction, spec: NamedFolder, some: Sequence[tuple[TrackedFile, ScanEntry]]
) -> list[TrackedFile]:
    """Put the new names on record; whether it has settled is found anew under each."""
    changed = []
    for watched, seen in some:
        name, origin = readable(seen.path), spec.origin(seen.path)
        change.arrival_changed(watched.arrival.id, path=seen.path, name=name, origin=origin)
        arrival = replace(watched.arrival, path=seen.path, name=name, origin=origin)
        changed.append(TrackedFile(arrival, kind=stat.S_IFMT(seen.mode)))
    return changed
