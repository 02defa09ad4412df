"""`archivectl`: the archivist's tool. Asks the daemon, or the catalog when the daemon is down."""

from __future__ import annotations

import click

from archived import __version__
from archived.cli import (
    compare,
    copy,
    cover_sheet,
    decisions,
    documents,
    errors,
    evidence,
    ledger,
    plugins,
    report,
    review,
    signatures,
    status,
    verify,
)
from archived.cli.completion import completion
from archived.cli.group import Ctl


@click.group(cls=Ctl, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="archivectl")
def cli() -> None:
    """Look after the archive: what came in, where it is, what waits for a person."""


for _noun in (
    status,
    report,
    compare,
    plugins,
    documents,
    review,
    signatures,
    decisions,
    copy,
    ledger,
    verify,
    evidence,
    cover_sheet,
):
    for _command in _noun.COMMANDS:
        cli.add_command(_command)
cli.add_command(completion)


def main() -> None:
    """The console script."""
    errors.run(cli, "archivectl")
