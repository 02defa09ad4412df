"""Keeps every hot folder's share told, each in a task of its own: one that hangs hangs alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import structlog

from archived.errors import CatalogError
from archived.observe.receipts.writer import IngestStanding, ReceiptSpec, ReceiptWriter, reader_of
from archived.storage.catalog import Catalog

__all__ = ["IngestStanding", "ReceiptSpec", "ReceiptTasks", "reader_of"]

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


class ReceiptTasks:
    """`cards` gives the hot folders in force, `standing` how one of them stands (by name).

    `standing` gives `None` while that is not known.
    """

    def __init__(
        self,
        catalog: Catalog,
        specs: Callable[[], Sequence[ReceiptSpec]],
        standing: Callable[[str], IngestStanding | None],
    ) -> None:
        self._catalog = catalog
        self._specs = specs
        self._standing = standing
        self._writers: dict[
            ReceiptSpec, tuple[ReceiptWriter, asyncio.Event, asyncio.Task[None]]
        ] = {}

    def readers(self) -> list[str]:
        """Whose places in the outbox keep events from being trimmed."""
        return [reader_of(spec.hotfolder) for spec in self._specs()]

    def doubts(self) -> dict[str, str]:
        """By hot folder: why its answers may be forged, or nothing."""
        return {spec.hotfolder: str(writer.doubt) for spec, (writer, _, _) in self._writers.items()}

    async def run(self, news: asyncio.Event) -> None:
        """Until cancelled; a reload's folders are found by themselves."""
        try:
            while True:
                await self._fit(set(self._specs()))
                for _, bell, _ in self._writers.values():
                    bell.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE):
                        await news.wait()
                news.clear()
        finally:
            await self._fit(set())

    async def _fit(self, wanted: set[ReceiptSpec]) -> None:
        gone = [self._writers.pop(spec) for spec in set(self._writers) - wanted]
        for writer, _, task in gone:
            writer.silence()
            task.cancel()
        await asyncio.gather(*(task for _, _, task in gone), return_exceptions=True)
        left = {spec.hotfolder for spec in wanted}
        await self._say_farewell([v for v, _, _ in gone if v.spec.hotfolder not in left])
        for spec in wanted - set(self._writers):
            writer, bell = ReceiptWriter(spec, self._catalog), asyncio.Event()
            task = asyncio.create_task(self._tend(writer, bell), name=f"share {spec.hotfolder}")
            self._writers[spec] = (writer, bell, task)

    async def _say_farewell(self, writers: Sequence[ReceiptWriter]) -> None:
        if not writers:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await asyncio.gather(
                    *(asyncio.to_thread(writer.write_stopped) for writer in writers)
                )

    async def _tend(self, writer: ReceiptWriter, bell: asyncio.Event) -> None:
        name, trouble = writer.spec.hotfolder, ""
        while True:
            await bell.wait()
            bell.clear()
            standing = self._standing(name)
            if standing is None:
                continue
            began = time.monotonic()
            why = await _updated(writer, standing, trouble)
            if trouble and not why:
                _log.info("answers are written again", action="receipts-back", hotfolder=name)
            trouble = why
            pause = max(_SHORTEST, _COSTLY * (time.monotonic() - began))
            await asyncio.sleep(_AFTER_TROUBLE if why else min(pause, _LONGEST))


async def _updated(writer: ReceiptWriter, standing: IngestStanding, before: str) -> str:
    """Why the share could not be told, or nothing. The same trouble is logged once."""
    unforeseen = None
    try:
        await asyncio.to_thread(writer.update, standing)
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
            "answers on the share wait",
            action="receipts-wait",
            hotfolder=writer.spec.hotfolder,
            why=why,
            exc_info=unforeseen,
        )
    return why
