"""What a page looks like from afar: blank, or as if a code were printed on it that nobody can read.

Works on a coarse gray raster; decodes nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Gray = NDArray[np.uint8]

DPI = 100.0
"""Resolution of the coarse raster."""
_WINDOW = 140
"""Pixels: 36 mm. The smaller QR code on a sheet of ours has 46 mm; a round seal of 36 mm, which is
as dense in its middle, leaves the corners of such a square white."""
_STEP = 12
_GRAY = 0.35
"""Share of an area that may be neither ink nor paper: photographs have more, print has edges."""
LEAST_CONTRAST = 60.0
_INK = 40.0
_SPECKS = 0.00005
"""Share of a page that may be dark after single specks are gone: about 3 square millimetres of A4.
A page's number is more."""


def coarse(gray: Gray, dpi: float) -> Gray:
    """The page at `DPI`."""
    factor = DPI / dpi
    size = max(1, round(gray.shape[1] * factor)), max(1, round(gray.shape[0] * factor))
    return np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BOX))


def dark(page: Gray) -> NDArray[np.bool_] | None:
    """A coarse page in black and white, halfway between its ink and its paper; `None` when it has
    no contrast."""
    low, high = _ink_and_paper(page)
    if high - low < LEAST_CONTRAST:
        return None
    black: NDArray[np.bool_] = page < (low + high) / 2
    return black


def _ink_and_paper(page: Gray) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(page[::3, ::3], (0.5, 90)))
    return low, high


def coded(page: Gray, black: NDArray[np.bool_]) -> bool:
    """Whether an area looks like a printed code of squares: about half of it black, in pieces
    thicker than letters, changing often in both directions, and hardly anything gray.

    `black` is `dark(page)`, from which may be missing what is known already.
    """
    if min(black.shape) < 2 * _WINDOW or black.mean() > 0.5:
        return False
    low, high = _ink_and_paper(page)
    room = (high - low) / 5
    gray = (page > low + 1.5 * room) & (page < high - 1.5 * room)
    thick = _thick(black)
    share = _summed(thick) / _WINDOW**2
    across = _summed(thick[:, 1:] != thick[:, :-1]) / _WINDOW
    down = _summed(thick[1:] != thick[:-1]) / _WINDOW
    between = _summed(gray) / _WINDOW**2
    rows, columns = (min(a.shape[i] for a in (share, across, down)) for i in (0, 1))
    cut = (slice(rows), slice(columns))
    likely = (np.abs(share[cut] - 0.48) < 0.18) & (between[cut] < _GRAY)
    for changes in (across[cut], down[cut]):
        likely &= (changes >= 5) & (changes <= 26)
    return bool(likely.any())


def blank(page: Gray) -> bool:
    """Whether nothing is written on a coarse page: only specks, 8 mm at its edges left out."""
    edge = round(8 / 25.4 * DPI)
    inner = page[edge:-edge, edge:-edge] if min(page.shape) > 4 * edge else page
    paper = float(np.median(inner))
    if (np.abs(inner - paper) > _INK).mean() > 0.01:
        return False  # most pages; specks alone are never as much
    clean = np.asarray(Image.fromarray(inner).filter(ImageFilter.MedianFilter(3)))
    return bool((np.abs(clean - paper) > _INK).mean() < _SPECKS)


def _thick(black: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is at least three pixels (0.75 mm) thick: opened with a square of that side."""
    rows = black[:-2] & black[1:-1] & black[2:]
    core = np.pad(rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:], 2)
    rows = core[:-2] | core[1:-1] | core[2:]
    opened: NDArray[np.bool_] = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return opened


def _summed(what: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sums over squares, one every `_STEP` pixels."""
    sums = np.pad(np.cumsum(np.cumsum(what, axis=0, dtype=np.int32), axis=1), ((1, 0), (1, 0)))
    far, near = slice(_WINDOW, None, _STEP), slice(None, -_WINDOW, _STEP)
    squares = sums[far, far] - sums[near, far] - sums[far, near] + sums[near, near]
    return squares.astype(np.float64)
