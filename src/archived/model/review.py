"""What a person must look at, as a stage found it and as it is kept. Pure.

A review is checked when it is made: one that exists is within the limits. The same value stands in
an outcome, in the catalog, in a decision's ledger entry and in `record.json`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

REVIEWS_LIMIT = 8
"""Reviews of one step."""
REGIONS_LIMIT = 2000
"""Regions of all reviews of one step together."""
PAGES_LIMIT = 1_000_000
TEXT_LIMIT = 4000
"""Characters of a message or hint."""
WORD_LIMIT = 80
"""Characters of a code or kind."""
NAME_LIMIT = 240
"""Characters of a picture's name."""

PICTURE_LIMIT = 32 * 2**20
"""Bytes of one picture."""

SECRECY_OPEN = frozenset({"unread-content"})
"""Codes that say: the secrecy of the document is not established. What becomes of them is said by
a hot folder's `unread`."""

_WORDS = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of one page; see `archived.api.Region`. `sha512`: of its picture, hex; filled in
    by the core. Raises `ValueError` for values that are none."""

    page: int
    box: tuple[float, ...]
    kind: str = ""
    share: float | None = None
    picture: str = ""
    sha512: str = ""

    def __post_init__(self) -> None:
        if type(self.page) is not int or not 1 <= self.page <= PAGES_LIMIT:
            raise ValueError(f"a region's page is {self.page!r}; pages are counted from 1")
        if not isinstance(self.box, (tuple, list)) or len(self.box) != 4:
            raise ValueError("a region's box is left, top, right, bottom")
        object.__setattr__(self, "box", tuple(map(_share, self.box)))
        left, top, right, bottom = self.box
        if left >= right or top >= bottom:
            raise ValueError(f"a region's box is empty: {list(self.box)}")
        if self.share is not None:
            object.__setattr__(self, "share", _share(self.share))
        _check_text("picture", self.picture, NAME_LIMIT)
        _check_text("sha512", self.sha512, 128)
        if self.kind != "":
            _check_words("kind", self.kind)


@dataclass(frozen=True, slots=True)
class Review:
    """Why a person must look, and where; see `archived.api.Review`. `flagged`: it was only
    recorded, and did not hold the document. Raises `ValueError` for values that are none."""

    code: str
    message: str
    hint: str = ""
    regions: tuple[Region, ...] = ()
    flagged: bool = False

    def __post_init__(self) -> None:
        _check_words("code", self.code)
        _check_text("message", self.message, TEXT_LIMIT)
        if not self.message.strip():
            raise ValueError(f"the review {self.code!r} has no message")
        _check_text("hint", self.hint, TEXT_LIMIT)
        if type(self.flagged) is not bool:
            raise ValueError("flagged is yes or no")


def to_json(reviews: Iterable[Review]) -> list[dict[str, Any]]:
    """JSON values only."""
    return [
        {**asdict(review), "regions": [_region_to_json(region) for region in review.regions]}
        for review in reviews
    ]


def from_json(value: object) -> tuple[Review, ...]:
    """The reviews that `to_json` wrote. Raises `ValueError` for anything else."""
    if not isinstance(value, list) or len(value) > REVIEWS_LIMIT:
        raise ValueError(f"reviews are a list of at most {REVIEWS_LIMIT}")
    if any(
        not isinstance(each, dict) or not isinstance(each.get("regions"), list) for each in value
    ):
        raise ValueError("a review is a table with a list of regions")
    count = sum(len(each["regions"]) for each in value)
    if count > REGIONS_LIMIT:
        raise ValueError(f"{count} regions; at most {REGIONS_LIMIT} are taken from a step")
    try:
        return tuple(
            Review(**{**each, "regions": tuple(Region(**region) for region in each["regions"])})
            for each in value
        )
    except TypeError as error:  # a key that is missing, or one too many
        raise ValueError(f"a review cannot be read: {error}") from error


def with_digests(reviews: Iterable[Review], digests: Mapping[str, str]) -> tuple[Review, ...]:
    """The same with each region's `sha512` by its picture's name."""
    return tuple(
        replace(
            review,
            regions=tuple(
                replace(region, sha512=digests.get(region.picture, "")) for region in review.regions
            ),
        )
        for review in reviews
    )


def digest(step: str, reviews: Sequence[Review]) -> str:
    """What a person was shown, as one value: SHA-256, hex, of a step's id and its reviews.

    A decision names it; it fits nothing else than these regions and these pictures.
    """
    text = json.dumps(
        {"step": step, "reviews": to_json(reviews)},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def holding(reviews: Iterable[Review]) -> Review | None:
    """What its document is held for, or `None`: all of them are only recorded. What says that its
    secrecy is not established comes first: nothing else may hide it.
    """
    held = sorted(
        (review for review in reviews if not review.flagged),
        key=lambda review: review.code not in SECRECY_OPEN,
    )
    return held[0] if held else None


def _region_to_json(region: Region) -> dict[str, Any]:
    return {**asdict(region), "box": list(region.box)}


def _share(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= 1:  # type: ignore[arg-type, operator] # it is a number by then
        raise ValueError(f"{value!r} is not a share from 0 to 1")
    return float(value)  # type: ignore[arg-type] # as above


def _check_words(what: str, value: object) -> None:
    _check_text(what, value, WORD_LIMIT)
    if not _WORDS.fullmatch(str(value)):
        raise ValueError(f"{what} {value!r}: write lower-case words joined by hyphens")


def _check_text(what: str, value: object, limit: int) -> None:
    if not isinstance(value, str) or len(value) > limit:
        raise ValueError(f"{what} of a review is text of at most {limit} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} of a review holds halves of characters") from None
