"""Accepts HTTP connections up to fixed limits, before anything is read from them.

A connection counts from `accept(2)` on, so that a client that never begins its TLS handshake
counts as well. What is said over a connection is not known here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_log = logging.getLogger("archived.web")

CONNECTIONS = 64
"""Open connections at a time. A TLS connection takes 0.25 MB, nearly all of it its buffer."""
HANDSHAKES = 32
"""Of these, connections whose TLS handshake is not done."""
HANDSHAKE_SECONDS = 10.0
"""Within which a client must have completed its TLS handshake."""
_BACKLOG = 128
"""Connections that the kernel keeps until they are accepted (listen(2))."""
_PAUSE = 1.0
"""Seconds until the next `accept(2)` after one failed for want of descriptors or memory."""


def client_network(address: str) -> str:
    """The network that a client is counted by: an IPv4 address, or the first 64 bits of an IPv6.

    A host may use every address of its /64 (RFC 4291, section 2.5.4).
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


@dataclass(eq=False, slots=True)
class _Connection:
    network: str
    accepted: socket.socket
    opening: asyncio.Task[None] | None = None
    transport: asyncio.BaseTransport | None = field(default=None)

    def is_open(self) -> bool:
        """Whether it still takes a place."""
        if self.transport is None:
            return self.opening is not None and not self.opening.done()
        return not self.transport.is_closing()

    def close_unopened(self, _task: asyncio.Task[None]) -> None:
        """Its opening has ended; a cancelled one may never have begun."""
        if self.transport is None:
            self.accepted.close()

    def abort(self) -> None:
        if self.opening is not None:
            self.opening.cancel()
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


class Listener:
    """Listens on one address between `start` and `close`; `protocol` makes what serves a client."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._protocol = protocol
        self._address = (host, port)
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._connections: list[_Connection] = []

    async def start(self) -> None:
        """Listen. Raises `OSError`."""
        found = await self._resolved()
        try:
            for family, address in dict.fromkeys((each[0], each[4]) for each in found):
                self._sockets.append(_listening(family, address))
        except OSError:
            await self.close()
            raise
        self._accepting = [asyncio.create_task(self._accept(each)) for each in self._sockets]

    async def _resolved(self) -> list[Any]:
        """As getaddrinfo(3); for an address that is a number no thread is asked."""
        passive = socket.AI_PASSIVE
        try:
            return socket.getaddrinfo(
                *self._address, type=socket.SOCK_STREAM, flags=passive | socket.AI_NUMERICHOST
            )
        except socket.gaierror:
            return await asyncio.get_running_loop().getaddrinfo(
                *self._address, type=socket.SOCK_STREAM, flags=passive
            )

    async def close(self) -> None:
        """Accept nobody else, and end the handshakes that are not done."""
        tasks = [*self._accepting, *(c.opening for c in self._connections if c.opening is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in self._sockets:
            each.close()
        self._sockets.clear()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except ConnectionError:
                continue  # it was gone before it was accepted
            except OSError as error:
                _log.warning(
                    "no connection can be accepted: %s",
                    error.strerror,
                    extra={"action": "accept-failed"},
                )
                await asyncio.sleep(_PAUSE)
                continue
            self._make_room()
            connection = _Connection(client_network(str(address[0])), accepted)
            connection.opening = asyncio.create_task(self._open(connection))
            connection.opening.add_done_callback(connection.close_unopened)
            self._connections.append(connection)
            # `sock_accept` does not yield while a connection waits: in a flood nothing else ran.
            await asyncio.sleep(0)

    async def _open(self, connection: _Connection) -> None:
        try:
            connection.transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection.accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls else None,
            )
        except (OSError, TimeoutError):
            pass  # no TLS, or no answer: the client's affair
        finally:
            connection.opening = None

    def _make_room(self) -> None:
        """Close connections until another one fits: of the network that has most, its oldest.

        Clients of one host that ask nothing cannot keep another host out.
        """
        self._connections = [each for each in self._connections if each.is_open()]
        opening = [each for each in self._connections if each.transport is None]
        if len(opening) >= HANDSHAKES:
            self._close_one(opening)
        if len(self._connections) >= CONNECTIONS:
            self._close_one(self._connections)

    def _close_one(self, among: list[_Connection]) -> None:
        crowded = Counter(each.network for each in among).most_common(1)[0][0]
        oldest = next(each for each in among if each.network == crowded)
        oldest.abort()
        self._connections.remove(oldest)


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made
