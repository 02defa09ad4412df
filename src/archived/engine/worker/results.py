"""The outcome of a step, from what its child said and what the runner saw of its end. Pure.

A child says whose fault an ending was. Crashed, timed out, lost and requeued are said by the
runner only. Whatever is not within the schema is `bad-output`, as a whole.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, TypeVar

from archived.engine.protocol import (
    DISOBEYED,
    FACTS_LIMIT,
    FILES_LIMIT,
    NOT_BEGUN,
    NOTES_LIMIT,
    PARTS_LIMIT,
    PROCESSES_LIMIT,
)
from archived.engine.step_limits import STALLED
from archived.engine.worker.reply import (
    TEXT_LIMIT,
    MalformedReply,
    Reply,
    clean,
    is_code,
    is_line,
    is_text,
    size_of,
    sole,
)
from archived.engine.worker.stage_result import TRACE_LIMIT
from archived.message import Message, from_json, restored
from archived.model import review
from archived.model.former_names import CODES
from archived.model.outcome import RUNNER_CODES, CopyMade, Ending, Made, Outcome, PartMade, Usage

T = TypeVar("T")

SHORTEST_WAIT, LONGEST_WAIT = timedelta(seconds=0.1), timedelta(days=31)
"""What a child may ask to wait for the first time."""
COPIES_LIMIT = 100
TOOLS_LIMIT = 200
PATH_LIMIT = 1000
"""Characters of a file's path or a copy's key."""
_SIZE_LIMIT = 2**60

_ENDINGS = (Ending.FINISHED, Ending.REFUSED, Ending.POSTPONED, Ending.FAILED)
_FAILED_CODES = frozenset({"stage-error", "bad-output", "out-of-memory"})
_KEYS = (
    "ending",
    "code",
    "message",
    "hint",
    "after",
    "made",
    "main",
    "facts",
    "tools",
    "copies",
    "notes",
    "parts",
    "reviews",
)

_DIGEST_KEYS = ("state", "sha512", "why")


def outcome_from_json(line: bytes) -> Outcome:
    """The outcome in a child's last line. Raises `Malformed`."""
    said = _table(_with_sentences(sole(line, "outcome")), _KEYS)
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
        raise MalformedReply("its main file is none of those it made")
    if size_of([part.facts for part in outcome.parts]) > FACTS_LIMIT:
        raise MalformedReply(f"the facts of its parts take more than {FACTS_LIMIT} bytes")
    trace = ending is Ending.FAILED and len(outcome.notes) <= TRACE_LIMIT
    unfinished = replace(outcome, notes=()) if trace else outcome
    if ending is not Ending.FINISHED and _has_results(unfinished):
        raise MalformedReply("it did not finish and has results all the same")
    return outcome


def _with_sentences(said: object) -> object:
    """The sentences of an outcome and its reviews as messages; facts are the stage's own."""
    if not isinstance(said, dict):
        return said
    told = restored(said)
    if isinstance(reviews := told.get("reviews"), list):
        read = [restored(each) if isinstance(each, dict) else each for each in reviews]
        return {**told, "reviews": read}
    return told


def problems_from_json(line: bytes) -> list[str]:
    """What a check found. Raises `Malformed`."""
    return list(_each(sole(line, "problems"), NOTES_LIMIT, _problem))


def _problem(value: object) -> str:
    try:
        return _text(from_json(value))
    except (ValueError, TypeError, AttributeError) as error:
        raise MalformedReply("a problem is no sentence") from error


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
        raise MalformedReply("its ending is none that a stage gives")
    if not isinstance(code, str) or (code and not is_code(code)):
        raise MalformedReply("its code is not lower-case words joined by hyphens")
    if code in RUNNER_CODES:
        raise MalformedReply(f"the code {code!r} is not the stage's to give")
    allowed = code in _FAILED_CODES if ending == Ending.FAILED else bool(code)
    if not allowed if ending != Ending.FINISHED else code:
        raise MalformedReply(f"the code {code!r} does not go with the ending {ending!r}")
    return Ending(ending)


def _has_results(outcome: Outcome) -> bool:
    return bool(
        outcome.made
        or outcome.facts
        or outcome.copies
        or outcome.parts
        or outcome.reviews
        or outcome.notes
        or outcome.tools
    )


def _table(value: object, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise MalformedReply(f"a table has other keys than {', '.join(keys)}")
    return value


def _each(value: object, most: int, read: Callable[[Any], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise MalformedReply(Message("a list is none, or has more than {most} entries", most=most))
    return tuple(map(read, value))


def _text(value: object, most: int = TEXT_LIMIT) -> str:
    if not isinstance(value, str) or len(value) > most or not is_text(value):
        raise MalformedReply(f"a text is none, or has more than {most} characters")
    return value


def _line(value: object, most: int = TEXT_LIMIT) -> str:
    if not isinstance(value, str) or len(value) > most or not is_line(value):
        raise MalformedReply(f"a name is not one line of at most {most} characters")
    return value


def _number(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise MalformedReply("a count or size is out of range")
    return value


def _wait(value: object) -> timedelta | None:
    if value is None:
        return None
    shortest, longest = SHORTEST_WAIT.total_seconds(), LONGEST_WAIT.total_seconds()
    if type(value) not in (int, float) or not shortest <= value <= longest:  # type: ignore[operator] # it is a number by then
        raise MalformedReply(f"its wait is not between {shortest:g} and {longest:g} seconds")
    return timedelta(seconds=value)  # type: ignore[arg-type] # as above


def _facts(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedReply("facts are not a table")
    if size_of(value) > FACTS_LIMIT:
        raise MalformedReply(f"facts take more than {FACTS_LIMIT} bytes")
    return value


def _tools(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or len(value) > TOOLS_LIMIT:
        raise MalformedReply(
            Message(
                "tools are not a table of at most {tools_limit} entries", tools_limit=TOOLS_LIMIT
            )
        )
    return {_line(name): _line(version) for name, version in value.items()}


def _made(value: object) -> Made:
    table = _table(value, ("path", "name", "media_type", "role"))
    return Made(
        path=_line(table["path"], PATH_LIMIT),
        name=_line(table["name"]),
        media_type=_line(table["media_type"]),
        role=_line(table["role"]),
    )


def _part(value: object) -> PartMade:
    table = _table(value, ("file", "name", "dossier", "facts"))
    return PartMade(
        _made(table["file"]), _line(table["name"]), _line(table["dossier"]), _facts(table["facts"])
    )


def _copy(value: object) -> CopyMade:
    table = _table(value, ("target", "key", "inventory_sha512", "files", "size", "verified"))
    key = PurePosixPath(_line(table["key"], PATH_LIMIT))
    if key.is_absolute() or not key.parts or ".." in key.parts:
        raise MalformedReply("the key of a copy is not a path below its target")
    try:
        verified = datetime.fromisoformat(_line(table["verified"], 64))
    except ValueError:
        raise MalformedReply("the time of a copy is none") from None
    if verified.tzinfo is None:
        raise MalformedReply("the time of a copy has no time zone")
    return CopyMade(
        target=_line(table["target"], 200),
        key=str(key),
        verified=verified,
        inventory_sha512=_line(table["inventory_sha512"], 128),
        files=_number(table["files"], _SIZE_LIMIT),
        size=_number(table["size"], _SIZE_LIMIT),
    )


def _reviews(value: object) -> tuple[review.Review, ...]:
    try:
        found = review.from_json(value)
    except (ValueError, TypeError) as error:
        raise MalformedReply(f"its reviews cannot be read: {error}") from None
    return tuple(replace(each, flagged=False) for each in found)


SHUTDOWN = Outcome(
    Ending.REQUEUED, "shutdown", Message("the daemon stopped; the step will be started again")
)


_NEXT = {
    "stage-error": Message(
        "archivectl explain --verbose says where in its code; if other documents fare the "
        "same, report it to the stage's author"
    ),
    "out-of-memory": Message(
        "raise `memory` for this stage, or look at what is special about the document"
    ),
    "bad-output": Message("report it to the stage's author"),
}
"""Code -> what to do next, where the child itself had nothing to say about that."""


_RUNNER_HINT = Message(
    "it is started again by itself; if this repeats, look at the journal and at free memory"
)


def runner_lost(why: str) -> Outcome:
    """The process that starts stages ended under a step that had it to itself."""
    return Outcome(
        Ending.FAILED,
        "runner-lost",
        clean(Message("the process that starts stages ended ({why})", why=why)),
        _RUNNER_HINT,
    )


def requeued(why: str) -> Outcome:
    """It ended under several steps, or for the first time: nobody's fault, as far as is known."""
    return replace(runner_lost(why), ending=Ending.REQUEUED)


def no_runner(why: str) -> Outcome:
    """It cannot be started, or cannot start a process: the world's fault."""
    return Outcome(
        Ending.POSTPONED,
        "runner-lost",
        clean(Message("no process could be started for the step: {why}", why=why)),
        Message("look at free memory and at the limits of the unit (TasksMax=, LimitNPROC=)"),
        after=timedelta(seconds=10),
    )


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """What the fork server saw of a step's end. `why` is set when it was killed from outside."""

    why: str
    status: int | None
    signal: int | None
    usage: Usage
    strays: int
    refused: Mapping[str, int]
    """Name of a system call -> how often the step's filter refused it."""
    cannot_start: str
    kept: bool = False
    """Whether the worker that did it rests and takes the next one."""

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> ProcessEnd:
        """The `ended` message. Raises `KeyError`, `TypeError` or `ValueError` for another."""
        return cls(
            why=str(message["why"]),
            status=message["status"],
            signal=message["signal"],
            usage=Usage(**message["usage"]),
            strays=int(message["strays"]),
            refused={str(name): int(count) for name, count in message["refused"].items()},
            cannot_start=str(message["cannot_start"]),
            kept=message.get("kept") is True,
        )


def judge(ended: ProcessEnd, reply: Reply) -> Outcome:
    """The outcome of a step. Files it names have not been looked at yet. Never raises."""
    if ended.strays:
        return Outcome(
            Ending.FAILED,
            "stage-error",
            Message("{strays} processes it started cannot be killed", strays=ended.strays),
            Message("look for processes stuck on a disk or network file system"),
            notes=_noted(ended),
            usage=ended.usage,
        )
    outcome = _at_page(_judge(ended, reply), reply.page)
    return replace(outcome, notes=(*outcome.notes, *_noted(ended)), usage=ended.usage)


def _at_page(outcome: Outcome, page: int) -> Outcome:
    """The same, with the page at which it was when it ended without a result of its own."""
    if not page or outcome.ending is not Ending.FAILED:
        return outcome
    return replace(
        outcome,
        message=Message("{message}; it was at page {page}", message=outcome.message, page=page),
    )


def _noted(ended: ProcessEnd) -> tuple[str, ...]:
    """Which system calls the filter of the step refused, as a sentence for its record."""
    if not ended.refused:
        return ()
    calls = ", ".join(
        name if count == 1 else f"{name} ({count})" for name, count in sorted(ended.refused.items())
    )
    return (
        clean(Message("system calls that a step may not make were refused: {calls}", calls=calls)),
    )


def _judge(ended: ProcessEnd, reply: Reply) -> Outcome:
    if ended.cannot_start:
        return no_runner(ended.cannot_start)
    if reply.problem:
        return _bad_output(reply.problem)
    if ended.why == NOT_BEGUN:
        return _killed(ended.why)
    if ended.signal is not None:
        return _killed(ended.why) if ended.why else _crashed(ended.signal)
    if reply.broken_off:
        return _bad_output(Message("the stage's result breaks off in the middle of a line"))
    if reply.final is None:
        return Outcome(
            Ending.FAILED,
            "stage-error",
            Message(
                "the stage's process ended with status {status} and without a result",
                status=ended.status,
            ),
            Message("the step's log says more"),
        )
    try:
        outcome = outcome_from_json(reply.final)
    except MalformedReply as error:
        return _bad_output(Message("the stage's result cannot be read: {error}", error=error))
    except Exception as error:  # noqa: BLE001 - whatever a stranger says has an ending
        return _bad_output(
            Message("the stage's result cannot be read: {name}", name=type(error).__name__)
        )
    outcome = replace(outcome, hint=outcome.hint or _NEXT.get(outcome.code, ""))
    return _under_present_codes(outcome)


def _under_present_codes(outcome: Outcome) -> Outcome:
    """A code that is called otherwise by now is taken as the present one, and a note says so."""
    given = dict.fromkeys((outcome.code, *(each.code for each in outcome.reviews)))
    former = {code: CODES[code] for code in given if code in CODES}
    if not former:
        return outcome
    notes = (
        Message(
            'the code "{code}" is now called "{name}", and was taken as that; report it to '
            "the stage's author",
            code=code,
            name=name,
        )
        for code, name in former.items()
    )
    return replace(
        outcome,
        code=former.get(outcome.code, outcome.code),
        reviews=tuple(replace(r, code=former.get(r.code, r.code)) for r in outcome.reviews),
        notes=(*outcome.notes, *notes),
    )


def _killed(why: str) -> Outcome:
    if why == "timed-out":
        return Outcome(
            Ending.FAILED,
            "timed-out",
            Message("the stage did not end within its timeout"),
            Message(
                "raise `timeout` for this stage, or look at what is special about the document"
            ),
        )
    if why == STALLED:
        return Outcome(
            Ending.FAILED,
            STALLED,
            "the stage did not get on for as long as its timeout, and was ended",
            "look at what is special about the document; raise `timeout` for this stage when one "
            "page of it takes that long",
        )
    if why == "too-many-processes":
        return Outcome(
            Ending.FAILED,
            "too-many-processes",
            Message(
                "the stage started more than {processes_limit} processes and threads at a time",
                processes_limit=PROCESSES_LIMIT,
            ),
            Message(
                "look at what is special about the document; if others fare the same, "
                "report it to the stage's author"
            ),
        )
    if why == DISOBEYED:
        return Outcome(
            Ending.FAILED,
            "stage-error",
            Message(
                "the stage's kept worker went on after its step had ended, or said what it may not"
            ),
            Message("report it to the stage's author: between two steps it starts nothing"),
        )
    if why == NOT_BEGUN:
        return no_runner("the kept worker did not take it")
    if why == "step-unwatched":
        return no_runner("it could not be watched")
    return SHUTDOWN


def _crashed(number: int) -> Outcome:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGXCPU:
        return Outcome(
            Ending.FAILED,
            "timed-out",
            Message("the stage used more processor time than it is allowed (SIGXCPU)"),
            Message("raise `timeout` for this stage"),
        )
    hint = Message("the step's log says more")
    if number == signal.SIGKILL:
        hint = Message("the kernel may have been out of memory; see `journalctl -k`")
    if number == signal.SIGXFSZ:
        hint = Message("it wrote a file larger than the limit")
    return Outcome(
        Ending.FAILED, "crashed", Message("the stage's process died of {name}", name=name), hint
    )


def _bad_output(message: str) -> Outcome:
    return Outcome(
        Ending.FAILED, "bad-output", clean(message), Message("report it to the stage's author")
    )
