"""How one attempt at a step ended, as a value.

The child's four endings plus those the runner sees from outside. Nothing here decides what to do
about one: that is `policy`.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from archived.message import Message
from archived.model.former_names import CODES_OF_THE_CORE
from archived.model.review import Review


class Ending(StrEnum):
    """Whose fault it was."""

    FINISHED = "finished"
    REFUSED = "refused"
    """The document's fault."""
    POSTPONED = "postponed"
    """The world's fault."""
    FAILED = "failed"
    """The stage's fault: an exception, a crash, a timeout, output that is not what it says."""
    REQUEUED = "requeued"
    """Nobody's fault: the daemon stopped, or the process that starts steps ended under it."""


SUPERSEDED = "superseded"
"""What becomes of the ending `finished` on record when a person has the step done again."""

CORE_CODES: Mapping[str, str] = {
    "stage-error": "The stage raised an exception it did not explain.",
    "crashed": "The stage's process died of a signal.",
    "timed-out": "The stage did not end within its timeout and was killed with its children.",
    "stalled": "The stage did not get on for as long as its timeout and was ended.",
    "out-of-memory": "The stage asked for more memory than it is allowed.",
    "too-many-processes": "The stage started more processes and threads than it may have.",
    "bad-output": "What the stage returned is not what it says it is.",
    "program-missing": "A program that the stage starts is not there; the step waits until it is.",
    "no-space": "A disk is full; the step waits until there is room.",
    "runner-lost": "The process that starts stages ended; it is being started again.",
    "not-upgraded": "A stage could not improve the sealed document now; it is tried again.",
    "copy-differs": "A copy that the stage reported is not at its target, or has other bytes.",
    "copy-unread": "A copy that the stage reported could not be read by the core; it waits.",
    "seal-failed": "The document's object or its description could not be made.",
    "core-error": "The core itself failed to run or to record the step.",
    "interrupted": "The daemon or the machine died under the step.",
    "parts-found": "The catalog was made from the store, which held documents cut out of this one.",
    "parts-in-work": "Parts of the document are in work again; it waits for them.",
    "part-secrecy-above": "A part of it was rejected for a mark above the declared level.",
    "part-secrecy-unknown": "A part of it was rejected before it was known to carry no such mark.",
    "stage-missing": "The stage is not configured any more; the document waits until it is.",
    "store-io": "The store could not be written; the step waits.",
    "copies-missing": "The pipeline is done, but fewer copies than wanted were verified.",
    "shutdown": "The daemon was stopped; the step will be started again.",
}
"""Codes the core itself gives to an ending."""

RUNNER_CODES = (frozenset(CORE_CODES) | CODES_OF_THE_CORE) - {
    "stage-error",
    "out-of-memory",
    "bad-output",
    "program-missing",
    "no-space",
    "store-io",
}
"""Those that a step's own process never gives: they say what was seen from outside."""


@dataclass(frozen=True, slots=True)
class Made:
    """One file a stage returned: `path` is relative to the step's folder."""

    path: str
    name: str
    media_type: str
    role: str


@dataclass(frozen=True, slots=True)
class PartMade:
    """One document cut out of another: its file, and what is known of it; see `api.Part`."""

    file: Made
    name: str
    dossier: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one attempt cost: seconds of wall clock and CPU (children included), bytes at peak."""

    wall: float = 0.0
    cpu: float = 0.0
    peak_memory: int = 0


@dataclass(frozen=True, slots=True)
class CopyMade:
    """A replica a stage reports; see `archived.api.Copy`."""

    target: str
    key: str
    inventory_sha512: str
    files: int
    size: int
    verified: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's ending. `code`, `message`, `hint` speak for every ending but `finished`.

    For `finished`: `main` is the index in `made` of the new main artifact, or `None`.
    """

    ending: Ending
    code: str = ""
    message: str = ""
    hint: str = ""
    after: timedelta | None = None
    made: Sequence[Made] = ()
    main: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    copies: Sequence[CopyMade] = ()
    notes: Sequence[str] = ()
    parts: Sequence[PartMade] = ()
    reviews: Sequence[Review] = ()
    usage: Usage = Usage()


def of_os_error(error: OSError) -> Outcome:
    """What a disk's refusal means for a step: the world's fault, and it waits."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Outcome(
            Ending.POSTPONED,
            code="no-space",
            message=Message("a disk is full: {file}", file=error.filename or ""),
            hint=Message("make room; the document goes on by itself"),
            after=timedelta(seconds=30),
        )
    return Outcome(
        Ending.POSTPONED,
        code="store-io",
        message=Message("a disk cannot be used: {error}", error=error),
        hint=Message("look at the disk (dmesg); the document goes on by itself"),
        after=timedelta(minutes=1),
    )
