"""Gathers what the programs say to people, keeps the catalogues, and compiles them.

    .venv/bin/python tools/locales.py            gather, merge into the .po files, compile
    .venv/bin/python tools/locales.py --check    change nothing; tell what is out of date or missing

A new text gets an empty translation in src/archived/locale/LANGUAGE.po: write it there and run this
again. Needs nothing but Python; GNU gettext's own tools read what it writes.

Gathered are: texts marked with `_`, `ngettext` and `pgettext`, the help of every command, what
click itself says, and, with the context "heard", sentences that reach people finished (errors,
findings), of which the catalogue has those that somebody translated: they stay as long as the
source says them.
"""

from __future__ import annotations

import argparse
import ast
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from archived.cli.archivectl import cli as archivectl
from archived.cli.archived import cli as archived
from archived.cli.tongue import texts
from archived.locale import DOMAIN, FOLDER, HEARD, LANGUAGES

ROOT = Path(__file__).resolve().parent.parent
CLICK = ("core", "decorators", "exceptions", "formatting", "parser", "types")
"""click's modules whose words a person can meet here."""

Key = tuple[str, str]
"""A text's context (usually empty) and the text."""

HEADER = """\
Project-Id-Version: archived
Language: {language}
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit
Plural-Forms: {plural}
"""
PLURAL = {"vi": "nplurals=1; plural=0;"}
FORMS = {"vi": 1}


@dataclass
class Entry:
    """One text: where it comes from, its plural if it has one, its translations."""

    text: str
    context: str = ""
    plural: str = ""
    places: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def key(self) -> Key:
        return self.context, self.text


# Gathering ---------------------------------------------------------------------------------------


def gathered() -> dict[Key, Entry]:
    """Every text that must be translated, in the order of their places."""
    found: dict[Key, Entry] = {}
    for path in sorted((ROOT / "src" / "archived").rglob("*.py")):
        _note(found, _marked(path), path.relative_to(ROOT / "src" / "archived").as_posix())
    for program in (archived, archivectl):
        helps = (Entry(text) for text in texts(program) if text)
        _note(found, helps, f"the help of {program.name}")
    folder = Path(click.__file__).parent
    for name in CLICK:
        _note(found, _marked(folder / f"{name}.py"), "click")
    _note(found, [Entry("required")], "click")  # which click looks up by way of a variable
    return found


def _note(found: dict[Key, Entry], entries: Iterable[Entry], place: str) -> None:
    for entry in entries:
        known = found.setdefault(entry.key, entry)
        known.plural = known.plural or entry.plural
        if place not in known.places:
            known.places.append(place)


def _marked(path: Path) -> Iterator[Entry]:
    yield from _in_text(path.read_text(), str(path))


def _in_text(text: str, name: str) -> Iterator[Entry]:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id not in {"_", "ngettext", "pgettext"} or not node.args:
            continue
        constants = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        words = [each for each in constants if isinstance(each, str)]
        if node.func.id == "ngettext" and len(words) == 2:
            yield Entry(words[0], plural=words[1])
        elif node.func.id == "pgettext" and len(words) == 2:
            yield Entry(words[1], context=words[0])
        elif node.func.id == "_" and words:
            yield Entry(words[0])
        elif node.func.id == "_" and isinstance(node.args[0], ast.JoinedStr):
            raise SystemExit(f"{name}:{node.lineno}: _() takes a constant; format what it returns")


def shapes() -> set[str]:
    """Every text the source can say, what varies as `{1}`, `{2}`: what may be heard."""
    found = set()
    folders = (ROOT / "src" / "archived", *(ROOT / "plugins").glob("*/src"))
    for folder in folders:
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
                elif isinstance(node, ast.JoinedStr):
                    found.add(shape_of(node))
    return found


def shape_of(node: ast.JoinedStr) -> str:
    """An f-string with numbered gaps."""
    parts, gaps = [], 0
    for value in node.values:
        if isinstance(value, ast.Constant):
            parts.append(str(value.value))
        else:
            gaps += 1
            parts.append(f"{{{gaps}}}")
    return "".join(parts)


def sayings() -> str:
    """All shapes in one text: a part of what is said may be heard by itself."""
    return "\0".join(map(unnumbered, shapes()))


def unnumbered(shape: str) -> str:
    """A shape whose gaps look all the same."""
    return re.sub(r"\{\d+\}", "{}", shape)


# Catalogues --------------------------------------------------------------------------------------


def read(path: Path) -> dict[Key, Entry]:
    """The entries of a .po file; the header apart."""
    found: dict[Key, Entry] = {}
    for block in path.read_text("utf-8").split("\n\n") if path.exists() else ():
        words: dict[str, str] = {}
        name, places, fuzzy = "", [], False
        for line in block.splitlines():
            if line.startswith("#,") and "fuzzy" in line:
                fuzzy = True
            elif line.startswith("#: "):
                places.append(line.removeprefix("#: "))
            elif line and not line.startswith("#"):
                keyword = re.match(r"(msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?) ", line)
                name = keyword[1] if keyword else name
                words[name] = words.get(name, "") + ast.literal_eval(line[line.index('"') :])
        if words.get("msgid") and not fuzzy:
            said = [text for key, text in words.items() if key.startswith("msgstr")]
            context, plural = words.get("msgctxt", ""), words.get("msgid_plural", "")
            entry = Entry(words["msgid"], context, plural, places, said)
            found[entry.key] = entry
    return found


def merged(language: str) -> dict[Key, Entry]:
    """What there is to say, with the translations the catalogue has of it."""
    known = read(po(language))
    entries = gathered()
    for key, entry in entries.items():
        if key in known and known[key].plural == entry.plural:
            entry.said = known[key].said
    sayable = sayings()
    for key, entry in known.items():
        if entry.context == HEARD and unnumbered(entry.text) in sayable:
            entries[key] = Entry(entry.text, HEARD, said=entry.said)
    return entries


def written(entries: Mapping[Key, Entry], language: str) -> str:
    """A .po file."""
    header = HEADER.format(language=language, plural=PLURAL[language])
    blocks = ["\n".join(['msgid ""', 'msgstr ""', *map(_quoted, header.splitlines(True))])]
    for entry in entries.values():
        lines = [f"#: {place}" for place in entry.places]
        lines += [f"msgctxt {_quoted(entry.context)}"] if entry.context else []
        lines += [f"msgid {_quoted(entry.text)}"]
        if entry.plural:
            lines += [f"msgid_plural {_quoted(entry.plural)}"]
            said = entry.said or [""] * FORMS[language]
            lines += [f"msgstr[{i}] {_quoted(text)}" for i, text in enumerate(said)]
        else:
            lines += [f"msgstr {_quoted((entry.said or [''])[0])}"]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def compiled(entries: Mapping[Key, Entry], language: str) -> bytes:
    """A .mo file, as the GNU gettext manual has it: always the same bytes for the same entries."""
    header = HEADER.format(language=language, plural=PLURAL[language])
    table = {b"": header.encode()}
    for entry in entries.values():
        if any(entry.said):
            text = f"{entry.context}\x04{entry.text}" if entry.context else entry.text
            text = f"{text}\0{entry.plural}" if entry.plural else text
            table[text.encode()] = "\0".join(entry.said).encode()
    start = 7 * 4
    at = start + 16 * len(table)
    places, strings = [], b""
    for part in (sorted(table), [table[key] for key in sorted(table)]):
        for raw in part:
            places += [len(raw), at + len(strings)]
            strings += raw + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(table), start, start + 8 * len(table), 0, at)
    return head + struct.pack(f"<{len(places)}I", *places) + strings


def po(language: str) -> Path:
    """What translators write."""
    return FOLDER / f"{language}.po"


def mo(language: str) -> Path:
    """What the programs read."""
    return FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}.mo"


# Judging -----------------------------------------------------------------------------------------

_PLACE = re.compile(r"\{(\w*)[^{}]*\}|%\((\w+)\)[sd]")


def problems(entries: Iterable[Entry]) -> Iterator[str]:
    """What is missing, and where the gaps of a translation are not those of its text."""
    for entry in entries:
        if not entry.said or not all(entry.said):
            yield f"not translated: {entry.text!r}"
            continue
        if entry.context == HEARD:
            numbers = re.findall(r"\{(\d+)\}", entry.text)
            if numbers != [str(n + 1) for n in range(len(numbers))]:
                yield f"gaps are numbered from 1 on: {entry.text!r}"
        wanted = gaps(entry.plural or entry.text)
        yield from (
            f"other gaps than {sorted(wanted)}: {entry.text!r}: {text!r}"
            for text in entry.said
            if gaps(text) != wanted
        )


def gaps(text: str) -> set[str]:
    """The names in a text's gaps."""
    return {first or second for first, second in _PLACE.findall(text)}


def main() -> int:
    """Merge and compile, or only look."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    wrong: list[str] = []
    for language in LANGUAGES:
        entries = merged(language)
        wrong += [f"{language}: {problem}" for problem in problems(entries.values())]
        text, table = written(entries, language), compiled(entries, language)
        if not check:
            po(language).write_text(text, "utf-8")
            mo(language).parent.mkdir(parents=True, exist_ok=True)
            mo(language).write_bytes(table)
        elif text != po(language).read_text("utf-8") or table != mo(language).read_bytes():
            wrong.append(f"{language}: out of date; run: .venv/bin/python tools/locales.py")
        print(f"{language}: {len(entries)} texts")
    print("\n".join(wrong) or "complete")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
