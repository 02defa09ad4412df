"""The line to an MQTT broker: connecting, sending with an acknowledgement, and why it failed.

Speaks MQTT 5 or 3.1.1. Knows nothing of events. Of MQTT 5 it uses: reason codes, so that a message
the broker refuses is a failure (3.1.1 has no way to refuse one); content type and UTF-8 indicator.
Left at their defaults: session expiry and will delay (the session ends with the connection, because
nothing is subscribed to, and whoever watches `status` hears at once that we are gone); message
expiry (no event may be dropped because a subscriber was away).
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

STOP_TIMEOUT = 2.0
"""Seconds a broker gets for our good-bye; a hung one does not keep us from stopping."""
_ANSWER = 10.0
"""Seconds a broker gets for an answer to anything else."""
_VERSIONS = {"5": aiomqtt.ProtocolVersion.V5, "3.1.1": aiomqtt.ProtocolVersion.V311}

_LOST = 0x80
"""What paho calls it when the broker hangs up without a word."""
_UNSUPPORTED_PROTOCOL = 0x84
_ADVICE = {
    _LOST: "the connection was lost; see the broker's log, and whether another client has the same "
    "client_id",
    0x85: "look at client_id in [mqtt]",
    0x86: "look at username and password in [mqtt]",
    0x87: "look at username and password in [mqtt], and at what the broker allows this user",
    0x8E: "another client has the same client_id; each daemon needs its own",
}
"""Reason code of MQTT 5 -> what to do. Those of 3.1.1 arrive here as these."""


class MqttSettings(Protocol):
    """The configured broker; `[mqtt]` fits."""

    @property
    def host(self) -> str: ...
    @property
    def effective_port(self) -> int: ...
    @property
    def protocol(self) -> str: ...
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


class PublishRefused(aiomqtt.MqttError):
    """The broker acknowledged a message by refusing it; it was given to nobody."""

    def __init__(self, topic: str, code: ReasonCode) -> None:
        super().__init__(f"the broker refuses {topic}: {_told(code)}")
        self.topic = topic


class BrokerSilent(aiomqtt.MqttError):
    """The broker took the connection and did not answer."""


class MqttConnection(aiomqtt.Client):
    """A connection. One message at a time."""

    _topic = ""
    _refused: ReasonCode | None = None
    """Why the broker does not take the latest message, which went to `_topic`."""

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any
    ) -> None:
        # aiomqtt takes every acknowledgement for a success.
        if reason_code.is_failure:
            self._refused = reason_code
        super()._on_publish(client, userdata, mid, reason_code, properties)

    async def send(
        self,
        topic: str,
        content: bytes,
        media_type: str,
        *,
        retain: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - aiomqtt's own
    ) -> None:
        """Send UTF-8 text; back when the broker has it. Raises `aiomqtt.MqttError`."""
        self._topic, self._refused = topic, None
        await self.publish(
            topic,
            content,
            qos=1,
            retain=retain,
            timeout=timeout,
            properties=_about(media_type, PacketTypes.PUBLISH),
        )
        self._accepted()

    async def until_lost(self) -> None:
        """Nothing is subscribed to; waiting for a message is how the loss is noticed."""
        try:
            async for _ in self.messages:
                pass
        except aiomqtt.MqttError:
            self._accepted()  # a broker may refuse a message and hang up at once
            raise

    def _accepted(self) -> None:
        if self._refused is not None:
            raise PublishRefused(self._topic, self._refused)


@asynccontextmanager
async def connected(broker: MqttSettings, status: str) -> AsyncIterator[MqttConnection]:
    """A line whose last will is `offline` under `status`.

    An exit from it does not wait long for a broker that does not answer. Raises
    `aiomqtt.MqttError`, `OSError` and, for a certificate that is none, `ValueError`.
    """
    line = _line(broker, status)
    try:
        await line.__aenter__()
    except aiomqtt.MqttCodeError:
        raise
    except aiomqtt.MqttError as error:
        if "timed out" in str(error):
            raise BrokerSilent from error
        raise
    try:
        yield line
    finally:
        line.timeout = STOP_TIMEOUT
        with contextlib.suppress(aiomqtt.MqttError):
            await line.__aexit__(None, None, None)


def _line(broker: MqttSettings, status: str) -> MqttConnection:
    password = broker.password.read_text() if broker.password is not None else None
    context = _tls(broker.ca) if broker.tls else None
    five = broker.protocol == "5"
    about = _about("text/plain", PacketTypes.WILLMESSAGE) if five else None
    return MqttConnection(
        broker.host,
        broker.effective_port,
        username=broker.username,
        password=password,
        identifier=broker.client_id,
        keepalive=int(broker.keepalive.total_seconds()),
        protocol=_VERSIONS[broker.protocol],
        tls_context=context,
        timeout=_ANSWER,
        will=aiomqtt.Will(status, b"offline", qos=1, retain=True, properties=about),
    )


def _about(media_type: str, packet: int) -> Properties:
    """What a message holds. paho leaves it out under MQTT 3.1.1."""
    about = Properties(packet)  # type: ignore[no-untyped-call]
    about.ContentType = media_type
    about.PayloadFormatIndicator = 1  # UTF-8
    return about


def reason(error: Exception, broker: MqttSettings) -> str:
    """Why there is no connection, and what to do about it where that is known."""
    other = next(name for name in _VERSIONS if name != broker.protocol)
    if isinstance(error, BrokerSilent):
        return (
            f"the broker does not answer; one that does not speak MQTT {broker.protocol} may be "
            f'silent: then set protocol = "{other}" in [mqtt]'
        )
    cause = error.__cause__ or error
    code = cause.rc if isinstance(cause, aiomqtt.MqttCodeError) else None
    if not isinstance(code, ReasonCode):
        return str(cause)
    if code.value == _UNSUPPORTED_PROTOCOL:
        return (
            f"the broker does not speak MQTT {broker.protocol} ({_said(code)}): set protocol = "
            f'"{other}" in [mqtt]'
        )
    return _told(code)


def _told(code: ReasonCode) -> str:
    advice = _ADVICE.get(code.value)
    return f"{_said(code)}; {advice}" if advice else _said(code)


def _said(code: ReasonCode) -> str:
    return f"{code}, reason code {code.value}"


def _tls(authorities: Path | None) -> ssl.SSLContext:
    """Who the broker is, is checked by chain, name and date, as by other programs that use OpenSSL.

    Python 3.13 insists on RFC 5280's form by itself and 3.11 does not: an office's own authority
    without `keyUsage`, as `openssl req -x509` makes it, would be refused once Debian is upgraded.
    """
    context = ssl.create_default_context(cafile=authorities)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
