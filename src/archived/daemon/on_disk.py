"""What became of the configuration on disk: refused, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class OnDisk:
    """`since` is `None` while the configuration that was read last is the one in force."""

    since: datetime | None = None
    """When a reload refused it for the first time; later ones do not move it."""
    why: str = ""

    def refused(self, why: str, now: datetime) -> OnDisk:
        """A reload refused it, for this reason."""
        return OnDisk(self.since or now, why)
