"""Levels of secrecy (Law on the Protection of State Secrets) and how they compare; what is known of
a part of a scan, and so of the scan.

A level is declared per hot folder. Nothing here ever lowers one.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum

from archived.model.lifecycle import State
from archived.model.review import SECRECY_OPEN

ABOVE_DECLARED = "secrecy-above-declared"
"""The code under which a stage refuses what carries a mark above the declared level."""
PART_ABOVE = "part-secrecy-above"
"""A scan is held: one of its parts was rejected for such a mark."""
PART_UNKNOWN = "part-secrecy-unknown"
"""A scan is held: a part was rejected, and whether it carries such a mark is not established."""
OF_PARTS = frozenset({PART_ABOVE, PART_UNKNOWN})


class Level(IntEnum):
    """From open to top secret; comparable."""

    OPEN = 0
    MAT = 1
    TOI_MAT = 2
    TUYET_MAT = 3

    @property
    def printed(self) -> str:
        """The level's name as documents carry it."""
        return _PRINTED[self]


_PRINTED = {
    Level.OPEN: "Thường",
    Level.MAT: "Mật",
    Level.TOI_MAT: "Tối mật",
    Level.TUYET_MAT: "Tuyệt mật",
}

_WORDS = {
    "": Level.OPEN,
    "thường": Level.OPEN,
    "open": Level.OPEN,
    "mật": Level.MAT,
    "mat": Level.MAT,
    "tối mật": Level.TOI_MAT,
    "toi-mat": Level.TOI_MAT,
    "tuyệt mật": Level.TUYET_MAT,
    "tuyet-mat": Level.TUYET_MAT,
}


def level(word: str) -> Level:
    """The level a word names. Raises `ValueError` listing the words."""
    try:
        return _WORDS[word.strip().casefold()]
    except KeyError:
        known = ", ".join(f'"{w}"' for w in _WORDS if w)
        raise ValueError(f'unknown secrecy level "{word}"; write one of {known}') from None


def exceeds(found: str, declared: str) -> bool:
    """True when a mark found on a page is higher than the level declared at intake."""
    return level(found) > level(declared)


def highest(words: Iterable[str]) -> str:
    """The highest of several levels, as it is written; a word that names none is above all."""

    def rank(word: str) -> int:
        try:
            return level(word)
        except ValueError:
            return len(Level)

    return max(words, key=rank, default="")


class PartSecrecy(StrEnum):
    """What is known of a part: whether the scan that holds its pages may leave the spool."""

    ALLOWED = "allowed"
    """Every stage before the seal let it pass, or a person did."""
    ABOVE = "above"
    """A person rejected it, and it was held for a mark above the declared level."""
    NOT_ESTABLISHED = "not established"
    """A person rejected it before every stage before the seal had let it pass."""
    IN_WORK = "in work"
    """Neither sealed nor rejected."""


def of_part(state: State, code: str | None, *, sealed: bool, passed: bool) -> PartSecrecy:
    """`passed`: it stands at the seal, and nothing asks for a look. `code`: what it is or was held
    for.
    """
    if sealed:
        return PartSecrecy.ALLOWED
    if state is not State.REJECTED:
        return PartSecrecy.IN_WORK
    if code in {ABOVE_DECLARED, PART_ABOVE}:
        return PartSecrecy.ABOVE
    if passed and code not in SECRECY_OPEN | {PART_UNKNOWN}:
        return PartSecrecy.ALLOWED
    return PartSecrecy.NOT_ESTABLISHED
