"""The command that has copies made of documents that lack them. It needs the daemon."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from archived.cli import output
from archived.cli.client import Session
from archived.cli.decisions import decide_about
from archived.cli.documents import complete_document
from archived.cli.errors import NOT_NOW, OK
from archived.locale import _, ngettext


@click.command("copy")
@click.argument("document", metavar="[DOC]", required=False, shell_complete=complete_document)
@click.option("--all", "everything", is_flag=True, help="All sealed documents that lack a copy.")
@click.option("--again", is_flag=True, help="With --all: read back the copies of all others too.")
@click.option("--note", default="", metavar="WORDS", help="Why; kept in the ledger.")
@click.pass_obj
def copy(session: Session, document: str | None, everything: bool, again: bool, note: str) -> None:
    """Have copies made of documents sealed before a copy stage or a target was added.

    DOC is its id, or enough of the beginning or end of it. The document goes through the stages
    of its pipeline that make copies now; a copy that is there already is read back. With --all
    every sealed document is looked at, and those go that are not safe or have not been through
    the copy stages as they are configured now; what comes in goes first. Ends with 5 when
    something was left because no stage of its pipeline makes copies.
    """
    if (document is None) != everything or (again and not everything):
        raise click.UsageError(_("name a document, or say --all"))
    if document is not None:
        decide_about(session, "copy", document, note)
        return
    told = _walk(session, note, again=again)
    if session.as_json:
        output.as_json(told)
    else:
        _tell(told)
    sys.exit(NOT_NOW if told["left"] else OK)


def _walk(session: Session, note: str, *, again: bool) -> dict[str, Any]:
    """The daemon asks for some at a time, so that nothing else has to wait for long."""
    total: dict[str, Any] = {"asked": 0, "have_all": 0, "on_their_way": 0, "held": 0, "left": {}}
    after: str | None = ""
    while after is not None:
        told = session.tell(
            "POST",
            "/v1/copies",
            {
                "operator": os.environ.get("SUDO_USER", ""),
                "note": note,
                "after": after,
                "again": again,
            },
        )
        for key in ("asked", "have_all", "on_their_way", "held"):
            total[key] += told[key]
        for pipeline, count in told["left"].items():
            total["left"][pipeline] = total["left"].get(pipeline, 0) + count
        after = told["after"]
    return total


def _tell(told: dict[str, Any]) -> None:
    for key, words in (
        (
            "asked",
            ngettext(
                "{count} document is to be copied",
                "{count} documents are to be copied",
                told["asked"],
            ),
        ),
        (
            "on_their_way",
            ngettext(
                "{count} is on its way to its copies",
                "{count} are on their way to their copies",
                told["on_their_way"],
            ),
        ),
        (
            "have_all",
            ngettext("{count} has its copies", "{count} have their copies", told["have_all"]),
        ),
        (
            "held",
            ngettext(
                "{count} is held for a person first",
                "{count} are held for a person first",
                told["held"],
            ),
        ),
    ):
        if told[key] or key == "asked":
            output.line(words.format(count=told[key]))
    for pipeline, count in told["left"].items():
        words = ngettext(
            '{count} stays without copies: no stage of the pipeline "{pipeline}" makes any',
            '{count} stay without copies: no stage of the pipeline "{pipeline}" makes any',
            count,
        )
        output.line(words.format(count=count, pipeline=pipeline), "red")


COMMANDS = (copy,)
