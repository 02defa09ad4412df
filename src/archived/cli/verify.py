"""`archivectl verify --path`: is an OCFL storage root or object valid, whichever program wrote it?

Needs neither the daemon nor the catalog, and writes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archived.cli import output
from archived.cli.client import Session
from archived.cli.errors import OK, PROBLEM
from archived.errors import StoreError
from archived.locale import _, ngettext, render
from archived.message import Message

if TYPE_CHECKING:
    from archived.storage.ocfl.validation_codes import Finding, Findings
    from archived.storage.ocfl.validator import ObjectVerdict, Progress


@click.command("verify")
@click.option(
    "--path",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A storage root or one object: the store, a copy of it, or one of another program.",
)
@click.option("--warnings", is_flag=True, help="Show also what is valid and not recommended.")
@click.pass_obj
def verify(session: Session, folder: Path, warnings: bool) -> None:
    """Judge an OCFL 1.0 or 1.1 storage root or object by the rules of the specification.

    Every file is read and its digests compared. Each finding has the code of the specification
    (E001 and so on; W001 and so on is valid and not recommended). Ends with 1 unless everything is
    valid.
    """
    told = _Told(session.as_json, warnings)
    with _progress(folder) as progress:
        _judge(folder, told, progress)
    if session.as_json:
        output.as_json(told.as_json())
    else:
        told.summary()
    sys.exit(OK if told.verdict == "yes" else PROBLEM)


def _judge(folder: Path, told: _Told, progress: Progress) -> None:
    from archived.storage.ocfl.root_validator import RootCheck, is_object, is_storage_root
    from archived.storage.ocfl.validator import validate_object

    try:
        if is_object(folder):
            told.take(validate_object(folder, progress, str(folder)))
            return
        if not is_storage_root(folder):
            raise StoreError(
                Message("{folder} is neither an OCFL storage root nor an object", folder=folder),
                hint=Message(
                    "name the folder that holds the file 0=ocfl_1.1 or 0=ocfl_object_1.1; in this "
                    "program's store it is ocfl/"
                ),
                code="foreign-store",
            )
        check = RootCheck(folder, progress)
        for verdict in check.objects():
            told.take(verdict)
        told.take_root(check.findings)
    except OSError as error:
        raise StoreError(
            Message("{folder} cannot be read: {error}", folder=folder, error=error.strerror),
            hint=Message("check the name, the mount and who may read the folder"),
            code="object-unreadable",
        ) from error


class _Told:
    """Verdicts as they come: printed at once for a person, kept for a program."""

    def __init__(self, as_json: bool, warnings: bool) -> None:
        self._quiet, self._warnings = as_json, warnings
        self.answers = {"yes": 0, "no": 0, "not established": 0}
        self.files = self.size = 0
        self.warned = 0
        self.kept: list[dict[str, Any]] = []
        self.root: Findings | None = None

    @property
    def verdict(self) -> str:
        """Of all objects and of what lies between them."""
        root = self.root
        if self.answers["no"] or (root and root.errors):
            return "no"
        if self.answers["not established"] or (root and root.unread):
            return "not established"
        return "yes"

    def take(self, verdict: ObjectVerdict) -> None:
        """Count and show one object."""
        self.answers[verdict.answer] += 1
        self.files, self.size = self.files + verdict.files, self.size + verdict.size
        self.warned += any(not finding.is_error for finding in verdict.findings)
        if verdict.findings or verdict.unread:
            self._show(verdict.path, verdict.id, str(verdict.answer), verdict)

    def take_root(self, findings: Findings) -> None:
        """Show what lies outside the objects."""
        self.root = findings
        if findings.findings or findings.unread:
            self._show(".", "", "", findings)

    def _show(self, path: str, name: str, answer: str, of: ObjectVerdict | Findings) -> None:
        found = of.findings
        if self._quiet:
            self.kept.append(
                {
                    "path": path,
                    "id": name,
                    "verdict": answer,
                    "counts": of.counts,
                    "findings": [_finding(each) for each in found],
                    "unread": of.unread,
                }
            )
            return
        shown = [each for each in found if each.is_error or self._warnings]
        if not shown and not of.unread:
            return
        title = f"{output.clean(path)}  {output.clean(name)}".rstrip()
        output.line(title, "bold")
        for each in shown:
            _line(each)
        for where, why in of.unread.items():
            told = _("not read: {where}: {why}").format(where=output.clean(where), why=why)
            output.line(told, "yellow", indent=2)

    def summary(self) -> None:
        """One line for the whole."""
        objects = sum(self.answers.values())
        told = ngettext("{count} object", "{count} objects", objects).format(count=objects)
        counted = _("{objects}: {valid} valid, {invalid} not valid, {open} not established").format(
            objects=told,
            valid=self.answers["yes"],
            invalid=self.answers["no"],
            open=self.answers["not established"],
        )
        style = {"yes": "green", "no": "red"}.get(self.verdict, "yellow")
        output.line(counted, style)
        read = _("{files} files, {size} read and compared; {warned} objects with warnings")
        read = read.format(files=self.files, size=output.size(self.size), warned=self.warned)
        output.line(read, "dim")

    def as_json(self) -> dict[str, Any]:
        """Everything that was met, for a program."""
        return {
            "verdict": self.verdict,
            "objects": sum(self.answers.values()),
            "valid": self.answers["yes"],
            "invalid": self.answers["no"],
            "not_established": self.answers["not established"],
            "files": self.files,
            "bytes": self.size,
            "found": self.kept,
        }


def _finding(finding: Finding) -> dict[str, str]:
    from archived.storage.ocfl.validation_codes import MEANINGS

    return {
        "code": finding.code,
        "where": finding.where,
        "what": finding.what,
        "meaning": str(MEANINGS[finding.code]),
    }


def _line(finding: Finding) -> None:
    from archived.storage.ocfl.validation_codes import MEANINGS

    what = f" ({output.clean(finding.what)})" if finding.what else ""
    text = f"{finding.code} {output.clean(finding.where)}: {render(MEANINGS[finding.code])}{what}"
    output.line(text, "red" if finding.is_error else "yellow", indent=2)


@contextmanager
def _progress(folder: Path) -> Iterator[Progress]:
    """How far the reading is and when it may end, on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _bytes: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("verify", total=_size(folder))
        yield lambda count: bar.advance(task, count)


def _size(folder: Path) -> int:
    """Bytes of all files below, as far as they can be looked at."""
    from archived.storage import tree

    total = 0
    with suppress(OSError):  # what is there is named by the verdict; this is for the clock alone
        for entry in tree.walk(folder):
            if entry.kind is tree.EntryKind.FILE:
                total += os.lstat(entry.name, dir_fd=entry.folder).st_size
    return total


COMMANDS = (verify,)
