"""A sentence for a person: an English template and its parameters. Imports nothing of `archived`.

A `Message` is a `str`, the finished English sentence, so it can stand wherever a text can. It also
keeps what it was made of. `archived.locale.render` makes the same sentence in another language from
that. Whatever makes a new text from a message (`f"{m}"`, `m + "."`, `m.strip()`) loses the parts:
put the message into another one as a parameter instead.

A template is the key of the catalogues (gettext's msgid), so it is always a constant: Babel
extracts the first argument of every `Message(...)`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Parameter: TypeAlias = "str | int | float | bool | Sequence[Parameter] | None"
"""What can stand in a gap; a `Message` is a `str`. Anything else is turned into text."""

BESIDE = "messages"
"""The key of a JSON object that says what its sentences were made of."""

_DEEPEST = 8
"""How deep messages may stand in messages that come from outside."""
_LONGEST = 16_000
"""Characters of a message, a template or a parameter that comes from outside."""
_GAPS = 100
"""Gaps of a template that comes from outside."""
_FORMAT = re.compile(r"|,|,?\.\d[f%]|0?\dd|0\d[xX]")
"""How a number may be written in a gap. A width that a stranger chose could fill the memory."""


class Message(str):
    """The English sentence that `template` and `parameters` make.

    Gaps are named, as `str.format` has them: `Message("{n} files in {folder}", n=3, folder=name)`.
    A template without parameters is taken as it stands, braces included. A parameter may be a
    message (a cause), a list (its parts are joined by commas) or an exception (what it says).
    """

    __slots__ = ("parameters", "template")

    template: str
    parameters: Mapping[str, Parameter]

    def __new__(cls, template: str, /, **parameters: object) -> Message:
        if isinstance(template, Message) and not parameters:
            return template
        kept = {name: _parameter(value) for name, value in parameters.items()}
        text = filled(template, kept) if kept else template
        made = super().__new__(cls, text)
        made.template = str(template)
        made.parameters = kept
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self.template, dict(self.parameters))

    def as_json(self) -> dict[str, Any]:
        """The template and the parameters; a parameter that is a message likewise."""
        return {"template": self.template, "parameters": _packed_parameters(self.parameters)}

    @classmethod
    def from_json(cls, value: object) -> Message:
        """What `as_json` gave. Raises `ValueError` for anything else."""
        return _read(value, 0)


def filled(template: str, parameters: Mapping[str, object]) -> str:
    """A template with its gaps filled; lists are joined by commas."""
    return _Filling().vformat(template, (), parameters)


class _Filling(string.Formatter):
    """`str.format` by name only: no attribute or item of a parameter can be reached."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, str]:  # noqa: ARG002
        value = kwargs[field_name]
        return (joined(value) if isinstance(value, list) else value), field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if not _FORMAT.fullmatch(format_spec):
            raise ValueError(f"{format_spec!r} is no way to write a parameter")
        return str(super().format_field(value, format_spec))


def sequence(parts: Sequence[str], between: str) -> str:
    """Several sentences in a row as one, such as a line for each."""
    if len(parts) < 2:
        return parts[0] if parts else ""
    names = [f"p{number}" for number in range(len(parts))]
    template = between.join(f"{{{name}}}" for name in names)
    return Message(template, **dict(zip(names, parts, strict=True)))


def joined(values: Sequence[object]) -> str:
    """Several things in a row."""
    return ", ".join(map(str, values))


def _parameter(value: object) -> Parameter:
    if isinstance(value, Message) or value is None or type(value) in {str, int, float, bool}:
        return value  # type: ignore[return-value] # what was asked for just now
    if isinstance(value, BaseException):
        told = value.args[0] if value.args else None
        return told if isinstance(told, Message) and len(value.args) == 1 else str(value)
    if isinstance(value, list | tuple):
        return [_parameter(each) for each in value]
    return str(value)


def _made(template: str, parameters: Mapping[str, object]) -> Message:
    return Message(template, **parameters)


def in_json(value: str) -> Any:
    """A text as one JSON value: a message with parameters with its English text first."""
    if isinstance(value, Message) and value.parameters:
        return {"text": str(value), **value.as_json()}
    return str(value)


def from_json(value: Any) -> str:
    """What `in_json` gave. Raises `ValueError` for anything else."""
    if isinstance(value, str):
        return value
    made = Message.from_json(value)
    return made if made == value.get("text") else str(value.get("text"))


# In JSON ------------------------------------------------------------------------------------------


def parts_of(value: object) -> object:
    """What stands beside a text, or a list of texts; `None` where a text is its own template."""
    if isinstance(value, Message) and value.parameters:
        return value.as_json()
    if isinstance(value, list | tuple):
        parts = [parts_of(each) for each in value]
        return parts if any(part is not None for part in parts) else None
    return None


def with_parts(value: Any) -> Any:
    """The same for JSON: every object whose values are messages has their parts beside them.

    `{"why": "3 files"}` becomes `{"why": "3 files", "messages": {"why": {"template": ...}}}`. A
    text without an entry is its own template.
    """
    if isinstance(value, Mapping):
        told = {key: with_parts(each) for key, each in value.items()}
        if BESIDE in told:
            return told
        parts = {key: parts_of(each) for key, each in value.items()}
        found = {key: part for key, part in parts.items() if part is not None}
        return {**told, BESIDE: found} if found else told
    if isinstance(value, list | tuple):
        return [with_parts(each) for each in value]
    return value


def with_messages(value: Any) -> Any:
    """The opposite of `with_parts`: texts with parts beside them become messages again."""
    if isinstance(value, dict):
        return {key: with_messages(each) for key, each in restored(value).items()}
    if isinstance(value, list):
        return [with_messages(each) for each in value]
    return value


def restored(table: dict[str, Any]) -> dict[str, Any]:
    """`with_messages` for one JSON object, not for those inside it. `messages` that says something
    else than `with_parts` would is left as it is: a plug-in's facts may have a key of that name.
    """
    parts = table.get(BESIDE)
    if not isinstance(parts, dict) or not parts or not parts.keys() <= table.keys():
        return table
    told = {key: each for key, each in table.items() if key != BESIDE}
    return told | {key: _restored(told[key], part) for key, part in parts.items()}


def _restored(value: Any, part: object) -> Any:
    if isinstance(value, str) and isinstance(part, dict):
        try:
            made = Message.from_json(part)
        except (ValueError, TypeError, KeyError, IndexError):
            return value
        return made if made == value else value  # the text is what counts
    if isinstance(value, list) and isinstance(part, list) and len(value) == len(part):
        return [_restored(each, own) for each, own in zip(value, part, strict=True)]
    return value


def _packed_parameters(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    return {name: _packed(value) for name, value in parameters.items()}


def _packed(value: Parameter) -> Any:
    if isinstance(value, Message):
        return value.as_json()
    if isinstance(value, list):
        return [_packed(each) for each in value]
    return value


def _read(value: object, depth: int) -> Message:
    if not isinstance(value, dict) or depth > _DEEPEST:
        raise ValueError("no message")
    template, parameters = value.get("template"), value.get("parameters")
    if not isinstance(template, str) or not isinstance(parameters, dict):
        raise ValueError("no message")  # noqa: TRY004 - of what came from outside
    if len(template) > _LONGEST or template.count("{") > _GAPS:
        raise ValueError("no message")
    read = {str(name): _read_parameter(each, depth + 1) for name, each in parameters.items()}
    try:
        made = Message(template, **read)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError("no message") from error
    if len(made) > _LONGEST:
        raise ValueError("no message")
    return made


def _read_parameter(value: object, depth: int) -> object:
    if isinstance(value, dict):
        return _read(value, depth)
    if isinstance(value, list):
        if depth > _DEEPEST:
            raise ValueError("no message")
        return [_read_parameter(each, depth + 1) for each in value[:_LONGEST]]
    if isinstance(value, str) and len(value) > _LONGEST:
        raise ValueError("no message")
    return value
