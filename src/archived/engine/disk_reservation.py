"""Room on disk, reserved before a step starts and given back when it has ended.

Knows file systems and numbers; never documents' contents, stages or the catalog. What a running
step has already written counts twice until it ends: rather one step later than a full disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FLOOR = 16 << 20
"""Bytes that steps leave free: for the catalog, which has to say that there is no room. On a
small disk a 64th of it."""
LEAST = 8 << 20
"""Bytes that a step is given at least: a small bilevel scan unpacks to many times its size."""
MOST = 8
"""Times the usual that a step is given at most, after it filled the disk: the pages of a TIFF with
JPEG inside take up fifty times its size."""

Wanted = Mapping[Path, int]
"""Folder -> bytes that will be written on its file system."""


def wanted(folder: Path, size: int, factor: float) -> Wanted:
    """What a step on `size` bytes is given in `folder`; nothing when the factor is 0."""
    return {folder: max(LEAST, int(size * factor))} if factor else {}


@dataclass(frozen=True, slots=True)
class Shortage:
    """A file system without enough room. All numbers are bytes."""

    folder: Path
    needed: int
    free: int
    reserved: int
    """For other steps, of what is free."""

    def __str__(self) -> str:
        others = f", {_mib(self.reserved)} of them kept for running steps" if self.reserved else ""
        return (
            f"no room to begin: {_mib(self.needed)} are needed at {self.folder}, "
            f"{_mib(self.free)} are free{others}"
        )


class DiskReservations:
    """Reservations by step. Calls may block on a disk; any thread may make them."""

    def __init__(self) -> None:
        self._held: dict[str, dict[int, int]] = {}
        self._times: dict[str, int] = {}
        self._lock = threading.Lock()

    def reserve(self, step: str, wanted: Wanted) -> Shortage | None:
        """Keep all that is wanted for a step, or nothing: then what is short. Raises `OSError`."""
        with self._lock:
            short, taken = self._look(wanted)
            if short is None:
                self._held[step] = taken
            return short

    def fits(self, wanted: Wanted) -> bool:
        """Whether `reserve` would find room now. Raises `OSError`."""
        with self._lock:
            return self._look(wanted)[0] is None

    def give_back(self, step: str) -> None:
        """The step has ended. One that reserved nothing is fine."""
        with self._lock:
            self._held.pop(step, None)

    def times(self, document: str) -> int:
        """How many times the usual the document's next step is given."""
        return self._times.get(document, 1)

    def learn(self, document: str, *, outgrown: bool) -> None:
        """A step on the document has ended; one that filled the disk gets twice as much next."""
        times = self._times.pop(document, 1)
        if outgrown:
            self._times[document] = min(MOST, 2 * times)

    def reserved(self, folder: Path) -> int:
        """Bytes kept for steps on a folder's file system. Raises `OSError`."""
        with self._lock:
            return self._on(folder.stat().st_dev)

    def _look(self, wanted: Wanted) -> tuple[Shortage | None, dict[int, int]]:
        taken: dict[int, int] = {}
        for folder, size in wanted.items():
            if not size:
                continue
            device = folder.stat().st_dev
            taken[device] = taken.get(device, 0) + size
            disk = os.statvfs(folder)
            free, others = disk.f_bavail * disk.f_frsize, self._on(device)
            floor = min(FLOOR, disk.f_blocks * disk.f_frsize // 64)
            if free - others - taken[device] < floor:
                return Shortage(folder, taken[device] + floor, free, others), {}
        return None, taken

    def _on(self, device: int) -> int:
        return sum(held.get(device, 0) for held in self._held.values())


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
