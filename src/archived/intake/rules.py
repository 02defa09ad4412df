"""Which files in a hot folder are left alone, and under which name: the complete list.

Pure: a name and a file type in, the name of a rule out. Every ignored file is on record with its
rule; a rule is never silent.
"""

from __future__ import annotations

import re
import stat
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

from pathspec import GitIgnoreSpec

from archived.intake.litter import litter_rule

RULES: Mapping[str, str] = {
    "hidden": "its name begins with a dot",
    "temporary-name": "its name says that somebody is still writing it",
    "system-litter": "an operating system, a network drive or a device left it there",
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
    path: bytes, mode: int, ignore: Sequence[str] = (), own: bytes = OWN_FOLDER, *,
    folder: bool = False,
) -> str | None:  # fmt: skip
    """The rule under which the file at `path` (relative, bytes) is left alone, or `None`.

    `mode` is `st_mode` from `lstat`, `own` the folder of our answers. Folders count: a file in a
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
    if (rule := litter_rule(parts, folder=folder)) is not None:
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
