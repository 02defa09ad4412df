"""Where the daemon's socket, catalog and store are: a few keys of the configuration, read quickly.

Loading the whole configuration loads every plug-in; a question to the daemon needs none. Checks
nothing: that is the daemon's and `archived check`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import cached_property
from pathlib import Path
from typing import Any

from archived.errors import ConfigError
from archived.locale import _
from archived.model.secrecy import Level, level

DEFAULT_CONFIG = Path("/etc/archived/archived.toml")
ENVIRONMENT = "ARCHIVED_CONFIG"

DEFAULTS: Mapping[tuple[str, str], str] = {
    ("archive", "state"): "/var/lib/archived",
    ("archive", "timezone"): "Asia/Ho_Chi_Minh",
    ("store", "path"): "/srv/archived/store",
    ("control", "socket"): "/run/archived/control.sock",
}
"""(table, key) -> what holds when no file says otherwise; a test compares it with the tables."""


@dataclass(frozen=True)
class Place:
    """What `archivectl` needs to know of a configuration."""

    config: Path
    state: Path
    store: Path
    socket: Path
    timezone: str
    open_folders: frozenset[str] = frozenset()
    """The hot folders whose papers are of no level of secrecy."""

    @property
    def catalog(self) -> Path:
        """The catalog's database file."""
        return self.state / "catalog.db"

    @cached_property
    def zone(self) -> tzinfo:
        """The archive's time zone; UTC when this machine does not know it."""
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            return UTC


def chosen(config: Path | None) -> Path:
    """The configuration's path: as typed, from the environment, or the usual one."""
    return config or Path(os.environ.get(ENVIRONMENT) or DEFAULT_CONFIG)


def find(config: Path) -> Place:
    """Read `config` and `conf.d/*.toml` beside it. Raises `ConfigError` when they are no TOML."""
    files = _files(config)
    said = _said(files)
    value = {key: said.get(key, default) for key, default in DEFAULTS.items()}
    return Place(
        config=config,
        state=Path(value["archive", "state"]),
        store=Path(value["store", "path"]),
        socket=Path(value["control", "socket"]),
        timezone=value["archive", "timezone"],
        open_folders=frozenset(_open_folders(files)),
    )


def _files(config: Path) -> list[dict[str, Any]]:
    try:
        files = [config, *sorted((config.parent / "conf.d").glob("[!.]*.toml"))]
    except PermissionError:
        files = [config]
    return [_tables(file) for file in files]


def _open_folders(files: list[dict[str, Any]]) -> Iterator[str]:
    for tables in files:
        folders = tables.get("hotfolder")
        for name, keys in folders.items() if isinstance(folders, dict) else ():
            try:
                declared = level(str(keys.get("secrecy", "")))
            except (AttributeError, ValueError):
                continue  # nothing that is understood: not known to be open
            if declared is Level.OPEN:
                yield name


def _said(files: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    said: dict[tuple[str, str], str] = {}
    for tables in files:
        for table, key in DEFAULTS:
            of_table = tables.get(table)
            word = of_table.get(key) if isinstance(of_table, dict) else None
            if isinstance(word, str):
                said.setdefault((table, key), word)
    return said


def _tables_apart(file: Path) -> dict[str, Any]:
    """Of a file that is no TOML as a whole, the tables that are; empty when none says where the
    daemon is asked. It runs, and whoever wants to know what is wrong must be able to ask it.
    """
    import tomli

    found: dict[str, Any] = {}
    for text in re.split(r"^(?=\[)", file.read_bytes().decode("utf-8-sig", "replace"), flags=re.M):
        with suppress(ValueError):
            found |= tomli.loads(text)
    return found if "control" in found or file == DEFAULT_CONFIG else {}


def _tables(file: Path) -> dict[str, Any]:
    import tomli

    try:
        return tomli.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(
            [_("there is no configuration {file}").format(file=file)],
            hint=_("name it: --config FILE, or {variable}=FILE in the environment").format(
                variable=ENVIRONMENT
            ),
        ) from None
    except OSError as error:
        raise ConfigError(
            [_("{file}: cannot be read: {why}").format(file=file, why=error.strerror)],
            hint=_("ask for read access to it, or run this as the daemon's user"),
        ) from None
    except ValueError as error:
        if tables := _tables_apart(file):
            return tables
        raise ConfigError(
            [_("{file}: not TOML: {error}").format(file=file, error=error)],
            hint=f"archived check --config {file}",
        ) from None
