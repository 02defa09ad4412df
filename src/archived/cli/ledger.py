"""Commands about the ledger, the chained record of everything that was done."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archived.cli import output
from archived.cli.client import Session
from archived.cli.errors import OK, PROBLEM, DaemonDown
from archived.cli.group import Program
from archived.errors import ArchivedError, LedgerError
from archived.locale import _, ngettext, render
from archived.message import Message

if TYPE_CHECKING:
    from archived.storage.published_head import PublishedHead

_LONG = 20_000
"""Entries from which on a terminal shows how far the walk has come."""


@click.group("ledger", cls=Program)
def ledger() -> None:
    """The chained record of everything that was done."""


@ledger.command("verify")
@click.option(
    "--against",
    metavar="FILE|TEXT",
    help="Published heads that the ledger must contain: a file with them, or one as text.",
)
@click.pass_obj
def verify(session: Session, against: str | None) -> None:
    """Walk the whole ledger: was any entry changed, removed or inserted?

    Reads the catalog itself, whether the daemon runs or not; where it may not be read, the daemon
    is asked. A ledger that was made anew as a whole is found with --against only, and only up to
    the last head given.
    """
    answer = _verified(session, _heads(against))
    if session.as_json:
        output.as_json(answer)
    elif answer["verdict"] == "yes":
        count = answer["entries"]
        told = ngettext(
            "the ledger is whole: {count} entry",
            "the ledger is whole: {count} entries, each bound to the one before it",
            count,
        )
        output.line(told.format(count=count), "green")
        output.line(_("head {hash}").format(hash=answer["head"]))
        _tell_established(answer)
    else:
        wrong = (
            _("the ledger is NOT whole: {why}")
            if answer["verdict"] == "no"
            else _("not established: {why}")
        )
        output.line(wrong.format(why=render(answer["why"])), "red")
        output.line(render(answer["hint"]))
    sys.exit(OK if answer["verdict"] == "yes" else PROBLEM)


def _tell_established(answer: dict[str, Any]) -> None:
    """What heads outside prove, and what they do not."""
    against = answer["against"]
    if against is None:
        told = _(
            "not established: whether the whole ledger was made anew, or cut off together with "
            "the store's head file. That needs a head that lies elsewhere (--against). To "
            "publish this one:"
        )
        output.line(told, "yellow")
    else:
        told = _("up to entry {sequence} it is the ledger that was published").format(
            sequence=against["agrees_to"]
        )
        output.line(told, "green")
        if left := against["not_established"]:
            told = _(
                "not established: entries {first} to {last}, which are newer than every head given"
            )
            output.line(told.format(**left), "yellow")
    if answer["published"]:
        click.echo(answer["published"])


def _heads(against: str | None) -> tuple[PublishedHead, ...]:
    """The heads in a file, or in the words themselves."""
    if against is None:
        return ()
    from archived.api.regular_file import opened
    from archived.storage.published_head import LONGEST, read_heads

    try:
        with opened(Path(against), LONGEST) as file:
            text = file.read(LONGEST).decode("utf-8", "replace")
    except FileNotFoundError:
        text = against
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) != errno.ENAMETOOLONG:
            raise LedgerError(
                Message("{path} cannot be read: {error}", path=against, error=error),
                hint=Message("check the name and who may read the file"),
                code="bad-ledger-head",
            ) from error
        text = against
    return read_heads(text)


def _verified(session: Session, against: tuple[PublishedHead, ...]) -> dict[str, Any]:
    from archived.observe.api import QueryApi
    from archived.storage.catalog import Catalog

    try:
        catalog = Catalog.open_to_read(session.place.catalog)
    except (ArchivedError, OSError) as error:
        return _asked(session, error, against)
    try:
        answers = QueryApi(catalog, session.place.store)
        entries = catalog.ledger_head().sequence
        if entries < _LONG or not sys.stderr.isatty():
            return answers.verify_ledger(against=against)
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as progress:
            walk = progress.add_task("ledger", total=entries)
            return answers.verify_ledger(
                lambda done: progress.update(walk, completed=done), against
            )
    finally:
        catalog.close()


def _asked(
    session: Session, error: ArchivedError | OSError, against: tuple[PublishedHead, ...]
) -> dict[str, Any]:
    """The daemon's word; when there is none either, nothing is established.

    A question has room for one head: the newest, which covers what every older one covers.
    """
    question = {"against": against[-1].text} if against else {}
    try:
        answer: dict[str, Any] = session.ask_daemon("ledger-verify", question)
    except DaemonDown as down:
        return {
            "verdict": "not established",
            "entries": None,
            "head": None,
            "published": None,
            "against": None,
            "why": Message("{error}; {message}", error=error, message=down.message),
            "hint": getattr(error, "hint", "") or down.hint,
        }
    return answer


COMMANDS = (ledger,)
