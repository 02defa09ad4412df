"""In which language the command lines speak to people: gettext, by LC_ALL, LC_MESSAGES or LANG.

What is kept is never translated: the ledger, the log, events and `--json` are English, and codes
are codes. What a sentence was made of is kept beside it (`archived.message`), so `render` can say
a sentence of the record, or of a daemon, in another language. Messages are English when nobody says
otherwise.
"""

from __future__ import annotations

import gettext
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import date, datetime, tzinfo
from functools import cache
from pathlib import Path

from archived.locale.dates import moment, rewritten
from archived.locale.errno_texts import ERRNO_TEXTS
from archived.message import Message, filled

DOMAIN = "archived"
FOLDER = Path(__file__).parent
LANGUAGES = ("vi",)
"""Languages there is a catalogue for, besides the English of the source."""

_GROUP = "archived"
"""The entry points of plug-ins."""

_PLAIN = frozenset({"en", "C", "POSIX"})
_ENGLISH = gettext.NullTranslations()
_speaking: ContextVar[gettext.NullTranslations] = ContextVar("speaking", default=_ENGLISH)


def _(message: str) -> str:
    """The translation of a constant text; the text itself where there is none."""
    return _speaking.get().gettext(message) if message else message


def pgettext(context: str, message: str) -> str:
    """As `_`, for a word that means different things in different places."""
    return _speaking.get().pgettext(context, message)


def ngettext(one: str, more: str, count: int) -> str:
    """As `_`, for a text that depends on a number. The caller formats it."""
    return _speaking.get().ngettext(one, more, count)


def number(value: float, digits: int = 1) -> str:
    """A number with a decimal mark as people write it: `1.5`, or `1,5`."""
    return f"{value:.{digits}f}".replace(".", _("."))


def _day_form() -> str:
    return _("%Y-%m-%d")


def day_text(at: date) -> str:
    """A day as people write it: `2026-11-22`, or `22/11/2026`."""
    return at.strftime(_day_form())


def moment_text(at: datetime, zone: tzinfo, *, seconds: bool = False) -> str:
    """An instant on `zone`'s clock as people write it."""
    return moment(at, zone, _day_form(), seconds=seconds)


def language() -> str:
    """What is spoken now: one of `LANGUAGES`, or empty for English."""
    return _speaking.get().info().get("language", "")


@contextmanager
def speaking(tag: str | None) -> Iterator[None]:
    """Speak this language inside; English for `None` and for what nobody translated."""
    token = _speaking.set(_catalogue(tag) if tag in LANGUAGES else _ENGLISH)
    try:
        yield
    finally:
        _speaking.reset(token)


def asked_for(environment: Mapping[str, str]) -> str | None:
    """The first language of `LANGUAGES` that the environment names; `None` for English.

    As POSIX and gettext have it: LC_ALL, else LC_MESSAGES, else LANG; LANGUAGE may refine any of
    them but the C locale. The locale itself need not be installed.
    """
    chosen = next(
        filter(None, (environment.get(n) for n in ("LC_ALL", "LC_MESSAGES", "LANG"))), "C"
    )
    if _code(chosen) in _PLAIN:
        return None
    for name in [*environment.get("LANGUAGE", "").split(":"), chosen]:
        if _code(name) in LANGUAGES:
            return _code(name)
        if _code(name) in _PLAIN:
            return None
    return None


def _code(name: str) -> str:
    return re.split("[_.@]", name)[0]


def speak_as_surroundings() -> None:
    """Speak what the environment asks for, from now on, the words of click included."""
    tag = asked_for(os.environ)
    if tag is None:
        return
    gettext.bindtextdomain(DOMAIN, str(FOLDER))
    gettext.textdomain(DOMAIN)  # click asks gettext itself
    _speaking.set(_catalogue(tag))


def speak_english() -> None:
    """Speak English from now on: what is said goes into a log."""
    _speaking.set(_ENGLISH)


@cache
def _catalogue(tag: str) -> gettext.NullTranslations:
    catalogue = gettext.translation(DOMAIN, FOLDER, [tag], fallback=True)
    catalogue.add_fallback(_OfPlugins(tag))
    return catalogue


class _OfPlugins(gettext.NullTranslations):
    """Asked for what the core's catalogue does not have. Read when that happens first."""

    def __init__(self, tag: str) -> None:
        super().__init__()
        self._tag = tag

    def gettext(self, message: str) -> str:
        found = (each.gettext(message) for each in _plugin_catalogues(self._tag))
        return next((told for told in found if told != message), message)


@cache
def plugin_folders() -> Mapping[str, Path]:
    """Package -> its folder `locale`, of each installed plug-in that has one. None is imported."""
    from importlib.metadata import entry_points  # takes longer than a short command's own work
    from importlib.util import find_spec

    packages = {each.module.partition(".")[0] for each in entry_points(group=_GROUP)}
    found = {}
    for package in sorted(packages):
        with suppress(ValueError, ImportError):
            spec = find_spec(package)
            for place in (spec and spec.submodule_search_locations) or ():
                if (folder := Path(place) / "locale").is_dir():
                    found[package] = folder
    return found


@cache
def _plugin_catalogues(tag: str) -> tuple[gettext.NullTranslations, ...]:
    """`locale/TAG/LC_MESSAGES/PACKAGE.mo` of each plug-in; one that cannot be read says nothing."""
    found = []
    for package, folder in plugin_folders().items():
        with suppress(OSError, ValueError, struct.error):
            found.append(gettext.translation(package, folder, [tag]))
    return tuple(found)


# Sentences ----------------------------------------------------------------------------------------


def render(sentence: str) -> str:
    """A sentence in the language that is spoken: a `Message`, or a text that is its own template.

    Anything else, such as a name or a plug-in's finished sentence, stays as it is. Several lines
    without parameters are several sentences.
    """
    catalogue = _speaking.get()
    if catalogue is _ENGLISH or not sentence:
        return str(sentence)
    if isinstance(sentence, Message):
        return _rendered(sentence, catalogue)
    if "\n" in sentence:
        return "\n".join(map(render, sentence.split("\n")))
    return catalogue.gettext(sentence)


def is_translated(sentence: str) -> bool:
    """Whether anything of this sentence is said otherwise in the language that is spoken."""
    return render(sentence) != sentence


def _rendered(message: Message, catalogue: gettext.NullTranslations) -> str:
    template = catalogue.gettext(message.template) if message.template else ""
    if not message.parameters:
        return template
    return filled(template, {name: _parameter(each) for name, each in message.parameters.items()})


def _parameter(value: object) -> object:
    """What stands in a gap: a sentence of its own, a list, a day, the text of an errno."""
    if isinstance(value, Message):
        return render(value)
    if isinstance(value, list):
        return [_parameter(each) for each in value]
    if not isinstance(value, str):
        return value
    return errno_text(value) or rewritten(value, _day_form())


def errno_text(text: str) -> str:
    """The translation of what the C library calls an error number; empty for any other text."""
    return _(text) if text in ERRNO_TEXTS else ""
