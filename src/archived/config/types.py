"""Kinds of values that stand in the tables, each with the sentence that says how to write it."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pathspec import GitIgnoreSpec
from pydantic import AfterValidator, BeforeValidator, PlainSerializer, PlainValidator

from archived.api import Duration, Size
from archived.message import Message
from archived.model import secrecy
from archived.model.scheduling import Hours


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @property
    def for_this_machine_only(self) -> bool:
        """Whether no other machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+):(\d{1,5})", str(value))
    try:
        if match is None or not 0 < int(match[2]) < 65536:
            raise ValueError  # noqa: TRY301 - one sentence for all that can be wrong
        return Address(str(ipaddress.ip_address(match[1].strip("[]"))), int(match[2]))
    except ValueError:
        raise ValueError(
            Message('write an address and a port, like "127.0.0.1:9477" or "[::1]:9477"')
        ) from None


def _absolute(value: Path) -> Path:
    if not value.is_absolute() or ".." in value.parts:
        raise ValueError(Message('write the whole path, from "/"'))
    return value


def _more_than_nothing(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError(Message('must be more than "0 s"'))
    return value


def _some_bytes(value: int) -> int:
    if value <= 0:
        raise ValueError(Message('must be more than "0 B"'))
    return value


def _level(value: object) -> object:
    if not isinstance(value, str) or not value:
        return value
    return secrecy.level(unicodedata.normalize("NFC", value)).printed.casefold()


def _pattern(value: str) -> str:
    pattern = value.removeprefix("!")
    dots = {".", ".."} & set(pattern.split("/"))
    if dots or not pattern.strip("/ ") or value[0] == "#" or not _is_pattern(value):
        raise ValueError(
            'write a pattern for names below the hot folder, like "*.tmp", "drafts/" or "!keep.tmp"'
        )
    return value


def _is_pattern(value: str) -> bool:
    try:
        return GitIgnoreSpec.from_lines([value]).patterns[0].include is not None
    except (ValueError, IndexError):
        return False


def _topic(value: str) -> str:
    if not value or value[0] == "/" or value[-1] == "/" or set(value) & set("+#\0"):
        raise ValueError('write levels joined by "/", without "+" or "#"')
    return value


def _folder_name(value: str) -> str:
    odd = set(value) & set('\\/:*?"<>|') or not value.isprintable() or value != value.strip()
    if odd or not 0 < len(value) <= 60 or value[0] in ".-~" or value[-1] == ".":
        raise ValueError(Message('write a plain folder name, like "_archived"'))
    return unicodedata.normalize("NFC", value)


def _device(value: str) -> str:
    if len(value) > 60 or not value.isprintable() or value != value.strip() or "/" in value:
        raise ValueError('write a short name without "/", like "reading room scanner"')
    return unicodedata.normalize("NFC", value)


def _hours(value: object) -> Hours:
    return value if isinstance(value, Hours) else Hours.parse(str(value))


_SCRYPT = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d)\$[A-Za-z0-9+/]{16,}\$[A-Za-z0-9+/]{22,}"
)


def _password_hash(value: str) -> str:
    match = _SCRYPT.fullmatch(value)
    # Bounds, so that asking for a password costs no more than 128 MiB and a moment.
    if match is None or not (10 <= int(match[1]) <= 16 and 1 <= int(match[2]) <= 16):
        raise ValueError(
            "write what archived hash-password prints; a password itself never stands here"
        )
    return value


def _shown_hash(value: str) -> str:
    """What is told of it: whether it changed, not what it is."""
    return f"hash {hashlib.sha256(value.encode()).hexdigest()[:8]}"


def _user(value: str) -> str:
    if not value.isprintable() or ":" in value or not 0 < len(value) <= 60:
        raise ValueError('write a user name without ":"')
    return value


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ValueError(Message('"{twice}" stands in the list twice', twice=twice[0]))
    return names


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Wait = Annotated[Duration, AfterValidator(_more_than_nothing)]
"""A duration that is longer than nothing."""
Bytes = Annotated[Size, AfterValidator(_some_bytes)]
"""A size that is more than nothing."""
Pattern = Annotated[str, AfterValidator(_pattern)]
FolderName = Annotated[str, AfterValidator(_folder_name)]
"""One folder's name, which every client of a share can show."""
WorkHours = Annotated[
    Hours,
    PlainValidator(_hours),
    PlainSerializer(str, return_type=str),
]
Device = Annotated[str, AfterValidator(_device)]
Listen = Annotated[Address, PlainValidator(_address), PlainSerializer(str, return_type=str)]
PasswordHash = Annotated[
    str,
    AfterValidator(_password_hash),
    PlainSerializer(_shown_hash, return_type=str),
]
"""A password as scrypt made it unreadable, in the notation of the PHC string format."""
UserName = Annotated[str, AfterValidator(_user)]
Topic = Annotated[str, AfterValidator(_topic)]
Names = Annotated[tuple[str, ...], AfterValidator(_once)]
"""A list of names, each once."""
Secrecy = Annotated[Literal["", "thường", "mật", "tối mật", "tuyệt mật"], BeforeValidator(_level)]
