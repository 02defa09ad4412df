"""How the command lines end: one table of exit codes, one way to tell a person what went wrong.

Nobody meets a traceback for a mistake of their own; a fault of the program shows one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import click

from archived.cli.help_texts import translate
from archived.errors import ArchivedError
from archived.locale import _, render, speak_as_surroundings

OK = 0
PROBLEM = 1
USAGE = 2
NO_SUCH_DOCUMENT = 4
NOT_NOW = 5
NO_DAEMON = 7
INTERNAL = 70
BAD_CONFIG = 78
INTERRUPTED = 130
CUT_OFF = 141

EXITS: Mapping[int, str] = MappingProxyType(
    {
        OK: "It was done, or the answer is yes.",
        PROBLEM: "A problem was found, or the verdict is not yes.",
        USAGE: "The command line is not understood.",
        NO_SUCH_DOCUMENT: "No document, or more than one, fits what was typed.",
        NOT_NOW: "It does not fit the document's state; nothing was changed.",
        NO_DAEMON: "The daemon is needed for this and cannot be asked.",
        INTERNAL: "A fault of this program; please report the traceback.",
        BAD_CONFIG: "The configuration cannot be used.",
        INTERRUPTED: "Interrupted from the keyboard.",
        CUT_OFF: "Whoever read the output went away.",
    }
)
"""Exit code -> meaning. An interface: codes are added, never changed."""

_OF_CODE = {
    "no-such-document": NO_SUCH_DOCUMENT,
    "not-now": NOT_NOW,
    "bad-question": USAGE,
    "no-daemon": NO_DAEMON,
    "bad-config": BAD_CONFIG,
    "bad-plugin": BAD_CONFIG,
}


class _Terminated(BaseException):
    """SIGTERM came."""


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM first unwinds the block, so that it leaves no process or folder, and then ends us."""

    def end(_number: int, _frame: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    terminated = False
    try:
        yield
    except _Terminated:
        terminated = True
    finally:
        signal.signal(signal.SIGTERM, before)
    if terminated:
        os.kill(os.getpid(), signal.SIGTERM)


class DaemonDown(ArchivedError):
    """The daemon is needed and cannot be asked."""

    code = "no-daemon"
    exit_status = NO_DAEMON


def exit_of(error: ArchivedError) -> int:
    """The exit code for an error, whether it was met here or told by the daemon."""
    return _OF_CODE.get(error.code, error.exit_status)


class CutOff(Exception):
    """Nobody reads our output any more. Not an `OSError`: click has its own idea of those."""


def run(cli: click.Command, name: str) -> None:
    """Run a command line as a program: never returns."""
    try:
        status = _run(cli, name)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (BrokenPipeError, CutOff):
        # Python flushes once more at exit; that must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = CUT_OFF
    sys.exit(status)


def _run(cli: click.Command, name: str) -> int:
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter shows its number instead of ending the program.
        if stream is not None:  # a service may be started without one
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # always TextIO here
    try:
        if "--json" not in sys.argv:  # what programs read is never translated
            speak_as_surroundings()
            translate(cli)
        cli.main(prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except ArchivedError as error:
        tell(error)
        return exit_of(error)
    except (BrokenPipeError, CutOff):
        raise
    except ExceptionGroup as group:
        return _of_group(group)
    except Exception:  # noqa: BLE001 - the last one to see it says that it is our fault
        traceback.print_exc()
        return INTERNAL
    return OK


def _of_group(group: ExceptionGroup[Exception]) -> int:
    """Errors of ours that ended a task group are told like any other."""
    ours, others = group.split(ArchivedError)
    if ours is None or others is not None:
        traceback.print_exception(group)
        return INTERNAL
    told = [error for error in _leaves(ours) if isinstance(error, ArchivedError)]
    for error in told:
        tell(error)
    return exit_of(told[0])


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def tell(error: ArchivedError) -> None:
    """Say on stderr what happened and what to do; as JSON where `--json` was asked for."""
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": error.as_json()}, ensure_ascii=False), err=True)
        return
    click.echo(render(error.message), err=True)
    if error.hint:
        click.echo(_("hint: {hint}").format(hint=render(error.hint)), err=True)
