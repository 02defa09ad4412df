"""Codes in words for the person at the scanner, Vietnamese and English: `codes.toml`.

A stage's own message is never used: it may quote the document.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from archived.locale import is_translated, language, plugin_folders, render, speaking

_KEYS = ("vi", "en", "vi_do", "en_do")
_LONGEST = 300
"""Characters of a sentence that a plug-in brings."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is the matter and what to do, in both languages."""

    vi: str
    en: str
    vi_do: str
    en_do: str


@cache
def _book() -> tuple[Mapping[str, Words], Mapping[bool, Words]]:
    raw = tomllib.loads(files(__package__).joinpath("codes.toml").read_text("utf-8"))
    shared = raw["words"]
    vi_do, en_do = shared["vi_do"], shared["en_do"]
    codes = {
        code: Words(w["vi"], w["en"], w.get("vi_do", vi_do), w.get("en_do", en_do))
        for code, w in raw["code"].items()
    }
    unknown = {False: _shared(shared, "unknown"), True: _shared(shared, "review")}
    return codes, unknown


def _shared(words: Mapping[str, str], name: str) -> Words:
    keys = (f"vi_{name}", f"en_{name}", f"vi_{name}_do", f"en_{name}_do")
    return Words(*(words[key] for key in keys))


def codes() -> Mapping[str, Words]:
    """Every code that has words of its own."""
    return _book()[0]


@cache
def _of_plugins() -> Mapping[str, Words]:
    """The words of codes that plug-ins bring: `locale/codes.toml` in their packages. A file or an
    entry that is not as it must be says nothing.
    """
    found: dict[str, Words] = {}
    for folder in plugin_folders().values():
        with suppress(OSError, ValueError):
            raw = tomllib.loads((folder / "codes.toml").read_text("utf-8")).get("code", {})
            for code, said in raw.items() if isinstance(raw, dict) else ():
                if isinstance(said, dict) and _is_whole(said):
                    found.setdefault(code, Words(*(said[key] for key in _KEYS)))
    return found


def _is_whole(said: Mapping[str, object]) -> bool:
    words = [said.get(key) for key in _KEYS]
    return all(isinstance(each, str) and 0 < len(each) <= _LONGEST for each in words)


def words_for(code: str | None, *, review: bool = False) -> Words:
    """The words for a code; a stranger's plug-in may give codes that nobody translated. `review`:
    the stage ended well, and a person must look.
    """
    known, unknown = _book()
    found = known.get(code or "") or _of_plugins().get(code or "")
    return found or unknown[review]


def reason_in_words(message: str, code: str | None) -> str:
    """A reason on record, which is English, in the language that is spoken now.

    Translated where it can be; else the sentence for its code with the original behind it; else as
    it is. Without a full stop.
    """
    known = codes().get(code or "") or _of_plugins().get(code or "")
    if not language() or is_translated(message) or known is None:
        return render(message).rstrip(". ")
    said = message.rstrip(". ")
    return f"{known.vi.rstrip('.')} ({said})" if language() == "vi" else said


def pause_in_vietnamese(why: str) -> str:
    """Why intake is paused, in Vietnamese where it is known; else as it is."""
    with speaking("vi"):
        return render(why)
