"""`archived`: run the daemon, check a configuration, look at the machine."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from archived import __version__
from archived.cli import client, output
from archived.cli.check import check
from archived.cli.client import Session
from archived.cli.completion import completion
from archived.cli.doctor import doctor
from archived.cli.errors import run as run_program
from archived.cli.group import Program
from archived.cli.hash_password import hash_password
from archived.cli.rebuild import rebuild
from archived.locale import _, render, speak_english

if TYPE_CHECKING:
    from archived.errors import PluginError
    from archived.plugins import Plugins


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="archived")
def cli() -> None:
    """The archive's daemon, and what helps to set it up."""


@cli.command("run")
@click.pass_obj
def run(session: Session) -> None:
    """Run the daemon in the foreground, until SIGTERM; SIGHUP makes it read its configuration.

    The service manager runs this; archivectl talks to it.
    """
    import asyncio

    from archived.config import load

    if not sys.stderr.isatty():
        speak_english()
    settings = load(client.chosen(session.config))
    # Only now: a mistake in the configuration is told without waiting for all of the daemon.
    from archived.daemon import serve
    from archived.observe import logs

    logs.configure(settings.log.level, settings.log.format)
    asyncio.run(serve(settings))
    logs.let_go()


_IN_ORDER = ("malware", "separate", "ocr", "classify", "sign", "replicate")
"""The bundled plug-ins in the order in which their stages follow each other in a pipeline."""

_NOT_FOR_USE = frozenset({"erratic", "stamp"})
"""The plug-in for fire drills and the worked example: shown where they are named."""


@cli.command("sample-config")
@click.option(
    "--plugins",
    metavar="NAMES",
    help='Whose options to show: "all" that are installed, '
    '"enabled" in the configuration, "none", or names with commas between them. When not '
    'given: "enabled" where a configuration is named, else "all".',
)
@click.pass_obj
def sample_config(session: Session, plugins: str | None) -> None:
    """Print a configuration in which every setting stands with its default, as a comment.

    It loads as it is: archived sample-config > /etc/archived/archived.toml
    """
    from archived.config import sample_config as written

    given = _plugins(session, plugins or _whose(session))
    if session.as_json:
        names = [info.name for info in given.catalogue()]
        output.as_json({"plugins": names, "text": written(given)})
    else:
        click.echo(written(given), nl=False)


def _whose(session: Session) -> str:
    named = session.config is not None or client.ENVIRONMENT in os.environ
    return "enabled" if named and client.chosen(session.config).exists() else "all"


def _plugins(session: Session, whose: str) -> Plugins:
    from archived.config import load
    from archived.plugins import find

    match whose:
        case "enabled":
            return load(client.chosen(session.config)).plugins
        case "none":
            return find(())
        case "all":
            broken: list[PluginError] = []
            given = find(_all_for_use(), errors=broken)
            for error in broken:
                click.echo(_("note: {note}").format(note=render(error.message)), err=True)
            return given
        case _:
            return find(tuple(name.strip() for name in whose.split(",") if name.strip()))


def _all_for_use() -> list[str]:
    """What is installed and meant for work, in the order of a pipeline."""
    there = _installed() - _NOT_FOR_USE
    first = [name for name in _IN_ORDER if name in there]
    return [*first, *sorted(there - set(first))]


def _installed() -> set[str]:
    """Names of every plug-in distribution that is installed."""
    from archived.plugins import installed

    return set(installed())


for _command in (check, doctor, rebuild, hash_password, completion):
    cli.add_command(_command)


def main() -> None:
    """The console script."""
    run_program(cli, "archived")
