"""`/metrics`, `/healthz`, `/readyz` over HTTP. Reads only; says nothing about a single document."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Generic, Protocol, Self, TypeVar

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from archived.errors import ArchivedError
from archived.message import Message
from archived.observe.http_auth import (
    HttpAccess,
    PasswordAttempts,
    TooManyAttempts,
    is_this_machine,
)
from archived.observe.http_listener import Listener
from archived.observe.metrics import Metrics

_T = TypeVar("_T")
_THREADS = 3
"""For what may block: the figures, and the two questions about health. The archive's own work has
other threads, so that clients here cannot take them."""
PATIENCE = 5.0
"""Seconds in which a question about health must be answered; else that is the answer."""


class HealthSource(Protocol):
    """Who knows how we are."""

    def stuck(self) -> str: ...
    def not_ready(self) -> list[str]: ...


class HttpServer:
    """An async context manager: listens while it is open."""

    def __init__(self, access: HttpAccess, metrics: Metrics, health: HealthSource) -> None:
        self._access = access
        self._threads = ThreadPoolExecutor(_THREADS, "archived-web")
        self._attempts = PasswordAttempts()
        self._exposition = _Once(metrics.exposition, self._threads)
        self._stuck = _Once(lambda: [why] if (why := health.stuck()) else [], self._threads)
        self._not_ready = _Once(health.not_ready, self._threads)
        app = web.Application(client_max_size=1024)
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/healthz", self._get_health)
        app.router.add_get("/readyz", self._get_ready)
        self._listener: Listener | None = None
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)

    def use(self, access: HttpAccess) -> None:
        """Use this access from now on: another certificate, other users; the same address."""
        self._access = access

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        serve = self._runner.server
        assert serve is not None  # noqa: S101 - it was set up in the line above
        listener = Listener(serve, self._access.host, self._access.port, self._listening_tls())
        try:
            await listener.start()
        except OSError as error:
            await self._runner.cleanup()
            raise ArchivedError(
                Message(
                    "cannot listen on {named}: {why}", named=self._access.named, why=error.strerror
                ),
                hint=Message(
                    "another process has the port, or the address is not this machine's; "
                    "change [web] listen"
                ),
                code="port-taken",
            ) from error
        self._listener = listener
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listener is not None:
            await self._listener.close()
        await self._runner.cleanup()
        self._attempts.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _listening_tls(self) -> ssl.SSLContext | None:
        """What the socket is opened with; each connection uses the access of that moment."""
        if self._access.tls is None:
            return None
        listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        listening.minimum_version = self._access.tls.minimum_version

        def current(connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
            if self._access.tls is not None:
                connection.context = self._access.tls

        listening.sni_callback = current  # called without a name, too
        return listening

    async def _get_metrics(self, request: web.Request) -> web.Response:
        refused = await self._refused(request)
        if refused is not None:
            return refused
        body = await self._exposition()  # waits `PATIENCE` at the most
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _get_health(self, request: web.Request) -> web.Response:
        return await self._told(request, self._stuck)

    async def _get_ready(self, request: web.Request) -> web.Response:
        return await self._told(request, self._not_ready)

    async def _told(self, request: web.Request, ask: _Once[list[str]]) -> web.Response:
        if not is_this_machine(request.remote):
            refused = await self._refused(request)
            if refused is not None:
                return refused
        try:
            async with asyncio.timeout(PATIENCE):
                return _verdict(await ask())
        except TimeoutError:
            return _verdict([f"the catalog does not answer within {PATIENCE:.0f} s"])

    async def _refused(self, request: web.Request) -> web.Response | None:
        """The answer to who may not ask; None for who may."""
        access, given = self._access, request.headers.get("Authorization")
        admitted = access.at_once(given)
        if admitted is None:
            try:
                client = request.remote or ""
                admitted = await self._attempts.check(client, lambda: access.admits(given))
            except TooManyAttempts:
                return _come_again()
        return None if admitted else _who_are_you()


class _Once(Generic[_T]):
    """Asks a blocking question once at a time, however many want to know: asking costs little."""

    def __init__(self, question: Callable[[], _T], threads: Executor) -> None:
        self._question = question
        self._threads = threads
        self._asked: asyncio.Future[_T] | None = None

    async def __call__(self) -> _T:
        if self._asked is None or self._asked.done():
            loop = asyncio.get_running_loop()
            self._asked = loop.run_in_executor(self._threads, self._question)
        return await asyncio.shield(self._asked)


def _who_are_you() -> web.Response:
    return web.Response(
        status=401,
        text="a user name and a password are needed\n",
        headers={"WWW-Authenticate": 'Basic realm="archived", charset="UTF-8"'},
    )


def _come_again() -> web.Response:
    return web.Response(
        status=429,
        text="too many passwords are being tried; ask again in a second\n",
        headers={"Retry-After": "1"},
    )


def _verdict(reasons: list[str]) -> web.Response:
    return web.Response(
        status=503 if reasons else 200,
        text="\n".join(reasons or ["ok"]) + "\n",
        headers={"Cache-Control": "no-store"},
    )
