"""What a plug-in's module, stages and targets must be like before anybody relies on them.

Looks and tells; registers nothing.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any

import pluggy
from pydantic import BaseModel

from archived.api import API_VERSION, Needs, Stage, Target
from archived.api.hooks import HOOKS
from archived.api.stage import SYSTEM_CALL_GROUPS, WORKERS
from archived.errors import PluginError
from archived.message import Message
from archived.model.former_names import EVENTS

RESERVED = ("timeout", "attempts", "lane", "memory", "disk_factor")
"""Keys of a `[stage.NAME]` table that the core understands; no options type may use them."""

NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
"""How plug-ins, stages, kinds of targets and runners are called."""

_TYPE = re.compile(r"(\*/\*|[a-z0-9][a-z0-9.+-]*/(\*|[a-z0-9][a-z0-9.+-]*))")


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The one of `known` that is close to `word`, or nothing."""
    return difflib.get_close_matches(word, sorted(known), n=1)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "..."?` when one of `known` is close to `word`, else nothing."""
    near = nearest(word, known)
    return Message('; did you mean "{near}"?', near=near[0]) if near else ""


def hooks_of(manager: pluggy.PluginManager, name: str, module: Any) -> list[str]:
    """Names of the hooks a plug-in implements. Raises `PluginError` for one that does not exist."""
    marked = {}
    for attribute in dir(module):
        options = manager.parse_hookimpl_opts(module, attribute)
        if options is not None:
            marked[attribute] = options
            if options.get("specname"):
                raise PluginError(
                    Message(
                        'plug-in "{name}": {attribute} must bear its hook\'s own name',
                        name=name,
                        attribute=attribute,
                    )
                )
    for hook, options in marked.items():
        if hook not in HOOKS and not options.get("optionalhook"):
            raise PluginError(
                Message(
                    'plug-in "{name}": there is no hook "{hook}"{did_you_mean} (hooks: {hooks})',
                    name=name,
                    hook=hook,
                    did_you_mean=did_you_mean(hook, HOOKS),
                    hooks=", ".join(HOOKS),
                )
            )
    bare = sorted(h for h in HOOKS if h not in marked and callable(getattr(module, h, None)))
    if bare:
        raise PluginError(
            Message(
                'plug-in "{name}": mark {bare} with @hookimpl, else nobody calls it',
                name=name,
                bare=bare[0],
            )
        )
    if not marked:
        raise PluginError(
            Message(
                'plug-in "{name}": has no hooks (hooks: {hooks})', name=name, hooks=", ".join(HOOKS)
            )
        )
    return [hook for hook in HOOKS if hook in marked]


def stage_problems(cls: type[Stage[Any]]) -> Iterator[str]:
    if not (isinstance(cls, type) and issubclass(cls, Stage)):
        yield "register takes a class derived from archived.api.Stage"
        return
    if not isinstance(cls.api, int) or cls.api > API_VERSION:
        yield (
            Message(
                "was written for version {api} of the plug-in API, and this archived has "
                "version {api_version}; use a newer archived or an older plug-in",
                api=cls.api,
                api_version=API_VERSION,
            )
        )
        return
    yield from _name_problems(cls, "name")
    if getattr(cls, "name", "") == "seal":
        yield '"seal" is the core\'s own step; choose another name'
    if cls.run is Stage.run:
        yield "define run(self, document, context)"
    elif cls.__abstractmethods__:
        yield f"define {', '.join(sorted(cls.__abstractmethods__))}"
    for name in ("needs_for", "config"):
        if not isinstance(inspect.getattr_static(cls, name), classmethod):
            yield f"write @classmethod above {name}: it is asked of the class"
    if isinstance(cls.accepts, str) or not cls.accepts:
        yield 'write accepts as a tuple, like ("image/*", "application/pdf")'
    else:
        for pattern in cls.accepts:
            if not isinstance(pattern, str) or not _TYPE.fullmatch(pattern):
                yield f'accepts: {pattern!r} is not a media type like "image/tiff" or "image/*"'
    yield from _needs_problems(cls.needs)
    yield from _options_problems(cls.config(), RESERVED)


def former_events(module: Any) -> Iterator[str]:
    """Events that a plug-in's observer names and that are called otherwise by now."""
    observer = getattr(module, "on_event", None)
    code = getattr(inspect.unwrap(observer) if observer else None, "__code__", None)
    if code is None:
        return
    used = {*_texts(code.co_consts), *_texts(vars(module).get(name) for name in code.co_names)}
    for former in EVENTS.keys() & used:
        yield Message(
            'its on_event names the event "{former}", which is now called "{events}"',
            former=former,
            events=EVENTS[former],
        )


def _texts(values: Iterable[object]) -> Iterator[str]:
    """Texts among some values, also those that lie in collections or are compared by a function
    within.
    """
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple | list | set | frozenset | Mapping):
            yield from _texts(value)
        elif isinstance(value, CodeType):
            yield from _texts(value.co_consts)


def _needs_problems(needs: object) -> Iterator[str]:
    if not isinstance(needs, Needs):
        yield "write needs as archived.api.Needs(...)"
        return
    try:
        enough = needs.memory_bytes > 0
    except ValueError as error:
        yield f"needs.memory: {error}"
    else:
        if not enough or needs.attempts < 1 or needs.timeout.total_seconds() <= 0:
            yield "needs: memory, attempts and timeout must be more than nothing"
    for group in sorted(set(needs.system_calls) - set(SYSTEM_CALL_GROUPS)):
        yield (
            Message(
                "needs.system_calls: unknown group {group!r}{did_you_mean} (groups: "
                "{system_call_groups})",
                group=group,
                did_you_mean=did_you_mean(group, SYSTEM_CALL_GROUPS),
                system_call_groups=", ".join(sorted(SYSTEM_CALL_GROUPS)),
            )
        )
    if needs.worker not in WORKERS:
        yield Message(
            "needs.worker: {worker!r} is neither {workers}",
            worker=needs.worker,
            workers=" nor ".join(map(repr, WORKERS)),
        )


def target_problems(cls: type[Target[Any]]) -> Iterator[str]:
    if not (isinstance(cls, type) and issubclass(cls, Target)):
        yield "register takes a class derived from archived.api.Target"
        return
    yield from _name_problems(cls, "kind")
    if cls.__abstractmethods__:
        yield f"define {', '.join(sorted(cls.__abstractmethods__))}"
    yield from _options_problems(cls.config(), ("kind",))


def _name_problems(cls: type, attribute: str) -> Iterator[str]:
    name = getattr(cls, attribute, None)
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 60:
        yield f"{attribute} {name!r}: write lower-case words joined by hyphens"
    version = getattr(cls, "version", None)
    if not isinstance(version, str) or not version.strip():
        yield f"version {version!r}: write a text that is not empty"


def _options_problems(model: type[BaseModel], reserved: Iterable[str]) -> Iterator[str]:
    for key, option in model.model_fields.items():
        if key in reserved:
            yield f'option "{key}" is the core\'s own; choose another name'
        if not (option.description or "").strip():
            yield f'option "{key}" has no documentation; write a string under it'
