"""What systems and devices leave beside scans, told by its name. The names are in litter.toml.

Pure, but for reading that file once.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

_MARKS = "._%\\- "
"""What stands before an unmistakable stream's name where a tool took the colon away."""


class _Names(NamedTuple):
    """Names of one kind (files or folders): each plain one, and all patterns by their rule."""

    plain: Mapping[str, str]
    patterns: tuple[tuple[re.Pattern[str], str], ...]

    def rule(self, name: str) -> str | None:
        if (found := self.plain.get(name)) is not None:
            return found
        return next((rule for pattern, rule in self.patterns if pattern.fullmatch(name)), None)


def litter_rule(parts: Sequence[bytes], *, folder: bool = False) -> str | None:
    """The rule under which the file at a path is left alone, or `None`.

    `parts` of the path; `folder`: its last part is a folder as well.
    """
    above, name = (parts, b"") if folder else (parts[:-1], parts[-1])
    for part in above:
        if (rule := _folder_rule(part)) is not None:
            return rule
    return _file_names().rule(_folded(name)) if name else None


@lru_cache(maxsize=1)
def data() -> Mapping[str, Any]:
    """The data file as it stands."""
    return tomllib.loads((files("archived.intake") / "litter.toml").read_text("utf-8"))


@lru_cache(maxsize=4096)
def _folder_rule(name: bytes) -> str | None:
    return _folder_names().rule(_folded(name))


@lru_cache(maxsize=1)
def _folder_names() -> _Names:
    return _names((name, each["rule"]) for each in data()["litter"] for name in each["folders"])


@lru_cache(maxsize=1)
def _file_names() -> _Names:
    it = data()
    names = _names((name, each["rule"]) for each in it["litter"] for name in each["files"])
    streams = tuple(
        (_streams(each, it["colons"], it["documents"]), each["rule"])
        for each in it["litter"] if "streams" in each
    )  # fmt: skip
    return names._replace(patterns=names.patterns + streams)


def _names(named: Iterable[tuple[str, str]]) -> _Names:
    plain: dict[str, str] = {}
    patterns: dict[str, list[str]] = {}
    for name, rule in named:
        if re.search(r"[*?[]", name):
            patterns.setdefault(rule, []).append(_glob(name))
        else:
            plain[_composed(name)] = rule
    return _Names(plain, tuple((_any(those), rule) for rule, those in patterns.items()))


def _streams(
    it: Mapping[str, Any], colons: Sequence[str], documents: Iterable[str]
) -> re.Pattern[str]:  # fmt: skip
    colon = f"[{''.join(map(re.escape, colons))}]"
    marks = rf"(?:{colon}|[{_MARKS}]|%3a)"
    no_document = rf"(?!.*\.(?:{'|'.join(documents)})\Z)"
    behind = [(no_document if "*" in name else "") + _glob(name) for name in it["streams"]]
    anywhere = [_glob(name) for name in it["unmistakable"]]
    # A lazy beginning: it is extended from mark to mark, and most names have none.
    return re.compile(
        rf"(?:(?:.*?{colon})(?:{'|'.join(behind)})|(?:.*?{marks})?(?:{'|'.join(anywhere)}))"
        rf"(?:{colon}\$data)?",
        re.S,
    )


def _glob(name: str) -> str:
    return fnmatch.translate(_composed(name)).removesuffix(r"\Z")


def _any(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in patterns), re.S)


def _folded(name: bytes) -> str:
    return _composed(name.decode("utf-8", "surrogateescape"))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()
