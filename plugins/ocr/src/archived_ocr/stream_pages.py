"""On which page of a PDF a stream is used, so that what is wrong with it can be looked up on paper.

Page numbers count from 1 here: they are for people.
"""

from __future__ import annotations

from typing import Any

import pikepdf

_MOST = 20_000
"""Objects of one page that are looked at."""
_ABOVE = frozenset({"/Parent", "/P", "/Dest", "/StructParents", "/B"})
"""Keys that lead away from a page."""


def page_of_stream(pdf: pikepdf.Pdf, number: int, generation: int) -> int | None:
    """The first page that uses the stream; `None` when none does."""
    for index, page in enumerate(pdf.pages, start=1):
        if _reaches(page.obj, (number, generation)):
            return index
    return None


def _reaches(page: Any, wanted: tuple[int, int]) -> bool:
    seen: set[tuple[int, int]] = set()
    todo: list[Any] = [page]
    for _ in range(_MOST):
        if not todo:
            return False
        item = todo.pop()
        if not isinstance(item, pikepdf.Object):
            continue
        if item.objgen == wanted:
            return True
        if item.objgen != (0, 0):
            if item.objgen in seen:
                continue
            seen.add(item.objgen)
        if isinstance(item, pikepdf.Array):
            todo += list(item)
        elif isinstance(item, pikepdf.Dictionary | pikepdf.Stream):
            own = item.stream_dict if isinstance(item, pikepdf.Stream) else item
            todo += [value for key, value in own.as_dict().items() if key not in _ABOVE]
    return False
