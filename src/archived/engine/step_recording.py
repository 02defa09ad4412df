"""Puts the end of an attempt on record: judged by `model.retry`, made permanent by `engine.commit`,
tried again while the catalog cannot be written. Whatever happens, a step has an ending on record.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from archived.engine import commit
from archived.engine.attempt import StepEnded, unrecordable
from archived.engine.sealing import SearchText, seal_failed
from archived.engine.specs import Specs
from archived.errors import CatalogBusy, CatalogError, NotNow
from archived.message import Message
from archived.model.lifecycle import IllegalTransition
from archived.model.outcome import Ending, Outcome, Usage
from archived.model.retry import decide
from archived.storage.artifacts import ArchiveStorage
from archived.storage.rows import DocumentRow, StepRow

_log = structlog.get_logger("archived.engine")

_COMMIT_PAUSES = (0.1, 0.5, 2.0, 5.0, 15.0)
_MOST_TRIES = 6
"""Of a write that fails although the catalog is not busy: within 40 seconds."""


class StepRecorder:
    """Writes beginnings and ends of steps. `tell` hears of each end that is on record."""

    def __init__(
        self,
        storage: ArchiveStorage,
        clock: Callable[[], datetime],
        tell: Callable[[StepEnded], None],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._tell = tell
        self.specs = Specs()
        """What is configured now."""
        self.stopping = False
        """Whether the daemon stops: then a catalog that stays busy is not waited for."""

    async def begin(self, row: DocumentRow, step: StepRow) -> None:
        """The step begins. Raises `NotNow`, `IllegalTransition`, `CatalogError`."""
        catalog = self._storage.catalog
        await asyncio.to_thread(commit.begin_step, catalog, row, step, step.started)

    async def skip(self, row: DocumentRow, step: StepRow, why: Message) -> None:
        """The stage does not accept the document's type. Raises as `begin` does."""
        catalog = self._storage.catalog
        await asyncio.to_thread(commit.skip_step, catalog, self.specs, row, step, why)
        self._tell(StepEnded(step.stage, "skipped", "", Usage()))

    async def end(self, row: DocumentRow, step: StepRow, outcome: Outcome) -> None:
        """Judge and record. What cannot be kept on disk, or not be recorded, becomes an ending of
        its own: no document stays behind as running.
        """
        outcome = self.specs.marked(row.hotfolder, outcome)
        try:
            await self._insist(lambda: self._end_once(row, step, outcome))
        except (NotNow, CatalogError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a stage says, its document goes on
            outcome = replace(unrecordable(error), usage=outcome.usage)
            await self._insist(lambda: self._end_once(row, step, outcome))
        self._report(row, step, outcome)

    async def end_sealing(
        self,
        row: DocumentRow,
        step: StepRow,
        sealed: tuple[dict[str, Any], SearchText | None] | Outcome,
    ) -> None:
        """The document's object is in the store, or the ending says why not."""
        if isinstance(sealed, Outcome):
            await self.end(row, step, sealed)
            return
        place, words = sealed
        usage = Usage(wall=(self._clock() - step.started).total_seconds())
        head = self._storage.store.head
        try:
            await self._insist(
                lambda: commit.seal(self._context(self._clock()), step, place, words, head=head)
            )
        except (NotNow, IllegalTransition, CatalogError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever is in its facts, it has an ending
            _log.exception(
                "a sealed document could not be recorded", action="seal-failed", document=row.id
            )
            await self.end(row, step, seal_failed(error))
            return
        self._report(row, step, Outcome(Ending.FINISHED, message="sealed", usage=usage))

    async def end_anyhow(
        self, row: DocumentRow, step: StepRow, outcome: Outcome, *, only_begun: bool
    ) -> None:
        """Put a failure of our own on record, so that no document stays behind as running."""
        try:
            running = (await asyncio.to_thread(self._storage.catalog.document, row.id)).running
            if running is None and not only_begun:
                await self.begin(row, step)
                running = step.id
            if running == step.id:
                await self.end(row, step, outcome)
        except Exception:  # noqa: BLE001 - the health check tells of it, and the restart finds it
            _log.exception(
                "a step could not be recorded; the restart will find it",
                action="step-unrecorded",
                document=row.id,
                stage=step.stage,
            )
            await asyncio.sleep(5.0)  # what fails at once would be started again at once

    def _end_once(self, row: DocumentRow, step: StepRow, outcome: Outcome) -> None:
        now = self._clock()
        limits = self.specs.limits_of(step.stage)
        decision = decide(outcome, step.attempt, row.postponed, limits, now)
        commit.commit_step(self._context(now), step, outcome, decision)

    def _context(self, now: datetime) -> commit.CommitContext:
        return commit.CommitContext(self._storage.spool, self._storage.catalog, self.specs, now)

    def _report(self, row: DocumentRow, step: StepRow, outcome: Outcome) -> None:
        say = _log.info if outcome.ending is Ending.FINISHED else _log.warning
        say(
            outcome.message or f"{step.stage} ended",
            action=f"step-{outcome.ending}",
            document=row.id,
            stage=step.stage,
            attempt=step.attempt,
            code=outcome.code or None,
            seconds=round(outcome.usage.wall, 3),
        )
        for review in outcome.reviews:  # its message is for those who decide, not for the log
            _log.warning(
                "a person must look",
                action="review-required",
                document=row.id,
                stage=step.stage,
                code=review.code,
                regions=len(review.regions),
                held=not review.flagged,
            )
        self._tell(StepEnded.of(step, outcome))

    async def _insist(self, act: Callable[[], object]) -> None:
        """Do it in a thread, again and again while the catalog is busy or its disk is full.

        Shielded, so that stopping the daemon waits for it. Gives up when the daemon is being
        stopped (the restart then finds the step interrupted), and soon when the catalog has another
        error: a write that can never succeed must not keep its place in a lane for ever.
        """
        for attempt in range(1_000_000):
            try:
                await asyncio.shield(asyncio.to_thread(act))
            except CatalogError as error:
                permanent = not isinstance(error, CatalogBusy)
                if attempt >= 2 and (self.stopping or (permanent and attempt >= _MOST_TRIES)):
                    raise
                _log.warning(
                    "the catalog cannot be written; trying again",
                    action="catalog-busy",
                    error=str(error),
                )
            except OSError as error:
                ours = error.filename == str(self._storage.catalog.path)
                if error.errno != errno.ENOSPC or not ours:
                    raise
                _log.warning(
                    "the disk with the catalog is full; trying again", action="catalog-no-space"
                )
            else:
                return
            await asyncio.sleep(_COMMIT_PAUSES[min(attempt, len(_COMMIT_PAUSES) - 1)])
