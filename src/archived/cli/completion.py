"""`completion`: the few lines of shell that let Tab complete commands, options and document ids."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


def script(cli: click.Command, program: str, shell: str) -> str:
    """What the shell must be told once."""
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - SHELLS are those that click knows
    variable = f"_{program}_COMPLETE".upper()
    return str(found(cli, {}, program, variable).source())


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what lets SHELL complete this program's commands with the Tab key.

    For bash: archivectl completion bash > /etc/bash_completion.d/archivectl
    """
    root = context.find_root()
    click.echo(script(root.command, str(root.info_name), shell))
