"""Where an exception of a stage came from, as notes for its step's record: no values, only code."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from archived.engine.worker.protocol import clean_line

TRACE_LIMIT = 40
"""Notes that tell of one exception and of what it was raised from."""

_FRAMES = 12
"""Of each exception so many calls, the innermost: an endless recursion says no more."""
_CAUSES = 3
_OURS = Path(__file__).parent


def trace(error: BaseException) -> tuple[str, ...]:
    """One note for each call, the outermost first, and for each exception it was raised from."""
    return tuple(map(clean_line, _told(error)))[:TRACE_LIMIT]


def _told(error: BaseException) -> Iterator[str]:
    current: BaseException | None = error
    for number in range(_CAUSES):
        if current is None:
            return
        if number:
            yield f"raised while or after {type(current).__name__} was handled:"
        yield from _calls(current.__traceback__)
        inner = current.__context__ if not current.__suppress_context__ else None
        current = current.__cause__ or inner


def _calls(raised: TracebackType | None) -> Iterator[str]:
    for call in traceback.extract_tb(raised)[-_FRAMES:]:
        if Path(call.filename).parent == _OURS:
            continue  # how a stage is called says nothing of it
        source = f": {call.line}" if call.line else ""
        yield f"at {call.filename}:{call.lineno}, in {call.name}{source}"
