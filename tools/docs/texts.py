"""Writes the parts of the documentation that the program knows: `python -m tools.docs.texts`.

A generated part stands between two comments, `<!-- generated: NAME -->` and `<!-- end -->`; what is
outside is written by people. `--check` changes nothing and tells which files are out of date.
"""

from __future__ import annotations

import argparse
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from archived.api import Options, SecretRef, Stage
from archived.api.options import duration_text, size_text
from archived.config.sample import default_text, written
from archived.config.schema import (
    SINGLE,
    HotFolder,
    Lane,
    Mqtt,
    Pipeline,
    Reserved,
    default_disk_factor,
)
from archived.engine.programs import programs
from archived.model.lifecycle import State, diagram
from archived.plugins import Plugins, find
from archived.storage.ledger import KINDS
from archived.testing.readme import sections

ROOT = Path(__file__).resolve().parent.parent.parent
_FIRST = ("malware", "separate", "ocr", "classify", "sign", "replicate")
_PLUGINS = {path.parent.name for path in (ROOT / "plugins").glob("*/pyproject.toml")}
BUNDLED = (
    *(name for name in _FIRST if name in _PLUGINS),
    *sorted(_PLUGINS - {*_FIRST}, reverse=True),
)
"""The bundled plug-ins, in the order of a pipeline, those for authors and drills last."""
FILES = ("DESIGN.md", "docs/configuration.md", "docs/failures.md", "docs/install.md")

_PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def state_diagram() -> str:
    """The life of a document, drawn from its table."""
    return f"```mermaid\n{diagram()}\n```"


def states() -> str:
    """Every state with what it means."""
    lines = ["| State | Meaning |", "| --- | --- |"]
    source = inspect.getsource(State)
    for state in State:
        told = re.search(rf'{state.name} = "[^"]+"\n\s+"""(.*?)"""', source, re.DOTALL)
        lines.append(f"| `{state}` | {' '.join(told[1].split()) if told else ''} |")
    return "\n".join(lines)


def ledger_kinds() -> str:
    """Every kind of entry."""
    lines = ["| Kind | What it records |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{kind}` | {what} |" for kind, what in KINDS.items())])


def plugin_codes() -> str:
    """The failures of the bundled plug-ins, as their READMEs have them."""
    parts = []
    for name in BUNDLED:
        text = sections((ROOT / "plugins" / name / "README.md").read_text())["Failures"]
        rows = "\n".join(line for line in text.splitlines() if line.startswith("|"))
        if rows:
            parts.append(f"### {name}\n\n{rows}")
    return "\n\n".join(parts)


def configuration() -> str:
    """Every table of the configuration file."""
    plugins = find(BUNDLED)
    parts = [_table(name, model) for name, model in SINGLE.items() if name in {"archive", "store"}]
    parts += [_table("hotfolder.NAME", HotFolder), _table("pipeline.NAME", Pipeline)]
    parts += [_table("stage.NAME", Reserved), _lanes()]
    parts += [
        _table(name, model) for name, model in SINGLE.items() if name not in {"archive", "store"}
    ]
    parts += [_table("mqtt", Mqtt), *_of_plugins(plugins)]
    return "\n\n".join(parts)


def _of_plugins(plugins: Plugins) -> Iterator[str]:
    for name, cls in plugins.stages.items():
        yield _table(f"stage.{name}", cls.config(), doc=_doc(cls), after=_needs(cls))
    for kind, target in plugins.targets.items():
        lead = f'A target with `kind = "{kind}"`. {_doc(target)}'
        yield _table(f"target.NAME, {kind}", target.config(), doc=lead)


def _needs(cls: type[Stage[Any]]) -> str:
    needs, grows = cls.needs, ""
    if needs.max_time is not None:
        grows = (
            f' It grows with the pages: `max_time` `"{duration_text(needs.max_time)}"`, '
            f'`memory_per_page` `"{size_text(needs.memory_per_page_bytes)}"`, '
            f'`max_memory` `"{size_text(needs.max_memory_bytes)}"`.'
        )
    return (
        f'Here `timeout` is `"{duration_text(needs.timeout)}"`, `attempts` {needs.attempts}, '
        f'`lane` `"{needs.lane}"`, `memory` `"{size_text(needs.memory_bytes)}"` and '
        f"`disk_factor` {default_disk_factor(needs):g} by default.{grows}"
    )


def _lanes() -> str:
    text = _table("lanes", Lane)
    start = text.index("| Key")
    return (
        f"{text[:start]}By default there are `cpu`, as wide as there are cores, and `network`, "
        f"4 wide. Write `gpu = 1`, or a table for more than the width:\n\n{text[start:]}"
    )


def _table(name: str, model: type[BaseModel], *, doc: str = "", after: str = "") -> str:
    lines = [f"### [{name}]", "", doc or _doc(model), ""]
    rows = [row for key, option in model.model_fields.items() for row in _rows(key, option)]
    if rows:
        lines += ["| Key | Default | Meaning |", "| --- | --- | --- |", *rows]
    else:
        lines += ["It has no keys of its own."]
    return "\n".join([*lines, *(["", after] if after else [])])


def _rows(key: str, option: FieldInfo) -> Iterator[str]:
    inner = next(
        (t for t in (option.annotation, *get_args(option.annotation)) if _is_table(t)), None
    )
    yield f"| `{key}` | {_default(option)} | {_meaning(option)} |"
    if inner is not None:
        for name, below in inner.model_fields.items():
            yield from _rows(f"{key}.{name}", below)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Options) and kind is not SecretRef


def _default(option: FieldInfo) -> str:
    if option.is_required():
        return "required"
    text = default_text(option)
    return "not set" if text is None else f"`{text}`"


def _meaning(option: FieldInfo) -> str:
    words = " ".join((option.description or "").split()).replace("|", "\\|")
    if get_origin(option.annotation) is Literal:
        choices = [written(c) for c in get_args(option.annotation) if c != ""]
        if not all(choice in words for choice in choices):
            words += " One of: " + ", ".join(f"`{c}`" for c in choices) + "."
    if option.examples and default_text_or_none(option) is None:
        words += f" For example: `{written(option.examples[0])}`."
    return words


def default_text_or_none(option: FieldInfo) -> str | None:
    """The default as TOML, when there is one."""
    return None if option.is_required() else default_text(option)


def _doc(cls: type) -> str:
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    return " ".join(text.split("\n\n")[0].split())


def external_programs() -> str:
    """What may be started, as a table."""
    rows = [
        "| Program | Debian package | For | Started when | While it is missing |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in programs():
        if each.need != "never":
            package = f"`{each.package}`" if each.package else "archived's own Python"
            whose = ", ".join(f"`{stage}`" for stage in each.stages) or "archived itself"
            optional = " (optional)" if each.need == "optional" else ""
            rows.append(
                f"| `{each.name}`{optional} | {package} | {whose} | {each.why} | {each.without} |"
            )
    return "\n".join(rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "programs": external_programs,
    "state-diagram": state_diagram,
    "states": states,
    "ledger-kinds": ledger_kinds,
    "configuration": configuration,
    "plugin-codes": plugin_codes,
}


def renewed(text: str) -> str:
    """`text` with every generated part written anew. Raises `KeyError` for an unknown one."""
    return _PART.sub(lambda part: f"{part[1]}{PARTS[part[2]]()}\n{part[3]}", text)


def main() -> int:
    """Write, or with `--check` only compare; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--check", action="store_true", help="change nothing")
    check = options.parse_args().check
    stale = []
    for name in FILES:
        path = ROOT / name
        before = path.read_text()
        after = renewed(before)
        if after != before:
            stale.append(name)
            if not check:
                path.write_text(after)
    sys.stdout.write("".join(f"{'out of date' if check else 'written'}: {n}\n" for n in stale))
    others = [_run("man", "docs/man", check=check), _run("locales", check=check)]
    return 1 if (check and stale) or any(others) else 0


def _run(tool: str, *arguments: str, check: bool) -> int:
    """The manual pages and the catalogues are made from the same texts."""
    command = [
        sys.executable,
        "-m",
        f"tools.docs.{tool}",
        *arguments,
        *(["--check"] if check else []),
    ]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
