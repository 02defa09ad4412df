"""Passwords made unreadable by scrypt (RFC 7914), in the notation of the PHC string format.

`$scrypt$ln=LOG2N,r=R,p=P$SALT$HASH`, both in base64 without padding.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

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
