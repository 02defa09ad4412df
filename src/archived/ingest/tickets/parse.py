"""From the bytes of a ticket to its records: one strict reader each for JSON, CSV and XML.

What is not exactly the format is refused with a reason. Nothing is opened, fetched or executed.
XML is plain elements, three deep: document types, entities, namespaces, attributes and processing
instructions are refused.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn
from xml.parsers import expat

from archived.ingest.tickets.validate import (
    MOST_BYTES,
    MOST_COLUMNS,
    MOST_FILES,
    Record,
    Ticket,
    TicketProblem,
    checked_ticket,
    is_of_file,
    is_of_ticket,
    plain_key,
)
from archived.message import Message
from archived.model.ids import readable

_DECLARED = re.compile(r"""<\?xml[^>]*?\bencoding\s*=\s*["']([^"']*)["']""")


def _unreadable(reason: str) -> NoReturn:
    raise TicketProblem("ticket-unreadable", reason)


def xml_records(text: str) -> tuple[Record, Sequence[Record]]:
    """(what the ticket says of itself, what it says of each file).

    Raises `TicketProblem`.
    """
    declared = _DECLARED.match(text)
    if declared and declared[1].lower() not in {"utf-8", "utf-16"}:
        _unreadable(
            Message("it says that it is {declared}; write it in UTF-8", declared=declared[1][:40])
        )
    builder = _Builder()
    parser = expat.ParserCreate("utf-8")  # the text was decoded; no declaration counts any more
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.ProcessingInstructionHandler = _no_instruction
    try:
        parser.Parse(text.encode("utf-8", "surrogatepass"), True)
    except expat.ExpatError as error:
        message = expat.errors.messages.get(error.code, error.code)
        where = Message(
            "line {lineno}, column {offset}", lineno=error.lineno, offset=error.offset + 1
        )
        _unreadable(
            Message(
                '{where}: it is no XML; the parser says "{message}"', where=where, message=message
            )
        )
    return builder.head, builder.files


def _no_doctype(*_: Any) -> NoReturn:
    _unreadable(Message("it has a DOCTYPE; a ticket needs none"))


def _no_instruction(*_: Any) -> NoReturn:
    _unreadable(Message("it has a processing instruction; a ticket needs none"))


class _Builder:
    """Fills the records as elements open and close: ticket, then file, then field."""

    def __init__(self) -> None:
        self.head: dict[str, str] = {}
        self.files: list[Record] = []
        self._open: list[str] = []
        self._record = self.head
        self._of_ticket: set[str] = set()
        self._seen = self._of_ticket
        self._words: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if attributes or ":" in name:
            _unreadable(Message("<{name}>: attributes and namespaces are not read", name=name[:60]))
        self._no_words_around()
        within = "/".join(self._open)
        if within == "" and name != "ticket":
            _unreadable(Message("its root is <{name}>, not <ticket>", name=name[:60]))
        if within == "ticket" and name == "file":
            if len(self.files) > MOST_FILES:
                raise TicketProblem(
                    "ticket-too-large",
                    Message("it lists more than {most_files} files", most_files=MOST_FILES),
                )
            self._record, self._seen = {}, set()
            self.files.append(self._record)
        elif within in {"ticket", "ticket/file"}:
            if (key := plain_key(name)) in self._seen:
                _unreadable(Message("<{name}> is there twice", name=name[:60]))
            self._seen.add(key)
        elif within:
            _unreadable(
                Message(
                    "<{name}> within <{open}>: fields hold text only",
                    name=name[:60],
                    open=self._open[-1][:60],
                )
            )
        self._open.append(name)

    def text(self, words: str) -> None:
        self._words.append(words)

    def end(self, name: str) -> None:
        closed = "/".join(self._open)
        self._open.pop()
        if closed in {"ticket", "ticket/file"}:
            self._no_words_around()
            self._record, self._seen = self.head, self._of_ticket
        else:
            self._record[name] = "".join(self._words)
        self._words.clear()

    def _no_words_around(self) -> None:
        if "".join(self._words).strip():
            _unreadable(
                Message(
                    "text stands beside the elements in <{open}>",
                    open=(self._open or ["ticket"])[-1],
                )
            )
        self._words.clear()


Records = tuple[Record, Sequence[Record]]


def read_ticket(name: bytes, content: bytes) -> Ticket:
    """The ticket in `content`; its format is told by the end of `name`.

    Whoever reads the file stops a byte beyond `MOST_BYTES`. Raises `TicketProblem`: the caller
    holds the batch whole.
    """
    _, dot, ending = name.rpartition(b".")
    reader = FORMATS.get(ending.lower().decode("ascii", "replace")) if dot else None
    if reader is None:
        _unreadable(
            Message("{readable} does not end in .json, .csv or .xml", readable=readable(name))
        )
    if len(content) > MOST_BYTES:
        raise TicketProblem(
            "ticket-too-large",
            Message("it is larger than {most_bytes} bytes", most_bytes=MOST_BYTES),
        )
    head, files = reader(_text(content))
    return checked_ticket(head, files)


def _text(content: bytes) -> str:
    """UTF-8, or UTF-16 that says so by its mark; an encoding is never guessed."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        _unreadable(
            Message(
                "byte {start} is not {value}; UTF-8, or UTF-16 with a byte order mark, is "
                "read, and no other encoding is guessed",
                start=error.start,
                value="UTF-16" if wide else "UTF-8",
            )
        )
    if "\0" in text:
        _unreadable(Message("it has zero bytes in it; is it UTF-16 without a byte order mark?"))
    if not text.strip():
        _unreadable(Message("it is empty"))
    return text


# JSON --------------------------------------------------------------------------------------------


class _Number(str):
    """A number as it was written: no digit is lost, and a long one costs nothing."""

    __slots__ = ()


def _json_records(text: str) -> Records:
    try:
        found = json.loads(
            text,
            object_pairs_hook=_json_object,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_no_number,
        )
    except json.JSONDecodeError as error:
        where = Message("line {lineno}, column {colno}", lineno=error.lineno, colno=error.colno)
        _unreadable(
            Message('{where}: it is no JSON; the parser says "{msg}"', where=where, msg=error.msg)
        )
    except RecursionError:
        _unreadable(Message("it is nested too deeply"))
    if not isinstance(found, dict):
        _unreadable(Message("it is no JSON object"))
    listed = [key for key in found if plain_key(key) == "files"]
    files = found.pop(listed[0]) if listed else None
    if not isinstance(files, list | None) or not all(isinstance(f, dict) for f in files or ()):
        _unreadable(Message('"files" is a list of objects'))
    every = files or []
    if len(every) > MOST_FILES:  # before a message or a copy is made of each
        return {}, every
    records = [
        _json_record(f, Message("file number {place}: ", place=place))
        for place, f in enumerate(every, 1)
    ]
    return _json_record(found, ""), records


def _json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seen: set[str] = set()
    for key, value in pairs:
        if (plain := plain_key(key)) in seen:
            _unreadable(Message('the key "{shown}" is there twice', shown=_shown(key)))
        seen.add(plain)
        found[key] = value
    return found


def _no_number(word: str) -> NoReturn:
    _unreadable(Message("{word} is no number", word=word))


def _json_record(found: Mapping[str, Any], where: str) -> Record:
    return {key: _json_text(value, key, where) for key, value in found.items() if value is not None}


def _json_text(value: Any, key: str, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    raise TicketProblem(
        "ticket-field",
        Message('{where}"{shown}" is neither text nor a number', where=where, shown=_shown(key)),
    )


# CSV ---------------------------------------------------------------------------------------------


def _csv_records(text: str) -> Records:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    head: dict[str, str] = {}
    files: list[Record] = []
    try:
        columns = _columns(next((row for row in reader if row), []))
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(columns.names):
                _unreadable(
                    Message(
                        "line number {line}: {cells} cells under {columns} columns",
                        line=reader.line_num,
                        cells=len(row),
                        columns=len(columns.names),
                    )
                )
            _csv_row(
                dict(zip(columns.names, row, strict=True)),
                columns,
                head,
                files,
                Message("line number {line_num}: ", line_num=reader.line_num),
            )
            if len(files) > MOST_FILES:
                break
    except csv.Error as error:
        _unreadable(
            Message("line number {line_num}: {error}", line_num=reader.line_num, error=error)
        )
    return head, files


def _delimiter(text: str) -> str:
    """The one separator that the first row uses outside quotes: it must be unmistakable."""
    first = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0])
    used = [mark for mark in ",;\t" if mark in first]
    if len(used) > 1:
        _unreadable(
            Message("its first row has more than one of comma, semicolon and tab outside quotes")
        )
    return used[0] if used else ","


@dataclass(frozen=True, slots=True)
class _Columns:
    """The first row: every column, that of the path, and those said of the whole ticket."""

    names: tuple[str, ...]
    path: str | None
    of_ticket: frozenset[str]
    of_file: frozenset[str]


def _columns(row: Sequence[str]) -> _Columns:
    names = tuple(cell.strip() for cell in row)
    if len(names) > MOST_COLUMNS:
        raise TicketProblem(
            "ticket-field", Message("more than {most_columns} columns", most_columns=MOST_COLUMNS)
        )
    plain = [plain_key(name) for name in names]
    if "" in plain:
        _unreadable(Message("a column has no name"))
    if twice := [name for name, key in zip(names, plain, strict=True) if plain.count(key) > 1]:
        _unreadable(Message('the column "{shown}" is there twice', shown=_shown(twice[0])))
    of_ticket = frozenset(filter(is_of_ticket, names))
    of_file = frozenset(filter(is_of_file, names))
    if not of_ticket and not of_file:
        _unreadable(Message('its first row names no column that is known, such as "path"'))
    path = names[plain.index("path")] if "path" in plain else None
    return _Columns(names, path, of_ticket, of_file)


def _csv_row(
    cells: Record, columns: _Columns, head: dict[str, str], files: list[Record], where: str
) -> None:
    """One file; or, where no path is given, what is said of the ticket as a whole."""
    is_file = columns.path is not None and cells[columns.path] != ""
    if not is_file and any(cells[column].strip() for column in columns.of_file):
        raise TicketProblem("ticket-field", Message("{where}it has no path", where=where))
    for column, text in cells.items():
        if is_file and column not in columns.of_ticket:
            continue
        if text.strip() and head.setdefault(column, text) != text:
            raise TicketProblem(
                "ticket-field",
                Message(
                    '{where}"{shown}" is said of the whole ticket, and differs from a row '
                    "above; what is said of one file needs a column of another name",
                    where=where,
                    shown=_shown(column),
                ),
            )
    if is_file:
        files.append({c: text for c, text in cells.items() if c not in columns.of_ticket})


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:60])


FORMATS: Mapping[str, Callable[[str], Records]] = MappingProxyType(
    {"json": _json_records, "csv": _csv_records, "xml": xml_records}
)
"""The end of a ticket's name, without the dot -> its reader."""
