"""Commands about documents: list them, look at one, explain it, decide about it, find it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import Any

import click
from click.shell_completion import CompletionItem

from archived.cli import output
from archived.cli.client import Session
from archived.cli.group import Choice, session_of
from archived.errors import ArchivedError
from archived.locale import _, language, number, render
from archived.model.former_names import STATES as FORMER_STATES

STATES = ("admitted", "working", "waiting", "divided", "held", "rejected", "sealed", "safe")


def complete_document(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids that begin as typed, the newest documents' first."""
    try:
        found = session_of(context).ask("documents", limit=200)["documents"]
    except ArchivedError:
        return []
    return [
        CompletionItem(
            each["id"], help=output.clean(f"{output.word(each['state'])}: {each['name']}")
        )
        for each in found
        if each["id"].startswith(incomplete.lower())
    ]


DOCUMENT = click.argument("document", metavar="DOC", shell_complete=complete_document)


@click.command("documents")
@click.option(
    "--state", "states", multiple=True, type=Choice(STATES, FORMER_STATES), help="Only these."
)
@click.option("--hotfolder", metavar="NAME", help="Only what arrived in this hot folder.")
@click.option("--dossier", metavar="CODE", help="Only what belongs to this dossier.")
@click.option("--name", metavar="PART", help="Only those with this in their name.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="At most so many, the newest.",
)
@click.option("--before", metavar="DOC", help="Go on with a listing after this document's id.")
@click.option(
    "--old-reading",
    is_flag=True,
    help="Only sealed documents with pages that an "
    "earlier rule of the stage ocr called blank or did not read.",
)
@click.pass_obj
def documents(
    session: Session,
    states: tuple[str, ...],
    hotfolder: str | None,
    dossier: str | None,
    name: str | None,
    limit: int,
    before: str | None,
    *,
    old_reading: bool,
) -> None:
    """List documents, the newest first."""
    if old_reading and (states or dossier or name):
        raise click.UsageError(_("--old-reading goes with --hotfolder, --limit and --before only"))
    answer = (
        session.ask("old-readings", hotfolder=hotfolder, limit=limit, before=before)
        if old_reading
        else session.ask(
            "documents",
            states=",".join(states) or None,
            hotfolder=hotfolder,
            dossier=dossier,
            name=name,
            limit=limit,
            before=before,
        )
    )
    if session.as_json:
        output.as_json(answer)
        return
    if old_reading:
        _list_pages(answer["documents"])
    else:
        _list(answer["documents"], session.place.zone)
        _tell_files(answer.get("files", ()))
    if len(answer["documents"]) == limit:
        last = answer["documents"][-1]["id"]
        click.echo(_("there may be more: --limit, or --before {last}").format(last=last), err=True)


def _digest(digest: str | None) -> str | None:
    """A terminal gets a digest's beginning; a file, a pipe or `--json` the whole."""
    return f"{digest[:16]}..." if digest and output.terminal() else digest


def _list(found: list[dict[str, Any]], zone: tzinfo) -> None:
    if not found:
        click.echo(_("no documents"), err=True)
        return
    sheet = output.Table(
        [_("document"), _("received"), _("state"), _("step"), _("pages"), _("name")],
        right=[_("pages")],
        give=_("name"),
        also=[_("state")],
    )
    for each in found:
        step = f"{each['next_stage']} ..." if each["running"] else each["next_stage"]
        state = output.word(each["state"])
        why = f"{state}: {each['code']}" if each["code"] else state
        received = output.moment(each["received"], zone)
        sheet.row(output.short_id(each["id"]), received, why, step, each["pages"], each["name"])
    sheet.show()
    output.line(output.zone_name(zone), "dim")


def _tell_files(files: Iterable[Mapping[str, Any]]) -> None:
    """Files of such a name that became no document yet: who looks for one must not miss it."""
    for each in files:
        told = _(
            "{folder}/{name}: lies in the hot folder and is no document ({state}); see: "
            "archivectl explain {word}"
        ).format(
            folder=each["hotfolder"],
            name=each["name"],
            state=output.word(each["state"]),
            word=shlex.quote(each["name"]),
        )
        click.echo(output.clean(told), err=True)


def _list_pages(found: list[dict[str, Any]]) -> None:
    if not found:
        click.echo(_("no documents"), err=True)
        return
    from archived.observe.old_reading import REASONS

    sheet = output.Table(
        [_("document"), _("name"), _("read by"), _("pages"), _("what was made of them")],
        give=_("name"),
        also=[_("what was made of them")],
    )
    for each in found:
        for kind, pages in each["doubtful_pages"].items():
            numbers = ", ".join(map(str, pages[:20])) + (", ..." if len(pages) > 20 else "")
            sheet.row(
                output.short_id(each["id"]),
                each["name"],
                each["read_by"],
                numbers,
                render(REASONS[kind]),
            )
    sheet.show()


@click.command("show")
@DOCUMENT
@click.pass_obj
def show(session: Session, document: str) -> None:
    """Show all that is known of a document.

    DOC is its id, or enough of the beginning or end of it, or its file's name; also that of a file
    that still waits in a hot folder.
    """
    answer = session.ask("show", document=document)
    if session.as_json:
        output.as_json(answer)
        return
    if answer["id"] is None:
        _show_file(answer, session.place.zone)
        return
    _show(answer, session.place.zone)


def _show_file(it: dict[str, Any], zone: tzinfo) -> None:
    output.pairs(
        [
            (_("file"), it["name"]),
            (_("state"), output.word(it["state"])),
            (_("why"), _reason(it)),
            (_("hot folder"), it["hotfolder"]),
            (_("seen"), output.moment(it["first_seen"], zone, seconds=True)),
            (_("size"), output.size(it["size"])),
        ]
    )
    output.line(_("it is no document; what to do: archivectl explain"), "dim")


def _reason(it: dict[str, Any]) -> str:
    return f"{output.reason(it['reason'], it['code'])} [{it['code']}]" if it["code"] else ""


def _show(it: dict[str, Any], zone: tzinfo) -> None:
    place = it["object"] or {}
    output.pairs(
        [
            (_("document"), it["id"]),
            (_("name"), it["name"]),
            (_("state"), output.word(it["state"])),
            (_("why"), _reason(it)),
            (_("hot folder"), it["hotfolder"]),
            (_("received"), output.moment(it["received"], zone, seconds=True)),
            (_("sealed"), it["sealed_at"] and output.moment(it["sealed_at"], zone, seconds=True)),
            (_("safe"), it["safe_at"] and output.moment(it["safe_at"], zone, seconds=True)),
            (_("original"), f"{it['media_type']}, {output.size(it['size'])}"),
            (_("pages"), it["pages"]),
            (_("secrecy"), it["secrecy"]),
            (_("pipeline"), f"{it['pipeline']}: {' → '.join(it['stages'])}"),
            (_("in the store"), place.get("path")),
            (_("its inventory"), _digest(place.get("inventory_sha512"))),
            (
                _("copies"),
                _("{made} verified of {wanted} wanted").format(
                    made=len(it["replicas"]), wanted=it["copies_wanted"]
                ),
            ),
            (_("its log"), f"journalctl DOCUMENT={it['id']}"),
        ]
    )
    if it["fields"]:
        output.heading(_("What it says"))
        output.pairs((output.label(name), value) for name, value in it["fields"].items())
    _show_files(it)
    _show_steps(it["steps"], zone)
    _asked(it["steps"])
    if it["replicas"]:
        _show_copies(it["replicas"], zone)
    what = _("{zone}; what happened, in words: archivectl explain")
    output.line(what.format(zone=output.zone_name(zone)), "dim")


def _show_files(it: dict[str, Any]) -> None:
    output.heading(_("Files"))
    files = output.Table(
        [_("role"), _("name"), _("type"), _("size"), _("made by"), "SHA-512"],
        right=[_("size")],
        give="SHA-512",
    )
    made_by = {step["id"]: step["stage"] for step in it["steps"]}
    for file in it["artifacts"]:
        role = output.role(file["role"])
        role = role if file["current"] else _("{role} (replaced)").format(role=role)
        files.row(
            role,
            file["name"],
            file["media_type"],
            output.size(file["size"]),
            made_by.get(file["step"], _("the scanner")),
            _digest(file["sha512"]),
        )
    files.show()


def _show_steps(found: list[dict[str, Any]], zone: tzinfo) -> None:
    output.heading(_("Steps"))
    steps = output.Table(
        [_("started"), _("stage"), _("attempt"), _("ending"), _("seconds"), _("code")],
        right=[_("attempt"), _("seconds")],
    )
    for step in found:
        wall = None if step["wall"] is None else number(step["wall"])
        ending = output.ending(step["ending"])
        steps.row(
            output.moment(step["started"], zone, seconds=True),
            step["stage"],
            step["attempt"],
            ending,
            wall,
            step["code"],
        )
    steps.show()


def _show_copies(found: list[dict[str, Any]], zone: tzinfo) -> None:
    output.heading(_("Copies"))
    copies = output.Table(
        [_("target"), _("verified"), _("files"), _("size"), _("key")],
        right=[_("files"), _("size")],
        give=_("key"),
    )
    for copy in found:
        copies.row(
            copy["target"],
            output.moment(copy["verified"], zone, seconds=True),
            copy["files"],
            output.size(copy["size"]),
            copy["key"],
        )
    copies.show()


def _asked(steps: list[dict[str, Any]]) -> None:
    """What a person was to look at, and whether that held the document."""
    asked = [(step, review) for step in steps for review in step["reviews"] or ()]
    if not asked:
        return
    output.heading(_("To be looked at"))
    sheet = output.Table(
        [_("stage"), _("code"), _("regions"), _("held it"), _("why")],
        right=[_("regions")],
        give=_("why"),
    )
    for step, review in asked:
        done_again = step["ending"] == "superseded"
        held = (
            _("no, done again") if done_again else output.word("no" if review["flagged"] else "yes")
        )
        sheet.row(
            step["stage"],
            review["code"],
            len(review["regions"]),
            held,
            output.reason(review["message"], review["code"]),
        )
    sheet.show()


@click.command("explain")
@DOCUMENT
@click.option("--verbose", is_flag=True, help="Also where in its code a stage failed.")
@click.pass_obj
def explain(session: Session, document: str, *, verbose: bool) -> None:
    """Tell in plain words what happened to a document, why, and what to do next.

    DOC is its id, or enough of the beginning or end of it, or its file's name; also that of a file
    that still waits in a hot folder.
    """
    answer = session.ask(
        "explain",
        document=document,
        zone=session.place.timezone,
        language=language() or None,
        verbose="yes" if verbose else None,
    )
    if session.as_json:
        output.as_json(answer)
        return
    zone = session.place.zone
    state = answer["state"]
    opening = _("{name} is {state}").format(name=answer["name"], state=output.word(state))
    output.line(opening, output.STYLES.get(state, "bold"))
    if answer["document"] is not None:
        output.line(answer["document"], "dim")
    output.heading(_("What happened"))
    day = ""
    for told in answer["story"]:
        date, time = output.moment(told["at"], zone, seconds=True).split(" ")
        if date != day:
            output.line(date, "bold", indent=2)
            day = date
        output.line(f"{time}  {told['what']}", indent=4)
    output.heading(_("Where it stands"))
    output.line(answer["now"], indent=2)
    output.heading(_("What to do"))
    output.line(answer["next"], indent=2)
    for choice in answer["choices"]:
        output.line(f"{choice['means']}:", indent=2)
        output.command(choice["command"])
    output.line(answer["paper"], indent=2)
    output.line(output.zone_name(zone), "dim")


@click.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="At most so many, the newest.",
)
@click.pass_obj
def search(session: Session, words: tuple[str, ...], limit: int) -> None:
    """Find archived documents by words in their text, name or description.

    Every word must occur; accents may be left out. Quote a phrase twice: '"tờ trình"'. An
    asterisk at the end of a word stands for any ending.
    """
    answer = session.ask("search", words=" ".join(words), limit=limit)
    if session.as_json:
        output.as_json(answer)
        return
    if not answer["found"]:
        click.echo(_("nothing found; only sealed documents are searched"), err=True)
        return
    sheet = output.Table([_("document"), _("name"), _("where")], give=_("where"))
    for each in answer["found"]:
        sheet.row(output.short_id(each["document"]), each["name"], each["snippet"] or each["facts"])
    sheet.show()


COMMANDS = (documents, show, explain, search)
