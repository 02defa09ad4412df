"""The control socket: what `archivectl` asks of a running daemon. HTTP over a unix socket, JSON.

Who may connect is decided by the socket's mode and group. A caller says which person it speaks
for, and the kernel's answer (SO_PEERCRED) is recorded beside it. Descendants of the daemon are
refused: in plain mode a step has the daemon's user, Landlock does not keep it from unix sockets by
path, and a seccomp filter cannot read the path. A process that lost its parent is given to the
step or the fork server that it came from, so it stays a descendant.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import select
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import structlog
from aiohttp import web

from archived.errors import ArchivedError
from archived.message import Message, with_parts
from archived.observe.arguments import LONGEST_SAID, check

_CREDENTIALS = struct.Struct("3i")
_PEER_DESCRIPTOR = 77
"""`SO_PEERPIDFD`, from Linux 6.5: the process itself, whose number cannot become another's."""
_DEPTH = 1000


def _peer(line: socket.socket) -> tuple[int, int]:
    """Process and user at the other end, by the kernel's word."""
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(credentials)
    return process, user


def is_ours(line: socket.socket) -> bool:
    """Whether a process of ours made this connection, or one of our user that cannot be asked.

    A process of another user is none of plain mode's steps; those in accounts of their own are kept
    out by the socket's mode. Number 0 is a process outside of our container.
    """
    process, user = _peer(line)
    if user != os.geteuid() or process in (0, os.getpid()):
        return False
    return _descends_from_us(process) or _is_gone(line)


def _descends_from_us(process: int) -> bool:
    """One that is gone counts. One with a parent of another user does not: no step can change its
    user, so whatever descends from us does so by processes of ours. Where the unit hides the
    processes of others (`ProtectProc=`), such a parent looks as if it were gone.
    """
    own = os.getpid()
    for _ in range(_DEPTH):
        if (parent := _parent(process)) is None:
            return True
        if parent in (0, 1):
            return own == 1 and parent == 1
        if parent == own:
            return True
        # Whoever loses its parent is given another, so that one that stays the parent is alive.
        if _parent(parent) is None and _parent(process) == parent:
            return False
        process = parent
    return True


def _parent(process: int) -> int | None:
    """`None` when the process is gone or cannot be seen."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return int(words[1])
    except (OSError, ValueError, IndexError):
        return None


def _is_gone(line: socket.socket) -> bool:
    """Whether it ended while its number was looked at, as far as the kernel tells."""
    with contextlib.suppress(OSError):
        found = line.getsockopt(socket.SOL_SOCKET, _PEER_DESCRIPTOR)
        try:
            waiting = select.poll()
            waiting.register(found, select.POLLIN)
            return bool(waiting.poll(0))
        finally:
            os.close(found)
    return False


_log = structlog.get_logger("archived.control")

_T = TypeVar("_T")
_THREADS = 4
"""For questions: who asks much waits for its own answers, and takes no thread of the work."""
CONNECTIONS = 64
"""Open connections at a time: each takes a descriptor, which the work needs as well."""
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
        self._connections = _Connections()

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
                Message(
                    "{path}: the control socket cannot be made ({error})", path=path, error=error
                ),
                hint=Message("look at [control] socket and group"),
                code="no-control",
            ) from error
        return self

    def _gate(self) -> asyncio.Protocol:
        assert self._runner.server is not None  # noqa: S101 - set up before it listens
        return _Gate(self._runner.server, self._connections)

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
        return _json(await self._answer(self._daemon.ask, question, arguments))

    async def _reload(self, _request: web.Request) -> web.Response:
        return _json({"changes": await self._daemon.reload()})

    async def _copy_all(self, request: web.Request) -> web.Response:
        body = await _body(request)
        operator = _operator(request, str(body.get("operator", "")))
        told = await self._daemon.copy_all(
            operator,
            str(body.get("note", "")),
            after=str(body.get("after") or ""),
            again=bool(body.get("again")),
        )
        return _json(told)

    async def _decide(self, request: web.Request) -> web.Response:
        body = await _body(request)
        operator = _operator(request, str(body.get("operator", "")))
        what, document = request.match_info["what"], request.match_info["document"]
        check({"document": document})
        decided = await self._daemon.decide(
            what,
            document,
            operator,
            str(body.get("note", "")),
            held_for=_text(body.get("code")),
            shown=_text(body.get("shown")),
        )
        return _json(decided)

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        named = (request.match_info[part] for part in ("document", "step", "name"))
        return web.FileResponse(await self._answer(self._daemon.picture, *named))

    async def _answer(self, question: Callable[..., _T], *arguments: Any) -> _T:
        """Ask what may block."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: question(*arguments))


class _Connections:
    """Those that are open, the oldest first, each with its user."""

    def __init__(self) -> None:
        self._open: list[tuple[int, asyncio.Transport]] = []

    def add(self, user: int, transport: asyncio.Transport) -> None:
        """One more. At the limit the oldest is closed of the user who has most: nobody who opens
        many keeps another user out.
        """
        self._open = [each for each in self._open if not each[1].is_closing()]
        if len(self._open) >= CONNECTIONS:
            most = Counter(owner for owner, _ in self._open).most_common(1)[0][0]
            oldest = next(each for each in self._open if each[0] == most)
            oldest[1].abort()
            self._open.remove(oldest)
        self._open.append((user, transport))


class _Gate(asyncio.Protocol):
    """Hands a new connection on to what serves it, or closes it before anything is read."""

    def __init__(self, serve: Callable[[], asyncio.Protocol], connections: _Connections) -> None:
        self._serve = serve
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream
        line = transport.get_extra_info("socket")
        if is_ours(line):
            _log.warning(
                "a step connected to the control socket, and was not let in",
                action="control-refused",
            )
            transport.abort()
            return
        self._connections.add(_peer(line)[1], transport)
        protocol = self._serve()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ArchivedError(
            Message("the request's body must be a JSON object"), code="bad-question"
        )
    check(body, LONGEST_SAID)
    return body


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _operator(request: web.Request, says: str) -> str:
    """The person: the login name by the kernel's word, and whom they say they act for."""
    login = "unknown"
    line = request.transport.get_extra_info("socket") if request.transport else None
    if line is not None:
        _, user = _peer(line)
        try:
            login = pwd.getpwuid(user).pw_name
        except KeyError:
            login = f"uid {user}"
    return f"{login} ({says})" if says and says != login else login


def _json(value: object, status: int = 200) -> web.Response:
    """An answer, with what its sentences were made of beside them."""
    return web.json_response(with_parts(value), status=status)


@web.middleware
async def _explained(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Errors of ours become JSON that the command line can show as they are."""
    try:
        return await handler(request)
    except ArchivedError as error:
        return _json({"error": error.as_json()}, _STATUS_OF.get(error.code, 500))
