"""The texts of commands, in the language that is spoken: help, and what options mean.

Names of arguments (FILE, DOC) stay as the manual has them. Texts are written in English where the
command is; a plug-in's are found too when they say the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from archived.locale import _, language


def paragraphs(text: str) -> list[str]:
    """A help text's paragraphs, each on one line: what is translated at a time."""
    return [" ".join(each.split()) for each in inspect.cleandoc(text).split("\n\n")]


def texts(command: click.Command) -> Iterator[str]:
    """Everything a command, and those below it, tells about itself."""
    for text in (command.help, command.epilog):
        yield from paragraphs(text or "")
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.help:
            yield " ".join(parameter.help.split())
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from texts(below)


def translate(command: click.Command) -> None:
    """Replace a command's texts, and those of commands below it. Changes nothing in English."""
    if not language():
        return
    command.help = _whole(command.help)
    command.epilog = _whole(command.epilog)
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.help:
            on_one_line = " ".join(parameter.help.split())
            parameter.help = _(on_one_line)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            translate(below)


def _whole(text: str | None) -> str | None:
    return "\n\n".join(map(_, paragraphs(text))) if text else text
