"""How a table is laid out in the columns of a terminal. Pure: cells and room in, lines out.

Nothing is cut off, and nothing that is one word (an id, a code, a name) is broken while it fits a
line of its own: where the columns do not fit, one of them moves to lines of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

GAP = 2
"""Columns between two columns of a table."""

_INDENT = 2
"""How far a cell that has lines of its own stands in."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: pieces of text, each with the cell it comes from, and where it begins."""

    pieces: Sequence[tuple[int, int, str]]
    """(column on the terminal, index of the cell, text)."""


def width(text: str) -> int:
    """Columns that a text takes."""
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, room: int) -> list[str]:
    """Lines of at most `room` columns, broken between words; a longer word is broken as it must.

    Spaces inside a line stay as they are.
    """
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width(longer) <= room:
            line = longer
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, room)
        lines += full
    return [*lines, line]


def _pieces(word: str, room: int) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and width(pieces[-1] + letter) > room:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def laid_out(
    rows: Sequence[Sequence[str]], room: int, *, flexible: Collection[int], right: Collection[int],
    apart: int | None,
) -> Iterator[Sequence[Line]]:  # fmt: skip
    """The lines of each row. Cells of `flexible` columns may be wrapped between words; the column
    `apart` has lines of its own when there is no room otherwise.
    """
    columns = list(zip(*rows, strict=True))
    wide = _widths(columns, room, flexible)
    if sum(wide) + GAP * (len(wide) - 1) <= room or apart is None or len(columns) == 1:
        for row in rows:
            yield _beside(row, range(len(row)), _forced(wide, room), right)
        return
    beside = [index for index in range(len(columns)) if index != apart]
    rest = _widths([columns[i] for i in beside], room, {beside.index(i) for i in flexible
                                                        if i != apart})  # fmt: skip
    for row in rows:
        own = [
            Line([(_INDENT if apart else 0, apart, piece)])
            for piece in wrapped(row[apart], room - (_INDENT if apart else 0))
        ]
        others = _beside(row, beside, _forced(rest, room), right)
        yield [*others, *own] if apart else [*own, *others]


def _widths(columns: Sequence[Sequence[str]], room: int, flexible: Collection[int]) -> list[int]:
    """How wide each column is: the widest of those that may be wrapped give way first, none beyond
    its longest word.
    """
    wide = [max(map(width, cells)) for cells in columns]
    least = [
        max(width(word) for cell in cells for word in cell.split(" ")) if index in flexible else
        wide[index]
        for index, cells in enumerate(columns)
    ]  # fmt: skip
    while sum(wide) + GAP * (len(wide) - 1) > room:
        spare = [now if now > low else 0 for now, low in zip(wide, least, strict=True)]
        if not any(spare):
            break
        wide[spare.index(max(spare))] -= 1
    return wide


def _forced(wide: list[int], room: int) -> list[int]:
    """The same in so much room, whatever has to be broken for it."""
    wide = list(wide)
    while sum(wide) + GAP * (len(wide) - 1) > room and max(wide) > 1:
        wide[wide.index(max(wide))] -= 1
    return wide


def _beside(
    row: Sequence[str], indexes: Sequence[int], wide: Sequence[int], right: Collection[int]
) -> list[Line]:
    cells = [wrapped(row[index], room) for index, room in zip(indexes, wide, strict=True)]
    lines = []
    for number in range(max(map(len, cells))):
        pieces, start = [], 0
        for index, room, parts in zip(indexes, wide, cells, strict=True):
            text = parts[number] if number < len(parts) else ""
            at = start + (room - width(text) if index in right else 0)
            if text:
                pieces.append((at, index, text))
            start += room + GAP
        lines.append(Line(pieces))
    return lines
