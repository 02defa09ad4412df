"""What a right configuration names that this machine does not have: folders, and room on a disk.

Told with the command that makes it, before the first scan comes. Changes nothing.
"""

from __future__ import annotations

import grp
import json
import pwd
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from archived.cli.output import size
from archived.message import Message

if TYPE_CHECKING:
    from archived.config import Settings

SERVICE, SCANNERS = "archived", "archived-scan"
"""The accounts that the package makes: the service's user, and the group of scanners' logins."""


@dataclass(frozen=True, slots=True)
class MissingPath:
    """What is not there, in a sentence, and what to type; empty where no command helps."""

    what: str
    command: str = ""


def missing(settings: Settings) -> Iterator[MissingPath]:
    """Everything that is not there and could be known now."""
    for folder in settings.hotfolders.values():
        if folder.enabled and not _is_there(folder.path):
            yield MissingPath(
                Message(
                    "hotfolder.{name}.path: there is no folder {path}; until there is, the "
                    "hot folder is offline",
                    name=folder.name,
                    path=folder.path,
                ),
                for_scanners(folder.path),
            )
    for name, target in settings.targets.items():
        path = _folder_of(json.loads(target.options_json))
        if path is not None and not _is_there(path):
            yield MissingPath(
                Message(
                    "target.{name}.path: there is no folder {path}; until there is, "
                    "documents wait for their copies; mount its disk first",
                    name=name,
                    path=path,
                ),
                _command(path, SERVICE, "0750"),
            )
    yield from _room(settings)


def _is_there(path: Path) -> bool:
    """Also where we may not look: what cannot be known is not called missing."""
    try:
        return path.is_dir()
    except OSError:
        return True


def _folder_of(options: dict[str, object]) -> Path | None:
    """The folder that a target keeps its copies in, where it has one."""
    path = options.get("path")
    return Path(path) if isinstance(path, str) and path.startswith("/") else None


def for_scanners(path: Path) -> str:
    """The command that makes a hot folder."""
    return _command(path, SCANNERS, "2770")


def _command(path: Path, group: str, mode: str) -> str:
    try:
        pwd.getpwnam(SERVICE)
        grp.getgrnam(group)
    except KeyError:
        return f"mkdir -p {shlex.quote(str(path))}"
    return f"install -d -o {SERVICE} -g {group} -m {mode} {shlex.quote(str(path))}"


def _room(settings: Settings) -> Iterator[MissingPath]:
    floor, spool = settings.spool.keep_free, settings.archive.spool
    there = spool
    try:
        while not there.exists():
            there = there.parent
        disk = shutil.disk_usage(there)
    except OSError:
        return
    if disk.total <= floor:
        yield MissingPath(
            Message(
                "spool.keep_free: {floor} stay free, and the whole disk with {spool} has "
                "{there}: nothing is ever taken in",
                floor=size(floor),
                spool=spool,
                there=size(disk.total),
            )
        )
    elif disk.free <= floor:
        yield MissingPath(
            Message(
                "spool.keep_free: {floor} stay free, and the disk with {spool} has {there} "
                "left: nothing is taken in until there is room",
                floor=size(floor),
                spool=spool,
                there=size(disk.free),
            )
        )
