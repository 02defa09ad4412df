"""Finds patch codes: four parallel bars, wide or narrow, as scanner makers print them.

Works on one page in black and white and knows nothing of documents. The bars (0.20 and 0.08 inch
wide, 0.08 inch apart, 0.80 inch in all, at least 2 inches long) are looked for along many lines
across the page; what neighbouring lines agree on is a patch code.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PATTERNS = {"1100": "1", "1001": "2", "1010": "3", "0110": "4", "0011": "6", "0101": "T"}
"""Bars from the leading edge on, 1 is wide -> the patch code's name."""
UPSIDE_DOWN = {"1": "6", "6": "1", "3": "T", "T": "3", "2": "2", "4": "4"}

DPI = 100.0
"""Resolution of the search; a narrow bar is 8 pixels."""
_STEP = 5
"""Pixels from one line of the search to the next."""
_BAR = 11
"""Pixels. A wide bar is 20; thin printing and a smaller scale leave it at least this."""
_QUIET = 14
"""Pixels of white before the first bar and after the last."""
_LEAST_LENGTH = 1.2
"""Inches over which lines must agree. Bars are printed 2 inches long and more."""
_AGREEING = 0.7
"""Share of the lines in between that must agree."""
_STEEPEST = 0.12
"""Tangent of the greatest skew: about 7 degrees."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch code on a page. `name`: as read from the top (or the left) edge. `length`: inches.
    `place`: its rows and columns."""

    name: str
    length: float
    place: tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class _Hit:
    line: int
    middle: float
    unit: float
    name: str


def find(black: NDArray[np.bool_]) -> list[Patch]:
    """Every patch code on a page in black and white at `DPI`, whichever way it lies."""
    upright = _along_columns(black)
    lying = [Patch(p.name, p.length, (p.place[1], p.place[0])) for p in _along_columns(black.T)]
    return upright + lying


def _along_columns(dark: NDArray[np.bool_]) -> list[Patch]:
    hits: list[_Hit] = []
    # Most pages hold no bar as wide as a patch code's; their lines need no closer look.
    sums = np.cumsum(dark, axis=0, dtype=np.int32)
    wide = np.max(sums[_BAR:] - sums[:-_BAR], axis=0, initial=0) >= _BAR - 1
    for column in (int(c) for c in range(0, dark.shape[1], _STEP) if wide[c]):
        # Three pixels vote, so that a hair or a scratch along the line does not matter.
        votes = dark[:, max(0, column - 2) : column + 3 : 2].sum(axis=1)
        hits += _on_line(votes >= 2, column)
    return _agreed(hits)


def _on_line(line: NDArray[np.bool_], number: int) -> list[_Hit]:
    changes = np.flatnonzero(line[1:] != line[:-1]) + 1
    edges = _without_specks(np.concatenate(([0], changes, [line.size])), bool(line[0]))
    runs = np.diff(edges[1])
    first = 0 if edges[0] else 1
    found = []
    for start in range(first, len(runs) - 6, 2):
        # White that ends at the paper's edge may be as narrow as it likes.
        before, after = (start - 1, start + 7)
        if any(0 < at < len(runs) - 1 and runs[at] < _QUIET for at in (before, after)):
            continue  # a piece of something that goes on, such as a bar code
        name = _name(runs[start : start + 7])
        if name:
            top, bottom = edges[1][start], edges[1][start + 7]
            found.append(_Hit(number, (top + bottom) / 2, (bottom - top) / 10, name))
    return found


def _without_specks(edges: NDArray[np.int64], dark: bool) -> tuple[bool, NDArray[np.int64]]:
    """Edges of runs, those of one pixel joined to what is around them; and the first's colour."""
    kept = [int(edges[0])]
    for left, right in pairwise(edges):
        if right - left <= 1 and len(kept) > 1:
            kept.pop()
        else:
            kept.append(int(right))
    return dark, np.array(kept)


def _name(runs: NDArray[np.int64]) -> str:
    """Which patch code seven runs, bar first, are; empty for none.

    Ink spreads and scanners thin: what bars gain, spaces lose. Hence bars are compared with bars,
    and what is expected of their widths is expected of their mean and difference.
    """
    total = float(runs.sum())
    if not 0.5 * DPI <= total <= 1.3 * DPI:
        return ""
    unit = total / 10
    bars, spaces = runs[::2].astype(float), runs[1::2].astype(float)
    if spaces.min() < 0.4 * unit or spaces.max() > 1.7 * unit:
        return ""
    order = np.sort(bars)
    narrow, wide = order[:2], order[2:]
    if (
        narrow[0] < 0.4 * unit
        or narrow[1] - narrow[0] > 0.6 * unit
        or wide[1] - wide[0] > 0.9 * unit
    ):
        return ""
    apart = wide.mean() - narrow.mean()
    if not (0.9 * unit <= apart <= 2.1 * unit and wide[0] - narrow[1] >= 0.6 * unit):
        return ""
    middle = (wide[0] + narrow[1]) / 2
    return PATTERNS.get("".join("1" if bar > middle else "0" for bar in bars), "")


def _agreed(hits: list[_Hit]) -> list[Patch]:
    """Chains of hits on neighbouring lines that say the same at about the same place."""
    chains: list[list[_Hit]] = []
    for hit in hits:
        for chain in reversed(chains):
            last = chain[-1]
            gap = hit.line - last.line
            if (
                last.name == hit.name
                and 0 < gap <= 8 * _STEP
                and abs(hit.middle - last.middle) <= 3 + _STEEPEST * gap
                and abs(hit.unit - last.unit) <= 0.2 * last.unit
            ):
                chain.append(hit)
                break
        else:
            chains.append([hit])
    return [
        Patch(chain[0].name, length, _place(chain))
        for chain in chains
        if (length := (chain[-1].line - chain[0].line) / DPI) >= _LEAST_LENGTH
        and len(chain) >= _AGREEING * ((chain[-1].line - chain[0].line) / _STEP + 1)
    ]


def _place(chain: list[_Hit]) -> tuple[slice, slice]:
    middles = [hit.middle for hit in chain]
    half = 5.5 * max(hit.unit for hit in chain)
    rows = slice(max(0, int(min(middles) - half)), int(max(middles) + half) + 1)
    return rows, slice(max(0, chain[0].line - 2 * _STEP), chain[-1].line + 2 * _STEP)
