"""From the outbox to whoever wants to hear: in order, at least once, remembered across restarts.

The outbox is filled by the transaction that made the fact; a reader's place in it is kept in the
catalog and moves only after the other side has acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import aiomqtt
import structlog

from archived.api.events import Event
from archived.errors import CatalogError
from archived.observe.metrics import Metrics
from archived.storage.catalog import Catalog

_log = structlog.get_logger("archived.observe")

_BATCH = 200
_IDLE = 5.0
"""Seconds after which the outbox is looked at though nobody rang."""
_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Broker(Protocol):
    """The configured broker; `[mqtt]` fits."""

    @property
    def host(self) -> str: ...
    @property
    def effective_port(self) -> int: ...
    @property
    def tls(self) -> bool: ...
    @property
    def ca(self) -> Path | None: ...
    @property
    def username(self) -> str | None: ...
    @property
    def password(self) -> Any: ...
    @property
    def topic_prefix(self) -> str: ...
    @property
    def client_id(self) -> str: ...
    @property
    def keepalive(self) -> Any: ...


class Observers:
    """Gives every event to the plug-ins' `on_event`, through `tell`."""

    def __init__(self, catalog: Catalog, tell: Callable[[Event], None]) -> None:
        self._catalog = catalog
        self._tell = tell

    async def run(self, news: asyncio.Event) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._catch_up()
            except (CatalogError, OSError) as error:
                _log.warning("observers wait", action="observers-wait", why=str(error))
            await _rung(news)

    async def _catch_up(self) -> None:
        while events := await asyncio.to_thread(self._catalog.events_for, "observers", _BATCH):
            for event in events:
                self._tell(event)
            await asyncio.to_thread(_read, self._catalog, "observers", events[-1].sequence)


class Publisher:
    """Gives every event to an MQTT broker (3.1.1, QoS 1).

    Topics: `PREFIX/events/NAME`, and `PREFIX/status` (retained, `online` or `offline`; the broker
    itself says `offline` when we are gone: the last will).
    """

    def __init__(self, broker: Broker, catalog: Catalog, metrics: Metrics) -> None:
        self._broker = broker
        self._catalog = catalog
        self._metrics = metrics
        self._status = f"{broker.topic_prefix}/status"

    async def run(self, news: asyncio.Event) -> None:
        """Until cancelled: connect, publish, and come back after every kind of trouble."""
        failures = 0
        while True:
            try:
                async with self._client() as client:
                    self._metrics.connected(True)
                    _log.info("broker connected", action="mqtt-connected", host=self._broker.host)
                    failures = 0
                    await client.publish(self._status, b"online", qos=1, retain=True)
                    try:
                        await self._publish(client, news)
                    except asyncio.CancelledError:
                        await client.publish(self._status, b"offline", qos=1, retain=True)
                        raise
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                # ValueError: a certificate or password file that cannot be used.
                _log.warning("broker lost", action="mqtt-lost", why=str(error))
            except CatalogError as error:
                _log.warning("events wait", action="mqtt-wait", why=str(error))
            finally:
                self._metrics.connected(False)
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    async def _publish(self, client: aiomqtt.Client, news: asyncio.Event) -> None:
        while True:
            events = await asyncio.to_thread(self._catalog.events_for, "mqtt", _BATCH)
            for event in events:
                topic = f"{self._broker.topic_prefix}/events/{event.name}"
                await client.publish(topic, payload(event), qos=1)
                self._metrics.published()
            if events:
                await asyncio.to_thread(_read, self._catalog, "mqtt", events[-1].sequence)
            else:
                await _rung(news)

    def _client(self) -> aiomqtt.Client:
        broker = self._broker
        password = broker.password.read_text() if broker.password is not None else None
        context = ssl.create_default_context(cafile=broker.ca) if broker.tls else None
        return aiomqtt.Client(
            broker.host, broker.effective_port, username=broker.username, password=password,
            identifier=broker.client_id, keepalive=int(broker.keepalive.total_seconds()),
            tls_context=context, timeout=10.0,
            will=aiomqtt.Will(self._status, b"offline", qos=1, retain=True),
        )  # fmt: skip


def payload(event: Event) -> bytes:
    """An event as published: JSON, UTF-8; `sequence` lets a subscriber drop repeats."""
    body = {
        "sequence": event.sequence,
        "event": event.name,
        "at": event.at.isoformat(),
        "document": event.document,
        "hotfolder": event.hotfolder,
        "facts": dict(event.facts),
    }
    return json.dumps(body, ensure_ascii=False).encode()


async def _rung(news: asyncio.Event) -> None:
    """Wait for news, or a while. The short sleep lets a burst become one batch."""
    try:
        async with asyncio.timeout(_IDLE):
            await news.wait()
    except TimeoutError:
        return
    news.clear()
    await asyncio.sleep(0.05)


def _read(catalog: Catalog, reader: str, sequence: int) -> None:
    with catalog.transaction() as change:
        change.outbox_read(reader, sequence)
