"""What stages told lately about their tools and certificates, as figures. Remembers only the last.

A stage speaks through its facts: `mean_confidence` (0 to 100), `not_after` (the certificate it
signed with), `timestamp` with `not_after` and `ahead_of_us` (seconds), `pending` (see `tally`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Figures = Mapping[str, Mapping[tuple[str, ...], float]]


class Learned:
    """Hears of each step that ended well; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tools: dict[str, str] = {}
        self._expiries: dict[tuple[str, ...], float] = {}
        self._ahead: dict[tuple[str, ...], float] = {}

    def hear(self, stage: str, facts: Mapping[str, Any], tools: Mapping[str, str]) -> None:
        """Facts and tools of a step that ended well; what is not of the expected shape is not."""
        stamp = facts.get("timestamp")
        stamp = stamp if isinstance(stamp, Mapping) else {}
        with self._lock:
            self._tools |= {str(tool): str(version) for tool, version in tools.items()}
            for use, told in (("signing", facts), ("timestamp", stamp)):
                expiry = _instant(told.get("not_after"))
                if expiry is not None:
                    self._expiries[stage, use] = expiry
            if isinstance(stamp.get("ahead_of_us"), int | float):
                self._ahead[(stage,)] = stamp["ahead_of_us"]

    def gauges(self) -> Figures:
        """The figures; a metric of which nothing is known is left out."""
        with self._lock:
            found: Figures = {
                "archived_tool_info": dict.fromkeys(self._tools.items(), 1.0),
                "archived_certificate_expiry_timestamp_seconds": dict(self._expiries),
                "archived_timestamp_ahead_seconds": dict(self._ahead),
            }
        return {name: values for name, values in found.items() if values}


def _instant(text: Any) -> float | None:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
