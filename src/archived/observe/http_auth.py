"""Who is let in over HTTP: certificates, password hashes, and a limit on password attempts.

Hashes are scrypt (RFC 7914) in the PHC string format, `$scrypt$ln=LOG2N,r=R,p=P$SALT$HASH`, both
in base64 without padding. Checking one takes tens of milliseconds by intent. It is done in a
thread of its own, one at a time, and after each wrong password nothing is checked for four times
as long as it took. A client of another network waits for its turn; it is not kept out.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from aiohttp import BasicAuth

from archived.errors import ArchivedError
from archived.message import Message
from archived.observe.http_listener import client_network

_LOG_N, _R, _P = 15, 8, 1
_LENGTH = 32


def hashed(password: str) -> str:
    """A new hash of `password`; another one at each call."""
    salt = secrets.token_bytes(16)
    made = _scrypt(password, salt, _LOG_N, _R, _P, _LENGTH)
    return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_text(salt)}${_text(made)}"


def matches(password: str, kept: str) -> bool:
    """Whether `kept` was made of `password`. Takes as long as `kept` says: tens of milliseconds.

    Raises `ValueError` for what is no such hash.
    """
    nothing, scheme, cost, salt, digest = kept.split("$")
    log_n, r, p = (int(part.partition("=")[2]) for part in cost.split(","))
    if nothing or scheme != "scrypt":
        raise ValueError("no scrypt hash")
    wanted = _bytes(digest)
    return hmac.compare_digest(_scrypt(password, _bytes(salt), log_n, r, p, len(wanted)), wanted)


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int, length: int) -> bytes:
    need = 128 * r * ((1 << log_n) + p + 2)
    return hashlib.scrypt(
        password.encode(), salt=salt, n=1 << log_n, r=r, p=p, maxmem=need + (1 << 20), dklen=length
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


_WAITING = 16
"""Networks that may wait for their turn; more are told to come again."""
_REST = 4.0
"""After a wrong password, times as long as it took to check: a fifth of one core at the most."""


class TooManyAttempts(Exception):
    """Nothing was checked: the client's network has an attempt under way, or too many wait."""


class PasswordAttempts:
    """The queue of those whose password must be checked. Belongs to one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "archived-passwords")
        self._turn = asyncio.Lock()
        self._waiting: set[str] = set()
        self._next = 0.0

    async def check(self, client: str, attempt: Callable[[], bool]) -> bool:
        """What `attempt` finds, when its turn has come; `client` is an IP address.

        Raises `TooManyAttempts`.
        """
        network = client_network(client)
        if network in self._waiting or len(self._waiting) >= _WAITING:
            raise TooManyAttempts
        self._waiting.add(network)
        try:
            async with self._turn:
                await asyncio.sleep(max(0.0, self._next - time.monotonic()))
                began = time.monotonic()
                right = await asyncio.get_running_loop().run_in_executor(self._thread, attempt)
                ended = time.monotonic()
                if not right:
                    self._next = ended + _REST * (ended - began)
                return right
        finally:
            self._waiting.discard(network)

    def close(self) -> None:
        """Check nothing else."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class WebTable(Protocol):
    """`[web]` of the configuration fits."""

    @property
    def listen(self) -> Any: ...
    @property
    def certificate(self) -> Path | None: ...
    @property
    def key(self) -> Any: ...
    @property
    def users(self) -> Mapping[str, str]: ...


class HttpAccess:
    """One configuration's entrance: `address` and `port`, perhaps `tls`, perhaps users."""

    def __init__(self, table: WebTable, tls: ssl.SSLContext | None) -> None:
        self.host: str = table.listen.host
        self.port: int = table.listen.port
        self.tls = tls
        self.named = str(table.listen)
        self._users = dict(table.users)
        self._nobody = hashed("") if self._users else ""
        self._salt = secrets.token_bytes(16)
        self._known: dict[str, bytes] = {}
        """Who came in before, with a digest of the password: a scrape every few seconds is not to
        cost what guessing a password should."""

    def open_to_all(self) -> bool:
        """Whether nobody is asked for a password."""
        return not self._users

    def admits(self, authorization: str | None) -> bool:
        """Whether the header `Authorization` names a user and the password. Blocking."""
        given = _decoded(authorization)
        if (at_once := self._without_hash(given)) is not None or given is None:
            return bool(at_once)
        kept = self._users.get(given.login)
        # An unknown name costs as much as a known one.
        right = matches(given.password, kept or self._nobody) and kept is not None
        if right:
            self._known[given.login] = self._digest(given)
        return right

    def at_once(self, authorization: str | None) -> bool | None:
        """The same where no hash must be computed, in microseconds; else None."""
        return self._without_hash(_decoded(authorization))

    def _without_hash(self, given: BasicAuth | None) -> bool | None:
        if self.open_to_all():
            return True
        if given is None:
            return False
        known = self._known.get(given.login, b"")
        return True if hmac.compare_digest(known, self._digest(given)) else None

    def _digest(self, given: BasicAuth) -> bytes:
        return hmac.digest(self._salt, given.password.encode(), hashlib.sha256)


def http_access(table: WebTable) -> HttpAccess:
    """The entrance of a configuration. Raises `ArchivedError` when its certificate is unfit."""
    if table.certificate is None or table.key is None:
        return HttpAccess(table, None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        table.key.read()  # says what is wrong with its place or its mode
        context.load_cert_chain(table.certificate, table.key.path(), password=_no_passphrase)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None)  # OpenSSL's: KEY_VALUES_MISMATCH
        why = reason.lower().replace("_", " ") if reason else getattr(error, "strerror", 0) or error
        raise ArchivedError(
            Message(
                "[web] certificate {certificate} and its key cannot be used: {why}",
                certificate=table.certificate,
                why=why,
            ),
            hint=Message(
                "give the daemon's user both as PEM files, the key without a passphrase "
                "and fitting the certificate"
            ),
            code="bad-certificate",
        ) from error
    return HttpAccess(table, context)


def _decoded(authorization: str | None) -> BasicAuth | None:
    """A user and a password; None when the header holds none."""
    try:
        given = BasicAuth.decode(authorization or "", encoding="utf-8")
        given.password.encode()
    except ValueError:
        return None
    return given


def _no_passphrase() -> str:
    raise ValueError("the key is locked with a passphrase")


def is_this_machine(peer: str | None) -> bool:
    """Whether a connection comes from this machine itself."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
