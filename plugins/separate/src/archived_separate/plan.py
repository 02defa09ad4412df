"""The split plan as data: which pages separate, which documents follow, and what is suspicious.

Only its words; how it is made stands in `laying` and `covers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from archived.api import Message, Sheet

HELD_CODES: Mapping[str, str] = MappingProxyType(
    {
        "secrecy-above-declared": Message("Scan it into a hot folder declared for its level."),
        "sheet-invalid": Message("Print the sheet again and scan again with the new one."),
        "sheet-newer": Message("Update archived here, or print the sheets with this version."),
        "sheet-conflict": Message("Keep one kind of cover sheet per dossier, and scan again."),
        "separator-unread": Message(
            "Look at the page: if it is a separator sheet, print a new one and scan again; "
            'if it is none, set unread = "note" and retry.'
        ),
        "separators-missing": Message("Look for the missing sheets in the paper, and scan again."),
        "separators-out-of-order": Message("Put the paper in order and scan again."),
        "dossier-differs": Message(
            "Scan it into the folder of its dossier, or with the right cover."
        ),
        "sheets-missing": Message(
            "Count the paper; scan again, or with a cover sheet that counts right."
        ),
        "sheets-extra": Message(
            "Count the paper; scan again, or with a cover sheet that counts right."
        ),
        "sheets-uneven": Message(
            "Scan both sides of every sheet, or set sides to what was scanned."
        ),
        "segment-too-short": Message("Look at the separators; scan again, or lower min_pages."),
        "segment-too-long": Message(
            "Look for a lost separator; scan again, or raise max_pages_each."
        ),
        "only-separators": Message("Scan again with the documents."),
        "too-many-parts": Message("Scan in smaller batches, or raise max_parts."),
    }
)
"""Codes of suspicions -> what to do. The first that a plan has, in this order, gives its name to
the refusal."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen on one page. `codes`: kind and text of each bar code that was read. `unread`:
    why it looks like a separator all the same."""

    blank: bool = False
    codes: tuple[tuple[str, str], ...] = ()
    patches: tuple[str, ...] = ()
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the stage's options say about the plan, the dossier and level the document has."""

    patches: frozenset[str] = frozenset({"2", "3", "T"})
    payload: str = ""
    keep: bool = False
    sides: str = "one"
    every: int = 0
    blank_pages: bool = False
    min_pages: int = 1
    max_pages_each: int = 0
    max_parts: int = 500
    dossier: str = ""


@dataclass(frozen=True, slots=True)
class Separator:
    """A page that separates. `kind`: cover, sheet, code, patch or blank. `said`: what it says."""

    page: int
    kind: str
    said: str = ""
    cover: Sheet | None = None
    dossier: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """Pages (from 1, in order) that become one document. `separator`: the page that began it."""

    pages: tuple[int, ...]
    separator: int | None = None
    dossier: str = ""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something a person should see. `code`: a key of `HELD_CODES`."""

    code: str
    what: str
    page: int | None = None


@dataclass
class Plan:
    """The whole. `dropped`: pages that are in no part; with the segments' pages they are all pages.
    `sheets`: dossier -> (expected, found), `None` for what was not said or cannot be counted."""

    pages: int
    separators: list[Separator] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    suspicions: list[Suspicion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sheets: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    secrecy: str = ""
    """The highest level that a cover sheet says."""

    def suspect(self, code: str, what: str, page: int | None = None) -> None:
        """Add a suspicion."""
        self.suspicions.append(Suspicion(code, what, page))
