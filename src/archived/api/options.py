"""How a stage's options are written in TOML: frozen, typed, with the paths that they name.

A string under a field is that field's documentation; it appears in `archived sample-config`, in
the README's table and in the JSON schema. Unknown keys are refused. Values whose type is a path
are found by the core (`all_named`), which opens them to the stage's process.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeGuard, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, model_validator

from archived.message import Message

_DURATION_UNITS = {
    "ms": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}
_SIZE_UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse_duration(text: str) -> timedelta:
    """A duration as people write it: `"90 s"`, `"20 min"`, `"2 h"`, `"30 d"`."""
    match = _QUANTITY.fullmatch(text)
    if not match or match[2] not in _DURATION_UNITS:
        raise ValueError(Message('write a duration like "90 s", "20 min" or "2 h"'))
    return timedelta(seconds=float(match[1]) * _DURATION_UNITS[match[2]])


def parse_size(text: str) -> int:
    """A size in bytes as people write it: `"512 MiB"`, `"1 GB"`."""
    match = _QUANTITY.fullmatch(text)
    if not match or match[2] not in _SIZE_UNITS:
        raise ValueError(Message('write a size like "512 MiB", "1 GiB" or "2 GB"'))
    return int(float(match[1]) * _SIZE_UNITS[match[2]])


def duration_text(value: timedelta) -> str:
    """The shortest exact spelling that `parse_duration` reads back."""
    seconds = value.total_seconds()
    for unit in ("w", "d", "h", "min", "s"):
        amount = seconds / _DURATION_UNITS[unit]
        if amount >= 1 and amount == int(amount):
            return f"{int(amount)} {unit}"
    # Microseconds are the finest a timedelta knows; plain digits, never an exponent.
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + " ms"


def size_text(value: int) -> str:
    """The shortest exact spelling that `parse_size` reads back."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if value >= _SIZE_UNITS[unit] and value % _SIZE_UNITS[unit] == 0:
            return f"{value // _SIZE_UNITS[unit]} {unit}"
    return f"{value} B"


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else _only(value, timedelta, "duration")


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else _only(value, int, "size")


def _only(value: object, kind: type, noun: str) -> object:
    # A bare number has no unit, and guessing one is how a limit becomes 300 pixels.
    if isinstance(value, kind) and not isinstance(value, bool):
        return value
    example = '"20 min"' if noun == "duration" else '"512 MiB"'
    raise ValueError(f"write a {noun} with its unit, like {example}")


Duration = Annotated[
    timedelta, BeforeValidator(_duration), PlainSerializer(duration_text, return_type=str)
]
"""A `timedelta`, written `"20 min"` in TOML."""

Size = Annotated[int, BeforeValidator(_size), PlainSerializer(size_text, return_type=str)]
"""A number of bytes, written `"1 GiB"` in TOML."""


class Options(BaseModel):
    """A frozen table of options that refuses unknown keys. Base of everything read from TOML."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )


class StageConfig(Options):
    """What a stage's options derive from.

    `timeout`, `attempts` and `lane` are understood for every stage by the core and never reach
    this model.
    """


SECRET_LIMIT = 2**20
"""Bytes of one secret."""
_SECRET = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_open: dict[str, int] = {}


def handed_over(files: Mapping[str, int]) -> None:
    """For the core, in a step's process: paths of secrets that were given to it as open files.

    Those that were given to it before are closed.
    """
    for descriptor in _open.values():
        os.close(descriptor)
    _open.clear()
    _open.update(files)


class SecretRef(Options):
    """Where a secret is kept; never the secret itself. Read it by `read` or `read_text`: in the
    package a step's account cannot open the file itself, and is given it open.

    Written as a table: `{ credential = "signing-passphrase" }` for a systemd credential
    (`LoadCredential=`), or `{ file = "/etc/archived/secret/passphrase" }` for a file that only
    the daemon's user may read.
    """

    credential: str | None = None
    """Name of a systemd credential."""
    file: Path | None = None
    """Path of a file; group and others must have no access to it."""

    @model_validator(mode="before")
    @classmethod
    def _never_a_value(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(  # noqa: TRY004 - pydantic reports ValueErrors in the file's words
                Message(
                    'a secret is never written here; write { credential = "NAME" } or { '
                    'file = "PATH" }'
                )
            )
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretRef:
        if (self.credential is None) == (self.file is None):
            raise ValueError(
                Message('write exactly one of { credential = "NAME" } and { file = "PATH" }')
            )
        if self.credential is not None and "/" in self.credential:
            raise ValueError("a credential is a name, not a path")
        return self

    def path(self) -> Path:
        """The file that holds the secret. Raises `FileNotFoundError` with what to do."""
        if self.file is not None:
            return self.file
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise FileNotFoundError(
                Message(
                    "credential {credential!r}: no credentials were passed to this "
                    "process; add LoadCredential={credential}:/path to the unit",
                    credential=self.credential,
                )
            )
        return Path(folder) / str(self.credential)

    def read(self) -> bytes:
        """The secret's bytes, as stored. Raises `OSError` or `PermissionError`."""
        path = self.path()
        given = _open.get(str(path))
        # A pipe in its place must not be waited for: the daemon reads secrets as well.
        handle = os.open(path, _SECRET) if given is None else given
        with open(handle, "rb", closefd=given is None) as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "not a file", str(path))
            if self.file is not None and found.st_mode & 0o077:
                raise PermissionError(
                    Message("{path}: others may read this secret; run: chmod 600 {path}", path=path)
                )
            if found.st_size > SECRET_LIMIT:
                raise OSError(errno.EFBIG, f"a secret has at most {SECRET_LIMIT} bytes", str(path))
            file.seek(0)  # it is one open file, however often it is read
            return file.read(SECRET_LIMIT)

    def read_text(self) -> str:
        """The secret as text, without what an editor adds: a byte order mark, line ends.

        UTF-8, or UTF-16 where its byte order mark says so. Raises `UnicodeDecodeError` as well.
        """
        content = self.read()
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if utf_16 else "utf-8-sig").rstrip("\r\n")


C = TypeVar("C")


def options_type(cls: type, base: type, bound: type[C]) -> type[C]:
    """The options type named in `class X(Base[Options])`; `bound` itself when none is named."""
    for klass in cls.__mro__:
        for parent in getattr(klass, "__orig_bases__", ()):
            if get_origin(parent) is base:
                (found,) = get_args(parent)
                if isinstance(found, type) and issubclass(found, bound):
                    return found
    return bound


Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NamedPath:
    """A path that an option names."""

    path: str
    secret: bool


def is_path(value: object) -> TypeGuard[str]:
    """Whether it is the text of an absolute path."""
    return isinstance(value, str) and value.startswith("/")


def all_named(model: type[BaseModel], options: Json) -> Iterator[NamedPath]:
    """Every path that options name, as their model types them."""
    for name, known in model.model_fields.items():
        if name in options:
            yield from _paths(known.annotation, options[name])


def _paths(kind: Any, value: Any) -> Iterator[NamedPath]:
    """The absolute paths in an option's JSON that its type calls a path.

    A text that only looks like a path is none: it may be a path on another machine.
    """
    if isinstance(kind, type):
        if issubclass(kind, SecretRef):
            if isinstance(value, Mapping):
                yield from _secret(value)
        elif issubclass(kind, BaseModel):
            if isinstance(value, Mapping):
                yield from all_named(kind, value)
        elif issubclass(kind, Path) and is_path(value):
            yield NamedPath(value, secret=False)
        return
    arms = get_args(kind)
    values: Iterable[Any] = value if isinstance(value, list) else (value,)
    if isinstance(value, Mapping) and _is_table(kind):
        values, arms = value.values(), arms[-1:]
    for each in values:
        for arm in arms:
            yield from _paths(arm, each)


def _is_table(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _secret(reference: Mapping[str, Any]) -> Iterator[NamedPath]:
    """The file of a `SecretRef`, as `SecretRef.path` finds it."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if file := reference.get("file"):
        yield NamedPath(str(file), secret=True)
    elif folder and (name := reference.get("credential")) and "/" not in str(name):
        yield NamedPath(f"{folder}/{name}", secret=True)
