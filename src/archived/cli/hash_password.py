"""`archived hash-password`: what stands in `[web] users` instead of a password."""

from __future__ import annotations

import sys

import click

from archived.cli import output
from archived.cli.client import Session
from archived.errors import ArchivedError
from archived.locale import _


@click.command("hash-password")
@click.pass_obj
def hash_password(session: Session) -> None:
    """Print what [web] users has in place of a password.

    Asks for the password twice; from a pipe it takes the first line.
    """
    password = _asked() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ArchivedError(_("an empty password protects nothing"), code="bad-question")
    from archived.observe.http_auth import hashed

    kept = hashed(password)
    if session.as_json:
        output.as_json({"hash": kept})
    else:
        click.echo(kept)


def _asked() -> str:
    return str(
        click.prompt(_("Password"), hide_input=True, confirmation_prompt=_("Once more"), err=True)
    )
