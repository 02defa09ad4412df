"""Profiles: the code lists and words of one layout, as data. Loads, joins and checks TOML files.

No rule lives here, and no list lives anywhere else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from archived.api import Message
from archived_classify.text import fold, letters

NumberForm = Literal["state", "state-year", "party"]
BASE = "vietnamese"
"""Every chain ends here, so that no profile can leave the secrecy marks out."""
Word = Annotated[str, StringConstraints(min_length=1)]


class _Table(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class TypeEntry(_Table):
    """One type of document; `code` is its abbreviation in the number, `also` other spellings."""

    name: Word
    code: Word | None = None
    also: tuple[Word, ...] = ()


class MarkEntry(_Table):
    """One mark. `rank` orders them; 0 is unmarked."""

    value: Word
    rank: Annotated[int, Field(ge=1)]
    also: tuple[Word, ...] = ()


class Words(_Table):
    """Word lists; compared without case and marks."""

    organ_heads: tuple[Word, ...] = ()
    place_heads: tuple[Word, ...] = ()
    body_formulas: tuple[Word, ...] = ()
    body_openers: tuple[Word, ...] = ()
    recipients: tuple[Word, ...] = ()
    signature_words: tuple[Word, ...] = ()
    honorifics: tuple[Word, ...] = ()
    surnames: tuple[Word, ...] = ()
    authority: tuple[Word, ...] = ()
    signer_titles: tuple[Word, ...] = ()


class ProfileFile(_Table):
    """One file, as written."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")]
    title: str = ""
    extends: str | None = None
    regime: tuple[Word, ...] = ()
    gazette: tuple[Word, ...] = ()
    number_forms: tuple[NumberForm, ...] = ()
    dispatch: str | None = None
    types: tuple[TypeEntry, ...] = ()
    secrecy: tuple[MarkEntry, ...] = ()
    urgency: tuple[MarkEntry, ...] = ()
    words: Words = Words()


@dataclass(frozen=True)
class Profile:
    """A file joined with those it extends. Its own types come first; types are not inherited."""

    name: str
    chain: tuple[ProfileFile, ...]
    """The file itself, then what it extends, nearest first."""
    types: tuple[TypeEntry, ...] = field(init=False)
    number_forms: tuple[NumberForm, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", self.chain[0].types)
        object.__setattr__(self, "number_forms", self.chain[0].number_forms)

    @cached_property
    def dispatch(self) -> str | None:
        """What a document without a type is called, if the layout has such."""
        return next((f.dispatch for f in self.chain if f.dispatch), None)

    @cached_property
    def regime(self) -> tuple[str, ...]:
        """Letters of the lines that head the right column."""
        return tuple(letters(t) for f in self.chain for t in f.regime)

    @cached_property
    def gazette(self) -> tuple[str, ...]:
        """Letters with which a gazette's running head begins."""
        return tuple(letters(t) for f in self.chain for t in f.gazette)

    @cached_property
    def secrecy(self) -> tuple[MarkEntry, ...]:
        """Secrecy marks."""
        return tuple(m for f in self.chain for m in f.secrecy)

    @cached_property
    def urgency(self) -> tuple[MarkEntry, ...]:
        """Urgency marks."""
        return tuple(m for f in self.chain for m in f.urgency)

    @cached_property
    def codes(self) -> dict[str, tuple[TypeEntry, ...]]:
        """Folded code -> the types it may stand for."""
        found: dict[str, tuple[TypeEntry, ...]] = {}
        for entry in self.types:
            for code in filter(None, (entry.code, *entry.also)):
                found[fold(code)] = (*found.get(fold(code), ()), entry)
        return found

    @cached_property
    def titles(self) -> dict[str, TypeEntry]:
        """Letters of a type's name -> the type, longest first."""
        ordered = sorted(self.types, key=lambda t: -len(letters(t.name)))
        return {letters(t.name): t for t in ordered}

    def words(self, kind: str) -> tuple[str, ...]:
        """A word list of the whole chain, folded, longest first."""
        if kind not in self._words:
            joined = {fold(w) for f in self.chain for w in getattr(f.words, kind)}
            self._words[kind] = tuple(sorted(joined, key=lambda w: (-len(w), w)))
        return self._words[kind]

    @cached_property
    def _words(self) -> dict[str, tuple[str, ...]]:
        return {}

    def spelled(self, kind: str) -> tuple[str, ...]:
        """A word list as written."""
        return tuple(w for f in self.chain for w in getattr(f.words, kind))


class ProfileMistakes(ValueError):
    """Profile files are wrong. `sentences` says each mistake, with file and place."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = tuple(sentences)


def load(names: Sequence[str], folder: Path | None = None) -> tuple[Profile, ...]:
    """The named profiles, in that order. Raises `ProfileMistakes` with all mistakes at once."""
    files, mistakes = _read_all(folder)
    found: list[Profile] = []
    if not names:
        mistakes.append('profiles: name at least one, like "state-decree-30"')
    for name in names:
        if name not in files:
            known = ", ".join(sorted(n for n, f in files.items() if f.types)) or "none"
            mistakes.append(f"profiles: there is no profile {name!r}; known: {known}")
            continue
        chain, mistake = _chain(name, files)
        if mistake:
            mistakes.append(mistake)
        elif not chain[0].types or not chain[0].number_forms:
            mistakes.append(f"profile {name!r}: it has no types or no number_forms to be tried")
        else:
            found.append(Profile(name, chain))
    if mistakes:
        raise ProfileMistakes(mistakes)
    return tuple(found)


def _chain(name: str, files: dict[str, ProfileFile]) -> tuple[tuple[ProfileFile, ...], str]:
    chain: list[ProfileFile] = []
    wanted: str | None = name
    while wanted is not None:
        if wanted not in files:
            return (), f"profile {chain[-1].name!r}: extends {wanted!r}, which does not exist"
        if files[wanted] in chain:
            return (), f"profile {name!r}: extends itself by way of {chain[-1].name!r}"
        chain.append(files[wanted])
        wanted = chain[-1].extends or (BASE if chain[-1].name != BASE else None)
    return tuple(chain), ""


def _read_all(folder: Path | None) -> tuple[dict[str, ProfileFile], list[str]]:
    files: dict[str, ProfileFile] = {}
    mistakes: list[str] = []
    try:
        sources = list(_sources(folder))
    except OSError as error:
        return files, [Message("profile_folder: cannot be read: {error}", error=error)]
    for place, data in sources:
        try:
            file = ProfileFile.model_validate(tomllib.loads(data.decode("utf-8")))
        except ValidationError as error:
            mistakes += [f"{place}: {_where(e['loc'])}: {e['msg']}" for e in error.errors()]
        except ValueError as error:  # TOML's and UTF-8's own errors
            mistakes.append(f"{place}: not readable as TOML: {error}")
        else:
            if file.name in files:
                mistakes.append(f"{place}: the name {file.name!r} is taken; give it another")
            files.setdefault(file.name, file)
    return files, mistakes


def _sources(folder: Path | None) -> Iterator[tuple[str, bytes]]:
    bundled = resources.files("archived_classify") / "profiles"
    for item in sorted(bundled.iterdir(), key=lambda i: i.name):
        if item.name.endswith(".toml"):
            yield item.name, item.read_bytes()
    if folder is not None:
        for path in sorted(p for p in folder.iterdir() if p.suffix == ".toml"):
            yield str(path), path.read_bytes()


def _where(place: tuple[Any, ...]) -> str:
    words = (f"[{p + 1}]" if isinstance(p, int) else str(p) for p in place)
    return ".".join(words).replace(".[", "[") or "the file"
