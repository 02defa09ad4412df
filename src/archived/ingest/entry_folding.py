"""Which files of one hot folder share an entry of the ledger: all but the first of a period.

A client that makes thousands of files which are held, or which are gone again, would else write an
entry for each, for ever. Of one period the first files have entries of their own, and all others
one together. A file that waits for its entry stands in the catalog as it did before: both books
agree at every moment, and after a crash the next sweep finds the same about it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

SINGLE = 20
"""Files in one period with an entry of their own."""
PERIOD = 60.0
"""Seconds of which the others are put on record together."""
TOGETHER = 2000
"""Files in one entry at most: there may be several in one period."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Divided(Generic[T]):
    """Files to put on record now; those that are in neither wait."""

    single: list[T] = field(default_factory=list)
    together: list[Sequence[T]] = field(default_factory=list)
    """Each with one entry."""


class EntryFolding:
    """Of one hot folder and one kind of entry."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = float("-inf")
        self._over: bool | None = None
        """Whether a period was over when this sweep had the first file of its kind."""
        self._single = 0
        self._before: set[int] = set()
        self._waiting: set[int] = set()
        """Arrivals that wait for the entry that they are to share."""

    @property
    def settles(self) -> float:
        """Seconds until what waits is put on record; infinite when nothing does."""
        if not self._waiting:
            return float("inf")
        return max(0.0, self._began + PERIOD - self._clock())

    def begin(self) -> None:
        """A sweep begins: it names those that wait as well, if the same is still so of them."""
        self._before, self._waiting, self._over = self._waiting, set(), None

    def divide(self, files: Sequence[tuple[int, T]]) -> Divided[T]:
        """Files by the number of their arrival, those included that waited in the last sweep."""
        divided: Divided[T] = Divided()
        together: list[tuple[int, T]] = []
        if files and self._over is None:
            now = self._clock()
            self._over = now >= self._began + PERIOD
            if self._over:
                self._began, self._single = now, 0
        for arrival, file in files:
            if arrival not in self._before and self._single < SINGLE:
                self._single += 1
                divided.single.append(file)
            else:
                together.append((arrival, file))
        while together and (self._over or len(together) >= TOGETHER):
            divided.together.append([file for _, file in together[:TOGETHER]])
            together = together[TOGETHER:]
        self._waiting |= {arrival for arrival, _ in together}
        return divided
