"""The endings that a stage declares itself: refused, postponed, finished but to be reviewed.

`Refuse` is the document's fault: a person decides. `Postpone` is the environment's: wait, then try
again. Any other exception is the stage's fault: it is retried, then the document is held. `Review`
is an ending with results. The core checks limits, codes and numbers when the result leaves the
stage's process; a violation is `bad-output`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from archived.api.options import parse_duration

_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Failure(Exception):
    """What `Refuse` and `Postpone` share: a sentence, a stable `code`, a `hint` to act on.

    `code` is lower-case words joined by hyphens; it appears in events, metrics and the hold list,
    and must stand in the plug-in's README under *Failures*. A sentence that is a `Message` is shown
    in the reader's language, where the plug-in brings a catalogue.
    """

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        if not _CODE.fullmatch(code):
            raise ValueError(f"code {code!r}: write lower-case words joined by hyphens")
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint


class Refuse(Failure):
    """The document is at fault: it is held for a person and never retried by itself."""


class Postpone(Failure):
    """The world is at fault (a server is down, a disk is full): wait, then try again.

    `after` is a hint for the first wait (a `timedelta` or text like `"10 min"`); the core lets it
    grow and caps it. A postponed step does not use up one of the stage's attempts.
    """

    def __init__(
        self, message: str, *, code: str, hint: str = "", after: timedelta | str = "1 min"
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.after = parse_duration(after) if isinstance(after, str) else after


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
