"""`/metrics`, `/healthz`, `/readyz` over HTTP. Reads only; says nothing about a single document."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol, Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from archived.errors import ArchivedError
from archived.observe.door import Door, is_this_machine
from archived.observe.metrics import Metrics

_CROWD = 200
"""Connections at a time."""
_HANDSHAKE = 10.0
"""Seconds in which a newcomer must have agreed on the encryption."""
PATIENCE = 5.0
"""Seconds in which a question about health must be answered; else that is the answer."""


class HealthSource(Protocol):
    """Who knows how we are."""

    def stuck(self) -> str: ...
    def not_ready(self) -> list[str]: ...


class Web:
    """An async context manager: listens while it is open."""

    def __init__(self, door: Door, metrics: Metrics, health: HealthSource) -> None:
        self._door = door
        self._metrics = metrics
        self._stuck = _Once(lambda: [why] if (why := health.stuck()) else [])
        self._not_ready = _Once(health.not_ready)
        app = web.Application(client_max_size=1024)
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/healthz", self._get_health)
        app.router.add_get("/readyz", self._get_ready)
        self._listening: asyncio.Server | None = None
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)

    def use(self, door: Door) -> None:
        """Let in by this door from now on: another certificate, other users; the same address."""
        self._door = door

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        tls = self._listening_tls()
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                self._connection, self._door.host, self._door.port, ssl=tls,
                ssl_handshake_timeout=_HANDSHAKE if tls else None,
            )  # fmt: skip
        except OSError as error:
            await self._runner.cleanup()
            raise ArchivedError(
                f"cannot listen on {self._door.named}: {error.strerror}",
                hint="another process has the port, or the address is not this machine's; "
                "change [web] listen",
                code="port-taken",
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()

    def _connection(self) -> asyncio.Protocol:
        """For a newcomer; whoever has been there longest makes room.

        A crowd that asks nothing keeps neither Prometheus out nor files from being opened.
        """
        crowd = self._runner.server
        assert crowd is not None  # noqa: S101 - the runner was set up before anybody could come
        for oldest in crowd.connections[:-_CROWD]:
            oldest.force_close()
            if oldest.transport is not None:
                oldest.transport.abort()
        return crowd()

    def _listening_tls(self) -> ssl.SSLContext | None:
        """What the socket is opened with; each connection is given the door's of that moment."""
        if self._door.tls is None:
            return None
        listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        listening.minimum_version = self._door.tls.minimum_version

        def current(connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
            if self._door.tls is not None:
                connection.context = self._door.tls

        listening.sni_callback = current  # called without a name, too
        return listening

    async def _get_metrics(self, request: web.Request) -> web.Response:
        if not await self._admitted(request):
            return _who_are_you()
        body = await asyncio.to_thread(self._metrics.exposition)  # waits `PATIENCE` at the most
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _get_health(self, request: web.Request) -> web.Response:
        return await self._told(request, self._stuck)

    async def _get_ready(self, request: web.Request) -> web.Response:
        return await self._told(request, self._not_ready)

    async def _told(
        self, request: web.Request, ask: Callable[[], Awaitable[list[str]]]
    ) -> web.Response:
        if not is_this_machine(request.remote) and not await self._admitted(request):
            return _who_are_you()
        return _verdict(await ask())

    async def _admitted(self, request: web.Request) -> bool:
        if self._door.open_to_all():
            return True
        given = request.headers.get("Authorization")
        return await asyncio.to_thread(self._door.admits, given)


class _Once:
    """Asks a blocking question once at a time, however many want to know: asking costs little."""

    def __init__(self, question: Callable[[], list[str]]) -> None:
        self._question = question
        self._asked: asyncio.Task[list[str]] | None = None

    async def __call__(self) -> list[str]:
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(asyncio.to_thread(self._question))
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(self._asked)
        except TimeoutError:
            return [f"the catalog does not answer within {PATIENCE:.0f} s"]


def _who_are_you() -> web.Response:
    return web.Response(
        status=401, text="a user name and a password are needed\n",
        headers={"WWW-Authenticate": 'Basic realm="archived", charset="UTF-8"'},
    )  # fmt: skip


def _verdict(reasons: list[str]) -> web.Response:
    return web.Response(
        status=503 if reasons else 200, text="\n".join(reasons or ["ok"]) + "\n",
        headers={"Cache-Control": "no-store"},
    )  # fmt: skip
