"""Command groups: every command knows `--config` and `--json`, wherever they stand, and plug-ins
are only loaded when somebody may be asking for a command of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from archived.cli.client import ENVIRONMENT, Session
from archived.cli.errors import CutOff
from archived.cli.help_texts import translate
from archived.errors import ArchivedError
from archived.locale import _, render
from archived.model.former_names import COMMANDS


def _config_option() -> click.Option:
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        expose_value=False,
        is_eager=True,
        callback=_take_config,
        help=f"The configuration (or {ENVIRONMENT} in the environment; "
        "else /etc/archived/archived.toml).",
    )


def _json_option() -> click.Option:
    return click.Option(
        ["--json"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_take_json,
        help="Answer as JSON; docs/ has the shapes.",
    )


def session_of(context: click.Context) -> Session:
    """The call's session; made when the first of its options is met."""
    session = context.ensure_object(Session)
    assert isinstance(session, Session)  # noqa: S101 - ensure_object made it, or a parent had it
    return session


def _take_config(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    session = session_of(context)  # always: commands rely on its being there
    if value is not None:
        session.config = value


def _take_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        session_of(context).as_json = True


def give_options(command: click.Command) -> None:
    """Let a command (and those below it) know the options every command has."""
    known = {name for option in command.params for name in option.opts}
    for option in (_config_option(), _json_option()):
        if not known & set(option.opts):
            command.params.append(option)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            give_options(below)


_SENTENCE = 500
"""Letters of a command's first sentence: as many as anybody writes."""


def is_now_called(former: str, name: str) -> str:
    """What somebody is told who uses a former name."""
    return _('"{former}" is now called "{name}"').format(former=former, name=name)


class Word(click.ParamType[str]):
    """One word, which the archive may have called otherwise before: `former` -> name of now."""

    name = "word"

    def __init__(self, former: Mapping[str, str]) -> None:
        self.former = former

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word. Raises `click.BadParameter` for a former one."""
        if value in self.former:
            self.fail(is_now_called(value, self.former[value]), param, ctx)
        return str(value)


class Choice(click.Choice[str]):
    """One of some words; who writes a former one is told its name of now."""

    def __init__(self, choices: Sequence[str], former: Mapping[str, str]) -> None:
        super().__init__(choices)
        self.former = former

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word, when it is one of them."""
        if value in self.former:
            self.fail(is_now_called(value, self.former[value]), param, ctx)
        return super().convert(value, param, ctx)


class Program(click.Group):
    """A group whose commands all have the two options, and whose help tells each in a sentence."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        give_options(self)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Take a command in, with the options that every command has."""
        give_options(cmd)
        super().add_command(cmd, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command with the whole first sentence of its help; click itself would cut it off."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        told = [
            (name, command.get_short_help_str(_SENTENCE))
            for name, command in found
            if command is not None and not command.hidden
        ]
        if told:
            with formatter.section(_("Commands")):
                formatter.write_dl(told)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise CutOff from None


class Ctl(Program):
    """A program that looks for unknown commands among the plug-ins'."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._asked_plugins = False

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command of ours, or else a plug-in's."""
        found = super().get_command(ctx, cmd_name)
        if found is None:
            self._ask_plugins(ctx)
            found = super().get_command(ctx, cmd_name)
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command there is: for help and completion."""
        self._ask_plugins(ctx)
        return super().list_commands(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it; a `--config` that follows the command counts when it is looked for."""
        for index, word in enumerate(args):
            if word == "--config" and index + 1 < len(args):
                session_of(ctx).config = Path(args[index + 1])
            elif word.startswith("--config="):
                session_of(ctx).config = Path(word.removeprefix("--config="))
        if args and args[0] in COMMANDS and self.get_command(ctx, args[0]) is None:
            ctx.fail(is_now_called(args[0], COMMANDS[args[0]]))
        return super().resolve_command(ctx, args)

    def _ask_plugins(self, context: click.Context) -> None:
        if self._asked_plugins:
            return
        self._asked_plugins = True
        ours = set(self.commands)
        quiet = context.resilient_parsing
        for warning in _add_commands(self, session_of(context)):
            if not quiet:
                click.echo(_("note: {note}").format(note=render(warning)), err=True)
        for name in set(self.commands) - ours:
            translate(self.commands[name])


def _add_commands(group: click.Group, session: Session) -> list[str]:
    """Let enabled plug-ins add their commands; what is in the way is returned, never raised."""
    from archived.cli import client
    from archived.config.schema import PluginTable
    from archived.config.toml_files import read
    from archived.errors import PluginError
    from archived.plugins import find

    config = client.chosen(session.config)
    if not config.exists():
        return []  # who asks for help before there is a configuration needs no lecture on it
    try:
        source = read(config)  # also refuses files that anybody may write
        table = PluginTable.model_validate(source.tables.get("plugins", {}))
    except (ArchivedError, ValueError) as error:
        told = _("plug-ins' commands are not known: {error}")
        return [told.format(error=render(str(error)))]
    errors: list[PluginError] = []
    plugins = find(table.enabled, table.folders, errors=errors)
    return [error.message for error in errors] + plugins.add_commands(group)
