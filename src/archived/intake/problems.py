"""What is wrong with a batch, as a value: a code of `HOLDS`, what exactly, and what to do.

No disk, no decisions: whether a problem holds a batch is decided by whoever asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from archived.intake.holds import HOLDS

_NAMED = 5
"""Names that one reason quotes; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `reason` is the detail; `sentence` says all of it."""

    code: str
    reason: str

    @property
    def hint(self) -> str:
        """What a person can do about it."""
        return HOLDS[self.code].hint

    @property
    def sentence(self) -> str:
        """What is the matter, in which place, and what to do."""
        return f"{HOLDS[self.code].why}: {self.reason}; {self.hint}"


def named(names: Iterable[str]) -> str:
    """The first few of many names, and how many more there are."""
    every = list(names)
    more = len(every) - _NAMED
    return ", ".join(every[:_NAMED]) + (f" and {more} more" if more > 0 else "")
