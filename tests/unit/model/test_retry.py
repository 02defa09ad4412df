"""What follows from a step's ending."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archived.model.outcome import Ending, Outcome
from archived.model.retry import RetryDecision, RetryLimits, RetryVerdict, decide, interrupted, wait

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = RetryLimits(
    attempts=3, first_wait=timedelta(seconds=10), longest_wait=timedelta(minutes=1)
)


def judged(ending: Ending, attempts: int, postponed: int = 0, **more: object) -> RetryDecision:
    return decide(Outcome(ending, **more), attempts, postponed, LIMITS, NOON)  # type: ignore[arg-type]


def test_a_good_end_goes_on_and_forgets_the_attempts() -> None:
    assert judged(Ending.FINISHED, 2) == RetryDecision(RetryVerdict.GO_ON, attempts=0)


def test_the_documents_fault_is_held_at_once_however_many_attempts_are_left() -> None:
    assert judged(Ending.REFUSED, 1).verdict is RetryVerdict.HOLD


def test_the_stages_fault_is_tried_again_with_a_growing_wait_and_then_held() -> None:
    first, second, third = (judged(Ending.FAILED, attempt) for attempt in (1, 2, 3))

    assert first == RetryDecision(RetryVerdict.WAIT, 1, NOON + timedelta(seconds=10))
    assert second == RetryDecision(RetryVerdict.WAIT, 2, NOON + timedelta(seconds=20))
    assert third.verdict is RetryVerdict.HOLD


@pytest.mark.parametrize("postponed", [0, 1, 5, 50, 5000])
def test_the_worlds_fault_waits_for_ever_and_costs_no_attempt(postponed: int) -> None:
    decision = judged(Ending.POSTPONED, 1, postponed)

    assert decision.verdict is RetryVerdict.WAIT
    assert decision.attempts == 0
    assert decision.due is not None
    assert timedelta(0) < decision.due - NOON <= LIMITS.longest_wait


def test_the_worlds_fault_waits_longer_each_time_from_the_first_wait_on() -> None:
    waits = [judged(Ending.POSTPONED, 1, n).due for n in range(4)]

    assert waits == [NOON + timedelta(seconds=s) for s in (10, 20, 40, 60)]


def test_a_step_is_tried_three_times_within_half_a_minute_to_an_hour_unless_told_otherwise() -> (
    None
):
    assert RetryLimits() == RetryLimits(3, timedelta(seconds=30), timedelta(hours=1))


def test_a_stage_may_say_how_long_to_wait_first_even_past_the_cap() -> None:
    decision = judged(Ending.POSTPONED, 1, after=timedelta(minutes=10))

    assert decision.due == NOON + timedelta(minutes=10)


def test_a_step_put_back_starts_again_at_once_and_costs_no_attempt() -> None:
    assert judged(Ending.REQUEUED, 2) == RetryDecision(RetryVerdict.WAIT, 1, NOON)


def test_an_interrupted_step_keeps_its_attempt_and_runs_out() -> None:
    assert [interrupted(n, LIMITS) for n in (1, 2, 3, 4)] == [
        RetryVerdict.WAIT,
        RetryVerdict.WAIT,
        RetryVerdict.HOLD,
        RetryVerdict.HOLD,
    ]


@given(
    tries=st.integers(0, 10_000),
    first=st.timedeltas(timedelta(seconds=1), timedelta(hours=1)),
    longest=st.timedeltas(timedelta(hours=1), timedelta(days=7)),
)
def test_a_wait_grows_and_is_never_longer_than_the_cap(
    tries: int, first: timedelta, longest: timedelta
) -> None:
    assert wait(tries, first, longest) <= wait(tries + 1, first, longest) <= longest
