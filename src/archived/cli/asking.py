"""How `archivectl` gets its answers: from the daemon over its socket, else from the catalog.

What the daemon can only be told (a decision, a reload) needs the daemon.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click

from archived.cli import place
from archived.cli.exits import DaemonDown
from archived.errors import ArchivedError
from archived.locale import _, heard
from archived.model.review import PICTURE_LIMIT

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
    def place(self) -> place.Place:
        """Where things are. Raises `ConfigError`."""
        return place.find(place.chosen(self.config))

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
        return self.tell("GET", f"/v1/{quote(question)}?{urlencode(arguments)}")

    def tell(
        self, method: str, path: str, body: Mapping[str, Any] | None = None,
        patience: float = PATIENCE,
    ) -> Any:  # fmt: skip
        """One call to the daemon. Raises `DaemonDown`, or the `ArchivedError` it answers with."""
        text = None if body is None else json.dumps(body)
        said = b"".join(self._pieces(method, path, text, patience))
        try:
            return json.loads(said)
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
            wrong = {} if good else json.loads(answer.read())["error"]
            while piece := answer.read(_PIECE):
                yield piece
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise _down(self.place.socket, error) from error
        finally:
            line.close()
        if wrong:
            raise ArchivedError(wrong["message"], hint=wrong["hint"], code=wrong["code"])

    def decide(
        self, what: str, document: str, note: str, code: str | None = None,
        shown: str | None = None,
    ) -> Any:  # fmt: skip
        """Tell the daemon a person's decision; with a code, only if that is what holds it; with
        what was shown, only if that is what is to be looked at.
        """
        who = os.environ.get("SUDO_USER", "")
        return self.tell(
            "POST", f"/v1/{what}/{quote(document, safe='')}",
            {"operator": who, "note": note, "code": code, "shown": shown},
        )  # fmt: skip

    def picture(self, document: str, step: str, name: str, take: Callable[[bytes], object]) -> None:
        """Hand over a picture of what a person must look at, piece by piece.

        Raises `ArchivedError`, also for one that is larger than any is.
        """
        path = "/".join(quote(part, safe="") for part in (document, step, name))
        room = PICTURE_LIMIT
        for piece in self._pieces("GET", f"/v1/picture/{path}", None):
            room -= len(piece)
            if room < 0:
                raise ArchivedError(f"the picture takes more than {PICTURE_LIMIT} bytes")
            take(piece)

    def _from_catalog(self, question: str, said: Mapping[str, str], down: DaemonDown) -> Any:
        from archived.observe.answers import Answers
        from archived.storage.catalog import Catalog

        try:
            catalog = Catalog.open_to_read(self.place.catalog)
        except ArchivedError as error:
            raise DaemonDown(
                _("{why}\nand its catalog cannot be read: {problem}").format(
                    why=down.message, problem=heard(error.message)
                ),
                hint=down.hint,
            ) from error
        click.echo(_("the daemon does not answer; this is from the catalog"), err=True)
        try:
            return Answers(catalog, self.place.store).answer(question, said)
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
