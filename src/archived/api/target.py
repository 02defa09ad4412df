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
    """A place with keys. Keys are relative POSIX paths without `.` or `..` components.

    Required: `kind`, `version` and the five methods. Methods raise `archived.api.Postpone` when
    the place cannot be reached, `OSError` for what the operating system reports, and
    `FileNotFoundError` from `open` for an absent key.
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
