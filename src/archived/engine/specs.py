"""What the engine knows of stages and targets: frozen cards, never classes, never TOML.

`daemon` fills them from the configuration; a reload hands in a new set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from archived.model.outcome import Outcome
from archived.model.pipeline import SEAL
from archived.model.retry import RetryLimits

SEAL_LANE = "seal"
"""The lane of the core's own step; it needs no child process."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One configured stage. `options` is JSON, already checked by the stage's own model."""

    name: str
    version: str
    distribution: str
    options: Mapping[str, Any]
    options_digest: str
    accepts: tuple[str, ...]
    lane: str
    timeout: timedelta
    memory: int
    network: bool
    targets: bool
    limits: RetryLimits
    any_original: bool = False
    signs: bool = False
    """What it leaves unsigned is marked; see `api.Stage.signs`."""
    upgrades: bool = False
    """It can improve sealed documents; see `api.Stage.upgrades`."""
    system_calls: tuple[str, ...] = ()
    """Groups of system calls it may make beyond what every step may; see `api.Needs`."""
    kept: bool = False
    """One process does its steps, one after another; see `api.Needs`."""
    max_time: timedelta | None = None
    """The end of an attempt that gets on; `timeout` is how long it may go without."""
    memory_per_page: int = 0
    max_memory: int = 0
    disk_factor: float = 0.0
    """Times the document's size that is kept free on the disk for one attempt; see `room`."""
    code: Mapping[str, str] = field(default_factory=dict)
    """The plug-in's distribution or file -> the SHA-256 of its code, for the step's record."""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One configured place for copies."""

    name: str
    kind: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """One configured pipeline: for documents to come, and for copies of those that are there."""

    stages: tuple[str, ...]
    copies: int


@dataclass(frozen=True, slots=True)
class Specs:
    """Everything configured, as one value that a reload replaces whole."""

    stages: Mapping[str, StageSpec] = field(default_factory=dict)
    targets: Mapping[str, TargetSpec] = field(default_factory=dict)
    pipelines: Mapping[str, PipelineSpec] = field(default_factory=dict)
    limits: RetryLimits = field(default_factory=RetryLimits)
    """For the core's own step."""
    flagged: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Hot folder -> codes of reviews that do not hold its documents. All others do."""

    def lane_of(self, stage: str | None) -> str:
        """The lane in which a stage runs; for one that is not configured, the sealing lane.

        There the scheduler finds it and says what is missing.
        """
        if stage is None or stage == SEAL or stage not in self.stages:
            return SEAL_LANE
        return self.stages[stage].lane

    def signing(self, stages: Iterable[str]) -> list[str]:
        """Those of a pipeline's stages that sign."""
        return [name for name in stages if name in self.stages and self.stages[name].signs]

    def marked(self, hotfolder: str, outcome: Outcome) -> Outcome:
        """The outcome, each review marked by whether the hot folder lets it hold a document."""
        if not outcome.reviews:
            return outcome
        codes = self.flagged.get(hotfolder, frozenset())
        return replace(
            outcome, reviews=tuple(replace(r, flagged=r.code in codes) for r in outcome.reviews)
        )

    def with_code(self, stage: str, outcome: Outcome) -> Outcome:
        """The outcome, and among its tools the digest of the code that the stage is made of."""
        spec = self.stages.get(stage)
        return replace(outcome, tools={**outcome.tools, **spec.code}) if spec else outcome

    def limits_of(self, stage: str) -> RetryLimits:
        """How often and how patiently a stage is tried."""
        spec = self.stages.get(stage)
        return spec.limits if spec else self.limits
