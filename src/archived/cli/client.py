"""How `archivectl` gets its answers: from the daemon over its socket, else from the catalog.

Where both are is read quickly from a few keys of the configuration; loading all of it loads every
plug-in. Nothing is checked here: the daemon and `archived check` do. Decisions and a reload need
the daemon.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click

from archived.cli.errors import DaemonDown
from archived.errors import ArchivedError, ConfigError
from archived.locale import _, render
from archived.message import Message, with_messages
from archived.model.review import PICTURE_LIMIT
from archived.model.secrecy import Level, level
from archived.observe.arguments import LONGEST_SAID, check

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
class ClientPaths:
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


def find(config: Path) -> ClientPaths:
    """Read `config` and `conf.d/*.toml` beside it. Raises `ConfigError` when they are no TOML."""
    files = _files(config)
    said = _said(files)
    value = {key: said.get(key, default) for key, default in DEFAULTS.items()}
    return ClientPaths(
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
            [_('{file}: not TOML; the parser says "{error}"').format(file=file, error=error)],
            hint=f"archived check --config {file}",
        ) from None


_PIECE = 1 << 20
PATIENCE = 60.0
"""Seconds to wait for the daemon's answer."""
RELOAD_PATIENCE = 600.0
"""The same for a reload, which starts new fork servers."""


@dataclass
class Session:
    """One call of `archivectl`: the options that every command has, and whom to ask.

    Plug-ins' commands are given it as click's `obj`.
    """

    config: Path | None = None
    as_json: bool = False

    @cached_property
    def place(self) -> ClientPaths:
        """Where things are. Raises `ConfigError`."""
        return find(chosen(self.config))

    def ask(self, question: str, **arguments: object) -> Any:
        """The answer to a read-only question, as JSON values; `None` arguments are left out.

        From the daemon; when it does not answer, from the catalog, and stderr says so. Raises
        `ArchivedError`.
        """
        said = {name: str(value) for name, value in arguments.items() if value is not None}
        try:
            return self.ask_daemon(question, said)
        except DaemonDown as down:
            return self._from_catalog(question, said, down)

    def ask_daemon(self, question: str, arguments: Mapping[str, str]) -> Any:
        """As `ask`, without the catalog to fall back on. Raises `DaemonDown`."""
        check(arguments)
        return self.tell("GET", f"/v1/{quote(question)}?{urlencode(arguments)}")

    def tell(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        patience: float = PATIENCE,
    ) -> Any:
        """One call to the daemon. Raises `DaemonDown`, or the `ArchivedError` it answers with."""
        check(body or {}, LONGEST_SAID)
        text = None if body is None else json.dumps(body)
        said = b"".join(self._pieces(method, path, text, patience))
        try:
            return with_messages(json.loads(said))
        except ValueError as error:
            raise _down(self.place.socket, error) from error

    def _pieces(
        self, method: str, path: str, body: str | None, patience: float = PATIENCE
    ) -> Iterator[bytes]:
        """The answer as it comes in, so that a large one need not fit into memory."""
        line = _Line(self.place.socket, patience)
        try:
            line.request(method, path, body)
            answer = line.getresponse()
            good = answer.status == http.client.OK
            wrong = {} if good else with_messages(json.loads(answer.read()))["error"]
            while piece := answer.read(_PIECE):
                yield piece
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise _down(self.place.socket, error) from error
        finally:
            line.close()
        if wrong:
            raise ArchivedError(wrong["message"], hint=wrong["hint"], code=wrong["code"])

    def decide(
        self,
        what: str,
        document: str,
        note: str,
        code: str | None = None,
        shown: str | None = None,
    ) -> Any:
        """Tell the daemon a person's decision; with a code, only if that is what holds it; with
        what was shown, only if that is what is to be looked at.
        """
        who = os.environ.get("SUDO_USER", "")
        check({"document": document})
        return self.tell(
            "POST",
            f"/v1/{what}/{quote(document, safe='')}",
            {"operator": who, "note": note, "code": code, "shown": shown},
        )

    def picture(self, document: str, step: str, name: str, take: Callable[[bytes], object]) -> None:
        """Hand over a picture of what a person must look at, piece by piece.

        Raises `ArchivedError`, also for one that is larger than any is.
        """
        path = "/".join(quote(part, safe="") for part in (document, step, name))
        room = PICTURE_LIMIT
        for piece in self._pieces("GET", f"/v1/picture/{path}", None):
            room -= len(piece)
            if room < 0:
                raise ArchivedError(
                    Message(
                        "the picture takes more than {picture_limit} bytes",
                        picture_limit=PICTURE_LIMIT,
                    )
                )
            take(piece)

    def _from_catalog(self, question: str, said: Mapping[str, str], down: DaemonDown) -> Any:
        from archived.observe.api import QueryApi
        from archived.storage.catalog import Catalog

        try:
            catalog = Catalog.open_to_read(self.place.catalog)
        except ArchivedError as error:
            raise DaemonDown(
                _("{why}\nand its catalog cannot be read: {problem}").format(
                    why=down.message, problem=render(error.message)
                ),
                hint=down.hint,
            ) from error
        click.echo(_("the daemon does not answer; this is from the catalog"), err=True)
        try:
            return QueryApi(catalog, self.place.store).answer(question, said)
        finally:
            catalog.close()


class _Line(http.client.HTTPConnection):
    """HTTP over the control socket."""

    def __init__(self, path: Path, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _down(path: Path, error: Exception) -> DaemonDown:
    match error:
        case PermissionError():
            return DaemonDown(
                _("you may not talk to the daemon at {path}").format(path=path),
                hint=_("become a member of the group in [control] group, or use sudo"),
            )
        case FileNotFoundError() | ConnectionRefusedError():
            return DaemonDown(
                _("the daemon is not running: nobody listens at {path}").format(path=path),
                hint=_("start it with: systemctl start archived"),
            )
        case TimeoutError():
            return DaemonDown(
                _("the daemon did not answer within {seconds:.0f} s").format(seconds=PATIENCE),
                hint=_("see what it does: journalctl -u archived"),
            )
        case _:
            return DaemonDown(
                _("the daemon broke off at {path}: {error}").format(path=path, error=error),
                hint=_("see what it does: journalctl -u archived"),
            )
