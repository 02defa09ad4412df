"""`archived`: run the daemon, check a configuration, look at the machine."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from archived import __version__
from archived.errors import ArchivedError

DEFAULT_CONFIG = Path("/etc/archived/archived.toml")


@click.group()
@click.version_option(__version__, prog_name="archived")
def cli() -> None:
    """Headless archival daemon."""


@cli.command()
@click.option("--config", type=click.Path(path_type=Path), default=DEFAULT_CONFIG)
def run(config: Path) -> None:
    """Run the daemon in the foreground."""
    from archived.config import load
    from archived.daemon import serve
    from archived.observe import logs

    try:
        settings = load(config)
        logs.configure(settings.log.level, settings.log.format)
        asyncio.run(serve(settings))
    except ArchivedError as error:
        click.echo(f"{error.message}\n{error.hint}", err=True)
        sys.exit(error.exit_status)


main = cli
