"""Gathers what the programs say to people, keeps the catalogues, and compiles them.

    python -m tools.docs.locales            gather, merge into the .po files, compile
    python -m tools.docs.locales --check    change nothing; tell what is out of date or missing

A new text gets an empty translation in `locale/LANGUAGE.po`: write it there and run this again. The
core has a catalogue, and so has each plug-in that says something. Babel reads the source and both
kinds of file; gettext of the standard library is all that running needs.

Gathered are: the templates of `Message`, what is marked with `N_`, `_`, `ngettext` and `pgettext`,
the help of every command, and what click itself says.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import string
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TypeGuard

import click
from babel.messages.catalog import Catalog, Message
from babel.messages.checkers import checkers
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from archived.cli.archivectl import cli as archivectl
from archived.cli.archived import cli as archived
from archived.cli.help_texts import texts
from archived.locale import DOMAIN, LANGUAGES

ROOT = Path(__file__).resolve().parent.parent.parent
CLICK = ("core", "decorators", "exceptions", "formatting", "parser", "types")
"""click's modules whose words a person can meet here."""
KEYWORDS: dict[str, tuple[int | tuple[int, str], ...] | None] = {
    "_": None,
    "N_": None,
    "Message": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
}
"""Function -> which of its arguments are texts, as Babel has it."""
UNDATED = datetime(2026, 1, 1, tzinfo=UTC)
"""In the headers: the same sources give the same bytes."""

Key = tuple[str, str]
"""A text's context (usually empty) and the text."""


@dataclass(frozen=True)
class Domain:
    """The texts of one distribution: of the core, or of a plug-in."""

    name: str
    package: Path

    @property
    def folder(self) -> Path:
        """Where its catalogues are."""
        return self.package / "locale"

    def po(self, language: str) -> Path:
        """What translators write."""
        return self.folder / f"{language}.po"

    def mo(self, language: str) -> Path:
        """What the programs read."""
        return self.folder / language / "LC_MESSAGES" / f"{self.name}.mo"


CORE = Domain(DOMAIN, ROOT / "src" / "archived")


def domains() -> list[Domain]:
    """The core and every bundled plug-in that says something."""
    packages = sorted((ROOT / "plugins").glob("*/src/archived_*"))
    found = [Domain(package.name, package) for package in packages]
    return [CORE, *(each for each in found if len(gathered(each)))]


# Gathering ---------------------------------------------------------------------------------------


@cache
def gathered(domain: Domain) -> Catalog:
    """Every text that must be translated, in the order of their places."""
    found = Catalog(domain=domain.name, creation_date=UNDATED)
    for path in sorted(domain.package.rglob("*.py")):
        _add(found, path, path.relative_to(domain.package).as_posix())
    if domain == CORE:
        for program in (archived, archivectl):
            for text in filter(None, texts(program)):
                found.add(text, locations=[(f"the help of {program.name}", 0)])
        for name in CLICK:
            _add(found, Path(click.__file__).parent / f"{name}.py", "click")
        found.add("required", locations=[("click", 0)])  # which it looks up by way of a variable
    return found


def _add(found: Catalog, path: Path, place: str) -> None:
    for text, context in marked(path.read_bytes()):
        known = found.get(text, context)
        places = [(place, 0)] if known is None or (place, 0) not in known.locations else []
        found.add(text, context=context, locations=places)


def marked(source: bytes) -> Iterator[tuple[str | tuple[str, ...], str | None]]:
    """Texts that the source marks, each with its context."""
    options = {"encoding": "utf-8"}
    # Babel warns of f-strings between the parentheses; `put_together` finds those that matter.
    with contextlib.redirect_stderr(io.StringIO()):
        found = list(extract("python", io.BytesIO(source), KEYWORDS, (), options))
    for _line, text, _notes, context in found:
        yield text, context


def put_together(source: str) -> Iterator[int]:
    """Lines where a text is put together before it is looked up: no catalogue can have it. So are
    those where one is marked inside an f-string: Python 3.11 shows Babel nothing of what is in it.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield from (each.lineno for each in ast.walk(node) if _marks(each))
        elif _marks(node) and isinstance(node.args[0], ast.JoinedStr | ast.BinOp):
            yield node.lineno


def _marks(node: ast.AST) -> TypeGuard[ast.Call]:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and bool(node.args)
        and node.func.id in KEYWORDS
    )


def templates(domain: Domain) -> list[str]:
    """The templates of messages: what is shown where it is not known what it was made of."""
    return [
        each.id
        for each in gathered(domain)
        if isinstance(each.id, str)
        and not each.context
        and each.id
        and any(p.endswith(".py") for p, _ in each.locations)
    ]


# Catalogues --------------------------------------------------------------------------------------


def read(domain: Domain, language: str) -> Catalog:
    """A .po file; empty when there is none."""
    path = domain.po(language)
    if not path.exists():
        return Catalog(language, domain.name)
    with path.open("rb") as content:
        return read_po(content, locale=language, domain=domain.name)


def merged(domain: Domain, language: str) -> Catalog:
    """What there is to say, with the translations the catalogue has of it."""
    known, wanted = read(domain, language), gathered(domain)
    merged = Catalog(
        language,
        domain.name,
        project=domain.name,
        version=" ",
        creation_date=UNDATED,
        revision_date=UNDATED,
        last_translator="",
        language_team="",
        header_comment="",
        charset="utf-8",
        fuzzy=False,
    )
    for each in wanted:
        if not each.id:
            continue
        before = known.get(each.id, each.context)
        kept = before.string if before is not None and not before.fuzzy else ""
        merged.add(each.id, kept, each.locations, context=each.context)
    return merged


def written(catalogue: Catalog) -> bytes:
    """A .po file."""
    content = io.BytesIO()
    write_po(content, catalogue, width=96, include_lineno=False)
    return content.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """A .mo file."""
    content = io.BytesIO()
    write_mo(content, catalogue)
    return content.getvalue()


# Judging -----------------------------------------------------------------------------------------


def problems(catalogue: Catalog) -> Iterator[str]:
    """What is missing, and where the gaps of a translation are not those of its text."""
    for entry in filter(lambda each: each.id, catalogue):
        said = _forms(entry.string)
        text, *plural = _forms(entry.id)
        if not all(said):
            yield f"not translated: {text!r}"
            continue
        wanted = gaps(plural[0] if plural else text)
        yield from (
            f"other gaps than {sorted(wanted)}: {text!r}: {each!r}"
            for each in said
            if gaps(each) != wanted
        )
        yield from _by_babel(catalogue, entry, text)


def _forms(text: object) -> list[str]:
    """A text, or its singular and plural forms."""
    return [str(each) for each in text] if isinstance(text, list | tuple) else [str(text or "")]


def _by_babel(catalogue: Catalog, entry: Message, text: str) -> Iterator[str]:
    for check in checkers:
        try:
            check(catalogue, entry)
        except Exception as error:  # noqa: BLE001 - Babel's own kinds
            yield f"{error}: {text!r}"


def gaps(text: str) -> set[str]:
    """The names in a text's gaps. One that is no template of `str.format` has none."""
    try:
        named = (name for _, name, _, _ in string.Formatter().parse(text))
        return {name for name in named if name is not None and (name.isidentifier() or not name)}
    except ValueError:
        return set()


def main() -> int:
    """Merge and compile, or only look."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    wrong: list[str] = []
    for domain in domains():
        for language in LANGUAGES:
            catalogue = merged(domain, language)
            who = f"{domain.name}, {language}"
            wrong += [f"{who}: {problem}" for problem in problems(catalogue)]
            files = {
                domain.po(language): written(catalogue),
                domain.mo(language): compiled(catalogue),
            }
            for path, content in files.items():
                if check and (not path.exists() or path.read_bytes() != content):
                    wrong.append(f"{who}: out of date; run: .venv/bin/python -m tools.docs.locales")
                elif not check:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
            print(f"{who}: {len(catalogue)} texts")
    print("\n".join(wrong) or "complete")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
