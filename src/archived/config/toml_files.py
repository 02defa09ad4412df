"""Reads `archived.toml` and `conf.d/*.toml` into one tree, with the file and line of each key.

Nothing here knows what a key means. tomli gives no line numbers, so its parser is asked again when
there is a mistake to report.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli

from archived.api import regular_file
from archived.errors import ConfigError
from archived.message import Message

Keys = tuple[str | int, ...]

LARGEST = 4 << 20
"""Bytes of one file: a few thousand hot folders."""


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


_LAST = sys.maxsize
"""Position of what is told after all files."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class ConfigFile:
    """One file that was read. `name` is its path as seen from the main file's folder."""

    name: str
    text: str
    tables: dict[str, Any]

    @cached_property
    def lines(self) -> dict[Keys, int]:
        """Key path -> line number; worked out when the first mistake asks."""
        return dict(index(self.text))


@dataclass
class Source:
    """The merged tree, the files it came from, and every mistake found so far."""

    path: Path
    files: Sequence[ConfigFile] = ()
    tables: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    wrong: set[str | int] = field(default_factory=set)
    """Names of the tables that have mistakes."""
    _mistakes: list[tuple[int, int, str]] = field(default_factory=list)

    def mistake(self, keys: Keys, text: str) -> None:
        """Note one mistake about a key, in the words of the file."""
        position, line = self._where(keys)
        self.wrong.add(keys[0])
        self._note(position, line, self._told(position, line, keys, text))

    def warn(self, keys: Keys, text: str) -> None:
        """Note something that is legal and probably not meant."""
        self.warnings.append(self._told(*self._where(keys), keys, text))

    def about(self, position: int, text: str, *, line: int = 0) -> None:
        """Note a mistake about a file as a whole."""
        self._note(position, line, text)

    @property
    def problems(self) -> list[str]:
        """Every mistake so far, in the order of the files and their lines, each once."""
        return list(dict.fromkeys(text for _, _, text in sorted(self._mistakes)))

    def stop_if_wrong(self) -> None:
        """Raise `ConfigError` when there is any mistake."""
        if self._mistakes:
            raise ConfigError(
                self.problems,
                hint=Message(
                    "correct it, then try: archived check --config {path}", path=self.path
                ),
            )

    def value(self, keys: Keys) -> tuple[bool, Any]:
        """Whether the merged tree has this key, and what it holds."""
        value: Any = self.tables
        for key in keys:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return False, None
        return True, value

    def _note(self, position: int, line: int, text: str) -> None:
        self._mistakes.append((position, line, text))

    def _told(self, position: int, line: int, keys: Keys, text: str) -> str:
        name = self.files[position].name if self.files else self.path.name
        return (
            Message(
                "{name}:{line}: {spelled}: {text}",
                name=name,
                line=line,
                spelled=spelled(keys),
                text=text,
            )
            if line
            else Message("{name}: {spelled}: {text}", name=name, spelled=spelled(keys), text=text)
        )

    def _where(self, keys: Keys) -> tuple[int, int]:
        """File and line of the key, or of the nearest table around it; line 0 when in none."""
        # [stage.b] says nothing about where a [stage.a] that nobody wrote would stand.
        nearest = 1 if len(keys) > 2 else 0
        for length in range(len(keys), nearest, -1):
            for position, file in enumerate(self.files):
                if line := file.lines.get(keys[:length]):
                    return position, line
        return 0, 0


def spelled(keys: Keys) -> str:
    """A key path as people would write it in TOML; list items are counted from 1."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f", item {key + 1}"
        else:
            bare = key if _BARE.fullmatch(key) else '"' + key.replace('"', '\\"') + '"'
            text += f".{bare}" if text else bare
    return text


def read(path: Path) -> Source:
    """Read and merge the main file and `conf.d/*.toml` beside it (sorted by name).

    Raises `ConfigError` with every file that cannot be read, is not TOML or may be written by
    others, and every key that two files set.
    """
    path = path.absolute()
    source = Source(path)
    drop_ins = path.parent / "conf.d"
    paths = [path, *_drop_ins(source, drop_ins)]
    files = []
    for position, file in enumerate(paths):
        name = file.relative_to(path.parent).as_posix()
        text = _text(source, position, file, name)
        if text is None:
            continue
        try:
            files.append(ConfigFile(name, text, tomli.loads(text)))
        except tomli.TOMLDecodeError as error:
            at = f"{name}:{error.lineno}:{error.colno}"
            why = Message('{at}: not TOML; the parser says "{msg}"', at=at, msg=error.msg)
            source.about(position, why, line=error.lineno)
        except (RecursionError, ValueError) as error:  # nested too deeply; a number of 5,000 digits
            source.about(position, f'{name}: cannot be read; the parser says "{error}"')
    _check_folder(source, path.parent)
    source.stop_if_wrong()
    source.files = files
    for file_read in files:
        _merge(source, file_read, source.tables, file_read.tables, ())
    return source


def _text(source: Source, position: int, path: Path, name: str) -> str | None:
    try:
        with regular_file.opened(path, LARGEST) as opened:
            _check_mode(source, position, path, name, os.fstat(opened.fileno()))
            return opened.read(LARGEST).decode("utf-8-sig")  # some editors put a mark in front
    except FileNotFoundError:
        source.about(
            position,
            Message(
                "{name}: there is no file {path}; archived sample-config writes one",
                name=name,
                path=path,
            ),
        )
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        source.about(
            position,
            Message("{name}:{line}: not UTF-8; save the file as UTF-8", name=name, line=line),
            line=line,
        )
    except OSError as error:
        source.about(
            position, Message("{name}: cannot be read: {why}", name=name, why=error.strerror)
        )
    return None


def _drop_ins(source: Source, folder: Path) -> list[Path]:
    """`*.toml` in `conf.d`, sorted. A folder that cannot be read is a mistake, not an empty one."""
    try:
        _check_mode(source, _LAST, folder, folder.name, folder.stat())
        return sorted(p for p in folder.iterdir() if p.match("*.toml") and p.name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        source.about(
            _LAST, Message("{name}: cannot be read: {why}", name=folder.name, why=error.strerror)
        )
        return []


def _check_mode(
    source: Source, position: int, path: Path, name: str, status: os.stat_result
) -> None:
    # Whoever writes this file chooses which code the daemon loads and where documents go.
    if status.st_mode & stat.S_IWOTH:
        source.about(
            position,
            Message("{name}: anybody may write it; run: chmod o-w {path}", name=name, path=path),
        )
    elif status.st_mode & stat.S_IWGRP:
        source.warnings.append(
            Message(
                "{name}: group {st_gid} may write it; chmod g-w {path}",
                name=name,
                st_gid=status.st_gid,
                path=path,
            )
        )
    if status.st_uid not in (0, os.geteuid()):
        source.warnings.append(
            Message(
                "{name}: belongs to user {st_uid}; chown root {path}",
                name=name,
                st_uid=status.st_uid,
                path=path,
            )
        )


def _check_folder(source: Source, folder: Path) -> None:
    try:
        mode = folder.stat().st_mode
    except OSError:
        return  # that the file cannot be read was told already
    # Whoever may rename files here can put another in the place of ours; not so where "sticky".
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        source.about(
            _LAST, Message("{folder}: anybody may write it; run: chmod o-w {folder}", folder=folder)
        )


def _merge(
    source: Source, file: ConfigFile, into: dict[str, Any], more: dict[str, Any], at: Keys
) -> None:
    """Tables merge by key; a value that two files set is a mistake, even if they agree."""
    for key, value in more.items():
        keys = (*at, key)
        if key not in into:
            into[key] = _copied(value)
        elif isinstance(value, dict) and isinstance(into[key], dict):
            _merge(source, file, into[key], value, keys)
        else:
            first = next(f for f in source.files if keys in f.lines)
            position = source.files.index(file)
            line = file.lines.get(keys, 0)
            source.about(
                position,
                Message(
                    "{name}:{line}: {spelled}: also set in {other}:{other_line}; keep one of them",
                    name=file.name,
                    line=line,
                    spelled=spelled(keys),
                    other=first.name,
                    other_line=first.lines[keys],
                ),
                line=line,
            )


def _copied(value: Any) -> Any:
    return {k: _copied(v) for k, v in value.items()} if isinstance(value, dict) else value
