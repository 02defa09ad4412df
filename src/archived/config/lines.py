"""On which line of a TOML file a key stands. tomli gives no lines, so its parser is asked again.

Only looked up when there is a mistake to report; never part of reading a good file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tomli

Keys = tuple[str | int, ...]


def index(text: str) -> Mapping[Keys, int]:
    """Key path -> line number (from 1) for every table header and every key of a valid file.

    The n-th table of an array of tables has n-1 in its path. Keys inside an inline table stand on
    the line where their statement begins.
    """
    found: dict[Keys, int] = {}
    table: Keys = ()
    counts: dict[Keys, int] = {}
    for number, statement in _statements(text):
        parsed = tomli.loads(statement + "\n")
        if statement.lstrip().startswith("["):
            keys = _spine(parsed)
            table = tuple(k for k in keys if k != 0)
            if statement.lstrip().startswith("[["):
                counts[table] = counts.get(table, -1) + 1
            table = _numbered(table, counts)
            for length in range(1, len(table) + 1):
                found.setdefault(table[:length], number)
        else:
            for keys in _paths(parsed):
                found.setdefault(table + keys, number)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each header or `key = value`, however many lines it takes, with its first line's number."""
    pending, first = "", 0
    # Not splitlines: a line separator inside a text is no new line to TOML.
    for number, line in enumerate(text.split("\n"), start=1):
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        first = first if pending else number
        pending = f"{pending}\n{line}" if pending else line
        try:
            tomli.loads(pending + "\n")
        except tomli.TOMLDecodeError:
            continue  # a value that goes on on the next line
        yield first, pending
        pending = ""


def _spine(parsed: Mapping[str, Any]) -> Keys:
    keys: list[str | int] = []
    value: Any = parsed
    while value:
        key = 0 if isinstance(value, list) else next(iter(value))
        keys.append(key)
        value = value[key]
    return tuple(keys)


def _numbered(table: Keys, counts: Mapping[Keys, int]) -> Keys:
    keys: list[str | int] = []
    for length, key in enumerate(table, start=1):
        keys.append(key)
        if table[:length] in counts:
            keys.append(counts[table[:length]])
    return tuple(keys)


def _paths(parsed: Mapping[str, Any], prefix: Keys = ()) -> Iterator[Keys]:
    for key, value in parsed.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from _paths(value, (*prefix, key))
