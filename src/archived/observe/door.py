"""Who is let in over HTTP, and behind which certificate. Knows nothing of what is answered."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from aiohttp import BasicAuth

from archived.errors import ArchivedError
from archived.observe.passwords import hashed, matches


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


class Door:
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


def door(table: WebTable) -> Door:
    """The entrance of a configuration. Raises `ArchivedError` when its certificate is unfit."""
    if table.certificate is None or table.key is None:
        return Door(table, None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        table.key.read()  # says what is wrong with its place or its mode
        context.load_cert_chain(table.certificate, table.key.path(), password=_no_passphrase)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None)  # OpenSSL's: KEY_VALUES_MISMATCH
        why = reason.lower().replace("_", " ") if reason else getattr(error, "strerror", 0) or error
        raise ArchivedError(
            f"[web] certificate {table.certificate} and its key cannot be used: {why}",
            hint="give the daemon's user both as PEM files, the key without a passphrase and "
            "fitting the certificate",
            code="bad-certificate",
        ) from error
    return Door(table, context)


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
