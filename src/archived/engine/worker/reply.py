"""The lines that a step's process says on its reply pipe, and the limits of all it may say.

A child may be taken over by the file it parses, so each line is data of a stranger. Everything here
is total: whatever the bytes are, they become a value within the limits or `Malformed`. Nothing here
starts a process or knows a plug-in's classes.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from archived.message import Message

REPLY_LIMIT = 4 * 2**20
"""Bytes of JSON one step may answer with."""
SHORT_LINE_LIMIT = 4096
"""Bytes of a line that is not the result: of the confinement, and of progress."""
PROGRESS_PER_SECOND = 16
"""Lines of progress that are read; an honest child says four a second."""
DEPTH_LIMIT = 32
"""Tables and lists that may stand inside each other in a step's facts."""
_AROUND = 4
"""Tables and lists around them on the line."""
ITEMS_LIMIT = 200_000
"""Values in all of a result."""
KEY_LIMIT = 200
"""Characters of a key."""
TEXT_LIMIT = 4000
"""Characters of one message, note or name."""
NUMBER_LIMIT = 2**63 - 1
"""The largest number: what every reader of the archive's records can hold."""

PROTECTIONS = (
    "limits",
    "processes",
    "privileges",
    "network",
    "parent",
    "files",
    "services",
    "signals",
    "calls",
)
"""The keys of the verdicts about a step's confinement; see `sandbox.Confinement`."""

_FINAL = {
    "run": b'{"outcome": ',
    "check": b'{"problems": ',
    "read-back": b'{"read": ',
    "give-back": b"{}",
}
"""Kind of job -> how its last line begins."""
_CONFINEMENT = b'{"confinement": '
_PROGRESS = re.compile(
    rb'\{"progress": (1|0|1\.0{1,4}|0\.[0-9]{1,4})(?:, "page": ([1-9][0-9]{0,6}))?\}'
)
_VERDICT = re.compile(r"not asked|(yes|no)( \([^\n]{1,300}\))?")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
CODE_LIMIT = 80
"""Characters of a code."""

# Controls but tab and line feed; line breaks of Unicode; marks that turn the direction of what
# follows; halves of characters; what Unicode says is no character.
_UNPRINTABLE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    "\ufdd0-\ufdef\ufffe\uffff"
    + "".join(chr(p * 0x10000 + e) for p in range(1, 17) for e in (0xFFFE, 0xFFFF))
)
_NOT_TEXT = re.compile(f"[{_UNPRINTABLE}]")
_NOT_A_LINE = re.compile(f"[\t\n{_UNPRINTABLE}]")


class MalformedReply(ValueError):
    """What a child said is outside of the schema or its limits."""


def is_text(text: str) -> bool:
    """Whether it is printable text, of any number of lines."""
    return _NOT_TEXT.search(text) is None


def is_line(text: str) -> bool:
    """Whether it is printable text of one line."""
    return _NOT_A_LINE.search(text) is None


def is_code(text: str) -> bool:
    """Whether it is lower-case words joined by hyphens."""
    return len(text) <= CODE_LIMIT and _CODE.fullmatch(text) is not None


def printable(text: str) -> str:
    """The text with line breaks as line feeds and everything unprintable as visible escapes."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _NOT_TEXT.sub(lambda found: ascii(found[0])[1:-1], text)


def clean(text: str) -> str:
    """Text that can be stored: printable and bounded. A message that is stays one."""
    if isinstance(text, Message) and len(text) <= TEXT_LIMIT and is_text(text):
        return text
    return printable(text[:TEXT_LIMIT])[:TEXT_LIMIT]


def clean_line(text: str) -> str:
    """The same on one line."""
    if isinstance(text, Message) and len(text) <= TEXT_LIMIT and is_line(text):
        return text
    return clean(text).replace("\n", " ").replace("\t", " ")


def parse(line: bytes) -> dict[str, Any]:
    """The table in a line of JSON, within all limits. Raises `Malformed` for anything else."""
    if _items(line) > ITEMS_LIMIT:
        raise MalformedReply(f"more than {ITEMS_LIMIT} values")
    try:
        said = json.loads(
            line,
            parse_int=_whole,
            parse_float=_fraction,
            parse_constant=_constant,
            object_pairs_hook=_table,
        )
    except MalformedReply:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedReply(f"not JSON: {type(error).__name__}") from None
    if not isinstance(said, dict):
        raise MalformedReply("not a table")
    check_json(said, DEPTH_LIMIT + _AROUND)
    return said


def size_of(value: object) -> int:
    """Bytes that checked JSON takes."""
    return len(json.dumps(value, ensure_ascii=False).encode())


def check_json(value: object, depth: int = DEPTH_LIMIT) -> None:
    """Raises `Malformed` for JSON that is too deep or large, or holds what is no plain value."""
    left = ITEMS_LIMIT
    level: list[object] = [value]
    for _ in range(depth + 1):  # breadth first: however deep it is, nothing here recurses
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                for key in each:
                    _check_key(key)
                inner += each.values()
            elif isinstance(each, list):
                inner += each
            else:
                _check_scalar(each)
        left -= len(inner)
        if left < 0:
            raise MalformedReply(f"more than {ITEMS_LIMIT} values")
        if not inner:
            return
        level = inner
    raise MalformedReply(f"more than {depth} tables and lists inside each other")


def _items(line: bytes) -> int:
    """At least as many as values in a line of JSON, counted without making any of them."""
    count = sum(map(line.count, (b",", b"[", b"{")))
    if count > ITEMS_LIMIT:  # some of these may stand in texts
        line = _STRING.sub(b"", line)
        count = sum(map(line.count, (b",", b"[", b"{")))
    return count + 1


def _check_key(key: object) -> None:
    if not isinstance(key, str) or len(key) > KEY_LIMIT or not is_line(key):
        raise MalformedReply(f"a key is not one line of at most {KEY_LIMIT} characters")


def _check_scalar(value: object) -> None:
    if isinstance(value, str):
        if not is_text(value):
            raise MalformedReply("a text holds characters that cannot be printed")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise MalformedReply("a number is not finite")
    elif isinstance(value, int):
        if abs(value) > NUMBER_LIMIT:
            raise MalformedReply("a number is too large")
    elif value is not None:
        raise MalformedReply(f"{type(value).__name__} is not JSON")


def _whole(digits: str) -> int:
    if len(digits) > 20:  # before it is made: that takes long, and beyond a limit it fails
        raise MalformedReply("a number is too large")
    return int(digits)


def _fraction(digits: str) -> float:
    if len(digits) > 64:
        raise MalformedReply("a number has too many digits")
    return float(digits)


def _constant(name: str) -> NoReturn:
    raise MalformedReply(f"{name} is no number")


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise MalformedReply("a key stands twice in one table")
    return table


class Reply:
    """What one child says, line by line: its confinement, then progress, then one result.

    The confinement must be the first line, for the child says it before any of the stage's code
    runs. After anything that is not in this order, or is too much, `problem` says what it was and
    nothing more is read.
    """

    def __init__(
        self,
        kind: str,
        clock: Callable[[], float] = time.monotonic,
        confinement: Mapping[str, str] | None = None,
    ) -> None:
        self.confinement = confinement
        """Protection -> verdict, as soon as the child has said it. Known before of a kept worker
        that goes on: what it says now is said after the stage's code ran."""
        self.final: bytes | None = None
        """The line with the result. Only how it begins was looked at; see `parse`."""
        self.fraction = 0.0
        """The latest progress."""
        self.page = 0
        """The page at which the step is; 0: it did not say."""
        self.problem = ""
        self._result = _FINAL[kind]
        self._clock = clock
        self._began = clock()
        self._line = bytearray()
        self._total = 0
        self._lines = 0

    def feed(self, chunk: bytes) -> None:
        """Take what was read. Never raises for what it is."""
        if self.problem:
            return
        try:
            self._feed(chunk)
        except MalformedReply as error:
            self.problem = str(error)
            self._line.clear()

    @property
    def broken_off(self) -> bool:
        """Whether the last line has no end."""
        return bool(self._line)

    def _feed(self, chunk: bytes) -> None:
        self._total += len(chunk)
        seconds = 1 + self._clock() - self._began
        if self._total > REPLY_LIMIT + PROGRESS_PER_SECOND * 64 * seconds:
            raise MalformedReply(
                Message(
                    "the stage answered with more than {reply_limit} bytes", reply_limit=REPLY_LIMIT
                )
            )
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._line += line
            whole = bytes(self._line)
            self._line.clear()
            self._check_length(whole)
            self._take(whole, seconds)
        self._line += rest
        self._check_length(self._line)

    def _check_length(self, line: bytes | bytearray) -> None:
        limit = REPLY_LIMIT if line.startswith(self._result) else SHORT_LINE_LIMIT
        if len(line) > limit:
            raise MalformedReply(f"the stage said a line of more than {limit} bytes")

    def _take(self, line: bytes, seconds: float) -> None:
        if self.confinement is None:
            self.confinement = _confinement(line)
        elif progress := _PROGRESS.fullmatch(line):
            self._lines += 1
            if self.final is None and self._lines <= PROGRESS_PER_SECOND * seconds:
                self.fraction = float(progress[1])
                self.page = int(progress[2] or 0)
        elif line.startswith(self._result) and self.final is None:
            self.final = line
        else:
            raise MalformedReply(Message("the stage disturbed the line its result travels on"))


def _confinement(line: bytes) -> Mapping[str, str]:
    if not line.startswith(_CONFINEMENT):
        raise MalformedReply("the stage's process did not begin with what confines it")
    said = parse(line)["confinement"]
    if not isinstance(said, dict) or tuple(said) != PROTECTIONS:
        raise MalformedReply("what confines the stage's process has other keys than it must")
    for verdict in said.values():
        if not isinstance(verdict, str) or not _VERDICT.fullmatch(verdict):
            raise MalformedReply("a verdict about what confines the stage's process is none")
    return said


def sole(line: bytes, key: str) -> Any:
    """The value of the only key of a line. Raises `Malformed`."""
    said = parse(line)
    if list(said) != [key]:
        raise MalformedReply("the stage's result has other keys than it must")
    return said[key]
