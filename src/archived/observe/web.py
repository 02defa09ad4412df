"""`/metrics`, `/healthz`, `/readyz` over HTTP. Reads only; says nothing about a single document."""

from __future__ import annotations

import asyncio
from typing import Protocol, Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from archived.errors import ArchivedError
from archived.observe.metrics import Metrics


class HealthSource(Protocol):
    """Who knows how we are."""

    def stuck(self) -> str: ...
    def not_ready(self) -> list[str]: ...


class ListenAddress(Protocol):
    """Where to listen."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


class Web:
    """An async context manager: listens while it is open."""

    def __init__(self, listen: ListenAddress, metrics: Metrics, health: HealthSource) -> None:
        self._listen = listen
        self._metrics = metrics
        self._health = health
        app = web.Application()
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/healthz", self._get_health)
        app.router.add_get("/readyz", self._get_ready)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._listen.host, self._listen.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise ArchivedError(
                f"cannot listen on {self._listen}: {error.strerror}",
                hint="another process has the port; change [web] listen", code="port-taken",
            ) from error  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        body = await asyncio.to_thread(self._metrics.exposition)  # waits `PATIENCE` at the most
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _get_health(self, _request: web.Request) -> web.Response:
        return _verdict([why] if (why := await asyncio.to_thread(self._health.stuck)) else [])

    async def _get_ready(self, _request: web.Request) -> web.Response:
        return _verdict(await asyncio.to_thread(self._health.not_ready))


def _verdict(reasons: list[str]) -> web.Response:
    return web.Response(
        status=503 if reasons else 200, text="\n".join(reasons or ["ok"]) + "\n",
        headers={"Cache-Control": "no-store"},
    )  # fmt: skip
