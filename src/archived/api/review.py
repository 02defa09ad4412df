"""The ending "finished, and a person must look": what a stage says of it.

The limits and the rules for codes, kinds and numbers are held by the core when the result leaves
the stage's process; one that breaks them is `bad-output`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of one page of the artifact that a person should look at.

    `page`: from 1, of the document's main artifact as it is after this stage. `box`: left, top,
    right, bottom as shares (0 to 1) of the page as it is displayed, after `/Rotate` and `CropBox`;
    left < right, top < bottom. `kind`: lower-case words joined by hyphens, such as `unread-marks`.
    `share`: how much of the page's ink lies in it, 0 to 1. `picture`: the name of an artifact of
    the same `Result` (in `add`, role `METADATA`, media type `image/png`) that shows the region;
    empty when there is none.
    """

    page: int
    box: tuple[float, float, float, float]
    kind: str = ""
    share: float | None = None
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """A stage finished, and a person must look before the document goes on.

    `code` is stable, as a `Failure`'s, and stands in the plug-in's README under *Failures*; such as
    `unread-content`. `message` says what was found, `hint` what to look for. At most 8 reviews with
    2000 regions in all are taken from one step.
    """

    code: str
    message: str
    hint: str = ""
    regions: Sequence[Region] = ()
