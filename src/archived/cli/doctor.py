"""`archived doctor`: does this machine give what the archive needs? Looks by trying; says so."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archived.cli import check, client, output
from archived.cli.client import Session
from archived.cli.errors import OK, PROBLEM, ended_in_order
from archived.errors import ArchivedError
from archived.locale import _, ngettext, render
from archived.message import Message, sequence

if TYPE_CHECKING:
    from archived.cli.doctor_checks import Finding
    from archived.config import Settings


@click.command("doctor")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--as",
    "writer",
    metavar="USER",
    help="With FOLDER, as root: who writes there, such "
    "as the scanners' login; else whoever runs this.",
)
@click.option(
    "--daemon-user",
    "daemon",
    metavar="USER",
    help="With FOLDER, as root: who the "
    "daemon runs as; else the User= of its service, else whoever runs this.",
)
@click.pass_obj
def doctor(session: Session, folder: Path | None, writer: str | None, daemon: str | None) -> None:
    """Look at this machine: what protects, what does not, what is missing.

    With FOLDER: try whether that folder can be a hot folder, by writing, renaming and removing
    files there as scanners and the daemon do, and say what to write into the configuration. Ends
    with 1 when the folder cannot be trusted. Needs no configuration.

    Runs a real confined call and a small fork bomb that ends by itself, writes and fsyncs where
    the daemon will, looks at the hot folders and lets every stage check its surroundings. Ends
    with 1 when something that is needed does not hold or could not be established. Run it as the
    daemon's user, also while it runs.
    """
    if folder is not None:
        from archived.cli.doctor_hotfolder import examine

        examine(session, folder, writer, daemon)
    if writer is not None or daemon is not None:
        raise click.UsageError(_("--as and --daemon-user are for a FOLDER"))
    from archived.cli.doctor_checks import look
    from archived.config import load

    settings = load(client.chosen(session.config))
    with check.busy(_("looking around ...")), ended_in_order():
        found = [*look(settings), *_stages(settings, session), *_daemon(session)]
    unfit = [each for each in found if each.needed and each.verdict != "yes"]
    if session.as_json:
        output.as_json({"fit": not unfit, "findings": [asdict(each) for each in found]})
    else:
        _tell(found, unfit)
    sys.exit(PROBLEM if unfit else OK)


def _stages(settings: Settings, session: Session) -> list[Finding]:
    from archived.cli.doctor_checks import Finding

    found = []
    for plugin in settings.plugins.catalogue():
        named = f"{plugin.name} {plugin.version}".strip()
        what = Message("{named} is loaded", named=named)
        found.append(Finding("plug-in", what, "yes", plugin.distribution or plugin.where))
    for stage in check.checked(settings, check.judged_by_the_service(settings, session)):
        why = sequence(stage["problems"], "; ") or stage["why"]
        what = Message("{stage} can work here", stage=stage["stage"])
        found.append(Finding("stage", what, stage["verdict"], why))
    return found


def _daemon(session: Session) -> list[Finding]:
    from archived.cli.doctor_checks import Finding

    what = Message("the daemon runs and is ready")
    try:
        live: dict[str, Any] = session.ask_daemon("status", {})["daemon"]
    except ArchivedError as error:
        return [Finding("daemon", what, "no", error.message, needed=False)]
    started = output.moment(live["started"], session.place.zone, seconds=True)
    why = sequence(live["not_ready"], "; ") or Message("since {moment}", moment=started)
    ready = Finding("daemon", what, "no" if live["not_ready"] else "yes", why, needed=False)
    return [ready, _accounts(live.get("accounts", {}))]


def _accounts(lanes: dict[str, dict[str, int]]) -> Finding:
    """What the kernel told the daemon about its fork servers."""
    from archived.cli.doctor_checks import Finding

    what = Message("steps have accounts of their own")
    users = sorted({user for lane in lanes.values() for user in lane.values()})
    if not users:
        why = Message(
            "plain mode: they have the daemon's own; the package's unit gives them others"
        )
        return Finding("daemon", what, "no", why, needed=False)
    why = Message(
        "users {users}; stages that make copies have the daemon's own",
        users=", ".join(map(str, users)),
    )
    return Finding("daemon", what, "yes", why, needed=False)


def _tell(found: list[Finding], unfit: list[Finding]) -> None:
    titles = [_("about"), _("is it so?"), _("verdict"), _("why")]
    sheet = output.Table(titles, give=_("why"), also=titles[:3])
    for each in found:
        verdict = output.verdict(each.verdict, noted=not each.needed)
        sheet.row(render(each.about), render(each.what), verdict, render(each.why) or None)
    sheet.show()
    if unfit:
        told = ngettext("{count} finding to see to:", "{count} findings to see to:", len(unfit))
        output.line(told.format(count=len(unfit)), "red")
        for each in unfit:
            parts = (
                render(each.about),
                render(each.what),
                output.word(each.verdict),
                render(each.why),
            )
            output.line(": ".join(parts), "red", indent=2)
    else:
        output.line(_("everything that is needed holds"), "green")
