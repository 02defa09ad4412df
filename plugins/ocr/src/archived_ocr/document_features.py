"""What a PDF holds beside its pages: outline, page labels, named places, descriptions, notes.

The access copy keeps it where PDF/A allows, and what it lacks is said by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pikepdf

_DESCRIBED = ("/Title", "/Author", "/Subject", "/Keywords")
_NO_NOTES = {"/Link", "/Popup", "/Widget", "/PrinterMark", "/TrapNet"}
KEPT_ROOT = {
    "/Type",
    "/Pages",
    "/Outlines",
    "/PageLabels",
    "/Names",
    "/Dests",
    "/Metadata",
    "/Lang",
    "/PageMode",
    "/PageLayout",
}
"""What the catalog of a scan's copy keeps; scanners leave much else that nobody asked for."""
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Features:
    """Counts of what a PDF holds beside its pages. `notes`: their texts."""

    outline: int = 0
    page_labels: bool = False
    destinations: int = 0
    described: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def lost(self, after: Features) -> list[str]:
        """What `after` has not of these, in words."""
        told = []
        if after.outline < self.outline:
            told.append(f"{self.outline - after.outline} bookmark(s)")
        if self.page_labels and not after.page_labels:
            told.append("page labels")
        if after.destinations < self.destinations:
            told.append(f"{self.destinations - after.destinations} named place(s)")
        missing = sorted(k.strip("/").lower() for k in self.described - after.described)
        if missing:
            told.append(f"the description's {', '.join(missing)}")
        return told


def of(path: Path) -> Features:
    """The features of the PDF at `path`."""
    with pikepdf.open(path) as pdf:
        root = pdf.Root
        return Features(
            outline=_outline(root.get("/Outlines")),
            page_labels="/PageLabels" in root,
            destinations=_destinations(root),
            described=frozenset(k for k in _DESCRIBED if str(pdf.docinfo.get(k, "")).strip()),
            notes=tuple(_notes(pdf)),
        )


def only_pages_and_features(pdf: pikepdf.Pdf) -> None:
    """Leave nothing in the catalog of `pdf` but what `KEPT_ROOT` names."""
    for key in list(pdf.Root.keys()):
        if key not in KEPT_ROOT:
            del pdf.Root[key]
    names = pdf.Root.get("/Names")
    if isinstance(names, pikepdf.Dictionary):
        for key in list(names.keys()):
            if key != "/Dests":
                del names[key]
        if not names.keys():
            del pdf.Root["/Names"]


def _outline(top: object) -> int:
    count = 0
    todo = [top.get("/First")] if isinstance(top, pikepdf.Dictionary) else []
    seen: set[tuple[int, int]] = set()
    while todo and count < _MOST:
        item = todo.pop()
        if not isinstance(item, pikepdf.Dictionary) or item.objgen in seen:
            continue
        seen.add(item.objgen)
        count += 1
        todo += [item.get("/First"), item.get("/Next")]
    return count


def _destinations(root: Any) -> int:
    count = 0
    old = root.get("/Dests")
    if isinstance(old, pikepdf.Dictionary):
        count += len(old.keys())
    names = root.get("/Names")
    todo = [names.get("/Dests")] if isinstance(names, pikepdf.Dictionary) else []
    steps = 0
    while todo and steps < _MOST:
        steps += 1
        node = todo.pop()
        if not isinstance(node, pikepdf.Dictionary):
            continue
        leaves = node.get("/Names")
        count += len(leaves) // 2 if isinstance(leaves, pikepdf.Array) else 0
        kids = node.get("/Kids")
        todo += list(kids) if isinstance(kids, pikepdf.Array) else []
    return count


def _notes(pdf: pikepdf.Pdf) -> Iterator[str]:
    for page in pdf.pages:
        annotations = page.obj.get("/Annots")
        if not isinstance(annotations, pikepdf.Array):
            continue
        for item in annotations:
            if isinstance(item, pikepdf.Dictionary) and str(item.get("/Subtype")) not in _NO_NOTES:
                yield " ".join(str(item.get("/Contents", "")).split())[:200]
