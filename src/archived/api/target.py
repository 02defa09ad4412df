"""A place where replicas of sealed objects are kept.

A target knows keys and bytes, nothing of OCFL: what is copied, in which order, and what counts as
a verified copy is decided by whoever uses it. Every kind of target passes
`archived.testing.TargetContract`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, ClassVar, Generic, TypeVar

from archived.api.options import Options, options_type


class TargetConfig(Options):
    """What a target's options derive from. `kind` is understood by the core."""


T = TypeVar("T", bound=TargetConfig)

_LONGEST_NAME = 255
"""Bytes of a name, on every file system worth keeping an archive on."""
_LONGEST_KEY = 4000


def check_key(key: str) -> tuple[str, ...]:
    """The names that a key is made of, outermost first. Raises `ValueError` saying what is wrong.

    A key is a relative POSIX path: names parted by `/`, none of them empty, `.` or `..`, UTF-8
    without NUL, at most 255 bytes a name and 4000 in all. Call this in every method that is given
    a key, and for every name that is read from the place: neither a damaged inventory nor a
    strange file may make a target read or write elsewhere.
    """
    names = tuple(key.split("/"))
    if not key or key.startswith("/"):
        raise ValueError(f"{key!r} is not a key: write a relative path")
    if any(name in ("", ".", "..") for name in names):
        raise ValueError(f"{key!r} is not a key: it has an empty, '.' or '..' component")
    if "\0" in key:
        raise ValueError(f"{key!r} is not a key: it has a NUL")
    try:
        longest = max(len(name.encode()) for name in names)
    except UnicodeEncodeError:
        raise ValueError(f"{key!r} is not a key: it is not UTF-8") from None
    if longest > _LONGEST_NAME or len(key.encode()) > _LONGEST_KEY:
        raise ValueError(f"{key[:80]!r}... is not a key: it is too long")
    return names


@dataclass(frozen=True, slots=True)
class Copy:
    """One replica, written and read back: the evidence behind "safe"."""

    target: str
    key: str
    """The object's path below the target's root, with `/`; `inventory.json` lies in it."""
    inventory_sha512: str
    """Digest of the `inventory.json` that was read back from the target."""
    files: int
    size: int
    """Bytes of all files of the object at the target."""
    verified: datetime
    """When the last byte was read back (UTC)."""


class Target(ABC, Generic[T]):
    """A place with keys: relative POSIX paths, as `check_key` has them.

    Required: `kind`, `version` and the five methods. Methods raise `archived.api.Postpone` when
    the place cannot be reached, `OSError` for what the operating system reports, `ValueError` for
    what is no key (`check_key` does), and `FileNotFoundError` from `open` for an absent key.
    """

    kind: ClassVar[str]
    version: ClassVar[str]

    def __init__(self, name: str, options: T) -> None:
        self.name = name
        self.options = options

    @classmethod
    def config(cls) -> type[TargetConfig]:
        """The options type, found in the class statement."""
        return options_type(cls, Target, TargetConfig)

    def check(self, beside: Path) -> Iterable[str]:  # noqa: ARG002
        """Problems that make this place unfit to hold replicas of the store at `beside`.

        One sentence each. "On the same file system as the store" is one of them.
        """
        return ()

    @abstractmethod
    def put(self, source: Path, key: str, sha512: str) -> None:
        """Write `source` durably under `key`: all of it or nothing.

        Refuses (`FileExistsError`) to replace bytes whose digest differs unless `replace` was
        called for the key. The same bytes again is fine and does nothing.
        """

    @abstractmethod
    def replace(self, source: Path, key: str, sha512: str) -> None:
        """Atomically put `source` in place of what `key` holds now, durably."""

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """The bytes under `key`, read from the place itself (not from a cache we can avoid)."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[str]:
        """Every key below the folder `prefix`, in no particular order; nothing when absent."""

    @abstractmethod
    def free(self) -> int | None:
        """Free bytes, or `None` when the place cannot tell."""
