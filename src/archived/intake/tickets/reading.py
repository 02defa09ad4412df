"""From the bytes of a ticket to its records: one strict reader per format, none of them guessing.

What is not exactly the format is refused with a reason. Nothing is opened, fetched or executed.
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

from archived.intake.tickets.claims import (
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
from archived.intake.tickets.xmlform import xml_records
from archived.model.identity import readable

Records = tuple[Record, Sequence[Record]]


def read_ticket(name: bytes, content: bytes) -> Ticket:
    """The ticket in `content`; its format is told by the end of `name`.

    Whoever reads the file stops a byte beyond `MOST_BYTES`. Raises `TicketProblem`: the caller
    holds the batch whole.
    """
    _, dot, ending = name.rpartition(b".")
    reader = FORMATS.get(ending.lower().decode("ascii", "replace")) if dot else None
    if reader is None:
        _unreadable(f"{readable(name)} does not end in .json, .csv or .xml")
    if len(content) > MOST_BYTES:
        raise TicketProblem("ticket-too-large", f"it is larger than {MOST_BYTES} bytes")
    head, files = reader(_text(content))
    return checked_ticket(head, files)


def _unreadable(reason: str) -> NoReturn:
    raise TicketProblem("ticket-unreadable", reason)


def _text(content: bytes) -> str:
    """UTF-8, or UTF-16 that says so by its mark; an encoding is never guessed."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        _unreadable(
            f"byte {error.start} is not {'UTF-16' if wide else 'UTF-8'}; "
            "UTF-8, or UTF-16 with a byte order mark, is read, and no other encoding is guessed"
        )
    if "\0" in text:
        _unreadable("it has zero bytes in it; is it UTF-16 without a byte order mark?")
    if not text.strip():
        _unreadable("it is empty")
    return text


# JSON --------------------------------------------------------------------------------------------


class _Number(str):
    """A number as it was written: no digit is lost, and a long one costs nothing."""

    __slots__ = ()


def _json_records(text: str) -> Records:
    try:
        found = json.loads(
            text, object_pairs_hook=_json_object, parse_int=_Number, parse_float=_Number,
            parse_constant=_no_number,
        )  # fmt: skip
    except json.JSONDecodeError as error:
        _unreadable(f"line {error.lineno}, column {error.colno}: {error.msg}")
    except RecursionError:
        _unreadable("it is nested too deeply")
    if not isinstance(found, dict):
        _unreadable("it is no JSON object")
    listed = [key for key in found if plain_key(key) == "files"]
    files = found.pop(listed[0]) if listed else None
    if not isinstance(files, list | None) or not all(isinstance(f, dict) for f in files or ()):
        _unreadable('"files" is a list of objects')
    every = files or []
    if len(every) > MOST_FILES:  # before a message or a copy is made of each
        return {}, every
    records = [_json_record(f, f"file number {place}: ") for place, f in enumerate(every, 1)]
    return _json_record(found, ""), records


def _json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seen: set[str] = set()
    for key, value in pairs:
        if (plain := plain_key(key)) in seen:
            _unreadable(f'the key "{_shown(key)}" is there twice')
        seen.add(plain)
        found[key] = value
    return found


def _no_number(word: str) -> NoReturn:
    _unreadable(f"{word} is no number")


def _json_record(found: Mapping[str, Any], where: str) -> Record:
    return {key: _json_text(value, key, where) for key, value in found.items() if value is not None}


def _json_text(value: Any, key: str, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    raise TicketProblem("ticket-field", f'{where}"{_shown(key)}" is neither text nor a number')


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
                    f"line number {reader.line_num}: {len(row)} cells under "
                    f"{len(columns.names)} columns"
                )
            _csv_row(dict(zip(columns.names, row, strict=True)), columns, head, files,
                     f"line number {reader.line_num}: ")  # fmt: skip
            if len(files) > MOST_FILES:
                break
    except csv.Error as error:
        _unreadable(f"line number {reader.line_num}: {error}")
    return head, files


def _delimiter(text: str) -> str:
    """The one separator that the first row uses outside quotes: it must be unmistakable."""
    first = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0])
    used = [mark for mark in ",;\t" if mark in first]
    if len(used) > 1:
        _unreadable("its first row has more than one of comma, semicolon and tab outside quotes")
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
        raise TicketProblem("ticket-field", f"more than {MOST_COLUMNS} columns")
    plain = [plain_key(name) for name in names]
    if "" in plain:
        _unreadable("a column has no name")
    if twice := [name for name, key in zip(names, plain, strict=True) if plain.count(key) > 1]:
        _unreadable(f'the column "{_shown(twice[0])}" is there twice')
    of_ticket = frozenset(filter(is_of_ticket, names))
    of_file = frozenset(filter(is_of_file, names))
    if not of_ticket and not of_file:
        _unreadable('its first row names no column that is known, such as "path"')
    path = names[plain.index("path")] if "path" in plain else None
    return _Columns(names, path, of_ticket, of_file)


def _csv_row(
    cells: Record, columns: _Columns, head: dict[str, str], files: list[Record], where: str
) -> None:
    """One file; or, where no path is given, what is said of the ticket as a whole."""
    is_file = columns.path is not None and cells[columns.path] != ""
    if not is_file and any(cells[column].strip() for column in columns.of_file):
        raise TicketProblem("ticket-field", f"{where}it has no path")
    for column, text in cells.items():
        if is_file and column not in columns.of_ticket:
            continue
        if text.strip() and head.setdefault(column, text) != text:
            raise TicketProblem(
                "ticket-field",
                f'{where}"{_shown(column)}" is said of the whole ticket, and differs from a row '
                "above; what is said of one file needs a column of another name",
            )
    if is_file:
        files.append({c: text for c, text in cells.items() if c not in columns.of_ticket})


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:60])


FORMATS: Mapping[str, Callable[[str], Records]] = MappingProxyType(
    {"json": _json_records, "csv": _csv_records, "xml": xml_records}
)
"""The end of a ticket's name, without the dot -> its reader."""
