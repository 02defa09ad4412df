"""Steps whose work grows with the pages: they go on while they get on, and are ended when not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from archived.engine.protocol import StepLimits, StepRequest
from archived.engine.worker.runner import LocalRunner
from archived.model.outcome import Ending

Ask = Callable[..., StepRequest]
PATIENCE = timedelta(seconds=2)


def long(request: StepRequest, max_time: float = 60.0) -> StepRequest:
    """The same, with two seconds to get on, and a minute in all."""
    return replace(request, deadline=datetime.now(UTC) + PATIENCE, max_time=max_time)


async def test_a_step_that_gets_on_has_its_time_anew_with_each_page(
    runner: LocalRunner, ask: Ask
) -> None:
    began = time.monotonic()

    outcome = await runner.run(long(ask("page-by-page", number=20)))

    assert outcome.ending is Ending.FINISHED, outcome
    assert time.monotonic() - began > PATIENCE.total_seconds() * 1.5
    assert 0 < outcome.facts["remaining"] <= PATIENCE.total_seconds()


async def test_a_step_that_says_the_same_again_and_again_does_not_get_on(
    runner: LocalRunner, ask: Ask
) -> None:
    outcome = await runner.run(long(ask("stuck-at-a-page")))

    assert (outcome.ending, outcome.code) == (Ending.FAILED, "stalled")
    assert outcome.message.endswith("it was at page 713")


async def test_however_well_it_gets_on_there_is_an_end(runner: LocalRunner, ask: Ask) -> None:
    outcome = await runner.run(long(ask("page-by-page", number=1000), max_time=3.0))

    assert (outcome.ending, outcome.code) == (Ending.FAILED, "timed-out")
    assert "it was at page 1" in outcome.message


async def test_a_step_without_a_longer_end_has_its_timeout_and_no_more(
    runner: LocalRunner, ask: Ask
) -> None:
    outcome = await runner.run(long(ask("page-by-page", number=1000), max_time=0.0))

    assert (outcome.ending, outcome.code) == (Ending.FAILED, "timed-out")


async def test_a_crash_is_told_with_the_page(runner: LocalRunner, ask: Ask) -> None:
    outcome = await runner.run(ask("crash-at-a-page"))

    assert (outcome.ending, outcome.code) == (Ending.FAILED, "crashed")
    assert outcome.message.endswith("it was at page 713")


@pytest.mark.parametrize(
    ("pages", "limits", "fits"),
    [
        (200, StepLimits(memory=100 << 20), False),
        (200, StepLimits(memory=100 << 20, memory_per_page=2 << 20, max_memory=1 << 30), True),
        (200, StepLimits(memory=100 << 20, memory_per_page=2 << 20, max_memory=150 << 20), False),
        (10, StepLimits(memory=100 << 20, memory_per_page=2 << 20, max_memory=1 << 30), True),
    ],
)
async def test_memory_grows_with_the_pages_up_to_a_ceiling(
    runner: LocalRunner, ask: Ask, pages: int, limits: StepLimits, fits: bool
) -> None:
    outcome = await runner.run(replace(ask("fill-pages", number=pages), limits=limits))

    assert (outcome.code == "out-of-memory") == (not fits), outcome
