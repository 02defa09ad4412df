"""Looks at every page once, and at pages in doubt again: what is seen there, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from archived_separate import codes, page_stats, patch
from archived_separate.options import SeparateOptions
from archived_separate.pages import Gray, Place, Rasters, Undrawable
from archived_separate.plan import Seen

LEAST_SIDE = 30.0
"""Millimetres. A damaged QR code smaller than this is one of the document's own."""
_LEAST_STRIPES = 80.0
_LARGEST = 120.0
_OTHER_DPI = (300.0, 120.0)


def view(
    rasters: Rasters,
    places: Sequence[Place],
    options: SeparateOptions,
    progress: Callable[[float], None],
) -> list[Seen]:
    """What is seen on each page, in order."""
    seen = []
    for number, place in enumerate(places):
        seen.append(_page(rasters, place, options))
        progress((number + 1) / len(places))
    return seen


def _page(rasters: Rasters, place: Place, options: SeparateOptions) -> Seen:
    try:
        gray, dpi = rasters.gray(place, float(options.dpi))
    except Undrawable as why:
        return Seen(unread=f"the page cannot be drawn ({why})")
    coarse = page_stats.coarse(gray, dpi)
    if page_stats.blank(coarse):
        return Seen(blank=True)
    found = codes.read(gray, dpi, options.codes)
    black = page_stats.dark(coarse)
    patches = patch.find(black) if black is not None and options.patches else []
    if black is not None:
        for known in patches:
            black[known.place] = False
    unread = "" if _whole(found) else _doubt(found, coarse, black, options)
    if unread:
        found = _again(rasters, place, options, found)
        unread = "" if _whole(found) else unread
    read = dict.fromkeys((code.kind, code.text) for code in found if not code.damaged)
    return Seen(
        codes=tuple(read), patches=tuple(dict.fromkeys(p.name for p in patches)), unread=unread
    )


def _whole(found: Sequence[codes.Code]) -> bool:
    """Whether a large code was read: then the page's texture is explained."""
    return any(not c.damaged and c.kind == "qr" and c.size >= LEAST_SIDE for c in found)


def _doubt(
    found: Sequence[codes.Code],
    coarse: Gray,
    black: NDArray[np.bool_] | None,
    options: SeparateOptions,
) -> str:
    """Why a page may be a separator that was not read; empty when there is no reason."""
    if not options.codes:
        return ""
    for code in found:
        if code.damaged and code.text.startswith("ARCHIVED:"):
            return "a code like those of cover sheets is damaged"
        if code.damaged and code.square and LEAST_SIDE <= code.size <= _LARGEST:
            return f"a QR code of {code.size:.0f} mm is damaged"
        if code.damaged and code.kind != "qr" and options.payload and code.size >= _LEAST_STRIPES:
            return f"a bar code of {code.size:.0f} mm is damaged"
    if black is not None and "qr" in options.codes and page_stats.coded(coarse, black):
        return "an area looks like a large QR code, and nothing can be read there"
    return ""


def _again(
    rasters: Rasters, place: Place, options: SeparateOptions, found: Sequence[codes.Code]
) -> list[codes.Code]:
    """Everything read at other resolutions, and with one threshold for the page, added."""
    more = list(found)
    for dpi in _OTHER_DPI:
        gray, real = rasters.gray(place, dpi)
        for whole in (False, True):
            more += codes.read(gray, real, options.codes, whole=whole)
            if _whole(more):
                return more
    return more
