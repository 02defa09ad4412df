"""Commands about the ledger, the chained record of everything that was done."""

from __future__ import annotations

import sys
from typing import Any

import click

from archived.cli import output
from archived.cli.client import Session
from archived.cli.errors import OK, PROBLEM, DaemonDown
from archived.cli.group import Program
from archived.errors import ArchivedError
from archived.locale import _, ngettext, render
from archived.message import Message

_LONG = 20_000
"""Entries from which on a terminal shows how far the walk has come."""


@click.group("ledger", cls=Program)
def ledger() -> None:
    """The chained record of everything that was done."""


@ledger.command("verify")
@click.pass_obj
def verify(session: Session) -> None:
    """Walk the whole ledger: was any entry changed, removed or inserted?

    Reads the catalog itself, whether the daemon runs or not; where it may not be read, the daemon
    is asked.
    """
    answer = _verified(session)
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
        told = _(
            "entries cut off at its end are found at the next start, by the store's head "
            "file; write the head down elsewhere, against whoever changes both"
        )
        output.line(told, "dim")
    else:
        wrong = (
            _("the ledger is NOT whole: {why}")
            if answer["verdict"] == "no"
            else _("not established: {why}")
        )
        output.line(wrong.format(why=render(answer["why"])), "red")
        output.line(render(answer["hint"]))
    sys.exit(OK if answer["verdict"] == "yes" else PROBLEM)


def _verified(session: Session) -> dict[str, Any]:
    from archived.observe.api import QueryApi
    from archived.storage.catalog import Catalog

    try:
        catalog = Catalog.open_to_read(session.place.catalog)
    except (ArchivedError, OSError) as error:
        return _asked(session, error)
    try:
        answers = QueryApi(catalog, session.place.store)
        entries = catalog.ledger_head().sequence
        if entries < _LONG or not sys.stderr.isatty():
            return answers.verify_ledger()
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as progress:
            walk = progress.add_task("ledger", total=entries)
            return answers.verify_ledger(lambda done: progress.update(walk, completed=done))
    finally:
        catalog.close()


def _asked(session: Session, error: ArchivedError | OSError) -> dict[str, Any]:
    """The daemon's word; when there is none either, nothing is established."""
    try:
        answer: dict[str, Any] = session.ask_daemon("ledger-verify", {})
    except DaemonDown as down:
        return {
            "verdict": "not established",
            "entries": None,
            "head": None,
            "why": Message("{error}; {message}", error=error, message=down.message),
            "hint": getattr(error, "hint", "") or down.hint,
        }
    return answer


COMMANDS = (ledger,)
