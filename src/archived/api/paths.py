"""Which paths options name: what is opened to a stage or target beyond its own files.

For the core. A path is what an option's type calls one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, get_args, get_origin

from pydantic import BaseModel

from archived.api.options import SecretRef

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
