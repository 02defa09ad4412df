"""Commands by which a person decides about a document. They need the daemon, and are on record."""

from __future__ import annotations

import click

from archived.cli import shown
from archived.cli.asking import Session
from archived.cli.documents import DOCUMENT
from archived.locale import _, language


@click.command("retry")
@DOCUMENT
@click.option("--note", default="", metavar="WORDS", help="Why; kept in the ledger.")
@click.pass_obj
def retry(session: Session, document: str, note: str) -> None:
    """Try a held or waiting document's step again now, with its tries counted afresh.

    DOC is its id, or enough of the beginning or end of it.
    """
    _decide(session, "retry", document, note)


@click.command("release")
@DOCUMENT
@click.option("--note", required=True, metavar="WORDS", help="Why; kept in the ledger for ever.")
@click.option("--code", metavar="CODE", help="Only if this is what holds it, as you saw it.")
@click.pass_obj
def release(session: Session, document: str, note: str, code: str | None) -> None:
    """Let a held or waiting document go on without the stage that stopped it.

    DOC is its id, or enough of the beginning or end of it. Whatever the stage should have done is
    not done: a document released past sign is archived unsigned. With --code it is not released
    when somebody else did so before and something else holds it now.
    """
    if not note.strip():
        raise click.UsageError(_("--note: say why, in a few words"))
    _decide(session, "release", document, note, code)


@click.command("refuse")
@DOCUMENT
@click.option("--note", required=True, metavar="WORDS", help="Why; kept in the ledger for ever.")
@click.pass_obj
def refuse(session: Session, document: str, note: str) -> None:
    """Decide that a held document is not archived; its bytes are kept all the same.

    DOC is its id, or enough of the beginning or end of it. archivectl retry takes it up again.
    """
    if not note.strip():
        raise click.UsageError(_("--note: say why, in a few words"))
    _decide(session, "refuse", document, note)


def _decide(session: Session, what: str, typed: str, note: str, code: str | None = None) -> None:
    before = session.ask_daemon("resolve", {"document": typed})
    answer = session.decide(what, before["id"], note, code)
    if session.as_json:
        shown.as_json({"document": before["id"], "state": answer["state"], "was": before["state"]})
        return
    told = session.ask(
        "explain", document=before["id"], zone=session.place.timezone, language=language() or None
    )
    outcome = (
        _("{name} is not archived; the decision is on record")
        if what == "refuse"
        else _("{name} goes on; the decision is on record")
    )
    shown.line(outcome.format(name=before["name"]))
    shown.line(told["now"])


COMMANDS = (retry, release, refuse)
