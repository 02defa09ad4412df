"""What a plug-in's README must say, read from its Markdown and compared with its code."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECTIONS = ("Description", "Configuration", "Examples", "Metrics", "Failures")
"""The second-level headings every plug-in's README has, in this order."""

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE_CELL = re.compile(r"^\|\s*`([a-z0-9-]+)`\s*\|", re.MULTILINE)


def find_readme(plugin: type) -> Path | None:
    """The README beside the `pyproject.toml` of the distribution a class comes from."""
    for folder in Path(inspect.getfile(plugin)).resolve().parents:
        if (folder / "pyproject.toml").is_file():
            readme = folder / "README.md"
            return readme if readme.is_file() else None
    return None


def sections(text: str) -> dict[str, str]:
    """Second-level heading -> the text below it; what stands before the first is under `""`."""
    bare = _FENCE.sub(lambda block: re.sub(r"^## ", "  ## ", block[0], flags=re.MULTILINE), text)
    parts = re.split(r"^## +(.+?)\s*$", bare, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def toml_blocks(text: str) -> list[dict[str, Any]]:
    """Every ```toml block, parsed. Raises `tomllib.TOMLDecodeError`."""
    return [tomllib.loads(body) for language, body in _FENCE.findall(text) if language == "toml"]


def documented_codes(text: str) -> set[str]:
    """The codes in the first column of the table under Failures."""
    return set(_CODE_CELL.findall(sections(text).get("Failures", "")))


def used_codes(plugin: type) -> set[str]:
    """The failure codes a plug-in's source gives to `Refuse` and `Postpone`.

    Codes are found where they are written out as `code="..."`, or name a constant of the same
    module; a code put together at run time is not found.
    """
    return {code for path in source_files(plugin) for code in _codes_in(path)}


def source_files(plugin: type) -> list[Path]:
    """The Python files of the package a class comes from, or its only file."""
    file = Path(inspect.getfile(plugin)).resolve()
    package = plugin.__module__.partition(".")[0]
    for folder in file.parents:
        if folder.name == package and (folder / "__init__.py").is_file():
            return sorted(folder.rglob("*.py"))
    return [file]


def _codes_in(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    constants = {
        name.id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for name in statement.targets
        if isinstance(name, ast.Name)
    }
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        for keyword in call.keywords:
            if keyword.arg == "code":
                value = keyword.value
                if isinstance(value, ast.Name):
                    value = constants.get(value.id, value)
                yield from _texts(value)


def _texts(value: ast.expr) -> Iterator[str]:
    match value:
        case ast.Constant(value=str(code)):
            yield code
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body)
            yield from _texts(orelse)
