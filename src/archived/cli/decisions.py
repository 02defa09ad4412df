"""Commands by which a person decides about a document. They need the daemon, and are on record."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from archived.cli import output
from archived.cli.client import Session
from archived.cli.documents import DOCUMENT, complete_document
from archived.cli.errors import NOT_NOW, OK
from archived.cli.group import Word
from archived.cli.review import release_shown
from archived.locale import _, language
from archived.model.former_names import CODES


@click.command("retry")
@DOCUMENT
@click.option("--note", default="", metavar="WORDS", help="Why; kept in the ledger.")
@click.pass_obj
def retry(session: Session, document: str, note: str) -> None:
    """Try a held or waiting document's step again now, with its tries counted afresh.

    DOC is its id, or enough of the beginning or end of it, or its file's name.
    """
    decide_about(session, "retry", document, note)


@click.command("release")
@click.argument("document", metavar="[DOC]", required=False, shell_complete=complete_document)
@click.option("--note", required=True, metavar="WORDS", help="Why; kept in the ledger for ever.")
@click.option(
    "--code", type=Word(CODES), metavar="CODE", help="Only if this is what holds it, as you saw it."
)
@click.option(
    "--reviewed",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Let go on what archivectl review showed in this folder, and nothing else.",
)
@click.option("--dossier", metavar="CODE", help="With --reviewed: only what belongs to this.")
@click.pass_obj
def release(
    session: Session,
    document: str | None,
    note: str,
    code: str | None,
    reviewed: Path | None,
    dossier: str | None,
) -> None:
    """Let a held or waiting document go on without the stage that stopped it.

    DOC is its id, or enough of the beginning or end of it, or its file's name. Whatever
    the stage should have done is not done: a document released past sign is archived unsigned. With
    --code it is not released when somebody else did so before and something else holds it now.

    With --reviewed all documents go on that archivectl review showed in FOLDER, or those of them
    that DOC, --code and --dossier name; with the stage after the one that asked, for that one has
    done its work. What is not as it was shown stays held, and it ends with 5.
    """
    if not note.strip():
        raise click.UsageError(_("--note: say why, in a few words"))
    if reviewed is not None:
        known = document and session.ask_daemon("resolve", {"document": document})["id"]
        whole = release_shown(session, reviewed, note, document=known, code=code, dossier=dossier)
        sys.exit(OK if whole else NOT_NOW)
    if document is None or dossier is not None:
        raise click.UsageError(_("name a document, or a folder with --reviewed"))
    decide_about(session, "release", document, note, code)


@click.command("reject")
@DOCUMENT
@click.option("--note", required=True, metavar="WORDS", help="Why; kept in the ledger for ever.")
@click.pass_obj
def reject(session: Session, document: str, note: str) -> None:
    """Decide that a held document is not archived; its bytes are kept all the same.

    DOC is its id, or enough of the beginning or end of it, or its file's name. archivectl
    retry takes it up again.
    """
    if not note.strip():
        raise click.UsageError(_("--note: say why, in a few words"))
    decide_about(session, "reject", document, note)


def decide_about(
    session: Session, what: str, typed: str, note: str, code: str | None = None
) -> None:
    """Tell the daemon the decision about what a person typed, and the person what it came to."""
    before = session.ask_daemon("resolve", {"document": typed})
    answer = session.decide(what, before["id"], note, code)
    if session.as_json:
        output.as_json({"document": before["id"], "state": answer["state"], "was": before["state"]})
        return
    told = session.ask(
        "explain", document=before["id"], zone=session.place.timezone, language=language() or None
    )
    outcome = (
        _("{name} is not archived; the decision is on record")
        if what == "reject"
        else _("{name} goes on; the decision is on record")
    )
    output.line(outcome.format(name=before["name"]))
    output.line(told["now"])


COMMANDS = (retry, release, reject)
