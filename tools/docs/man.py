"""Writes the manual pages: `python -m tools.docs.man OUTDIR` (usually docs/man).

archived(1) and archivectl(1) are made from the commands themselves, archived.toml(5) from the
configuration's own tables, so none can say what the program does not do. `--check` changes nothing
and tells which pages are out of date.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import click

from archived import __version__
from archived.cli.archivectl import cli as archivectl
from archived.cli.archived import cli as archived
from archived.cli.errors import EXITS
from archived.cli.help_texts import paragraphs

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = ("--config", "--json", "--help")
"""Options every command has; told once."""


def roff(text: str) -> str:
    """Text for troff: what it would take for its own is escaped, `code` and **words** are bold."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)  # a link is its words
    text = text.replace("\\|", "|").replace("\\", "\\e").replace("-", "\\-")
    spans = re.split(r"`([^`]+)`", text)  # what is code stands at odd places
    spans[::2] = [_emphasis(span) for span in spans[::2]]
    spans[1::2] = [f"\\fB{span}\\fR" for span in spans[1::2]]
    lines = _filled("".join(spans))
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in lines)


def _emphasis(text: str) -> str:
    text = re.sub(r"\*\*([^*]+)\*\*", r"\\fB\1\\fR", text)
    return re.sub(r"\*(\w[^*]*)\*", r"\\fI\1\\fR", text)


def _filled(text: str) -> Iterator[str]:
    """One sentence a line, none too long, as manual pages are written."""
    for sentence in re.split(r"(?<=[.;:?]) +(?=\S)", text):
        line = ""
        for word in sentence.split():
            if line and len(line) + len(word) > 76:
                yield line
                line = word
            else:
                line = f"{line} {word}".strip()
        yield line


def head(name: str, section: int, what: str) -> list[str]:
    """The title and the NAME, which `apropos` finds."""
    dated = re.search(
        r"^ -- .*, (\d+ \w+ \d{4}) ", (ROOT / "packaging/debian/changelog").read_text(), re.M
    )
    assert dated
    return [
        ".\\\" Written by tools/docs/man.py: change the program's own texts instead.",
        f'.TH {name.upper()} {section} "{_iso(dated[1])}" "archived {__version__}" "archived"',
        ".ad l",
        ".nh",  # paths and commands are copied from here
        ".SH NAME",
        f"{name} \\- {what}",
    ]


def _iso(day: str) -> str:
    number, month, year = day.split()
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    return f"{year}-{months.index(month) + 1:02}-{int(number):02}"


# Commands ----------------------------------------------------------------------------------------


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that can be called, by its whole name."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield name, command
    if isinstance(command, click.Group):
        for below, each in sorted(command.commands.items()):
            yield from commands(each, f"{name} {below}".strip())


def usage(name: str, command: click.Command) -> str:
    """`documents [--state STATE]...`: the words of a call, in bold and italics."""
    told = [f"\\fB{roff(name)}\\fR"] if name else []
    for parameter in command.params:
        if set(parameter.opts) & set(SHARED):
            continue
        metavar = _metavar(command, parameter)
        if isinstance(parameter, click.Option):
            flag = f"\\fB{roff(parameter.opts[0])}\\fR"
            word = flag if parameter.is_flag else f"{flag} \\fI{roff(metavar)}\\fR"
            more = " ..." if parameter.multiple else ""
            told.append(word if parameter.required else f"[{word}]{more}")
        else:
            word = f"\\fI{roff(metavar.strip('[].'))}\\fR"
            word = word if parameter.required else f"[{word}]"
            told.append(f"{word} ..." if parameter.nargs == -1 else word)
    return " ".join(told)


def _metavar(command: click.Command, parameter: click.Parameter) -> str:
    if isinstance(parameter.type, click.IntRange):
        return parameter.metavar or "N"
    return parameter.make_metavar(click.Context(command)).strip("[]{}")


def program(cli: click.Group, name: str, what: str, more: Mapping[str, str]) -> str:
    """The page of a program."""
    page = [*head(name, 1, what), ".SH SYNOPSIS", f"\\fB{name}\\fR"]
    page += ["[\\fB\\-\\-config\\fR \\fIFILE\\fR]", "[\\fB\\-\\-json\\fR]"]
    page += ["\\fICOMMAND\\fR", "[\\fIARGUMENT\\fR ...]", ".SH DESCRIPTION", more["description"]]
    page += [".SH OPTIONS", "Every command has these; they may stand before or after its name."]
    for option in cli.params:
        if isinstance(option, click.Option):
            page += _option(cli, option)
    page += [".TP", "\\fB\\-h\\fR, \\fB\\-\\-help\\fR", "Show what a command does, and exit."]
    page += [".SH COMMANDS"]
    for below, command in commands(cli, ""):
        if below:
            page += _command(below, command)
    page += [".SH EXIT STATUS"]
    for code, meaning in EXITS.items():
        page += [".TP", f"\\fB{code}\\fR", roff(meaning)]
    page += [".SH ENVIRONMENT", ".TP", "\\fBARCHIVED_CONFIG\\fR"]
    page += ["The configuration, where \\fB\\-\\-config\\fR does not name one."]
    page += [".TP", "\\fBLC_ALL\\fR, \\fBLC_MESSAGES\\fR, \\fBLANG\\fR"]
    page += ["The language of what people read: Vietnamese where it begins with \\fBvi\\fR, else"]
    page += ["English.", "The answer of \\fB\\-\\-json\\fR is the same in every language."]
    page += [".SH FILES", more["files"], ".SH SEE ALSO", more["also"]]
    return "\n".join(page) + "\n"


def _command(name: str, command: click.Command) -> list[str]:
    page = [f".SS {roff(name)}", usage(name, command)]
    for text in paragraphs(command.help or ""):
        page += [".PP", roff(text)]
    for option in command.params:
        if isinstance(option, click.Option) and not set(option.opts) & set(SHARED):
            page += _option(command, option)
    return page


def _option(command: click.Command, option: click.Option) -> list[str]:
    names = ", ".join(f"\\fB{roff(each)}\\fR" for each in (*option.opts, *option.secondary_opts))
    metavar = "" if option.is_flag else f" \\fI{roff(_metavar(command, option))}\\fR"
    told = " ".join((option.help or "").split())
    if option.show_default and option.default is not None:
        told += f" Default: {option.default}."
    return [".TP", f"{names}{metavar}", roff(told)]


# The configuration -------------------------------------------------------------------------------


def configuration() -> str:
    """The page of the configuration file: docs/configuration.md without its links."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    intro, _, _rest = text.partition("## Every key")
    page = [*head("archived.toml", 5, "the configuration of the archival daemon")]
    page += [".SH SYNOPSIS", "\\fB/etc/archived/archived.toml\\fR", ".br"]
    page += ["\\fB/etc/archived/conf.d/*.toml\\fR", ".SH DESCRIPTION"]
    page += _markdown(intro.partition("\n\n")[2])
    page += [".SH TABLES"]
    page += _markdown(tables().replace("### ", "\n### "))
    page += [".SH SEE ALSO", ALSO["archived.toml"]]
    return "\n".join(page) + "\n"


def tables() -> str:
    """Every table with its keys, as docs/configuration.md has them."""
    return str(_tool("texts").configuration())


def _markdown(text: str) -> Iterator[str]:
    """Paragraphs, lists, headings and tables of keys."""
    fresh = True  # right after a heading no space is wanted
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.strip().splitlines()
        if lines[0].startswith("### "):
            yield f".SS {roff(lines[0].removeprefix('### '))}"
            fresh = True
            continue
        if lines[0].startswith("| Key"):
            yield from (part for line in lines[2:] for part in _key(line))
        elif lines[0].startswith("- "):
            for item in re.split(r"^- ", block.strip(), flags=re.M)[1:]:
                yield from (".IP \\(bu 3", roff(" ".join(item.split())))
        else:
            yield from ([] if fresh else [".PP"])
            yield roff(" ".join(lines))
        fresh = False


def _key(row: str) -> list[str]:
    """A row of a table of keys: its name, what it means, its default."""
    name, default, *meaning = re.split(r"(?<!\\) \| ", row.strip().removeprefix("| "))
    told = " ".join(meaning).removesuffix(" |").removesuffix("|").strip()
    if default == "required":
        return [".TP", f"{roff(name)} (required)", roff(told)]
    return [
        ".TP",
        roff(name),
        roff(told if default == "not set" else f"{told} Default: {default}."),
    ]


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Pages -------------------------------------------------------------------------------------------

ALSO: Mapping[str, str] = {
    "archived": ".BR archivectl (1),\n.BR archived.toml (5)",
    "archivectl": ".BR archived (1),\n.BR archived.toml (5)",
    "archived.toml": ".BR archived (1),\n.BR archivectl (1)",
}
_CONFIG = ".TP\n\\fI/etc/archived/archived.toml\\fR\nThe configuration.\n.TP\n"
DAEMON = {
    "description": roff(
        "archived watches hot folders that scanners write to. Each file becomes a document, runs "
        "through the stages of a pipeline, is sealed as an OCFL object, copied, read back, and "
        "only then called safe. This program runs the daemon and helps to set it up; "
        "archivectl(1) asks it and tells it what people decide."
    ),
    "files": _CONFIG
    + "\\fI/etc/archived/conf.d/*.toml\\fR\nMore of it, in the order of their names.\n.TP\n"
    + "\\fI/var/lib/archived\\fR\nThe catalog, the ledger in it, and the spool.\n.TP\n"
    + "\\fI/srv/archived/store\\fR\nThe store of sealed objects.",
    "also": ALSO["archived"] + ",\n.BR systemctl (1),\n.BR journalctl (1)",
}
CTL = {
    "description": roff(
        "archivectl shows what came into the archive, where it is and what waits for a person, and "
        "takes people's decisions, which are kept in the ledger. It asks the daemon, or reads the "
        "catalog when the daemon does not answer. Plug-ins may add commands of their own."
    ),
    "files": _CONFIG + "\\fI/run/archived/control.sock\\fR\nWhere the daemon is asked.",
    "also": ALSO["archivectl"],
}
PAGES: Mapping[str, Callable[[], str]] = {
    "archived.1": lambda: program(archived, "archived", "a headless archival daemon", DAEMON),
    "archivectl.1": lambda: program(archivectl, "archivectl", "look after the archive", CTL),
    "archived.toml.5": configuration,
}


def main() -> int:
    """Write the pages, or only compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("outdir", type=Path, metavar="OUTDIR")
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    stale = []
    for name, page in PAGES.items():
        path, text = options.outdir / name, page()
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(name)
            if not options.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
    sys.stdout.write(
        "".join(f"{'out of date' if options.check else 'written'}: {n}\n" for n in stale)
    )
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
