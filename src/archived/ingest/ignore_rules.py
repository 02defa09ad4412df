"""Which files in a hot folder are left alone, and under which named rule: the complete list.

Pure, except that `system_files.toml` (what systems and devices leave beside scans) is read once.
A name and a file type in, the name of a rule out. Every ignored file is on record with its rule.
"""

from __future__ import annotations

import fnmatch
import re
import stat
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from pathspec import GitIgnoreSpec

from archived.message import Message

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


def system_file_rule(parts: Sequence[bytes], *, folder: bool = False) -> str | None:
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
    return tomllib.loads((files("archived.ingest") / "system_files.toml").read_text("utf-8"))


@lru_cache(maxsize=4096)
def _folder_rule(name: bytes) -> str | None:
    return _folder_names().rule(_folded(name))


@lru_cache(maxsize=1)
def _folder_names() -> _Names:
    return _names(
        (name, each["rule"]) for each in data()["system_files"] for name in each["folders"]
    )


@lru_cache(maxsize=1)
def _file_names() -> _Names:
    it = data()
    names = _names((name, each["rule"]) for each in it["system_files"] for name in each["files"])
    streams = tuple(
        (_streams(each, it["colons"], it["documents"]), each["rule"])
        for each in it["system_files"]
        if "streams" in each
    )
    return names._replace(patterns=names.patterns + streams)


def _names(named: Iterable[tuple[str, str]]) -> _Names:
    plain: dict[str, str] = {}
    patterns: dict[str, list[str]] = {}
    for name, rule in named:
        if re.search(r"[*?[]", name):
            patterns.setdefault(rule, []).append(_glob(name))
        else:
            plain[_key(name)] = rule
    return _Names(plain, tuple((_any(those), rule) for rule, those in patterns.items()))


def _streams(
    it: Mapping[str, Any], colons: Sequence[str], documents: Iterable[str]
) -> re.Pattern[str]:
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
    return fnmatch.translate(_key(name)).removesuffix(r"\Z")


def _any(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in patterns), re.S)


def _folded(name: bytes) -> str:
    return _key(name.decode("utf-8", "surrogateescape"))


def _key(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


RULES: Mapping[str, str] = {
    "hidden": "its name begins with a dot",
    "temporary-name": "its name says that somebody is still writing it",
    "system-file": Message("an operating system, a network drive or a device left it there"),
    "own-folder": "archived itself wrote it, as an answer to the scanning desk",
    "symlink": "it is a symbolic link; links are never followed",
    "not-a-file": "it is a pipe, a socket or a device",
    "pattern": "the hot folder's own ignore list names it",
    "mark-alone": "it says that a batch is whole, and there is none that it could close",
    "withdrawn": "it was taken away or renamed before it could be taken in",
}
"""Rule -> why, completing "was left alone because …"."""

OWN_FOLDER = b"_archived"
"""Where answers to the scanning desk stand; also when a hot folder calls them otherwise."""
TAKEN_PREFIX = b".archived-taken-"
"""A source that is in custody and about to be removed; see `admission`."""

TRIAL_PREFIX = b".archived-probe-"
"""What `archived doctor FOLDER` tries with: gone again in seconds, and never an arrival."""
_TRIAL = re.compile(re.escape(TRIAL_PREFIX) + rb"[0-9a-f]{8}-.*", re.S)

_TEMPORARY = re.compile(
    rb".*(\.(tmp|temp|part|partial|filepart|crdownload|download|swp|swx|writing)|~)|~\$.*|~.*\.tmp",
    re.I | re.S,
)


def is_own(name: bytes, own: bytes = OWN_FOLDER) -> bool:
    """Whether a name directly in the hot folder is kept for our answers, called `own` there."""
    return name in {OWN_FOLDER, own}


def is_trial(name: bytes) -> bool:
    """Whether a name directly in the hot folder is one that a probe of it gives its own files."""
    return _TRIAL.fullmatch(name) is not None


def rule_for(
    path: bytes,
    mode: int,
    ignore: Sequence[str] = (),
    own: bytes = OWN_FOLDER,
    *,
    folder: bool = False,
) -> str | None:
    """The rule under which the file at `path` (relative, bytes) is left alone, or `None`.

    `mode` is `st_mode` from `lstat`, `own` the receipts folder. Folders count: a file in a
    hidden folder is hidden. `folder`: it is a folder that cannot be looked into. Patterns are
    compared in NFC, so that a name is found however its accents were typed.
    """
    parts = path.split(b"/")
    if is_own(parts[0], own):
        return "own-folder"
    if stat.S_ISLNK(mode):
        return "symlink"
    if not stat.S_ISREG(mode):
        return "not-a-file"
    if (rule := system_file_rule(parts, folder=folder)) is not None:
        return rule
    if any(part.startswith(b".") for part in parts):
        return "hidden"
    if _TEMPORARY.fullmatch(parts[-1]):
        return "temporary-name"
    name = _composed(path.decode("utf-8", "surrogateescape"))
    return "pattern" if ignore and patterns(tuple(ignore)).match_file(name) else None


@lru_cache(maxsize=64)
def patterns(ignore: tuple[str, ...]) -> GitIgnoreSpec:
    """A hot folder's ignore list, in the language of gitignore(5), read once.

    Raises `ValueError` for a pattern that is none.
    """
    return GitIgnoreSpec.from_lines(map(_composed, ignore))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
