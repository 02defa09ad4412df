"""Is it alive, is it ready, and if not, why? Ready means progress, not merely a process."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from archived.daemon.components import Components
from archived.errors import CatalogError
from archived.message import Message

OVERDUE = 300.0
"""Seconds that a due step may wait with an idle lane before that is called a standstill."""
SILENT = 300.0
"""Seconds within which an ingest task must progress, besides its pause and its largest file."""
ABANDONED = 10.0
"""Seconds after which a document that is recorded as running, while no step of it lives, is one."""
SLOWEST = 4 << 20
"""Bytes a second: a file may be taken in as slowly as that before its task counts as stuck."""


class Health:
    """Asks the daemon's parts; keeps only when something last moved."""

    def __init__(self, parts: Components) -> None:
        self._parts = parts
        self._moved = time.monotonic()
        self._alone: dict[str, float] = {}
        """Step of a document that seems to run without one -> when it was first seen so."""
        self.started = False
        """False until everything runs."""

    def progressed(self) -> None:
        """A step ended."""
        self._moved = time.monotonic()

    def stuck(self) -> str:
        """Why the watchdog must not be fed; empty when all is well.

        Only what a restart might cure: a sweep that does not come back, or due steps that
        nobody starts. A full disk or a missing share is not cured by a restart.
        """
        now = time.monotonic()
        for task in list(self._parts.hotfolder_tasks.values()):
            spec = task.spec
            patience = SILENT + 2 * spec.rescan + spec.max_size / SLOWEST
            if now - task.status.moved > patience:
                return Message("hot folder {name}: its sweep does not come back", name=spec.name)
        try:
            due = self._parts.catalog.next_due(self._parts.scheduler.open_lanes())
        except (CatalogError, OSError):
            return ""  # not ready, but no restart mends a catalog
        idle = not self._parts.scheduler.active and now - self._moved > OVERDUE
        if due is not None and idle and (datetime.now(UTC) - due).total_seconds() > OVERDUE:
            return Message("steps are due, but none is started")
        return ""

    def abandoned(self) -> int:
        """Documents on record as running of which no step lives. Raises `CatalogError`."""
        active = set(self._parts.scheduler.active)
        rows = self._parts.catalog.running()
        active |= set(self._parts.scheduler.active)  # those that began meanwhile
        now = time.monotonic()
        # Seen twice: a step may end between the two looks.
        self._alone = {
            row.running: self._alone.get(row.running, now)
            for row in rows
            if row.running and row.id not in active
        }
        return sum(now - since >= ABANDONED for since in self._alone.values())

    def not_ready(self) -> list[str]:
        """Why work does not go on as it should, one sentence each; empty when ready."""
        if not self.started:
            return [Message("starting")]
        reasons: list[str] = []
        for task in list(self._parts.hotfolder_tasks.values()):
            status = task.status
            if status.failing:
                reasons.append(
                    Message(
                        "hot folder {name} cannot be swept: {failing}",
                        name=status.name,
                        failing=status.failing,
                    )
                )
            if status.offline:
                reasons.append(
                    Message(
                        "hot folder {name} is offline: {offline}",
                        name=status.name,
                        offline=status.offline,
                    )
                )
            if status.paused:
                reasons.append(
                    Message(
                        "hot folder {name} is paused: {paused}",
                        name=status.name,
                        paused=status.paused,
                    )
                )
            if status.stuck:
                reasons.append(
                    Message(
                        "hot folder {name}: {count} files in custody cannot be removed from it",
                        name=status.name,
                        count=len(status.stuck),
                    )
                )
        if cut := self._parts.store.head.cut:
            reasons.append(
                Message("{cut}; nothing more is noted there. Keep the catalog as it is", cut=cut)
            )
        try:
            self._parts.catalog.next_due(self._parts.scheduler.open_lanes())
            if unreadable := self._parts.catalog.unreadable_documents():
                reasons.append(
                    f"{len(unreadable)} documents cannot be read from the catalog "
                    f"({', '.join(unreadable[:5])}); all others go on. Compare it with a backup"
                )
            if abandoned := self.abandoned():
                reasons.append(
                    Message(
                        "{abandoned} documents are recorded as running, but no step of "
                        "them lives; a restart puts that right, and the journal says why "
                        "(step-unrecorded)",
                        abandoned=abandoned,
                    )
                )
        except (CatalogError, OSError) as error:
            reasons.append(Message("{error}", error=error))
        stuck = self.stuck()
        return [*reasons, stuck] if stuck else reasons

    def line(self) -> str:
        """One line for `systemctl status`."""
        working = len(self._parts.scheduler.active)
        reasons = self.not_ready()
        return "; ".join(reasons) if reasons else f"{working} steps running"
