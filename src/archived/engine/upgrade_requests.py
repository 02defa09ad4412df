"""Sealed documents that a stage can improve, and when it is asked to.

A stage says under `pending` what it could not reach before the seal, because a server was away.
When the document is at rest, the stage, `seal` and the stages that copy are put behind its own
list; it goes through them like any other document. What is safe stays safe until its new version
is sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from archived.engine.copy_requests import LAST
from archived.engine.specs import Specs
from archived.model.lifecycle import ARCHIVED, Transition
from archived.model.pipeline import SEAL, copying_begins, next_step
from archived.storage.catalog import Catalog
from archived.storage.rows import DocumentRow

AT_ONCE = 20
"""Documents that are asked for and have not ended. While a server is away no more than these ask
it, however many wait."""
_SOON = timedelta(minutes=30)
"""A document that waits for longer than this gives its place to another."""
_LOOK_AGAIN = timedelta(minutes=5)
"""After this a document is looked at again that was not at rest, or lacks a stage that upgrades."""


class UpgradePlanner:
    """Asks for upgrades, the oldest document first. `pending`: documents that lack something, or
    `None` while they are not counted yet.
    """

    def __init__(
        self,
        catalog: Catalog,
        pending: Callable[[], Iterable[str] | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._catalog, self._pending, self._clock = catalog, pending, clock
        self._asked: set[str] = set()
        self._later: dict[str, datetime] = {}

    def ask(self, specs: Specs) -> int:
        """Ask for as many as may be under way; how many were asked for. Blocking. Raises
        `CatalogError`.
        """
        if not any(spec.upgrades for spec in specs.stages.values()):
            return 0
        now = self._clock()
        self._asked = {document for document in self._asked if self._is_under_way(document, now)}
        self._later = {document: at for document, at in self._later.items() if at > now}
        asked = 0
        for document in sorted(self._pending() or ()):
            if len(self._asked) >= AT_ONCE:
                break
            if document in self._asked or document in self._later:
                continue
            if ask_for_upgrade(self._catalog, specs, document, now):
                self._asked.add(document)
                asked += 1
            else:
                self._later[document] = now + _LOOK_AGAIN
        return asked

    def _is_under_way(self, document: str, now: datetime) -> bool:
        row = self._catalog.document(document)
        soon = row.due is not None and row.due < now + _SOON
        return row.running is not None or (soon and SEAL in row.stages[row.position :])


def ask_for_upgrade(catalog: Catalog, specs: Specs, document: str, now: datetime) -> bool:
    """Put an upgrade behind a document's stages. False: it is not at rest, or nothing configured
    can improve it.
    """
    with catalog.transaction() as change:
        row = change.document(document)
        stages = _upgrading(specs, row, catalog)
        if not _is_at_rest(row) or not stages:
            return False
        behind = dict.fromkeys(row.stages[copying_begins(row.stages) :])
        copying = [n for n in behind if n in specs.stages and specs.stages[n].targets]
        change.move(
            row,
            Transition.UPGRADE_ASKED,
            now,
            stages=[*row.stages, *stages, SEAL, *copying],
            position=len(row.stages),
            lane=specs.lane_of(stages[0]),
            due=now,
            attempts=0,
            postponed=0,
            code=None,
            reason=None,
            hint=None,
            priority=min(row.priority, LAST),
        )
    return True


def _is_at_rest(row: DocumentRow) -> bool:
    ended = row.due is None and row.running is None
    return row.state in ARCHIVED and ended and next_step(row.stages, row.position) is None


def _upgrading(specs: Specs, row: DocumentRow, catalog: Catalog) -> list[str]:
    """Those of its stages that can improve what they made of it."""
    facts = catalog.facts(row.id)
    return [
        name
        for name in dict.fromkeys(row.stages)
        if name in specs.stages
        and specs.stages[name].upgrades
        and facts.get(name, {}).get("pending")
    ]
