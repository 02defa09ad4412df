"""The ways a stage can end without a result.

Three endings, no taxonomy: `Refuse` (the document's fault: a person decides), `Postpone` (the
world's fault: wait and try again), and anything else (the stage's fault: retried, then held).
"""

from __future__ import annotations

import re
from datetime import timedelta

from archived.api.options import parse_duration

_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Failure(Exception):
    """What `Refuse` and `Postpone` share: a sentence, a stable `code`, a `hint` to act on.

    `code` is lower-case words joined by hyphens; it appears in events, metrics and the hold list,
    and must stand in the plug-in's README under *Failures*.
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
