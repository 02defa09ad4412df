"""Keeps every hot folder's share told, each in a task of its own: one that hangs hangs alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import structlog

from archived.errors import CatalogError
from archived.observe.share.voice import ShareCard, Standing, Voice, reader_of
from archived.storage.catalog import Catalog

__all__ = ["ShareCard", "Shares", "Standing", "reader_of"]

_log = structlog.get_logger("archived.observe")

_IDLE = 3.0
"""Seconds after which the state of a folder is looked at though nobody rang."""
_SHORTEST = 0.3
_LONGEST = 10.0
_COSTLY = 5
"""A pause is this many times as long as what was done took: documents go first."""
_AFTER_TROUBLE = 5.0
_FAREWELL = 3.0
"""Seconds that all shares get for the last word."""


class Shares:
    """`cards` gives the hot folders in force, `standing` how one of them stands (by name).

    `standing` gives `None` while that is not known.
    """

    def __init__(
        self, catalog: Catalog, cards: Callable[[], Sequence[ShareCard]],
        standing: Callable[[str], Standing | None],
    ) -> None:  # fmt: skip
        self._catalog = catalog
        self._cards = cards
        self._standing = standing
        self._voices: dict[ShareCard, tuple[Voice, asyncio.Event, asyncio.Task[None]]] = {}

    def readers(self) -> list[str]:
        """Whose places in the outbox keep events from being trimmed."""
        return [reader_of(card.hotfolder) for card in self._cards()]

    def doubts(self) -> dict[str, str]:
        """By hot folder: why its answers may be forged, or nothing."""
        return {card.hotfolder: str(voice.doubt) for card, (voice, _, _) in self._voices.items()}

    async def run(self, news: asyncio.Event) -> None:
        """Until cancelled; a reload's folders are found by themselves."""
        try:
            while True:
                await self._fit(set(self._cards()))
                for _, bell, _ in self._voices.values():
                    bell.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE):
                        await news.wait()
                news.clear()
        finally:
            await self._fit(set())

    async def _fit(self, wanted: set[ShareCard]) -> None:
        gone = [self._voices.pop(card) for card in set(self._voices) - wanted]
        for voice, _, task in gone:
            voice.hush()
            task.cancel()
        await asyncio.gather(*(task for _, _, task in gone), return_exceptions=True)
        left = {card.hotfolder for card in wanted}
        await self._say_farewell([v for v, _, _ in gone if v.card.hotfolder not in left])
        for card in wanted - set(self._voices):
            voice, bell = Voice(card, self._catalog), asyncio.Event()
            task = asyncio.create_task(self._tend(voice, bell), name=f"share {card.hotfolder}")
            self._voices[card] = (voice, bell, task)

    async def _say_farewell(self, voices: Sequence[Voice]) -> None:
        if not voices:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await asyncio.gather(*(asyncio.to_thread(voice.farewell) for voice in voices))

    async def _tend(self, voice: Voice, bell: asyncio.Event) -> None:
        name, trouble = voice.card.hotfolder, ""
        while True:
            await bell.wait()
            bell.clear()
            standing = self._standing(name)
            if standing is None:
                continue
            began = time.monotonic()
            why = await _spoken(voice, standing, trouble)
            if trouble and not why:
                _log.info("answers are written again", action="answers-back", hotfolder=name)
            trouble = why
            pause = max(_SHORTEST, _COSTLY * (time.monotonic() - began))
            await asyncio.sleep(_AFTER_TROUBLE if why else min(pause, _LONGEST))


async def _spoken(voice: Voice, standing: Standing, before: str) -> str:
    """Why the share could not be told, or nothing. The same trouble is logged once."""
    unforeseen = None
    try:
        await asyncio.to_thread(voice.speak, standing)
    except OSError as error:
        why = error.strerror or str(error)
    except CatalogError as error:
        why = str(error)
    except Exception as error:  # noqa: BLE001 - answers must never end the daemon
        why, unforeseen = f"{type(error).__name__}: {error}", error
    else:
        return ""
    if why != before:
        _log.warning(
            "answers on the share wait", action="answers-wait", hotfolder=voice.card.hotfolder,
            why=why, exc_info=unforeseen,
        )  # fmt: skip
    return why
