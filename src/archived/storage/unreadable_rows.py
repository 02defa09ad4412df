"""Documents whose row in the catalog cannot be read: left out of every list, and told.

A damaged disk or somebody's hand may leave a word where a time should be. That concerns one
document: all others go on, and the health check says which one it is.
"""

from __future__ import annotations

import logging

DAMAGE = (ValueError, TypeError, LookupError)
"""What reading such a row raises, depending on the column."""

_log = logging.getLogger("archived.storage")


class UnreadableRows:
    """Those that were met, by document."""

    def __init__(self) -> None:
        self._why: dict[str, str] = {}

    def note(self, document: str, error: Exception) -> None:
        """One was met; it is logged the first time."""
        why = str(error) or type(error).__name__
        if self._why.get(document) != why:
            _log.error(
                "the row of a document in the catalog cannot be read; all others go on",
                extra={"action": "row-unreadable", "document": document, "why": why},
            )
        self._why[document] = why

    def forget(self, document: str) -> None:
        """It can be read again."""
        self._why.pop(document, None)

    @property
    def documents(self) -> list[str]:
        """Ids of those that were met and not read since."""
        return sorted(self._why)
