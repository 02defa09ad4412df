"""The external programs that may be started, as `programs.toml` names them; looks for them."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

Need = Literal["required", "optional", "never"]


@dataclass(frozen=True, slots=True)
class Program:
    """One entry of the list. Its fields are explained there."""

    names: tuple[str, ...]
    need: Need
    modules: tuple[str, ...]
    why: str
    package: str = ""
    stages: tuple[str, ...] = ()
    without: str = ""

    @property
    def name(self) -> str:
        """The name of a program that may be started: such an entry has one."""
        return self.names[0]


@cache
def programs() -> tuple[Program, ...]:
    """The whole list."""
    text = resources.files("archived.engine").joinpath("programs.toml").read_text("utf-8")
    return tuple(map(_entry, tomllib.loads(text)["program"]))


def _entry(table: Mapping[str, Any]) -> Program:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return Program(**fields)


def package_of(program: str) -> str:
    """The Debian package that has this program, when the list names it; else empty."""
    name = program.rpartition("/")[2]
    return next((each.package for each in programs() if name in each.names), "")


def wanted(stages: Collection[str]) -> list[Program]:
    """What may be started where these stages are configured: for them, or by archived itself."""
    return [
        each
        for each in programs()
        if each.need != "never" and (not each.stages or set(each.stages) & set(stages))
    ]


def missing(names: Collection[str]) -> list[str]:
    """One sentence for each of these programs that is not on PATH."""
    return [
        f"the program {name!r}, which it needs, is not installed: {advice(name)}"
        for name in names
        if shutil.which(name) is None
    ]


def advice(program: str) -> str:
    """What to do about a program that is not there."""
    package = package_of(program)
    if package:
        return f"install the Debian package {package}"
    return "install the package that has it"
