"""Is it alive, is it ready, and if not, why? Ready means progress, not merely a process."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archived.daemon.daemon import Daemon

OVERDUE = 300.0
"""Seconds that a due step may wait with an idle lane before that is called a standstill."""
SILENT = 300.0
"""Seconds without a finished sweep after which a desk is called stuck."""


class Health:
    """Asks the daemon's parts; keeps only when something last moved."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._moved = time.monotonic()

    def progressed(self) -> None:
        """A step ended."""
        self._moved = time.monotonic()

    def stuck(self) -> str:
        """Why the watchdog must not be fed; empty when all is well.

        Only what a restart might cure: a desk whose sweep does not come back, or due steps that
        nobody starts. A full disk or a missing share is not cured by a restart.
        """
        now = time.monotonic()
        for reception in self._daemon.receptions.values():
            if now - reception.status.swept > SILENT + 2 * reception.card.rescan:
                return f"hot folder {reception.card.name}: its sweep does not come back"
        due = self._daemon.catalog.next_due()
        idle = not self._daemon.scheduler.active and now - self._moved > OVERDUE
        if due is not None and idle and (datetime.now(UTC) - due).total_seconds() > OVERDUE:
            return "steps are due, but none is started"
        return ""

    def not_ready(self) -> list[str]:
        """Why work does not go on as it should, one sentence each; empty when ready."""
        reasons = []
        for reception in self._daemon.receptions.values():
            status = reception.status
            if status.offline:
                reasons.append(f"hot folder {status.name} is offline: {status.offline}")
            if status.paused:
                reasons.append(f"hot folder {status.name} is paused: {status.paused}")
            if status.stuck:
                reasons.append(
                    f"hot folder {status.name}: {len(status.stuck)} files in custody cannot be "
                    "removed from it"
                )
        stuck = self.stuck()
        return [*reasons, stuck] if stuck else reasons

    def line(self) -> str:
        """One line for `systemctl status`."""
        working = len(self._daemon.scheduler.active)
        reasons = self.not_ready()
        return "; ".join(reasons) if reasons else f"{working} steps running"
