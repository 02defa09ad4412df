"""Which files in a hot folder belong together, told by names and numbers. Pure.

Names are bytes and are compared in NFC. Pages of one document differ only in the last number
before the extension, so dates and box numbers before it do not count. What becomes of a batch is
decided in `ingest.batch_rules`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Literal, TypeVar

from archived.ingest.hold_reasons import BatchProblem
from archived.ingest.tickets import FORMATS, ListedFile
from archived.message import Message
from archived.model.ids import composed, readable

Page = TypeVar("Page")

MOST_PAGES = 99_999
"""A greater number is a date or a time, not a page."""
MOST_GAPS = 100
"""Numbers left out that are listed; made-up names must not fill the memory with them."""

_EXTENSION = re.compile(rb"\.[A-Za-z][A-Za-z0-9]{0,7}\Z")
# stem, number, and what closes it: "scan (4)" ends with a bracket.
_NUMBERED = re.compile(rb"(?s)(.*?)(?<![0-9])([0-9]{1,9})([\s)\]}_-]*)")


class SidesDiffer(Exception):
    """There are not as many fronts as backs. Carries the `problem`."""

    def __init__(self, fronts: int, backs: int) -> None:
        self.problem = BatchProblem(
            "sides-differ", Message("{fronts} fronts, {backs} backs", fronts=fronts, backs=backs)
        )
        super().__init__(self.problem.reason)


@dataclass(frozen=True, slots=True)
class PageGroup:
    """Files that differ in their last number only, as pages of one document.

    `stem`: what stands before the number, with the folder; the whole name when it has none.
    `members`: in page order. `first`: the first page's number, -1 when its name has none. `gaps`:
    numbers that are left out, from 1 on, the first
    `MOST_GAPS` of them. `duplicates`: numbers that more than one file has.
    """

    stem: bytes
    members: tuple[bytes, ...]
    first: int = -1
    gaps: tuple[int, ...] = ()
    duplicates: tuple[int, ...] = ()

    @property
    def problems(self) -> tuple[BatchProblem, ...]:
        """What a person must look at before these pages may be one document."""
        told = {"pages-missing": self.gaps, "pages-duplicate": self.duplicates}
        return tuple(
            BatchProblem(
                code,
                Message(
                    'of "{readable}": {first}', readable=readable(self.stem), first=_first(numbers)
                ),
            )
            for code, numbers in told.items()
            if numbers
        )


def group_pages(paths: Iterable[bytes]) -> list[PageGroup]:
    """Put pages together, each document at the place where its first file came.

    Files belong together when folder, stem and what closes the number are the same, however their
    accents are typed; padding and extension may differ. A name without a number is a group of one.
    A first page has the number 0 or 1: a group that begins later has a gap at its beginning, also
    when it has one member only.
    """
    grouped: dict[tuple[bytes, bytes], list[tuple[int, bytes]]] = {}
    for path in dict.fromkeys(paths):
        stem, number, closing = _taken_apart(path)
        grouped.setdefault((composed(stem), closing), []).append((number, path))
    return [_group(sorted(pages)) for pages in grouped.values()]


def interleave(fronts: Sequence[Page], backs: Sequence[Page]) -> tuple[Page, ...]:
    """The pages of sheets that were scanned in two passes, in reading order.

    The stack is turned over between the passes: `backs` begin with the last sheet. Raises
    `SidesDiffer` when the numbers differ; then nobody can tell which back belongs to which front.
    """
    if len(fronts) != len(backs):
        raise SidesDiffer(len(fronts), len(backs))
    return tuple(chain.from_iterable(zip(fronts, reversed(backs), strict=True)))


def _first(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", and more" if len(numbers) > 8 else "")


def _taken_apart(path: bytes) -> tuple[bytes, int, bytes]:
    """(folder and stem, number, what closes it); the whole path and -1 without a page number."""
    folder, slash, name = path.rpartition(b"/")
    match = _NUMBERED.fullmatch(_EXTENSION.sub(b"", name))
    if match is None or int(match[2]) > MOST_PAGES:
        # A slash at its end keeps it apart from the stem of any other file.
        return path, -1, b"/"
    return folder + slash + match[1], int(match[2]), match[3].strip()


def _group(pages: list[tuple[int, bytes]]) -> PageGroup:
    stem, _, _ = _taken_apart(pages[0][1])  # as received, of the first page
    numbers = [number for number, _ in pages]
    there = set(numbers)
    return PageGroup(
        stem=stem,
        members=tuple(path for _, path in pages),
        first=numbers[0],
        gaps=tuple(islice((n for n in range(1, numbers[-1]) if n not in there), MOST_GAPS)),
        duplicates=tuple(sorted(n for n, times in Counter(numbers).items() if times > 1)),
    )


Closing = Literal["ticket", "mark", "settled"]
MARK = b".done"
"""A file of this name closes its folder; one that ends with it, the pages called like it."""
TICKET = b"ticket"
"""A ticket's name, before the ending that says its format."""


@dataclass(frozen=True, slots=True)
class BatchRules:
    """How a hot folder's files belong together. Times in seconds."""

    dossiers: bool = False
    """Each folder at `depth` is one dossier."""
    closed_by: frozenset[Closing] = frozenset({"ticket", "mark", "settled"})
    numbered: bool = False
    """Files that differ in their last number only are the pages of one document."""
    two_pass: bool = False
    """A document of fronts is followed, from the same device, by one of backs."""
    settle_time: float = 120.0
    """A batch that nothing was added to for so long is closed."""
    deadline: float = 900.0
    """What is still missing after so long will not come."""
    back_side_wait: float = 1800.0
    """How long fronts wait for their backs."""
    depth: int = 1
    secrecy: str = ""

    def __bool__(self) -> bool:
        return self.dossiers or self.numbered or self.two_pass


@dataclass(frozen=True, slots=True)
class BatchFile:
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
class PlannedDocument:
    """One document to be, by its files' paths; `listed` is what a ticket says of each."""

    files: tuple[bytes, ...]
    name: bytes
    held: tuple[str, str] | None = None
    collation: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    listed: tuple[ListedFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that are decided on together. `folder`: of a dossier, as its first file has it: the
    accents of the others' may be typed in another way.
    """

    files: tuple[BatchFile, ...]
    folder: bytes | None = None
    tickets: tuple[BatchFile, ...] = ()
    marks: tuple[BatchFile, ...] = ()

    @property
    def everything(self) -> tuple[BatchFile, ...]:
        """Files, tickets and marks."""
        return (*self.files, *self.tickets, *self.marks)

    @property
    def still(self) -> float:
        """Seconds for which none of them has changed."""
        return min((each.still for each in self.everything), default=0.0)


@dataclass(frozen=True, slots=True)
class BatchWaits:
    """Not all of it is there, or some of it is still arriving."""


@dataclass(frozen=True, slots=True)
class BatchHeld:
    """It cannot be taken in as it is; every file of it stays where it is."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class BatchPassed:
    """Marks, and nothing that they could close."""


@dataclass(frozen=True, slots=True)
class BatchClosed:
    """It is whole: these documents are taken in together. `companions` go with the first."""

    units: tuple[PlannedDocument, ...]
    dossier: str = ""
    companions: tuple[bytes, ...] = ()


BatchDecision = BatchWaits | BatchHeld | BatchPassed | BatchClosed


def is_companion(path: bytes, rules: BatchRules) -> bool:
    """Whether a file says something about others: a ticket or a mark, where such are looked for."""
    return _is_mark(path, rules) or _is_ticket(path, rules)


def ticket_format(path: bytes) -> str:
    """`json`, `csv` or `xml`, by a ticket's name."""
    return os.fsdecode(path.rpartition(b".")[2].lower())


def sort(files: Iterable[BatchFile], rules: BatchRules) -> list[Batch]:
    """Put every file into a batch, those that came first in front."""
    dossiers: dict[bytes, tuple[bytes, list[BatchFile]]] = {}
    loose: list[BatchFile] = []
    for file in sorted(files, key=lambda each: each.arrival):
        folder = _dossier(file.path, rules)
        if folder is None:
            loose.append(file)
        else:
            dossiers.setdefault(composed(folder), (folder, []))[1].append(file)
    batches = [_batch(found, rules, folder) for folder, found in dossiers.values()]
    return batches + list(_loose(loose, rules))


# Sorting -----------------------------------------------------------------------------------------


def _is_mark(path: bytes, rules: BatchRules) -> bool:
    return "mark" in rules.closed_by and bool(rules) and path.lower().endswith(MARK)


def _is_ticket(path: bytes, rules: BatchRules) -> bool:
    folder, _, name = path.rpartition(b"/")
    stem, dot, _ = name.lower().rpartition(b".")
    return (
        "ticket" in rules.closed_by
        and stem + dot == TICKET + b"."
        and ticket_format(path) in FORMATS
        and folder == _dossier(path, rules)
    )


def _dossier(path: bytes, rules: BatchRules) -> bytes | None:
    parts = path.split(b"/")
    if not rules.dossiers or len(parts) <= rules.depth:
        return None
    return b"/".join(parts[: rules.depth])


def _batch(files: Iterable[BatchFile], rules: BatchRules, folder: bytes | None = None) -> Batch:
    tickets: list[BatchFile] = []
    marks: list[BatchFile] = []
    rest: list[BatchFile] = []
    for file in files:
        is_ticket, is_mark = _is_ticket(file.path, rules), _is_mark(file.path, rules)
        (tickets if is_ticket else marks if is_mark else rest).append(file)
    return Batch(tuple(rest), folder, tuple(tickets), tuple(marks))


def _loose(files: Sequence[BatchFile], rules: BatchRules) -> Iterator[Batch]:
    """Files outside of dossiers: by device where sides are collated, else by what they are of."""
    if rules.two_pass:
        by_device: dict[str, list[BatchFile]] = {}
        for file in files:
            by_device.setdefault(file.device, []).append(file)
        yield from (_batch(found, rules) for found in by_device.values())
        return
    by_folder: dict[bytes, list[BatchFile]] = {}
    for file in files:
        by_folder.setdefault(composed(file.path.rpartition(b"/")[0]), []).append(file)
    for found in by_folder.values():
        batch = _batch(found, rules)
        general = [m for m in batch.marks if m.path.rpartition(b"/")[2].lower() == MARK]
        if general:
            yield batch  # it closes whatever is in its folder
        else:
            yield from _by_stem(batch, rules)


def _by_stem(batch: Batch, rules: BatchRules) -> Iterator[Batch]:
    marks: dict[bytes, tuple[BatchFile, ...]] = {}
    for mark in batch.marks:
        stem = composed(bare(mark.path[: -len(MARK)]))
        marks[stem] = (*marks.get(stem, ()), mark)
    of = by_path(batch.files)
    for group in groups_of(batch.files, rules):
        files = tuple(of[path] for path in group.members)
        yield Batch(files, marks=marks.pop(composed(bare(group.stem)), ()))
    for alone in marks.values():
        yield Batch((), marks=alone)


def groups_of(files: Sequence[BatchFile], rules: BatchRules) -> list[PageGroup]:
    """The documents that loose files make by their names."""
    paths = [file.path for file in files]
    return group_pages(paths) if rules.numbered else [PageGroup(path, (path,)) for path in paths]


def by_path(files: Iterable[BatchFile]) -> dict[bytes, BatchFile]:
    """The files under their paths: made once for a batch, which may hold thousands."""
    return {file.path: file for file in files}


def bare(stem: bytes) -> bytes:
    """A stem without what only leads up to a number; never empty."""
    folder, slash, name = stem.rpartition(b"/")
    return (folder + slash + name.rstrip(b" -_.(#")) or stem
