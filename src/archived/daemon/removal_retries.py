"""Tells what could not be removed, and lets it be tried again now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from archived.storage.uncleared import CODE, Uncleared

_log = structlog.get_logger("archived.daemon")

AGAIN = 600.0
"""Seconds between two tries: somebody may have put right what was in the way."""


def log(name: str, why: str) -> None:
    """The `tell` of `storage.uncleared`."""
    _log.warning(
        "a folder could not be removed; it was set aside, and nothing waits for it",
        action=CODE,
        folder=name,
        why=why,
    )


async def run(places: Mapping[str, Uncleared]) -> None:
    """Try to remove what was set aside, for as long as the daemon runs."""
    while True:
        for place in places.values():
            gone = await asyncio.to_thread(place.try_again)
            if gone:
                _log.info("removed at last", action="cleared", folders=gone[:20], count=len(gone))
        await asyncio.sleep(AGAIN)
