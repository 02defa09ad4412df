"""What is told of attempts: while one runs, and when it has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from archived.model.outcome import Outcome, Usage
from archived.model.review import Review
from archived.storage.records import StepRow


@dataclass(slots=True)
class Active:
    """A step being run now, for `status`."""

    document: str
    name: str
    stage: str
    lane: str
    attempt: int
    started: datetime
    progress: float = 0.0


@dataclass(frozen=True, slots=True)
class StepEnded:
    """Told after each attempt: for metrics and the watchdog, not for decisions."""

    stage: str
    ending: str
    code: str
    usage: Usage
    facts: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    reviews: Sequence[Review] = ()

    @classmethod
    def of(cls, step: StepRow, outcome: Outcome) -> StepEnded:
        """How an attempt ended."""
        return cls(
            step.stage, str(outcome.ending), outcome.code, outcome.usage, outcome.facts,
            outcome.tools, outcome.reviews,
        )  # fmt: skip
