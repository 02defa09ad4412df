"""What PDF/A asks of notes and popups, and what programs leave out: a drawing, a place, a flag.

A note without a drawing of its own is shown by every reader as a small sheet; the copy gets one.
"""

from __future__ import annotations

from typing import Any

import pikepdf

_SIDE = 18
_SHEET = b"""1 0.93 0.55 rg 0.35 0.3 0.1 RG 0.8 w 1.5 1.5 15 15 re B
4 12.5 m 14 12.5 l 4 9 m 14 9 l 4 5.5 m 11 5.5 l S"""
_PRINT, _NO_ZOOM, _NO_ROTATE = 4, 8, 16
_NOT_SHOWN = 1 | 2 | 32
"""Invisible, hidden, no view: such a note is told by its text, and never made visible."""


def complete(pdf: pikepdf.Pdf) -> bool:
    """Give notes of `pdf` what they lack. Whether anything was changed."""
    changed = False
    for page in pdf.pages:
        notes = page.obj.get("/Annots")
        for note in notes if isinstance(notes, pikepdf.Array) else ():
            if not isinstance(note, pikepdf.Dictionary):
                continue
            kind = str(note.get("/Subtype"))
            if kind == "/Text":
                changed |= _draw(pdf, note)
            elif kind == "/Popup" and "/Rect" not in note:
                note.Rect = pikepdf.Array([0, 0, 0, 0])
                changed = True
    return changed


def _draw(pdf: pikepdf.Pdf, note: pikepdf.Dictionary) -> bool:
    flags, place = _number(note.get("/F", 0)), note.get("/Rect")
    known = isinstance(place, pikepdf.Array) and len(place) == 4
    if "/AP" in note or flags & _NOT_SHOWN or not known:
        return False
    left, bottom, right, top = (float(v) for v in pikepdf.Array(place))
    if min(abs(right - left), abs(top - bottom)) < _SIDE / 2:
        left, top = min(left, right), max(bottom, top)
        note.Rect = pikepdf.Array([left, top - _SIDE, left + _SIDE, top])
    drawing = pdf.make_stream(
        _SHEET,
        Type=pikepdf.Name.XObject,
        Subtype=pikepdf.Name.Form,
        BBox=[0, 0, _SIDE, _SIDE],
        Resources=pikepdf.Dictionary(),
    )
    note.AP = pikepdf.Dictionary(N=drawing)
    note.F = flags | _PRINT | _NO_ZOOM | _NO_ROTATE
    return True


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
