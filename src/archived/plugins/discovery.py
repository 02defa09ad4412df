"""Where plug-ins lie, and how one is imported. Nothing is imported unasked."""

from __future__ import annotations

import importlib.metadata
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from archived.api import regular_file
from archived.code_digest import of_bytes, of_package
from archived.errors import PluginError
from archived.message import Message
from archived.plugins.validation import NAME

GROUP = "archived"
"""The entry-point group a distribution announces its plug-in in."""

_LARGEST_FILE = 256 * 1024
"""Bytes of a single-file plug-in: it goes to fork servers in one message."""

FILE_MODULE = "archived_file_"
"""What the module of a single-file plug-in is called: this, then the plug-in's name."""


@dataclass(frozen=True, slots=True)
class PluginSource:
    """Where one plug-in can be loaded from: an entry point or a file."""

    name: str
    entry_point: importlib.metadata.EntryPoint | None = None
    file: Path | None = None

    @property
    def where(self) -> str:
        return self.entry_point.value if self.entry_point else str(self.file)

    @property
    def distribution(self) -> tuple[str, str]:
        dist = self.entry_point.dist if self.entry_point else None
        return (dist.name, dist.version) if dist else ("", "")


def installed(folders: Sequence[Path] = ()) -> Mapping[str, Sequence[str]]:
    """Name -> where it is, for every plug-in that could be enabled. Imports none of them."""
    return {name: [f.where for f in found] for name, found in sorted(look(folders).items())}


def look(folders: Sequence[Path]) -> dict[str, list[PluginSource]]:
    found: dict[str, list[PluginSource]] = {}
    for entry_point in importlib.metadata.entry_points(group=GROUP):
        found.setdefault(entry_point.name, []).append(PluginSource(entry_point.name, entry_point))
    for folder in folders:
        # A folder that is not there holds nothing; one that cannot be read is told about.
        for file in sorted(folder.glob("*.py")) if folder.is_dir() else ():
            if NAME.fullmatch(file.stem):
                found.setdefault(file.stem, []).append(PluginSource(file.stem, file=file))
    return found


@dataclass(frozen=True, slots=True)
class Loaded:
    """An imported plug-in, the SHA-256 of its code, and of a single file the code itself."""

    module: ModuleType
    sha256: str
    code: bytes = b""


def load(found: PluginSource) -> Loaded:
    """Import a plug-in. Raises `PluginError`."""
    if found.entry_point and found.entry_point.attr:
        # Fork servers import the same plug-in by its module's name alone.
        raise PluginError(
            Message(
                'plug-in "{name}" ({where}): its entry point must name a module',
                name=found.name,
                where=found.where,
            ),
            hint=Message(
                'its author writes: {name} = "{module}"',
                name=found.name,
                module=found.entry_point.module,
            ),
        )
    try:
        if found.entry_point:
            # Before it is imported: what is changed meanwhile is found by whoever compares.
            sha256 = of_package(found.entry_point.module)
            return Loaded(found.entry_point.load(), sha256)
        return load_file(found.name, Path(found.where))
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            Message(
                'plug-in "{name}" ({where}) cannot be imported: {said}',
                name=found.name,
                where=found.where,
                said=said(error),
            ),
            hint=Message(
                "try it by itself: python3 -c 'import {partition}'",
                partition=found.where.partition(":")[0],
            )
            if found.entry_point
            else Message("correct the file, or take its name out of [plugins] enabled"),
        ) from error


def load_file(name: str, file: Path) -> Loaded:
    """Import a single-file plug-in as `archived_file_NAME`. Raises `PluginError` if it is unsafe.

    The bytes that were checked are the bytes that run: no second look-up by name, and no cached
    byte code, which somebody else might have written.
    """
    # One that is larger is told so below: what is read ends behind the limit.
    with regular_file.opened(file, sys.maxsize) as opened:
        _only_ours(file, os.fstat(opened.fileno()))
        for folder in {file.parent, file.resolve().parent}:
            _only_ours(folder, folder.stat())
        code = opened.read(_LARGEST_FILE + 1)
    if len(code) > _LARGEST_FILE:
        raise PluginError(
            Message(
                "{file}: a single-file plug-in may have {largest_file} KiB",
                file=file,
                largest_file=_LARGEST_FILE >> 10,
            ),
            hint="make a wheel of it: archivectl plugins install WHEEL",
        )
    module = ModuleType(FILE_MODULE + name.replace("-", "_"))
    module.__file__ = str(file)
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        exec(compile(code, file, "exec"), module.__dict__)  # noqa: S102 - enabled by the operator
    except BaseException:
        # A reload that fails must leave the old plug-in as it was.
        sys.modules.pop(module.__name__)
        if before is not None:
            sys.modules[module.__name__] = before
        raise
    return Loaded(module, of_bytes(code), code)


def _only_ours(path: Path, status: os.stat_result) -> None:
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PluginError(
            Message("{path}: others may write here, so nothing is loaded from it", path=path),
            hint=Message("run: chmod go-w {path}", path=path),
        )
    if status.st_uid not in (0, os.geteuid()):
        raise PluginError(
            Message(
                "{path}: belongs to user {st_uid}, neither to root nor to the user of archived",
                path=path,
                st_uid=status.st_uid,
            ),
            hint=Message("run: chown root {path}", path=path),
        )


def said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
