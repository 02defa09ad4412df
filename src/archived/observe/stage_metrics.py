"""What stages told lately about their tools and certificates, as figures. Remembers only the last.

A stage speaks through its facts: `not_after` (the certificate it signed with), `timestamp` with
`not_after` and `ahead_of_us` (seconds), `free` (target -> bytes); `metrics` and `tally` hear the
others. What it says is not
trusted: numbers are looked at, and words become labels only as far as `Few` lets them.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from archived.storage.metrics_queries import LABELS_LIMIT, OTHER

Figures = Mapping[str, Mapping[tuple[str, ...], float]]

_LONGEST = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]*")
_VERSION = re.compile(r"v?[0-9][A-Za-z0-9.:~_+/-]{0,63}")


class BoundedLabels:
    """Lets the first `LABELS_LIMIT` names of each kind become labels; all others are `OTHER`.

    A plug-in that puts a page number into its code must not cost Prometheus its memory, nor may
    text of a page become a label: a name has no spaces and only letters, digits and a few signs.
    """

    def __init__(self) -> None:
        self._known: dict[str, set[str]] = {}

    def __call__(self, kind: str, word: str) -> str:
        """The label for a word."""
        if len(word) > _LONGEST or not _NAME.fullmatch(word):
            return word if word in {"", OTHER} else OTHER
        known = self._known.setdefault(kind, set())
        if len(known) < LABELS_LIMIT:
            known.add(word)
        return word if word in known else OTHER


def number(told: Any, least: float = -math.inf, most: float = math.inf) -> float | None:
    """A finite number within these bounds, or `None`: one NaN would spoil a sum for ever."""
    if not isinstance(told, int | float) or isinstance(told, bool) or not math.isfinite(told):
        return None
    return told if least <= told <= most else None


class StageMetrics:
    """Hears of each step that ended well; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._few = BoundedLabels()
        self._tools: dict[str, str] = {}
        self._expiries: dict[tuple[str, ...], float] = {}
        self._ahead: dict[tuple[str, ...], float] = {}
        self._free: dict[tuple[str, ...], float] = {}

    def hear(self, stage: str, facts: Mapping[str, Any], tools: Mapping[str, str]) -> None:
        """Facts and tools of a step that ended well; what is not of the expected shape is not."""
        stamp = facts.get("timestamp")
        stamp = stamp if isinstance(stamp, Mapping) else {}
        with self._lock:
            for tool, version in tools.items():
                label = self._few("tool", tool)
                known = label != OTHER and _VERSION.fullmatch(version[:_LONGEST])
                self._tools[label] = known[0] if known else ""
            for use, told in (("signing", facts), ("timestamp", stamp)):
                expiry = _instant(told.get("not_after"))
                if expiry is not None:
                    self._expiries[stage, use] = expiry
            ahead = number(stamp.get("ahead_of_us"))
            if ahead is not None:
                self._ahead[(stage,)] = ahead
            free = facts.get("free")
            for target, told in free.items() if isinstance(free, Mapping) else ():
                size = number(told, 0)
                if size is not None:
                    self._free[(self._few("target", target),)] = size

    def gauges(self) -> Figures:
        """The figures; a metric of which nothing is known is left out."""
        with self._lock:
            found: Figures = {
                "archived_tool_info": dict.fromkeys(self._tools.items(), 1.0),
                "archived_certificate_expiry_timestamp_seconds": dict(self._expiries),
                "archived_timestamp_ahead_seconds": dict(self._ahead),
                "archived_target_free_bytes": dict(self._free),
            }
        return {name: values for name, values in found.items() if values}


def _instant(text: Any) -> float | None:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
