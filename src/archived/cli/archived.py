"""`archived`: run the daemon, check a configuration, look at the machine."""

from __future__ import annotations

import click

from archived import __version__
from archived.cli import place, shown
from archived.cli.asking import Session
from archived.cli.check import check
from archived.cli.completion import completion
from archived.cli.doctor import doctor
from archived.cli.exits import run as run_program
from archived.cli.group import Program


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
    from archived.daemon import serve
    from archived.observe import logs

    settings = load(place.chosen(session.config))
    logs.configure(settings.log.level, settings.log.format)
    asyncio.run(serve(settings))


@cli.command("sample-config")
@click.option("--plugins", default="all", metavar="NAMES", show_default=True,
              help='Whose options to show: "all" that are installed, "enabled" in the '
              'configuration, "none", or names with commas between them.')  # fmt: skip
@click.pass_obj
def sample_config(session: Session, plugins: str) -> None:
    """Print a configuration in which every setting stands with its default, as a comment.

    It loads as it is: archived sample-config > /etc/archived/archived.toml
    """
    from archived.config import load
    from archived.config import sample_config as written
    from archived.plugins import find, installed

    match plugins:
        case "enabled":
            given = load(place.chosen(session.config)).plugins
        case "none":
            given = find(())
        case "all":
            given = find(sorted(installed()))
        case _:
            given = find(tuple(name.strip() for name in plugins.split(",") if name.strip()))
    text = written(given)
    if session.as_json:
        shown.as_json({"plugins": [info.name for info in given.catalogue()], "text": text})
    else:
        click.echo(text, nl=False)


for _command in (check, doctor, completion):
    cli.add_command(_command)


def main() -> None:
    """The console script."""
    run_program(cli, "archived")
