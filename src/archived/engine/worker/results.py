"""The outcome of a step, out of what its child said and what the runner saw of its end. Pure.

A child says whose fault an ending was; that it crashed, ran out of time, was lost or put back is
said by the runner only. Whatever is not within the schema is `bad-output`, as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, TypeVar

from archived.engine.boundary import FACTS_LIMIT, FILES_LIMIT, NOTES_LIMIT, PARTS_LIMIT
from archived.engine.worker.protocol import (
    TEXT_LIMIT,
    Malformed,
    is_code,
    is_line,
    is_text,
    size_of,
    sole,
)
from archived.engine.worker.trace import TRACE_LIMIT
from archived.model import review
from archived.model.outcome import RUNNER_CODES, CopyMade, Ending, Made, Outcome, PartMade

T = TypeVar("T")

SHORTEST_WAIT, LONGEST_WAIT = timedelta(seconds=0.1), timedelta(days=31)
"""What a child may ask to wait for the first time."""
COPIES_LIMIT = 100
TOOLS_LIMIT = 200
PATH_LIMIT = 1000
"""Characters of a file's path or a copy's key."""
_SIZE_LIMIT = 2**60

_ENDINGS = (Ending.FINISHED, Ending.REFUSED, Ending.POSTPONED, Ending.BROKE)
_BROKE_CODES = frozenset({"stage-error", "bad-output", "out-of-memory"})
_KEYS = (
    "ending", "code", "message", "hint", "after", "made", "main", "facts", "tools", "copies",
    "notes", "parts", "reviews",
)  # fmt: skip

_DIGEST_KEYS = ("state", "sha512", "why")


def outcome_from_json(line: bytes) -> Outcome:
    """The outcome in a child's last line. Raises `Malformed`."""
    said = _table(sole(line, "outcome"), _KEYS)
    ending = _ending(said)
    outcome = Outcome(
        ending=ending,
        code=said["code"],
        message=_text(said["message"]),
        hint=_text(said["hint"]),
        after=_wait(said["after"]),
        made=_each(said["made"], FILES_LIMIT, _made),
        main=said["main"],
        facts=_facts(said["facts"]),
        tools=_tools(said["tools"]),
        copies=_each(said["copies"], COPIES_LIMIT, _copy),
        notes=_each(said["notes"], NOTES_LIMIT, _text),
        parts=_each(said["parts"], PARTS_LIMIT, _part),
        reviews=_reviews(said["reviews"]),
    )
    main = outcome.main
    if main is not None and not (type(main) is int and 0 <= main < len(outcome.made)):
        raise Malformed("its main file is none of those it made")
    if size_of([part.facts for part in outcome.parts]) > FACTS_LIMIT:
        raise Malformed(f"the facts of its parts take more than {FACTS_LIMIT} bytes")
    trace = ending is Ending.BROKE and len(outcome.notes) <= TRACE_LIMIT
    unfinished = replace(outcome, notes=()) if trace else outcome
    if ending is not Ending.FINISHED and _has_results(unfinished):
        raise Malformed("it did not finish and has results all the same")
    return outcome


def problems_from_json(line: bytes) -> list[str]:
    """What a check found. Raises `Malformed`."""
    return list(_each(sole(line, "problems"), NOTES_LIMIT, _text))


def digests_from_json(line: bytes) -> tuple[Mapping[str, str], ...]:
    """What `read_back.digests_of` found. Raises `Malformed`."""
    found = _each(sole(line, "read"), FILES_LIMIT, lambda one: _table(one, _DIGEST_KEYS))
    for one in found:
        _line(one["state"], 10)
        _line(one["sha512"], 128)
        _text(one["why"])
    return found


def _ending(said: Mapping[str, Any]) -> Ending:
    """Raises `Malformed` for an ending or a code that a child may not give."""
    ending, code = said["ending"], said["code"]
    if ending not in _ENDINGS:
        raise Malformed("its ending is none that a stage gives")
    if not isinstance(code, str) or (code and not is_code(code)):
        raise Malformed("its code is not lower-case words joined by hyphens")
    if code in RUNNER_CODES:
        raise Malformed(f"the code {code!r} is not the stage's to give")
    allowed = code in _BROKE_CODES if ending == Ending.BROKE else bool(code)
    if not allowed if ending != Ending.FINISHED else code:
        raise Malformed(f"the code {code!r} does not go with the ending {ending!r}")
    return Ending(ending)


def _has_results(outcome: Outcome) -> bool:
    return bool(
        outcome.made or outcome.facts or outcome.copies or outcome.parts or outcome.reviews
        or outcome.notes or outcome.tools
    )  # fmt: skip


def _table(value: object, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise Malformed(f"a table has other keys than {', '.join(keys)}")
    return value


def _each(value: object, most: int, read: Callable[[Any], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise Malformed(f"a list is none, or has more than {most} entries")
    return tuple(map(read, value))


def _text(value: object, most: int = TEXT_LIMIT) -> str:
    if not isinstance(value, str) or len(value) > most or not is_text(value):
        raise Malformed(f"a text is none, or has more than {most} characters")
    return value


def _line(value: object, most: int = TEXT_LIMIT) -> str:
    if not isinstance(value, str) or len(value) > most or not is_line(value):
        raise Malformed(f"a name is not one line of at most {most} characters")
    return value


def _number(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise Malformed("a count or size is out of range")
    return value


def _wait(value: object) -> timedelta | None:
    if value is None:
        return None
    shortest, longest = SHORTEST_WAIT.total_seconds(), LONGEST_WAIT.total_seconds()
    if type(value) not in (int, float) or not shortest <= value <= longest:  # type: ignore[operator] # it is a number by then
        raise Malformed(f"its wait is not between {shortest:g} and {longest:g} seconds")
    return timedelta(seconds=value)  # type: ignore[arg-type] # as above


def _facts(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Malformed("facts are not a table")
    if size_of(value) > FACTS_LIMIT:
        raise Malformed(f"facts take more than {FACTS_LIMIT} bytes")
    return value


def _tools(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or len(value) > TOOLS_LIMIT:
        raise Malformed(f"tools are not a table of at most {TOOLS_LIMIT} entries")
    return {_line(name): _line(version) for name, version in value.items()}


def _made(value: object) -> Made:
    table = _table(value, ("path", "name", "media_type", "role"))
    return Made(
        path=_line(table["path"], PATH_LIMIT), name=_line(table["name"]),
        media_type=_line(table["media_type"]), role=_line(table["role"]),
    )  # fmt: skip


def _part(value: object) -> PartMade:
    table = _table(value, ("file", "name", "dossier", "facts"))
    return PartMade(
        _made(table["file"]), _line(table["name"]), _line(table["dossier"]), _facts(table["facts"])
    )


def _copy(value: object) -> CopyMade:
    table = _table(value, ("target", "key", "inventory_sha512", "files", "size", "verified"))
    key = PurePosixPath(_line(table["key"], PATH_LIMIT))
    if key.is_absolute() or not key.parts or ".." in key.parts:
        raise Malformed("the key of a copy is not a path below its target")
    try:
        verified = datetime.fromisoformat(_line(table["verified"], 64))
    except ValueError:
        raise Malformed("the time of a copy is none") from None
    if verified.tzinfo is None:
        raise Malformed("the time of a copy has no time zone")
    return CopyMade(
        target=_line(table["target"], 200), key=str(key), verified=verified,
        inventory_sha512=_line(table["inventory_sha512"], 128),
        files=_number(table["files"], _SIZE_LIMIT), size=_number(table["size"], _SIZE_LIMIT),
    )  # fmt: skip


def _reviews(value: object) -> tuple[review.Review, ...]:
    try:
        found = review.from_json(value)
    except (ValueError, TypeError) as error:
        raise Malformed(f"its reviews cannot be read: {error}") from None
    return tuple(replace(each, flagged=False) for each in found)
