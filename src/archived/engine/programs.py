"""External programs: the list (`programs.toml`), whether they are installed, and failed starts.

Python raises `FileNotFoundError` for a missing program as for a missing file. To tell them apart,
an audit hook notes each program that the interpreter is about to start.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from archived.message import Message

Need = Literal["required", "optional", "never"]
INTERPRETER = "python3"
"""The name in the list of what runs archived itself."""


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
        Message(
            "the program {name!r}, which it needs, is not installed: {advice}",
            name=name,
            advice=advice(name),
        )
        for name in names
        if shutil.which(name) is None
    ]


def advice(program: str) -> str:
    """What to do about a program that is not there."""
    package = package_of(program)
    if package:
        return Message("install the Debian package {package}", package=package)
    return Message("install the package that has it")


CODE = "program-missing"

_STARTS = frozenset({"subprocess.Popen", "os.posix_spawn"})
"""Audit events whose first argument is the program. Not os.exec: a stage that becomes another
program gives no result whatever comes of it."""
_CANNOT = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ETXTBSY,
    }
)
_SAY_SO = {("pikepdf", "DependencyError"), ("ocrmypdf", "MissingDependencyError")}
"""Exceptions of libraries that mean a program, as (top module, name): some have no cause, as when a
program is too old."""
_NOT_FOUND = 127
"""What shells, env(1) and the dynamic loader end with when there is no program, or it lacks a
library. Others may end with it as well: their words must fit."""
_WORDS = re.compile(rb"not found|No such file|error while loading shared libraries")

_announced: set[str] = set()


@dataclass(frozen=True, slots=True)
class NotStarted:
    """`program`: as it was named. `why`: what the system or a library says."""

    program: str
    why: str

    @property
    def message(self) -> str:
        """A sentence for the record."""
        return Message(
            "the program {program!r} cannot be started: {why}", program=self.program, why=self.why
        )

    @property
    def hint(self) -> str:
        """What to do, by whether it is there."""
        path = shutil.which(self.program)
        if path is None:
            return advice(self.program)
        return Message(
            "it is at {path}: see that it is whole, new enough, and may be started by a step",
            path=path,
        )


def listen() -> None:
    """From now on remember what this process starts. Cannot be undone: for a step's process."""
    _announced.clear()
    sys.addaudithook(_heard)


def forget() -> None:
    """Nothing that was started before counts any more: for a process's next step."""
    _announced.clear()


def _heard(event: str, arguments: tuple[object, ...]) -> None:
    if event in _STARTS and isinstance(arguments[0], str | bytes | os.PathLike):
        _announced.add(os.fsdecode(arguments[0]))


def not_started(error: BaseException) -> NotStarted | None:
    """The program behind `error`, or behind what it was raised from; `None` when there is none."""
    for each in _behind(error):
        if (found := _of_system(each) or _of_exit(each)) is not None:
            return found
    for each in _behind(error):
        kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(each).__mro__}
        if kinds & _SAY_SO:
            text = " ".join(str(each).split())
            return NotStarted(_named_in(text), text or type(each).__name__)
    return None


def _behind(error: BaseException) -> Iterator[BaseException]:
    """The exception and all it comes from, the outermost first."""
    todo, seen = [error], set()
    while todo:
        at = todo.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        yield at
        if isinstance(at, BaseExceptionGroup):
            todo += reversed(at.exceptions)
        if at.__cause__ is not None:
            todo.append(at.__cause__)
        elif at.__context__ is not None and not at.__suppress_context__:
            todo.append(at.__context__)


def _of_system(error: BaseException) -> NotStarted | None:
    if not isinstance(error, OSError) or error.errno not in _CANNOT or error.filename is None:
        return None
    if not isinstance(error.filename, str | bytes):
        return None
    program = os.fsdecode(error.filename)
    if program not in _announced:
        return None
    return NotStarted(program, str(error.strerror))


def _of_exit(error: BaseException) -> NotStarted | None:
    if not isinstance(error, subprocess.CalledProcessError) or error.returncode != _NOT_FOUND:
        return None
    said = error.stderr or b""
    said = said.encode(errors="replace") if isinstance(said, str) else said
    if not _WORDS.search(said):
        return None
    command = error.cmd if isinstance(error.cmd, str | bytes) else error.cmd[0]
    last = said.decode(errors="replace").strip().rpartition("\n")[2]
    return NotStarted(os.fsdecode(command), last[:300])


def _named_in(text: str) -> str:
    """The program a library's sentence is about: one of the list, else its first word."""
    words = re.findall(r"[\w.+-]+", text)
    known = {name for each in programs() for name in each.names}
    return next((word for word in words if word in known), words[0] if words else "unknown")
