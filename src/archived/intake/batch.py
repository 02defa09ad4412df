"""Which files in a hot folder belong together. Pure: names and numbers in, batches out.

What becomes of a batch is decided by `closing`; both know nothing of what is in the files, but for
what a ticket says.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from archived.intake.groups import Group, group_pages
from archived.intake.tickets import (
    FORMATS,
    Listed,
)
from archived.model.identity import composed

Closing = Literal["ticket", "mark", "quiet"]
MARK = b".done"
"""A file of this name closes its folder; one that ends with it, the pages called like it."""
TICKET = b"ticket"
"""A ticket's name, before the ending that says its format."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a hot folder's files belong together. Times in seconds."""

    dossiers: bool = False
    """Each folder at `depth` is one dossier."""
    closed_by: frozenset[Closing] = frozenset({"ticket", "mark", "quiet"})
    numbered: bool = False
    """Files that differ in their last number only are the pages of one document."""
    two_pass: bool = False
    """A document of fronts is followed, from the same device, by one of backs."""
    quiet: float = 120.0
    """A batch that nothing was added to for so long is closed."""
    deadline: float = 900.0
    """What is still missing after so long will not come."""
    other_side: float = 1800.0
    """How long fronts wait for their backs."""
    depth: int = 1
    secrecy: str = ""

    def __bool__(self) -> bool:
        return self.dossiers or self.numbered or self.two_pass


@dataclass(frozen=True, slots=True)
class Lying:
    """A file that is there and not taken in. `still`: seconds for which it has not changed."""

    path: bytes
    arrival: int
    size: int
    still: float
    ready: bool
    """It could be taken in by itself now."""
    device: str = ""
    written: int = 0
    """When it was last written, by its own time (nanoseconds): orders what was seen at once."""
    seen: int = 0
    """When it was first seen, by our clock (nanoseconds)."""
    held: tuple[str, str] | None = None
    """(code, reason) with which it would be taken in."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One document to be, by its files' paths; `listed` is what a ticket says of each."""

    files: tuple[bytes, ...]
    name: bytes
    held: tuple[str, str] | None = None
    collation: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    listed: tuple[Listed, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that are decided on together. `folder`: of a dossier, as its first file has it: the
    accents of the others' may be typed in another way.
    """

    files: tuple[Lying, ...]
    folder: bytes | None = None
    tickets: tuple[Lying, ...] = ()
    marks: tuple[Lying, ...] = ()

    @property
    def everything(self) -> tuple[Lying, ...]:
        """Files, tickets and marks."""
        return (*self.files, *self.tickets, *self.marks)

    @property
    def still(self) -> float:
        """Seconds for which none of them has changed."""
        return min((each.still for each in self.everything), default=0.0)


@dataclass(frozen=True, slots=True)
class Waits:
    """Not all of it is there, or some of it is still arriving."""


@dataclass(frozen=True, slots=True)
class Holds:
    """It cannot be taken in as it is; every file of it stays where it is."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Passes:
    """Marks, and nothing that they could close."""


@dataclass(frozen=True, slots=True)
class Closes:
    """It is whole: these documents are taken in together. `companions` go with the first."""

    units: tuple[Unit, ...]
    dossier: str = ""
    companions: tuple[bytes, ...] = ()


Decision = Waits | Holds | Passes | Closes


def is_companion(path: bytes, rules: Rules) -> bool:
    """Whether a file says something about others: a ticket or a mark, where such are looked for."""
    return _is_mark(path, rules) or _is_ticket(path, rules)


def ticket_format(path: bytes) -> str:
    """`json`, `csv` or `xml`, by a ticket's name."""
    return os.fsdecode(path.rpartition(b".")[2].lower())


def sort(files: Iterable[Lying], rules: Rules) -> list[Batch]:
    """Put every file into a batch, those that came first in front."""
    dossiers: dict[bytes, tuple[bytes, list[Lying]]] = {}
    loose: list[Lying] = []
    for file in sorted(files, key=lambda each: each.arrival):
        folder = _dossier(file.path, rules)
        if folder is None:
            loose.append(file)
        else:
            dossiers.setdefault(composed(folder), (folder, []))[1].append(file)
    batches = [_batch(found, rules, folder) for folder, found in dossiers.values()]
    return batches + list(_loose(loose, rules))


# Sorting -----------------------------------------------------------------------------------------


def _is_mark(path: bytes, rules: Rules) -> bool:
    return "mark" in rules.closed_by and bool(rules) and path.lower().endswith(MARK)


def _is_ticket(path: bytes, rules: Rules) -> bool:
    folder, _, name = path.rpartition(b"/")
    stem, dot, _ = name.lower().rpartition(b".")
    return (
        "ticket" in rules.closed_by and stem + dot == TICKET + b"."
        and ticket_format(path) in FORMATS and folder == _dossier(path, rules)
    )  # fmt: skip


def _dossier(path: bytes, rules: Rules) -> bytes | None:
    parts = path.split(b"/")
    if not rules.dossiers or len(parts) <= rules.depth:
        return None
    return b"/".join(parts[: rules.depth])


def _batch(files: Iterable[Lying], rules: Rules, folder: bytes | None = None) -> Batch:
    tickets: list[Lying] = []
    marks: list[Lying] = []
    rest: list[Lying] = []
    for file in files:
        is_ticket, is_mark = _is_ticket(file.path, rules), _is_mark(file.path, rules)
        (tickets if is_ticket else marks if is_mark else rest).append(file)
    return Batch(tuple(rest), folder, tuple(tickets), tuple(marks))


def _loose(files: Sequence[Lying], rules: Rules) -> Iterator[Batch]:
    """Files outside of dossiers: by device where sides are collated, else by what they are of."""
    if rules.two_pass:
        by_device: dict[str, list[Lying]] = {}
        for file in files:
            by_device.setdefault(file.device, []).append(file)
        yield from (_batch(found, rules) for found in by_device.values())
        return
    by_folder: dict[bytes, list[Lying]] = {}
    for file in files:
        by_folder.setdefault(composed(file.path.rpartition(b"/")[0]), []).append(file)
    for found in by_folder.values():
        batch = _batch(found, rules)
        general = [m for m in batch.marks if m.path.rpartition(b"/")[2].lower() == MARK]
        if general:
            yield batch  # it closes whatever is in its folder
        else:
            yield from _by_stem(batch, rules)


def _by_stem(batch: Batch, rules: Rules) -> Iterator[Batch]:
    marks: dict[bytes, tuple[Lying, ...]] = {}
    for mark in batch.marks:
        stem = composed(bare(mark.path[: -len(MARK)]))
        marks[stem] = (*marks.get(stem, ()), mark)
    of = by_path(batch.files)
    for group in groups_of(batch.files, rules):
        files = tuple(of[path] for path in group.members)
        yield Batch(files, marks=marks.pop(composed(bare(group.stem)), ()))
    for alone in marks.values():
        yield Batch((), marks=alone)


def groups_of(files: Sequence[Lying], rules: Rules) -> list[Group]:
    """The documents that loose files make by their names."""
    paths = [file.path for file in files]
    return group_pages(paths) if rules.numbered else [Group(path, (path,)) for path in paths]


def by_path(files: Iterable[Lying]) -> dict[bytes, Lying]:
    """The files under their paths: made once for a batch, which may hold thousands."""
    return {file.path: file for file in files}


def bare(stem: bytes) -> bytes:
    """A stem without what only leads up to a number; never empty."""
    folder, slash, name = stem.rpartition(b"/")
    return (folder + slash + name.rstrip(b" -_.(#")) or stem
