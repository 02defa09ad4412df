"""Is it alive, is it ready, and if not, why? Ready means progress, not merely a process."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from archived.errors import CatalogError

if TYPE_CHECKING:
    from archived.daemon.daemon import Daemon

OVERDUE = 300.0
"""Seconds that a due step may wait with an idle lane before that is called a standstill."""
SILENT = 300.0
"""Seconds in which a desk must get on, besides its pause and the time for one large file."""
ABANDONED = 10.0
"""Seconds after which a document that is recorded as running, while no step of it lives, is one."""
SLOWEST = 4 << 20
"""Bytes a second: a file may be taken in as slowly as that before its desk is called stuck."""


class Health:
    """Asks the daemon's parts; keeps only when something last moved."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
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

        Only what a restart might cure: a desk whose sweep does not come back, or due steps that
        nobody starts. A full disk or a missing share is not cured by a restart.
        """
        now = time.monotonic()
        for reception in list(self._daemon.receptions.values()):
            card = reception.card
            patience = SILENT + 2 * card.rescan + card.max_size / SLOWEST
            if now - reception.status.moved > patience:
                return f"hot folder {card.name}: its sweep does not come back"
        try:
            due = self._daemon.catalog.next_due(self._daemon.scheduler.open_lanes())
        except (CatalogError, OSError):
            return ""  # not ready, but no restart mends a catalog
        idle = not self._daemon.scheduler.active and now - self._moved > OVERDUE
        if due is not None and idle and (datetime.now(UTC) - due).total_seconds() > OVERDUE:
            return "steps are due, but none is started"
        return ""

    def abandoned(self) -> int:
        """Documents on record as running of which no step lives. Raises `CatalogError`."""
        active = set(self._daemon.scheduler.active)
        rows = self._daemon.catalog.running()
        active |= set(self._daemon.scheduler.active)  # those that began meanwhile
        now = time.monotonic()
        # Seen twice: a step may end between the two looks.
        self._alone = {
            row.running: self._alone.get(row.running, now)
            for row in rows if row.running and row.id not in active
        }  # fmt: skip
        return sum(now - since >= ABANDONED for since in self._alone.values())

    def not_ready(self) -> list[str]:
        """Why work does not go on as it should, one sentence each; empty when ready."""
        if not self.started:
            return ["starting"]
        reasons = []
        for reception in list(self._daemon.receptions.values()):
            status = reception.status
            if status.failing:
                reasons.append(f"hot folder {status.name} cannot be swept: {status.failing}")
            if status.offline:
                reasons.append(f"hot folder {status.name} is offline: {status.offline}")
            if status.paused:
                reasons.append(f"hot folder {status.name} is paused: {status.paused}")
            if status.stuck:
                reasons.append(
                    f"hot folder {status.name}: {len(status.stuck)} files in custody cannot be "
                    "removed from it"
                )
        if cut := self._daemon.store.head.cut:
            reasons.append(f"{cut}; nothing more is noted there. Keep the catalog as it is")
        try:
            self._daemon.catalog.next_due(self._daemon.scheduler.open_lanes())
            if abandoned := self.abandoned():
                reasons.append(
                    f"{abandoned} documents are recorded as running, but no step of them lives; "
                    "a restart puts that right, and the journal says why (step-unrecorded)"
                )
        except (CatalogError, OSError) as error:
            reasons.append(str(error))
        stuck = self.stuck()
        return [*reasons, stuck] if stuck else reasons

    def line(self) -> str:
        """One line for `systemctl status`."""
        working = len(self._daemon.scheduler.active)
        reasons = self.not_ready()
        return "; ".join(reasons) if reasons else f"{working} steps running"
