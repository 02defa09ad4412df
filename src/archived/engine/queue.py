"""Which documents a lane takes next: the catalog says what waits, `model.fairness` whose turn.

Who was served when is kept in memory only: after a restart everybody is new, and nobody is wronged.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from archived.model.fairness import Line, Turns
from archived.storage.catalog import Catalog
from archived.storage.records import DocumentRow

AGEING = timedelta(minutes=30)


class Queue:
    """One for all lanes. `ageing` may be replaced at any time. Blocking: call it in a thread."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._turns: dict[str, Turns] = {}
        self.ageing = AGEING

    def next(
        self, lane: str, now: datetime, free: int, taken: Collection[str]
    ) -> list[DocumentRow]:
        """At most `free` documents to start now, none of those in `taken`."""
        turns = self._turns.setdefault(lane, Turns())
        lines = self._catalog.lines(lane, now)
        waiting: dict[Line, list[DocumentRow]] = {}
        chosen: list[DocumentRow] = []
        while len(chosen) < free:
            line = turns.next(lines, now, self.ageing)
            if line is None:
                break
            if line not in waiting:
                rows = self._catalog.first_in(lane, line, now, free + len(taken))
                waiting[line] = [row for row in rows if row.id not in taken]
            if waiting[line]:
                chosen.append(waiting[line].pop(0))
                turns.served(line)
            else:
                lines.remove(line)
        return chosen
