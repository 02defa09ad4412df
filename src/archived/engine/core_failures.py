"""What a failure of the core itself, around a step, means for that step. Pure."""

from __future__ import annotations

from datetime import timedelta

from archived.engine.sealing import of_os_error
from archived.engine.worker.protocol import clean
from archived.errors import CatalogError, StoreError
from archived.model.outcome import Ending, Outcome


def step_failed(error: Exception) -> Outcome:
    """Something that is our mistake: tried again like a stage's, then held."""
    return Outcome(
        Ending.BROKE, code="step-failed", message=clean(f"{type(error).__name__}: {error}"),
        hint="report it with the journal of that time; archivectl retry tries again",
    )  # fmt: skip


def unreadable(error: StoreError | CatalogError | OSError) -> Outcome:
    """Store, spool or catalog could not be used: the world's fault, and it waits."""
    if isinstance(error, OSError):
        return of_os_error(error)
    return Outcome(
        Ending.POSTPONED, code="store-io", message=error.message,
        hint=error.hint or "look at the store; the document goes on by itself once it is readable",
        after=timedelta(minutes=1),
    )  # fmt: skip


def unrecordable(error: Exception) -> Outcome:
    """What a stage returned could not be put on record."""
    if isinstance(error, OSError):
        return of_os_error(error)
    why = str(error).partition("\n")[0] or type(error).__name__
    return Outcome(
        Ending.BROKE, code="bad-output", hint="report it to the stage's author",
        message=clean(f"what the stage returned cannot be recorded: {why}"),
    )  # fmt: skip
