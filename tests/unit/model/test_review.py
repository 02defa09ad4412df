"""What a person must look at is within its limits, or it is no review."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from archived.model import review
from archived.model.review import REGIONS_LIMIT, Region, Review

REVIEW = Review(
    "unread-content",
    "Marks were not read.",
    "Look for a stamp.",
    (
        Region(2, (0.1, 0.25, 0.5, 1), "unread-marks", 0.125, "mark.png", "ab" * 64),
        Region(3, (0, 0, 1, 1)),
    ),
)
TABLE = review.to_json([REVIEW])[0]
REGION = TABLE["regions"][0]


def read(**change: object) -> tuple[Review, ...]:
    return review.from_json([{**TABLE, **change}])


def read_region(**change: object) -> tuple[Review, ...]:
    return read(regions=[{**REGION, **change}])


def test_a_review_survives_json_and_its_numbers_are_fractions():
    again = review.from_json(json.loads(json.dumps(review.to_json([REVIEW]))))
    assert again == (REVIEW,)
    assert [type(share) for share in again[0].regions[0].box] == [float] * 4


@pytest.mark.parametrize(
    "change",
    [
        {"page": 0},
        {"page": -1},
        {"page": 1.0},
        {"page": True},
        {"page": "1"},
        {"page": review.PAGES_LIMIT + 1},
        {"box": [0, 0, 1]},
        {"box": [0, 0, 1, 1, 1]},
        {"box": "0011"},
        {"box": None},
        {"box": [0, 0, 1, math.nan]},
        {"box": [0, 0, math.inf, 1]},
        {"box": [-0.1, 0, 1, 1]},
        {"box": [0, 0, 1.001, 1]},
        {"box": [0, 0, True, 1]},
        {"box": [0, 0, "1", 1]},
        {"box": [0.5, 0, 0.5, 1]},
        {"box": [0.6, 0, 0.5, 1]},
        {"box": [0, 1, 1, 0]},
        {"share": -0.1},
        {"share": 1.1},
        {"share": math.nan},
        {"share": "0.1"},
        {"share": False},
        {"kind": "Unread marks"},
        {"kind": "unread_marks"},
        {"kind": "a" * 81},
        {"kind": 1},
        {"picture": 1},
        {"picture": "a" * 241},
        {"picture": "\udce9.png"},
        {"colour": "red"},
    ],
)
def test_a_region_that_is_none_is_refused(change):
    assert read_region()
    with pytest.raises(ValueError, match=r".+"):
        read_region(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"code": ""},
        {"code": "Unread"},
        {"code": "unread content"},
        {"code": "a-"},
        {"code": "a" * 81},
        {"code": None},
        {"message": ""},
        {"message": "  "},
        {"message": None},
        {"message": "a" * 4001},
        {"message": "\ud800"},
        {"hint": None},
        {"hint": "a" * 4001},
        {"regions": None},
        {"regions": [1]},
        {"flagged": 1},
        {"held": True},
    ],
)
def test_a_review_that_is_none_is_refused(change):
    with pytest.raises(ValueError, match=r".+"):
        read(**change)


@pytest.mark.parametrize("value", [None, {}, "x", [None], [[]], [TABLE] * 9])
def test_what_is_no_list_of_at_most_eight_is_refused(value):
    assert len(review.from_json([TABLE] * 8)) == 8
    with pytest.raises(ValueError, match=r".+"):
        review.from_json(value)


def test_regions_are_counted_over_all_reviews_of_a_step():
    half = {**TABLE, "regions": [REGION] * (REGIONS_LIMIT // 2)}
    assert len(review.from_json([half, half])) == 2
    with pytest.raises(ValueError, match="2001 regions"):
        review.from_json([half, half, {**TABLE, "regions": [REGION]}])


def test_what_was_shown_is_named_by_step_regions_and_pictures():
    """A decision about it fits nothing else."""
    shown = review.digest("1", [REVIEW])
    assert shown == review.digest("1", review.from_json(review.to_json([REVIEW])))
    others = [
        review.digest("2", [REVIEW]),
        review.digest("1", [REVIEW, REVIEW]),
        review.digest("1", read_region(page=3)),
        review.digest("1", read_region(sha512="cd" * 64)),
        review.digest("1", []),
    ]
    assert len({shown, *others}) == 6


def test_one_that_is_not_flagged_holds():
    flagged = read(flagged=True)[0]
    assert review.holding([flagged, REVIEW]) == REVIEW
    assert review.holding([flagged]) is None
    assert review.holding([]) is None


def test_that_secrecy_is_not_established_is_hidden_by_no_other_hold():
    other = replace(REVIEW, code="odd-marks")
    unread = replace(REVIEW, code="unread-content")
    assert review.holding([other, unread]) == unread
    assert review.holding([other, replace(unread, flagged=True)]) == other


def test_pictures_are_named_by_their_bytes():
    (named,) = review.with_digests([REVIEW], {"mark.png": "ef" * 64})
    assert [region.sha512 for region in named.regions] == ["ef" * 64, ""]
