"""From the outbox to whoever wants to hear: in order, at least once, remembered across restarts.

The outbox is filled by the transaction that made the fact; a reader's place in it is kept in the
catalog and moves only after the other side has acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any

import aiomqtt
import structlog

from archived.api.events import Event
from archived.errors import CatalogError
from archived.observe.metrics import Metrics
from archived.observe.mqtt import (
    STOP_TIMEOUT,
    MqttConnection,
    MqttSettings,
    PublishRefused,
    connected,
    reason,
)
from archived.storage import published_head
from archived.storage.catalog import Catalog

_log = structlog.get_logger("archived.observe")

_BATCH = 200
_IDLE = 5.0
"""Seconds after which the outbox is looked at though nobody rang."""
_HEAD_EVERY = 60.0
"""Seconds between two heads of the ledger: each entry is one, and a witness needs no more."""
_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


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
            # In a thread: a slow observer must not block the event loop.
            await asyncio.to_thread(self._tell_all, events)
            await asyncio.to_thread(_read, self._catalog, "observers", events[-1].sequence)

    def _tell_all(self, events: list[Event]) -> None:
        for event in events:
            self._tell(event)


class Publisher:
    """Gives every event to an MQTT broker (5 or 3.1.1, QoS 1).

    Topics: `PREFIX/events/NAME`, `PREFIX/status` (retained, `online` or `offline`; the broker
    itself says `offline` when we are gone: the last will), and `PREFIX/ledger-head` (retained).
    """

    def __init__(self, broker: MqttSettings, catalog: Catalog, metrics: Metrics) -> None:
        self._broker = broker
        self._catalog = catalog
        self._metrics = metrics
        self._status = f"{broker.topic_prefix}/status"
        self._head_topic = f"{broker.topic_prefix}/ledger-head"
        self._head = 0
        self._next_head = 0.0
        self._head_refused = False
        self._acknowledged = 0
        self._failures = 0
        self._online = False

    async def run(self, news: asyncio.Event) -> None:
        """Until cancelled: connect, publish, and come back after every kind of trouble."""
        while True:
            self._metrics.connected(False)
            try:
                await asyncio.to_thread(_enrol, self._catalog, "mqtt")
                await self._while_connected(news)
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                # ValueError: a certificate or password file that cannot be used.
                if isinstance(error, PublishRefused) and error.topic == self._head_topic:
                    self._do_without_head(error)
                else:
                    self._say("broker lost" if self._online else "broker not reached", error)
            except CatalogError as error:
                self._say("events wait", error)
            finally:
                self._online = False
                self._metrics.connected(False)
            await asyncio.sleep(_PAUSES[min(self._failures, len(_PAUSES) - 1)])
            self._failures += 1

    async def _while_connected(self, news: asyncio.Event) -> None:
        async with connected(self._broker, self._status) as line:
            self._online = True
            self._metrics.connected(True)
            _log.info("broker connected", action="mqtt-connected", host=self._broker.host)
            try:
                await _until_one_ends(line.until_lost(), self._publish(line, news))
            except asyncio.CancelledError:
                with contextlib.suppress(aiomqtt.MqttError):
                    await line.send(
                        self._status, b"offline", "text/plain", retain=True, timeout=STOP_TIMEOUT
                    )
                raise

    async def _publish(self, line: MqttConnection, news: asyncio.Event) -> None:
        await line.send(self._status, b"online", "text/plain", retain=True)
        while True:
            events = await asyncio.to_thread(self._catalog.events_for, "mqtt", _BATCH)
            try:
                for event in events:
                    topic = f"{self._broker.topic_prefix}/events/{event.name}"
                    await line.send(topic, payload(event), "application/json")
                    self._acknowledged = event.sequence
                    self._failures = 0
                    self._metrics.published()
            finally:
                # Also when the broker went away in the middle: what it acknowledged is not sent
                # again. Shielded, for the same reason, from being stopped.
                if events and self._acknowledged >= events[0].sequence:
                    done = asyncio.to_thread(_read, self._catalog, "mqtt", self._acknowledged)
                    await asyncio.shield(asyncio.ensure_future(done))
            if not events:
                self._failures = 0  # not earlier: a broker may take us and refuse what we send
                await self._publish_head(line)
                await _rung(news)

    async def _publish_head(self, line: MqttConnection) -> None:
        """The ledger's head, for a witness; a broker that does not want it still gets events."""
        now = asyncio.get_running_loop().time()
        if self._head_refused or now < self._next_head:
            return
        head = await asyncio.to_thread(published_head.newest, self._catalog)
        if head is None or head.sequence == self._head:
            return
        self._next_head = now + _HEAD_EVERY
        await line.send(self._head_topic, head.text.encode(), "text/plain", retain=True)
        self._head = head.sequence

    def _do_without_head(self, error: PublishRefused) -> None:
        # A broker may hang up on what it refuses: asked again and again, it would hold up events.
        self._head_refused = True
        _log.warning(
            f"the ledger's head is not published: {error}",
            action="ledger-head-refused",
            why=str(error),
        )

    def _say(self, what: str, error: Exception) -> None:
        why = reason(error, self._broker)
        _log.warning(
            f"{what}: {why}",
            action="mqtt-lost",
            host=self._broker.host,
            port=self._broker.effective_port,
            why=why,
        )


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


def _enrol(catalog: Catalog, reader: str) -> None:
    """Put the reader's place on record before it has read anything.

    Events are kept for readers that are known; one whose broker was never reached is one of them.
    """
    unread = catalog.events_for(reader, 1)
    if unread:
        _read(catalog, reader, unread[0].sequence - 1)


async def _until_one_ends(*work: Coroutine[Any, Any, None]) -> None:
    """Run all; when one ends stop the others and let its exception out.

    No task group: in Python 3.11 one leaves its task marked as being cancelled.
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
