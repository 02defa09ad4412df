"""What pydantic found wrong, in the words of the file: where, what, and what to write instead."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from archived.api import Size
from archived.config.toml_files import Keys, Source
from archived.message import Message
from archived.model.former_names import KEYS, VALUES
from archived.plugins import did_you_mean, nearest

_PLAIN: Mapping[str, str] = {
    "missing": Message("must be set"),
    "string_type": Message('write a text, in quotes: "..."'),
    "int_type": Message("write a whole number"),
    "int_parsing": Message("write a whole number"),
    "int_from_float": Message("write a whole number"),
    "float_type": Message("write a number"),
    "float_parsing": Message("write a number"),
    "bool_type": Message("write true or false"),
    "bool_parsing": Message("write true or false"),
    "path_type": Message('write a path, in quotes: "/..."'),
    "tuple_type": Message('write a list: ["...", "..."]'),
    "list_type": Message('write a list: ["...", "..."]'),
    "set_type": Message('write a list: ["...", "..."]'),
    "dict_type": Message("write a table"),
    "model_type": Message("write a table"),
}


def note(
    source: Source,
    error: ValidationError,
    model: type[BaseModel],
    at: Keys,
    also: Iterable[str] = (),
) -> None:
    """Note every mistake pydantic found in the table `at`; `also` are keys known besides."""
    told: dict[Keys, list[str]] = {}
    meant: set[Keys] = set()
    for mistake in sorted(error.errors(include_url=False), key=lambda m: m["type"] == "missing"):
        loc = tuple(mistake["loc"])
        if mistake["type"] == "extra_forbidden":
            known = [*_known(model, loc[:-1]), *(also if len(loc) == 1 else ())]
            now = KEYS.get(str(at[0]), {}).get(str(loc[-1])) if len(loc) == 1 else None
            near = did_you_mean(str(loc[-1]), known)
            text: str = (
                Message('is now called "{now}"', now=now)
                if now in known
                else Message("unknown key{near}", near=near)
            )
            meant.add((*loc[:-1], *nearest(str(loc[-1]), known)))
        elif mistake["type"] == "missing" and loc in meant:
            continue  # it is there, misspelt, and that was told
        else:
            text = _former_value(at, loc, mistake) or _words(mistake)
        keys = _in_file(source, at + loc, len(at), missing=mistake["type"] == "missing")
        told.setdefault(keys, []).append(text)
    for keys, texts in told.items():
        # A value that may be one of several things fails once for each of them.
        source.mistake(keys, reduce(_either, dict.fromkeys(texts)))


def _either(one: str, other: str) -> str:
    return Message("{one}, or {other}", one=one, other=other)


def _former_value(at: Keys, loc: Keys, mistake: Mapping[str, Any]) -> str:
    """What a value is called now, or nothing."""
    known = VALUES.get((str(at[0]), str(loc[0])), {}) if loc else {}
    now = known.get(str(mistake["input"])) if mistake["type"] == "literal_error" else None
    return (
        Message('"{input}" is now called "{now}"', input=mistake["input"], now=now) if now else ""
    )


def note_bare_sizes(
    source: Source, table: Mapping[str, Any], model: type[BaseModel], at: Keys
) -> None:
    """Note every size that is a bare number: in a file it has no unit, in code it is bytes."""
    for key, value in table.items():
        option = model.model_fields.get(key)
        number = isinstance(value, int) and not isinstance(value, bool)
        if number and option and _is_size((option.annotation, *option.metadata)):
            source.mistake((*at, key), Message('write a size with its unit, like "512 MiB"'))


def _is_size(parts: Iterable[Any]) -> bool:
    mark = get_args(Size)[1]
    return any(
        part is mark
        or _is_size(getattr(part, "__metadata__", ()))
        or (get_origin(part) in (Union, types.UnionType) and _is_size(get_args(part)))
        for part in parts
    )


def _in_file(source: Source, keys: Keys, floor: int, *, missing: bool) -> Keys:
    """The part of pydantic's path that the file has; the rest are its own notes."""
    length = len(keys)
    while length > floor and not source.value(keys[:length])[0]:
        length -= 1
    return keys[: length + 1] if missing else keys[:length]


def _words(mistake: Mapping[str, Any]) -> str:
    kind, context = mistake["type"], mistake.get("ctx", {})
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", '"')
        written = mistake["input"]
        near = did_you_mean(written, _quoted(choices)) if isinstance(written, str) else ""
        return Message("write {choices}{near}", choices=choices, near=near)
    if kind == "zoneinfo_str":
        return Message(
            '"{input}" is no time zone; write one like "Asia/Ho_Chi_Minh"', input=mistake["input"]
        )
    if kind in ("too_short", "string_too_short"):
        return (
            Message("must not be empty") if context["min_length"] == 1 else Message("is too short")
        )
    for name, words in (
        ("ge", Message("at least")),
        ("gt", Message("more than")),
        ("le", Message("at most")),
        ("lt", Message("less than")),
    ):
        if name in context:
            return Message("must be {words} {context}", words=words, context=context[name])
    return str(mistake["msg"]).removeprefix("Value error, ")


def _quoted(choices: str) -> list[str]:
    return choices.split('"')[1::2]


def _known(model: type[BaseModel], inner: Keys) -> list[str]:
    """Keys of the model that `inner` leads to."""
    here: list[type[BaseModel]] = [model]
    for key in inner:
        nearer: list[type[BaseModel]] = []
        for candidate in here:
            option = candidate.model_fields.get(str(key))
            nearer += _models(option.annotation) if option else []
        here = nearer or here  # an item of a list, or the name of a union's choice
    return [key for candidate in here for key in candidate.model_fields]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Every model named in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Literal, None) and not isinstance(annotation, types.UnionType):
        return []
    return [found for part in get_args(annotation) for found in _models(part)]
