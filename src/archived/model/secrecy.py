"""Levels of secrecy (Law on the Protection of State Secrets) and how they compare.

A level is declared per hot folder. Nothing here ever lowers one.
"""

from __future__ import annotations

from enum import IntEnum


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
