"""The control socket: what `archivectl` asks of a running daemon. HTTP over a unix socket, JSON.

Who may connect is decided by the socket's mode and group, and no step of ours may, whose user may
be the same (`peers`). A caller says which person it speaks for, and the kernel's word (SO_PEERCRED)
is recorded beside it.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import structlog
from aiohttp import web

from archived.errors import ArchivedError
from archived.model.document import IllegalStep
from archived.observe import peers

_log = structlog.get_logger("archived.control")

_T = TypeVar("_T")
_THREADS = 4
"""For questions: who asks much waits for its own answers, and takes no thread of the work."""
_STATUS_OF = {"no-such-document": 404, "not-now": 409, "bad-config": 422, "bad-question": 400}


class ControlSetting(Protocol):
    """Where the socket is; `[control]` fits."""

    @property
    def socket(self) -> Path: ...
    @property
    def group(self) -> str | None: ...


class Controlled(Protocol):
    """What can be asked of the daemon."""

    def ask(self, question: str, arguments: dict[str, str]) -> Any: ...
    async def decide(
        self,
        what: str,
        document: str,
        operator: str,
        note: str,
        *,
        held_for: str | None,
        shown: str | None,
    ) -> Any: ...
    async def copy_all(self, operator: str, note: str, *, after: str, again: bool) -> Any: ...
    def picture(self, document: str, step: str, name: str) -> Path: ...
    async def reload(self) -> list[str]: ...


class Control:
    """An async context manager: listens while it is open."""

    def __init__(self, setting: ControlSetting, daemon: Controlled) -> None:
        self._setting = setting
        self._daemon = daemon
        self._threads = ThreadPoolExecutor(_THREADS, "archived-control")
        app = web.Application(middlewares=[_explained])
        app.router.add_get("/v1/{question}", self._ask)
        app.router.add_get("/v1/picture/{document}/{step}/{name}", self._picture)
        app.router.add_post("/v1/reload", self._reload)
        app.router.add_post("/v1/copies", self._copy_all)
        app.router.add_post("/v1/{what}/{document}", self._decide)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        path = self._setting.socket
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # of a daemon that died: the state's lock is ours
            await self._runner.setup()
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(self._gate, str(path))
            self._open_to_group(path)
        except (OSError, KeyError) as error:
            await self._runner.cleanup()
            raise ArchivedError(
                f"{path}: the control socket cannot be made ({error})",
                hint="look at [control] socket and group", code="no-control",
            ) from error  # fmt: skip
        return self

    def _gate(self) -> asyncio.Protocol:
        assert self._runner.server is not None  # noqa: S101 - set up before it listens
        return _Gate(self._runner.server)

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._setting.socket.unlink(missing_ok=True)

    def _open_to_group(self, path: Path) -> None:
        if self._setting.group is not None:
            os.chown(path, -1, grp.getgrnam(self._setting.group).gr_gid)
        path.chmod(0o660 if self._setting.group is not None else 0o600)

    async def _ask(self, request: web.Request) -> web.Response:
        question, arguments = request.match_info["question"], dict(request.query)
        return web.json_response(await self._answer(self._daemon.ask, question, arguments))

    async def _reload(self, _request: web.Request) -> web.Response:
        return web.json_response({"changes": await self._daemon.reload()})

    async def _copy_all(self, request: web.Request) -> web.Response:
        body = await _body(request)
        operator = _operator(request, str(body.get("operator", "")))
        told = await self._daemon.copy_all(
            operator, str(body.get("note", "")), after=str(body.get("after") or ""),
            again=bool(body.get("again")),
        )  # fmt: skip
        return web.json_response(told)

    async def _decide(self, request: web.Request) -> web.Response:
        body = await _body(request)
        operator = _operator(request, str(body.get("operator", "")))
        what, document = request.match_info["what"], request.match_info["document"]
        decided = await self._daemon.decide(
            what, document, operator, str(body.get("note", "")),
            held_for=_text(body.get("code")), shown=_text(body.get("shown")),
        )  # fmt: skip
        return web.json_response(decided)

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        named = (request.match_info[part] for part in ("document", "step", "name"))
        return web.FileResponse(await self._answer(self._daemon.picture, *named))

    async def _answer(self, question: Callable[..., _T], *arguments: Any) -> _T:
        """Ask what may block."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: question(*arguments))


class _Gate(asyncio.Protocol):
    """Hands a new connection on to what serves it, or closes it before anything is read."""

    def __init__(self, serve: Callable[[], asyncio.Protocol]) -> None:
        self._serve = serve

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream
        if peers.is_ours(transport.get_extra_info("socket")):
            _log.warning(
                "a step connected to the control socket, and was not let in",
                action="control-refused",
            )
            transport.abort()
            return
        protocol = self._serve()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ArchivedError("the request's body must be a JSON object", code="bad-question")
    return body


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _operator(request: web.Request, says: str) -> str:
    """The person: the login name by the kernel's word, and whom they say they act for."""
    login = "unknown"
    line = request.transport.get_extra_info("socket") if request.transport else None
    if line is not None:
        credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        user = struct.unpack("3i", credentials)[1]
        try:
            login = pwd.getpwuid(user).pw_name
        except KeyError:
            login = f"uid {user}"
    return f"{login} ({says})" if says and says != login else login


@web.middleware
async def _explained(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Errors of ours become JSON that the command line can show as they are."""
    try:
        return await handler(request)
    except ArchivedError as error:
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        return web.json_response({"error": body}, status=_STATUS_OF.get(error.code, 500))
    except IllegalStep as error:
        body = {"code": "not-now", "message": str(error), "hint": ""}
        return web.json_response({"error": body}, status=409)
