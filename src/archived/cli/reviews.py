"""What a person must look at, written into a folder: the pictures, a page, and what a decision
about them must name. The daemon hands the pictures out as files; nothing here opens one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import click

from archived.cli import shown
from archived.cli.asking import Session
from archived.cli.documents import complete_document
from archived.cli.exits import DaemonDown
from archived.cli.lookfolder import LookFolder, read_shown
from archived.cli.reviewpage import page
from archived.errors import ArchivedError
from archived.locale import _, heard, ngettext

_AT_ONCE = 500


@click.command("review")
@click.argument("documents", metavar="[DOC]...", nargs=-1, shell_complete=complete_document)
@click.option("--code", metavar="CODE", help="Only what is held for this.")
@click.option("--dossier", metavar="CODE", help="Only what belongs to this dossier.")
@click.option("--hotfolder", metavar="NAME", help="Only what arrived in this hot folder.")
@click.option("-o", "--output", metavar="FOLDER", type=click.Path(path_type=Path),
              help="Write the pictures and a page into this new folder.")  # fmt: skip
@click.pass_obj
def review(
    session: Session, documents: tuple[str, ...], code: str | None, dossier: str | None,
    hotfolder: str | None, output: Path | None,
) -> None:  # fmt: skip
    """Show what a person must look at: of these documents, or of all that wait for that.

    With --output the pictures that a stage made of each place are written into FOLDER, with
    index.html to look at them. archivectl release --reviewed FOLDER then lets go on what was shown.
    """
    if documents and (code or dossier or hotfolder):
        raise click.UsageError(_("name documents, or say which with options; not both"))
    wanted = {"code": code, "dossier": dossier, "hotfolder": hotfolder}
    ids = _named(session, documents) if documents else _waiting(session, wanted)
    found = [each for document in ids for each in _asked(session, document)]
    if output is not None:
        folder = LookFolder.new(output)
        found = [each for each in found if _fetch(session, folder, each)]
        folder.write("index.html", page(found, str(folder.path)))
        folder.write_shown(found)
    if session.as_json:
        shown.as_json({"folder": output and str(output.absolute()), "documents": found})
        return
    _list(found)
    if output is not None and found:
        told = _("look at {page}, then: archivectl release --reviewed {folder} --note WHY")
        shown.line(told.format(page=output / "index.html", folder=quote(str(output))))


def _named(session: Session, typed: Iterable[str]) -> Iterator[str]:
    for each in typed:
        yield session.ask_daemon("resolve", {"document": each})["id"]


def _waiting(session: Session, wanted: Mapping[str, str | None]) -> Iterator[str]:
    """All that are held for a review, whatever their number."""
    said = {name: value for name, value in wanted.items() if value is not None}
    before: dict[str, str] = {}
    while True:
        asked = {**said, **before, "limit": str(_AT_ONCE)}
        rows = session.ask_daemon("reviews", asked)["documents"]
        yield from (row["id"] for row in rows)
        if len(rows) < _AT_ONCE:
            return
        before = {"before": rows[-1]["id"]}


def _asked(session: Session, document: str) -> list[dict[str, Any]]:
    """Each step of the document that asked for a look, with where to look."""
    answer = session.ask_daemon("review", {"document": document})
    if not answer["steps"]:
        none = _("{document}: no stage asked that a person looks at it")
        click.echo(none.format(document=document), err=True)
    return [{"document": answer["document"], **step} for step in answer["steps"]]


def _fetch(session: Session, folder: LookFolder, it: dict[str, Any]) -> bool:
    """Write a step's pictures, each once; `False`, and none, when they are not to be had as they
    were asked about.
    """
    files: dict[str, str] = {}
    why = ""
    for region in (region for each in it["reviews"] for region in each["regions"]):
        name = region["picture"]
        region["file"] = ""
        if not name:
            continue
        if name not in files:
            try:
                files[name], digest = folder.picture(
                    partial(session.picture, it["document"]["id"], it["step"], name)
                )
            except DaemonDown:
                raise
            except ArchivedError as error:
                why = heard(error.message)
                break
            if digest != region["sha512"]:
                why = _("it was worked on meanwhile; ask again")
                break
        region["file"] = files[name]
    if not why:
        return True
    folder.drop(files.values())
    left_out = _("{document}: left out: {why}").format(document=it["document"]["id"], why=why)
    click.echo(left_out, err=True)
    return False


def release_shown(
    session: Session, folder: Path, note: str, *, document: str | None, code: str | None,
    dossier: str | None,
) -> bool:  # fmt: skip
    """Let go on what the folder shows; whether all of it did. What changed since is named."""
    wanted = [
        each
        for each in read_shown(folder)
        if document in {None, each["document"]}
        and code in {None, each["code"]}
        and dossier in {None, each["dossier"]}
    ]
    if not wanted:
        raise click.UsageError(_("nothing of that was shown in {folder}").format(folder=folder))
    released: list[dict[str, Any]] = []
    left: list[dict[str, Any]] = []
    for each in wanted:
        try:
            session.decide("release", each["document"], note, shown=each["shown"])
            released.append(each)
        except ArchivedError as error:
            if error.code not in {"not-now", "no-such-document"}:
                raise
            left.append({**each, "why": error.message})
    if session.as_json:
        shown.as_json({"released": released, "not_released": left})
        return not left
    told = ngettext(
        "{count} document goes on; the decision is on record",
        "{count} documents go on; the decision is on record", len(released),
    )  # fmt: skip
    shown.line(told.format(count=len(released)))
    for each in left:
        shown.line(f"{each['name']}: {heard(each['why'])}", "red")
    return not left


def _list(found: list[dict[str, Any]]) -> None:
    if not found:
        click.echo(_("nothing waits for a person to look"), err=True)
        return
    sheet = shown.Sheet(
        [_("document"), _("why"), _("page"), _("kind"), _("ink"), _("file"), _("name")],
        right=[_("page"), _("ink")], give=_("name"), also=[_("kind")],
    )  # fmt: skip
    for it in found:
        document = it["document"]
        for each in it["reviews"]:
            for region in each["regions"] or [{}]:
                share = region.get("share")
                sheet.row(
                    document["id"], each["code"], region.get("page"), region.get("kind") or None,
                    None if share is None else f"{share * 100:.1f} %", region.get("file") or None,
                    document["name"],
                )  # fmt: skip
    sheet.show()


COMMANDS = (review,)
