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


Level = Literal["B-B", "B-T", "B-LT", "B-LTA"]
"""The levels of ETSI EN 319 142-1, lowest first."""
LEVELS: tuple[Level, ...] = ("B-B", "B-T", "B-LT", "B-LTA")


def _http_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError('write an address like "http://tsa.example/"')
    if parts.username or parts.password:
        raise ValueError("a secret is never written here; use user and password")
    return value


class TimestampServer(Options):
    """One of several time stamp servers (RFC 3161), asked in their order."""

    url: str
    """The server's address, `http://` or `https://`."""
    timeout: Duration | None = None
    """How long one try at this server may take. None: as `stage.sign.timestamp` says."""
    user: SecretRef | None = None
    """User name for HTTP basic authentication."""
    password: SecretRef | None = None
    """Password for HTTP basic authentication."""
    trusted_roots: tuple[Path, ...] = ()
    """PEM files with the roots this server's time stamps must lead to."""

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        return _http_address(value)

    @model_validator(mode="after")
    def _both_or_none(self) -> TimestampServer:
        if (self.user is None) != (self.password is None):
            raise ValueError("write both user and password, or neither")
        return self


class TimestampOptions(Options):
    """Time stamp servers (RFC 3161): one, or several in `servers`."""

    url: str = ""
    """The server's address, `http://` or `https://`; not beside `servers`."""
    timeout: Duration = timedelta(seconds=180)
    """How long one try may take. Some public servers need two minutes."""
    tries: int = Field(default=3, ge=1, le=10)
    """How often to ask each server before it counts as down, with 2 s, 4 s, ... in between."""
    when_down: Literal["postpone", "sign-without"] = "postpone"
    """`postpone`: the document waits. `sign-without`: it is signed at the level that is possible
    without time stamp servers, OCSP or CRLs, and the wanted level is on record as pending."""
    user: SecretRef | None = None
    """User name for HTTP basic authentication; not beside `servers`."""
    password: SecretRef | None = None
    """Password for HTTP basic authentication; not beside `servers`."""
    trusted_roots: tuple[Path, ...] = ()
    """PEM files with the roots a time stamp must lead to. None: trust is not established."""
    servers: tuple[TimestampServer, ...] = ()
    """Several servers, each a table `[[stage.sign.timestamp.servers]]`: the next one is asked when
    one is down or gives no valid time stamp."""

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        return _http_address(value) if value else value

    @model_validator(mode="after")
    def _one_way(self) -> TimestampOptions:
        if (self.user is None) != (self.password is None):
            raise ValueError("write both user and password, or neither")
        if bool(self.url) == bool(self.servers):
            raise ValueError("write either url or servers")
        if self.servers and self.user is not None:
            raise ValueError("write user and password at each of the servers")
        return self

    def in_order(self) -> tuple[TimestampServer, ...]:
        """Every server to ask, first one first."""
        if self.url:
            return (TimestampServer(url=self.url, user=self.user, password=self.password),)
        return self.servers

    def roots(self) -> tuple[Path, ...]:
        """The files of all roots a time stamp may lead to."""
        mine = [path for server in self.servers for path in server.trusted_roots]
        return tuple(dict.fromkeys((*self.trusted_roots, *mine)))


class RevocationOptions(Options):
    """Where it is learnt whether a certificate is revoked, for the levels B-LT and B-LTA."""

    fetch: bool = True
    """Ask the OCSP servers, and fetch the CRLs, whose addresses stand in our own and the time
    stamp server's certificates."""
    crls: tuple[Path, ...] = ()
    """Files with CRLs (DER or PEM) that somebody keeps up to date."""
    timeout: Duration = timedelta(seconds=30)
    """How long one question may take."""


class TokenOptions(Options):
    """A key in a PKCS#11 token: a USB token, a smart card or a hardware security module."""

    module: Path
    """The token's PKCS#11 module, a shared library: `/usr/lib/softhsm/libsofthsm2.so`."""
    label: str = Field(min_length=1)
    """The token's label."""
    pin: SecretRef
    """The user PIN."""
    key_label: str = ""
    """The private key's label. Neither label nor id: the token has one private key."""
    key_id: str = ""
    """The private key's id (`CKA_ID`), hexadecimal."""
    certificate: Path | None = None
    """A PEM file with the key's certificate, and perhaps those above it. None: it is read from the
    token."""
    certificate_label: str = ""
    """The label of the certificate in the token. Empty: the one with the key's id."""
    chain: tuple[Path, ...] = ()
    """PEM files with the certificates above it."""
    reaches: tuple[Path, ...] = ()
    """What else the module opens: pcscd's socket, a device, a folder of its settings."""
    environment: dict[str, Path] = Field(default_factory=dict)
    """Variables that lead the module to its files: `{ SOFTHSM2_CONF = "/etc/softhsm2.conf" }`."""

    @field_validator("key_id")
    @classmethod
    def _hexadecimal(cls, value: str) -> str:
        bare = value.replace(":", "").removeprefix("0x").lower()
        if not re.fullmatch(r"([0-9a-f]{2})*", bare):
            raise ValueError('write an id in hexadecimal digits, two per byte, like "01"')
        return bare

    @model_validator(mode="after")
    def _one_certificate(self) -> TokenOptions:
        if self.certificate is not None and self.certificate_label:
            raise ValueError("write certificate or certificate_label, not both")
        return self


class SignOptions(StageConfig):
    """How documents are signed, and with which key."""

    key: SecretRef | None = None
    """The PKCS#12 file (`.p12`, `.pfx`) with the key, its certificate and the chain above it, or a
    PEM file with the key. A key in a token has the table `token` instead."""
    chain: tuple[Path, ...] = ()
    """PEM files with more certificates: that of a key in PEM, and those above it."""
    rsa_padding: Literal["pkcs1v15", "pss"] = "pkcs1v15"
    """How an RSA key signs (RFC 8017): `pss` is newer, and fewer programs verify it."""
    token: TokenOptions | None = None
    """The PKCS#11 token with the key."""
    pin_record: Path | None = None
    """The folder where each try of the token's PIN is on record before it is made. It must survive
    restarts, and belongs to this stage alone."""
    token_folder: Path | None = None
    """The folder that the token's module writes to, for a token in files (SoftHSM)."""
    passphrase: SecretRef | None = None
    """The passphrase of the PKCS#12 or PEM file."""
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
    level: Level | None = None
    """The PAdES baseline level: `"B-B"`, `"B-T"`, `"B-LT"` or `"B-LTA"`. None: B-T with a time
    stamp server, else B-B."""
    timestamp: TimestampOptions | None = None
    """The time stamp servers. None: signatures are B-B."""
    revocation: RevocationOptions = RevocationOptions()
    """Where revocation is asked for, for B-LT and B-LTA."""

    @field_validator("utc_offset")
    @classmethod
    def _offset(cls, value: str) -> str:
        parse_offset(value)
        return value

    @model_validator(mode="after")
    def _one_key(self) -> SignOptions:
        if (self.key is None) == (self.token is None):
            raise ValueError("write either key or the table stage.sign.token")
        if self.token is None and (self.pin_record or self.token_folder):
            raise ValueError("pin_record and token_folder belong to the table stage.sign.token")
        if self.token is not None and self.pin_record is None:
            raise ValueError("a token needs pin_record: a folder for the record of its PIN's tries")
        if self.token is not None and (self.passphrase or self.certificate or self.chain):
            raise ValueError("passphrase, certificate and chain belong to key, not to a token")
        return self

    @property
    def pss(self) -> bool:
        """Whether an RSA key signs with RSASSA-PSS."""
        return self.rsa_padding == "pss"

    @field_validator("reserve")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("write an even number of bytes")
        return value

    @model_validator(mode="after")
    def _level_is_possible(self) -> SignOptions:
        level = self.wanted_level
        if level == "B-B" and self.timestamp is not None:
            raise ValueError("level B-B takes no time stamp: write no timestamp table")
        if level != "B-B" and self.timestamp is None:
            raise ValueError(f"level {level} needs stage.sign.timestamp")
        if self.long_term and not (self.trusted_roots and self.timestamp_roots):
            raise ValueError(
                f"level {level} needs trusted_roots, and trusted_roots of the time stamp server: "
                "what is kept for decades is checked against them"
            )
        return self

    @property
    def wanted_level(self) -> Level:
        """The level as configured, or as the time stamp table means it."""
        return self.level or ("B-T" if self.timestamp else "B-B")

    @property
    def long_term(self) -> bool:
        """Whether certificates and their revocation state are put into the file."""
        return self.wanted_level in {"B-LT", "B-LTA"}

    @property
    def timestamp_roots(self) -> tuple[Path, ...]:
        """The files of the roots that a time stamp must lead to."""
        return self.timestamp.roots() if self.timestamp else ()
