"""`archived doctor FOLDER`: how a probe of one folder is asked for and told. Decides nothing."""

from __future__ import annotations

import os
import pwd
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from archived.cli import client, output
from archived.cli.client import Session
from archived.cli.errors import OK, PROBLEM
from archived.errors import ArchivedError
from archived.locale import _, ngettext, render
from archived.message import Message

if TYPE_CHECKING:
    from archived.ingest.preflight import CheckResult, Report
    from archived.ingest.preflight.report import Known, Line

_UNITS = (
    Path("/etc/systemd/system/archived.service"),
    Path("/usr/lib/systemd/system/archived.service"),
    Path("/lib/systemd/system/archived.service"),
)


def examine(session: Session, folder: Path, writer: str | None, daemon: str | None) -> NoReturn:
    """Probe `folder`, say what was found, and end with 0 when it can be trusted, else 1."""
    from archived.ingest.preflight import probe
    from archived.ingest.preflight.report import advice, joined

    try:
        folder = folder.absolute()
    except OSError as error:
        raise _untried(folder, error) from error
    users = _user(writer, "--as"), _user(daemon or _units_user(), "--daemon-user")
    if not session.as_json:
        # A spinner would be a thread, and the probe forks.
        click.echo(_("trying {folder} ...").format(folder=output.clean(folder)), err=True)
    try:
        with _ends_orderly():
            report = probe(folder, *users)
    except OSError as error:
        raise _untried(folder, error) from error
    file, known = _known(session.config, folder)
    table = advice(report, known)
    if session.as_json:
        output.as_json(_as_json(report, joined(table)))
    else:
        _tell(report, table, str(file) if known.name else "")
    sys.exit(OK if report.trusted else PROBLEM)


def _untried(folder: Path, error: OSError) -> ArchivedError:
    return ArchivedError(
        Message(
            "{folder}: it could not be tried: {why}",
            folder=output.clean(folder),
            why=error.strerror or error,
        ),
        hint=Message(
            "look at the folder, its mount and the limits of this machine (dmesg, ulimit -a)"
        ),
        code="folder-not-tried",
    )


def _user(name: str | None, option: str) -> pwd.struct_passwd | None:
    """The user to become; `None` for whoever runs this."""
    if not name:
        return None
    try:
        user = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        wrong = _("there is no user {name}").format(name=name)
        raise click.BadParameter(wrong, param_hint=option) from None
    if user.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        wrong = _("only root can try as {name}: use sudo").format(name=name)
        raise click.BadParameter(wrong, param_hint=option)
    return user


def _units_user() -> str | None:
    """`User=` of the installed service, when root asks; others can only try as themselves."""
    if os.geteuid() != 0:
        return None
    for unit in _UNITS:
        with suppress(OSError):
            found = re.findall(r"^User=(\S+)", unit.read_text("utf-8", "replace"), re.M)
            return found[-1] if found else None
    return None


@contextmanager
def _ends_orderly() -> Iterator[None]:
    """A probe that is told to end removes its files first."""
    ends = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _interrupt) for number in ends}
    try:
        yield
    finally:
        for number, then in before.items():
            signal.signal(number, then)


def _interrupt(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)


def _known(config: Path | None, folder: Path) -> tuple[Path, Known]:
    """What the configuration says already, and the file that has the folder's table; nothing when
    there is none that can be read.
    """
    from archived.config.sample import written
    from archived.config.toml_files import read
    from archived.ingest.preflight.report import Known

    file = client.chosen(config)
    try:
        source = read(file)
    except (ArchivedError, OSError):
        return file, Known()
    folders, pipelines = (source.tables.get(key) for key in ("hotfolder", "pipeline"))
    named = (
        {n: t for n, t in folders.items() if isinstance(t, dict)}
        if isinstance(folders, dict)
        else {}
    )
    name = next((n for n, table in named.items() if _is_path(table.get("path"), folder)), "")
    kept = {key: written(value) for key, value in named.get(name, {}).items()}
    lines = list(pipelines) if isinstance(pipelines, dict) else []
    here = (each.name for each in source.files if name in each.tables.get("hotfolder", ()))
    file = file.parent / next(here, file.name)
    return file, Known(name, kept, [other for other in named if other != name], lines)


def _is_path(said: object, folder: Path) -> bool:
    return isinstance(said, str) and Path(said) == folder


def _as_json(report: Report, toml: str) -> dict[str, Any]:
    return {
        "folder": str(report.folder),
        "trusted": report.trusted,
        "writer": report.writer,
        "daemon": report.daemon,
        "findings": [asdict(each) for each in report.found],
        "facts": report.facts,
        "toml": toml,
    }


def _tell(report: Report, table: list[Line], file: str) -> None:
    from archived.ingest.preflight.report import joined

    who = _("{folder}: the writer is {writer}, the daemon {daemon}")
    output.line(who.format(folder=report.folder, writer=report.writer, daemon=report.daemon))
    means = _("what it means")
    sheet = output.Table(
        [_("is it so?"), _("verdict"), means], give=means, also=[_("is it so?"), _("verdict")]
    )
    for each in report.found:
        verdict = output.verdict(each.verdict, noted=not each.needed)
        sheet.row(render(each.what), verdict, render(each.why) or None)
    sheet.show()
    _what_to_do(report.found)
    if file:
        told = _("What to write into {file}, in place of its table {table}:")
        output.heading(told.format(file=file, table=table[0].text))
    else:
        output.heading(_("What to add to the configuration:"))
    for line in joined([replace(each, why=render(each.why)) for each in table]).splitlines():
        output.command(line)
    click.echo()
    unfit = sum(1 for each in report.found if each.needed and each.verdict != "yes")
    if unfit:
        told = ngettext(
            "do not trust {folder} yet: {count} finding to see to",
            "do not trust {folder} yet: {count} findings to see to",
            unfit,
        )
        output.line(told.format(folder=report.folder, count=unfit), "red")
    else:
        told = _("{folder} can be trusted with scans")
        output.line(told.format(folder=report.folder), "green")


def _what_to_do(found: list[CheckResult]) -> None:
    todo: dict[str, list[CheckResult]] = {}
    for each in sorted(found, key=lambda one: not one.needed):
        if each.todo and each.verdict != "yes":
            todo.setdefault(each.todo, []).append(each)
    if todo:
        output.heading(_("What to do:"))
    for action, whys in todo.items():
        needed = any(each.needed for each in whys)
        output.line(render(action), "red" if needed else "", indent=2)
        codes = ", ".join(why.code for why in whys)
        told = _("(needed: {codes})") if needed else _("(note: {codes})")
        output.line(told.format(codes=codes), indent=4)
