"""What a stage returned or raised, as the data that leaves its process.

Judged for shape and size only. Of an exception the places in the code are told, never values.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from archived.api import Artifact, Region, Result, Review
from archived.engine.protocol import FACTS_LIMIT, FILES_LIMIT, NOTES_LIMIT, PARTS_LIMIT
from archived.engine.worker.reply import (
    MalformedReply,
    check_json,
    clean,
    clean_line,
    is_line,
    printable,
    size_of,
)
from archived.message import Message
from archived.model import review
from archived.model.outcome import CopyMade, Ending, Made, Outcome, PartMade

TRACE_LIMIT = 40
"""Notes that tell of one exception and of what it was raised from."""

_FRAMES = 12
"""Of each exception so many calls, the innermost: an endless recursion says no more."""
_CAUSES = 3
_OURS = Path(__file__).parent


def trace(error: BaseException) -> tuple[str, ...]:
    """One note for each call, the outermost first, and for each exception it was raised from."""
    return tuple(map(clean_line, _raised(error)))[:TRACE_LIMIT]


def _raised(error: BaseException) -> Iterator[str]:
    current: BaseException | None = error
    for number in range(_CAUSES):
        if current is None:
            return
        if number:
            yield Message("raised while or after {name} was handled:", name=type(current).__name__)
        yield from _calls(current.__traceback__)
        inner = current.__context__ if not current.__suppress_context__ else None
        current = current.__cause__ or inner


def _calls(raised: TracebackType | None) -> Iterator[str]:
    for call in traceback.extract_tb(raised)[-_FRAMES:]:
        if Path(call.filename).parent == _OURS:
            continue  # how a stage is called says nothing of it
        source = f": {call.line}" if call.line else ""
        yield f"at {call.filename}:{call.lineno}, in {call.name}{source}"


__all__ = ["BadOutput", "clean", "outcome_of"]


class BadOutput(Exception):
    """What the stage returned is not what it must be."""


def outcome_of(result: object, folder: Path) -> Outcome:
    """What a stage returned, as data. Raises `BadOutput`. `folder` is the step's."""
    if not isinstance(result, Result):
        raise BadOutput(f"the stage returned {type(result).__name__}, not a Result")
    if result.parts and result.replace_main is not None:
        raise BadOutput("a document that is cut into parts keeps its main file")
    if result.parts and result.reviews:
        raise BadOutput("a document that is cut into parts is looked at by its parts: no reviews")
    if len(result.parts) > PARTS_LIMIT:
        raise BadOutput(f"{len(result.parts)} parts; at most {PARTS_LIMIT} are made of a document")
    for what, many, most in (
        ("files", len(result.artifacts), FILES_LIMIT),
        ("notes", len(result.notes), NOTES_LIMIT),
    ):
        if many > most:
            raise BadOutput(f"{many} {what}; at most {most} are taken from a step")
    return Outcome(
        ending=Ending.FINISHED,
        made=tuple(_made(artifact, folder) for artifact in result.artifacts),
        main=0 if result.replace_main is not None else None,
        facts=_as_json([result.facts])[0],
        tools={clean_line(str(k)): clean_line(str(v)) for k, v in result.tools.items()},
        copies=tuple(
            CopyMade(c.target, c.key, c.inventory_sha512, c.files, c.size, c.verified)
            for c in result.copies
        ),
        notes=tuple(clean(str(note)) for note in result.notes),
        parts=tuple(
            PartMade(
                _made(part.file, folder), clean_line(part.name), clean_line(part.dossier), facts
            )
            for part, facts in zip(
                result.parts, _as_json([part.facts for part in result.parts]), strict=True
            )
        ),
        reviews=_reviews(result.reviews),
    )


def _reviews(reviews: Sequence[Review]) -> tuple[review.Review, ...]:
    """What a person must look at. Raises `BadOutput` for what is none or beyond the limits."""
    try:
        return review.from_json(
            [
                {
                    "code": each.code,
                    "message": clean(str(each.message)),
                    "hint": clean(str(each.hint)),
                    "regions": [_region(r) for r in each.regions],
                }
                for each in reviews
            ]
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise BadOutput(f"a review is not what it must be: {clean(str(error))}") from error


def _region(region: Region) -> dict[str, Any]:
    return {
        "page": region.page,
        "box": region.box,
        "kind": region.kind,
        "share": region.share,
        "picture": region.picture,
    }


def _made(artifact: Artifact, folder: Path) -> Made:
    path = _inside(artifact.path, folder)
    for what in (artifact.name, artifact.media_type, path):
        if not is_line(what):
            raise BadOutput(f"{clean(what)!r} is not a plain file name or media type")
    return Made(
        path=path,
        name=artifact.name,
        media_type=artifact.media_type,
        role=str(artifact.role),
    )


def _as_json(tables: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Facts as they will be read back. Raises `BadOutput`."""
    try:
        facts = json.dumps(
            [dict(each) for each in tables], allow_nan=False, ensure_ascii=False, default=_as_table
        )
        facts.encode()  # fails for halves of characters, which are no text
        read: list[dict[str, Any]] = _printable(json.loads(facts))
        check_json(read)
    except MalformedReply as error:
        raise BadOutput(f"facts are not what can be kept: {error}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise BadOutput(f"facts are not JSON: {error}") from error
    if (size := size_of(read)) > FACTS_LIMIT:
        raise BadOutput(f"facts take {size} bytes; at most {FACTS_LIMIT} are kept")
    return read


def _printable(value: Any) -> Any:
    """The same with every text printable. No deeper than `json` reads."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {clean_line(key): _printable(inner) for key, inner in value.items()}
    return [_printable(inner) for inner in value] if isinstance(value, list) else value


def _as_table(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):  # such as a piece of `Document.facts`, which are frozen
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _inside(path: Path, folder: Path) -> str:
    # Only the spelling is judged here; the files themselves are judged from outside, by the core.
    try:
        return str(Path(os.path.normpath(folder / path)).relative_to(folder))
    except ValueError:
        raise BadOutput(f"{clean(str(path))} lies outside the step's folder") from None
