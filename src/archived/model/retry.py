"""What follows from a step's ending: an outcome, the tries so far and the limits make a verdict.

Pure: the clock is handed in. Three endings, no taxonomy: the document's fault is held at once, the
world's fault waits as long as it takes, the stage's fault is tried again and then held. What
finished goes on, unless a person must look first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from archived.model.outcome import Ending, Outcome
from archived.model.review import holding


class RetryVerdict(StrEnum):
    """What to do with the document."""

    GO_ON = "go-on"
    WAIT = "wait"
    HOLD = "hold"
    REVIEW = "review"
    """It finished, and a person must look before the document goes on."""


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How often, and how patiently, a step is tried."""

    attempts: int = 3
    first_wait: timedelta = timedelta(seconds=30)
    longest_wait: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """A verdict; `due` is set for `WAIT`; `attempts` is the count to keep from here on."""

    verdict: RetryVerdict
    attempts: int
    due: datetime | None = None


def wait(tries: int, first: timedelta, longest: timedelta) -> timedelta:
    """The wait after failed try number `tries` (1 is the first): doubles, up to `longest`."""
    if tries > 30:  # 2 ** 30 seconds is past any cap, and timedelta overflows soon after
        return longest
    doubled: timedelta = first * (1 << max(0, tries - 1))
    return min(doubled, longest)


def decide(
    outcome: Outcome, attempts: int, postponed: int, limits: RetryLimits, now: datetime
) -> RetryDecision:
    """What follows from `outcome`.

    `attempts` counts this one: it was raised when the step started, so a document that kills the
    machine still runs out. `postponed` is how often the step was postponed before, in a row.
    """
    match outcome.ending:
        case Ending.FINISHED:
            held = holding(outcome.reviews) is not None
            return RetryDecision(RetryVerdict.REVIEW if held else RetryVerdict.GO_ON, attempts=0)
        case Ending.REQUEUED:
            return RetryDecision(RetryVerdict.WAIT, attempts=attempts - 1, due=now)
        case Ending.POSTPONED:
            first = outcome.after or limits.first_wait
            pause = wait(postponed + 1, first, max(limits.longest_wait, first))
            return RetryDecision(RetryVerdict.WAIT, attempts=attempts - 1, due=now + pause)
        case Ending.REFUSED:
            return RetryDecision(RetryVerdict.HOLD, attempts=attempts)
        case Ending.FAILED if attempts < limits.attempts:
            pause = wait(attempts, limits.first_wait, limits.longest_wait)
            return RetryDecision(RetryVerdict.WAIT, attempts=attempts, due=now + pause)
        case _:
            return RetryDecision(RetryVerdict.HOLD, attempts=attempts)


def interrupted(attempts: int, limits: RetryLimits) -> RetryVerdict:
    """What follows when the daemon died under a step: the try stays counted."""
    return RetryVerdict.WAIT if attempts < limits.attempts else RetryVerdict.HOLD
