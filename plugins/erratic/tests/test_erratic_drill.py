"""The drills themselves: each fault, run as the daemon runs a step, ends as the README says."""

from __future__ import annotations

import select
import time
from pathlib import Path

import pytest

from archived.testing import StageFailed
from archived_erratic import Erratic


@pytest.fixture
def drill(run_stage, sample):
    def drill(fault, *, timeout="1 min", memory="256 MiB", **options):
        return run_stage(
            Erratic,
            sample("tiny.tif"),
            timeout=timeout,
            memory=memory,
            i_know_what_this_does=True,
            fault=fault,
            **options,
        )

    return drill


@pytest.mark.parametrize(
    ("fault", "code"),
    [("fail", "stage-error"), ("crash", "crashed"), ("eat-memory", "out-of-memory")],
)
def test_what_breaks_is_named_by_its_code(fault, code, drill):
    with pytest.raises(StageFailed) as failed:
        drill(fault)

    assert failed.value.code == code


def test_a_stage_that_vanishes_is_the_stages_fault(drill):
    with pytest.raises(StageFailed):
        drill("vanish")


@pytest.mark.parametrize("fault", ["hang", "slow"])
def test_what_takes_too_long_is_stopped(fault, drill):
    with pytest.raises(StageFailed) as failed:
        drill(fault, timeout="500 ms", duration="10 min")

    assert failed.value.code == "timed-out"


@pytest.mark.parametrize(
    "output", ["outside-folder", "missing-file", "symlink", "wrong-media-type", "original"]
)
def test_wrong_output_is_not_taken(output, drill):
    with pytest.raises(StageFailed) as failed:
        drill("wrong-output", output=output)

    assert failed.value.code == "bad-output"


@pytest.mark.parametrize("code", ["erratic-review", "unread-content"])
def test_a_review_is_an_ending_of_its_own_with_a_picture_for_each_region(code, drill):
    done = drill("review", review_code=code, regions=3)

    (review,) = done.reviews
    assert (review.code, len(review.regions), review.regions[1].page) == (code, 3, 2)
    pictures = {a.name: a for a in done.add if a.media_type == "image/png"}
    assert [pictures[r.picture].size > 0 for r in review.regions] == [True] * 3
    assert len({a.sha512 for a in pictures.values()}) == 3
    assert done.facts == {"looked_at": 3}


def test_more_regions_than_a_person_can_look_at_are_not_taken(drill):
    with pytest.raises(StageFailed, match="2000") as failed:
        drill("review", regions=2001, timeout="5 min")

    assert failed.value.code == "bad-output"


def test_facts_that_are_not_json_are_not_taken(drill):
    with pytest.raises(StageFailed):
        drill("wrong-output", output="facts-not-json")


@pytest.mark.parametrize("leave_group", [False, True])
def test_children_left_behind_are_gone_with_the_step(leave_group, drill):
    children = drill("leave-children", duration="10 min", leave_group=leave_group).facts["children"]

    assert len(children) == 3
    ends = time.monotonic() + 60
    while any(lives(child) for child in children):
        assert time.monotonic() < ends, "they outlived their step"
        select.select([], [], [], 0.01)


def lives(pid: int) -> bool:
    """Whether the process still runs; a dead one that nobody has collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
