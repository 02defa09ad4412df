"""What can be set under `[stage.sign]`. Only types and their words; nothing is opened here."""

from __future__ import annotations

import re
from datetime import timedelta, timezone
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from archived.api import Duration, Options, SecretRef, Size, StageConfig

_OFFSET = re.compile(r"([+-])(\d{2}):([0-5]\d)")


def parse_offset(text: str) -> timezone:
    """A fixed distance from UTC such as `"+07:00"`, at most 14 hours."""
    match = _OFFSET.fullmatch(text)
    if not match:
        raise ValueError('write a distance from UTC like "+07:00"')
    distance = timedelta(hours=int(match[2]), minutes=int(match[3]))
    if distance > timedelta(hours=14):
        raise ValueError("no place on earth is more than 14 hours from UTC")
    return timezone(-distance if match[1] == "-" else distance)


class TimestampOptions(Options):
    """A time stamp server (RFC 3161). With it, signatures are PAdES B-T."""

    url: str
    """The server's address, `http://` or `https://`."""
    timeout: Duration = timedelta(seconds=180)
    """How long one try may take. Some public servers need two minutes."""
    tries: int = Field(default=3, ge=1, le=10)
    """How often to ask before the server counts as down, with 2 s, 4 s, ... in between."""
    when_down: Literal["postpone", "sign-without"] = "postpone"
    """`postpone`: the document waits. `sign-without`: it is signed B-B and B-T is on record as
    pending."""
    user: SecretRef | None = None
    """User name for HTTP basic authentication."""
    password: SecretRef | None = None
    """Password for HTTP basic authentication."""
    trusted_roots: tuple[Path, ...] = ()
    """PEM files with the roots a time stamp must lead to. None: trust is not established."""

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError('write an address like "http://tsa.example/"')
        if parts.username or parts.password:
            raise ValueError("a secret is never written here; use user and password")
        return value

    @model_validator(mode="after")
    def _both_or_none(self) -> TimestampOptions:
        if (self.user is None) != (self.password is None):
            raise ValueError("write both user and password, or neither")
        return self


class SignOptions(StageConfig):
    """How documents are signed, and with which key."""

    key: SecretRef
    """The PKCS#12 file (`.p12`, `.pfx`) with the key, its certificate and the chain above it."""
    passphrase: SecretRef | None = None
    """The passphrase of the PKCS#12 file."""
    certificate: str = ""
    """Which certificate signs, where the file has several that may: its common name, its serial
    number (hexadecimal) or its SHA-256 fingerprint."""
    allow_throwaway: bool = False
    """Sign with a key that calls itself a demonstration key. Never for documents that matter."""
    trusted_roots: tuple[Path, ...] = ()
    """PEM files with the roots our certificate must lead to. None: trust is not established."""
    reason: str = ""
    """Why it is signed; written into the signature."""
    location: str = ""
    """Where it is signed; written into the signature."""
    utc_offset: str = "+07:00"
    """The clock in which the signing time is written."""
    visible: Literal["none", "top-right"] = "none"
    """`top-right`: the signer's name and the signing time on the first page."""
    font: Path | None = None
    """The font of the visible block. None: the first Times-like system font that has every
    Vietnamese letter."""
    reserve: Size = Field(default=32 * 1024, ge=16 * 1024, le=1024 * 1024)
    """Room for the signature in the file, in hexadecimal digits (two per byte)."""
    timestamp: TimestampOptions | None = None
    """The time stamp server. None: signatures are B-B."""

    @field_validator("utc_offset")
    @classmethod
    def _offset(cls, value: str) -> str:
        parse_offset(value)
        return value

    @field_validator("reserve")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("write an even number of bytes")
        return value
