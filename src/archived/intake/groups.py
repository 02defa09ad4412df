"""Which files are the pages of one document, told by their names alone.

Pure: received names in, groups out. Names are bytes and stay bytes; they are compared in NFC. Only
the last number before the extension counts, so that dates and box numbers before it do not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeVar

from archived.intake.problems import Problem
from archived.model.identity import composed, readable

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
        self.problem = Problem("sides-differ", f"{fronts} fronts, {backs} backs")
        super().__init__(self.problem.reason)


@dataclass(frozen=True, slots=True)
class Group:
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
    def problems(self) -> tuple[Problem, ...]:
        """What a person must look at before these pages may be one document."""
        told = {"pages-missing": self.gaps, "pages-duplicate": self.duplicates}
        return tuple(
            Problem(code, f'of "{readable(self.stem)}": {_first(numbers)}')
            for code, numbers in told.items()
            if numbers
        )


def group_pages(paths: Iterable[bytes]) -> list[Group]:
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


def _group(pages: list[tuple[int, bytes]]) -> Group:
    stem, _, _ = _taken_apart(pages[0][1])  # as received, of the first page
    numbers = [number for number, _ in pages]
    there = set(numbers)
    return Group(
        stem=stem,
        members=tuple(path for _, path in pages),
        first=numbers[0],
        gaps=tuple(islice((n for n in range(1, numbers[-1]) if n not in there), MOST_GAPS)),
        duplicates=tuple(sorted(n for n, times in Counter(numbers).items() if times > 1)),
    )
