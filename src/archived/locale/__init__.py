"""In which language the command lines speak to people: gettext, by LC_ALL, LC_MESSAGES or LANG.

What is kept is never translated: the ledger, the log, events and `--json` are English, and codes
are codes. So a sentence may also come from the record, or from a daemon, finished and in English;
`heard` finds its translation by its shape. Messages are English when nobody says otherwise.
"""

from __future__ import annotations

import gettext
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime, tzinfo
from functools import cache
from pathlib import Path

from archived.locale.dates import moment, rewritten

DOMAIN = "archived"
FOLDER = Path(__file__).parent
LANGUAGES = ("vi",)
"""Languages there is a catalogue for, besides the English of the source."""

HEARD = "heard"
"""gettext's context of sentences that arrive finished; what varied is `{1}`, `{2}` and so on."""

_PLAIN = frozenset({"en", "C", "POSIX"})
_ENGLISH = gettext.NullTranslations()
_speaking: ContextVar[gettext.NullTranslations] = ContextVar("speaking", default=_ENGLISH)
_SEPARATOR = "\x04"
_GAP = re.compile(r"\{(\d+)\}")
_PARTING = re.compile(": |; ")
_DEEPEST = 8
"""How often a sentence is parted, or looked for inside another."""
_LONGEST = 1000
"""Letters of a sentence that is looked for: a stranger's text may be made to fit slowly."""

_LEAST = 6
"""Letters that a shape must have of its own: what has fewer fits anything."""


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
    return gettext.translation(DOMAIN, FOLDER, [tag], fallback=True)


# Sentences that arrive finished -------------------------------------------------------------------


def heard(sentence: str) -> str:
    """The translation of a finished English sentence, by its shape; itself where none fits.

    What stood in the gaps is put where the translation wants it, translated when it is a sentence
    too. Several lines are several sentences; so is what colons and semicolons part.
    """
    if _speaking.get() is _ENGLISH or not sentence:
        return sentence
    return "\n".join(_one(line) for line in sentence.split("\n"))


def knows(sentence: str) -> bool:
    """Whether `heard` has a translation."""
    return heard(sentence) != sentence


def _one(line: str, depth: int = 0) -> str:
    exact = _told(line)
    if exact is not None:
        return exact
    if depth > _DEEPEST or len(line) > _LONGEST or " " not in line:
        return line  # a name, a number, somebody's novel
    for literal, pattern, shape in _shapes(language()):
        fits = pattern.fullmatch(line) if literal in line else None
        if fits:
            said = [_gap(each, depth) for each in fits.groups()]
            parts = _GAP.split(shape)
            return "".join(said[int(p) - 1] if i % 2 else p for i, p in enumerate(parts))
    first = _PARTING.search(line)
    if first is None:
        return line
    before, after = line[: first.start()], line[first.end() :]
    return f"{_one(before, depth + 1)}{first[0]}{_one(after, depth + 1)}"


def _gap(said: str, depth: int) -> str:
    """What stood in a gap: a sentence, a day, or a name."""
    dated = rewritten(said, _day_form())
    return _one(said, depth + 1) if dated == said and " " in said else dated


def _told(line: str) -> str | None:
    """The translation of a whole sentence, with or without its full stop and capital."""
    for known in (line, line.removesuffix("."), line + "."):
        for spelt in (known, known[:1].lower() + known[1:], known[:1].upper() + known[1:]):
            found = _heard(language()).get(spelt)
            if found is not None:
                return found
    return None


@cache
def _heard(tag: str) -> Mapping[str, str]:
    """English -> translation, of everything that may arrive finished."""
    catalogue: Mapping[object, str] = getattr(_catalogue(tag), "_catalog", {})
    start = f"{HEARD}{_SEPARATOR}"
    return {
        key.removeprefix(start): words
        for key, words in catalogue.items()
        if isinstance(key, str) and key.startswith(start)
    }


@cache
def _shapes(tag: str) -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """Patterns with gaps and what they become, those with most words of their own first.

    Before each the longest text outside its gaps: where that is not, nothing has to be tried.
    """
    shapes = {known: words for known, words in _heard(tag).items() if _GAP.search(known)}
    by_words = sorted(shapes, key=lambda known: -len(own_words(known)))
    return tuple(
        (max(_GAP.split(known.removesuffix("."))[::2], key=len), pattern_of(known), shapes[known])
        for known in by_words
    )


def own_words(shape: str) -> str:
    """The letters of a shape outside its gaps."""
    return "".join(filter(str.isalpha, _GAP.sub("", shape)))


def pattern_of(shape: str) -> re.Pattern[str]:
    """What fits a shape, a full stop or none at its end. A gap takes as little as it can."""
    assert len(own_words(shape)) >= _LEAST, shape  # noqa: S101 - a test looks at every one
    parts = _GAP.split(shape.removesuffix("."))
    return re.compile(
        "".join("(.*?)" if i % 2 else re.escape(part) for i, part in enumerate(parts)) + r"\.?"
    )
