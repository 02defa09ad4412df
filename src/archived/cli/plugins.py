"""`archivectl plugins`: what is enabled, and distributions of the administrator's own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click

from archived.cli import client, output, status
from archived.cli.client import Session
from archived.cli.group import Program
from archived.errors import ArchivedError, PluginError
from archived.locale import _
from archived.message import Message

_INTO = click.option(
    "--into",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Another folder than the Debian package's, /usr/local/lib/archived/plugins.",
)


@click.group("plugins", cls=Program, invoke_without_command=True)
@click.pass_context
def plugins(context: click.Context) -> None:
    """List the enabled plug-ins, install one, remove one. Alone, it lists them."""
    if context.invoked_subcommand is None:
        context.invoke(status.plugins)


@plugins.command("install")
@click.argument(
    "wheels",
    nargs=-1,
    required=True,
    metavar="WHEEL...",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
)
@click.option(
    "--sha256",
    "digests",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A list as sha256sum writes it; each wheel must be on it with its own hash.",
)
@_INTO
@click.pass_obj
def install(
    session: Session, wheels: tuple[Path, ...], digests: Path | None, into: Path | None
) -> None:
    """Install plug-ins from wheels, to a place that upgrades of archived keep. Needs no network.

    Give the libraries a plug-in needs in the same command. Every file is compared with the hash
    it is listed with, and every plug-in is loaded on trial, not as root, before anything is put
    on the path. Installed is not enabled. An older version is replaced.
    """
    from archived.cli.local_plugins import FOLDER, LocalPlugins
    from archived.plugins.wheel import read

    os.umask(0o022)  # the daemon's user must be able to read what root installs
    found = [read(path) for path in wheels]
    if digests is not None:
        _compare({wheel.path: wheel.sha256 for wheel in found}, digests)
    given = LocalPlugins(into or FOLDER).put(found)
    if session.as_json:
        listed = [{"name": w.name, "version": w.version, "sha256": w.sha256} for w in found]
        output.as_json({"installed": listed, "plugins": given})
        return
    for wheel in found:
        told = _("{name} {version} is installed (sha256 {hash})")
        told = told.format(name=wheel.name, version=wheel.version, hash=wheel.sha256)
        output.line(told, "green")
    for each in given:
        gives = ", ".join([*each["stages"], *each["targets"], *each["runners"], *each["hooks"]])
        output.line(f"{each['name']}: {gives}", indent=2)
    if digests is None:
        output.line(_("its origin was not checked: compare the hash with its author's"), "yellow")
    if all(each["name"] in _enabled(session) for each in given):
        output.heading(_("It is enabled already. To let the daemon use what is installed now:"))
    else:
        output.heading(_("To use it, name it under [plugins] enabled and in a pipeline, then:"))
    for command in ("archived check", "systemctl restart archived"):
        output.command(command)


@plugins.command("remove")
@click.argument("name")
@_INTO
@click.pass_obj
def remove(session: Session, name: str, into: Path | None) -> None:
    """Remove a plug-in that was installed from a wheel; NAME is its own or its distribution's.

    One that the configuration enables is refused.
    """
    from archived.cli.local_plugins import FOLDER, LocalPlugins

    local = LocalPlugins(into or FOLDER)
    there = local.there().get(name)
    for used in _enabled(session) & {name, *(there.plugins if there else ())}:
        raise PluginError(
            Message('plug-in "{used}" is enabled', used=used),
            hint=Message("take it out of [plugins] enabled first"),
        )
    gone = local.remove(name)
    if session.as_json:
        output.as_json({"removed": {"name": gone.name, "version": gone.version}})
    else:
        told = _("{name} {version} is removed")
        output.line(told.format(name=gone.name, version=gone.version), "green")


def _compare(found: dict[Path, str], digests: Path) -> None:
    listed: dict[str, str] = {}
    for line in digests.read_text("utf-8").splitlines():
        if match := re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)", line):
            listed[Path(match[2]).name] = match[1].lower()
    for path, digest in found.items():
        if path.name not in listed:
            raise PluginError(
                Message("{digests}: says nothing of {name}", digests=digests, name=path.name)
            )
        if listed[path.name] != digest:
            raise PluginError(
                Message(
                    "{name} is not the file that {digests} lists: its SHA-256 is {digest}",
                    name=path.name,
                    digests=digests,
                    digest=digest,
                ),
                hint=Message("fetch it again, from where the list comes"),
            )


def _enabled(session: Session) -> set[str]:
    """Names in `[plugins] enabled`; none when there is no configuration that can be read."""
    from archived.config.toml_files import read

    try:
        table: Any = read(client.chosen(session.config)).tables.get("plugins", {})
    except ArchivedError:
        return set()
    return set(table.get("enabled", ())) if isinstance(table, dict) else set()


plugins.add_command(status.plugins, "list")

COMMANDS = (plugins,)
