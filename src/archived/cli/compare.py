"""`archivectl compare`: do catalog, ledger and store agree, and what to type where they do not."""

from __future__ import annotations

import sys
from typing import Any

import click

from archived.cli import output
from archived.cli.client import Session
from archived.cli.errors import OK, PROBLEM, DaemonDown
from archived.locale import _, ngettext, render


@click.command("compare")
@click.option("--now", is_flag=True, help="Compare now, in this process, as the daemon does daily.")
@click.pass_obj
def compare(session: Session, now: bool) -> None:
    """Show on what catalog, ledger and store do not agree, and what to type for each.

    The daemon compares them once a day: every inventory is read, no content. Without a daemon it
    is done now; that takes the right to read catalog and store, and on a large store hours. Ends
    with 1 when something differs, or when nothing was compared yet.
    """
    found = None if now else _latest(session)
    if found is None:
        found = {"comparison": _compared(session)}
    if session.as_json:
        output.as_json(found)
    elif found["comparison"] is None:
        output.line(
            _("not compared yet since the daemon started; archivectl compare --now does it"),
            "yellow",
        )
    else:
        _show(found["comparison"], session)
    it = found["comparison"]
    sys.exit(OK if it is not None and not sum(it["counts"].values()) else PROBLEM)


def _latest(session: Session) -> dict[str, Any] | None:
    """What the daemon found; `None` when there is none to be asked."""
    try:
        answer: dict[str, Any] = session.ask_daemon("comparison", {})
    except DaemonDown:
        return None
    return answer


def _compared(session: Session) -> dict[str, Any]:
    from archived.observe.store_audit import compared
    from archived.storage.catalog import Catalog
    from archived.storage.ocfl.store import Store

    store = Store(session.place.store)
    store.open()
    catalog = Catalog.open_to_read(session.place.catalog)
    try:
        return compared(store, catalog)
    finally:
        catalog.close()


def meanings() -> dict[str, str]:
    """Kind of difference -> what it means, in the reader's language."""
    return {
        "ledger-broken": _("the ledger is not whole, or not the one that the store knows"),
        "not-sealed": _("called sealed or safe by the catalog, and has no object"),
        "object-missing": _("its object is not in the store"),
        "object-differs": _("what lies in its object's place is not what was sealed"),
        "object-damaged": _("its object's inventory or sidecar is missing or does not fit"),
        "object-unreadable": _("its object could not be read; it may be whole"),
        "object-unknown": _("lies in the store, and the catalog does not have it as sealed"),
        "seal-unrecorded": _("the ledger does not tell that it was sealed"),
        "safe-unproven": _("called safe, and its verified copies are not on record"),
    }


def summary(counts: dict[str, int]) -> str:
    """The kinds that there are, with their numbers."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def _show(it: dict[str, Any], session: Session) -> None:
    at = output.moment(it["at"], session.place.zone, seconds=True)
    total = sum(it["counts"].values())
    if not total:
        told = _("catalog, ledger and store agree; compared at {moment}")
        output.line(told.format(moment=at), "green")
        return
    said = meanings()
    for kind, count in it["counts"].items():
        of_kind = [each for each in it["differences"] if each["kind"] == kind]
        if not of_kind:
            continue
        output.heading(f"{kind}: {said[kind]} ({count})")
        for each in of_kind:
            _show_one(each)
        if count > len(of_kind):
            told = _("only the first {count} are named here")
            output.line(told.format(count=len(of_kind)), indent=2)
    told = ngettext(
        "{count} difference, compared at {moment}; docs/operations.md says more",
        "{count} differences, compared at {moment}; docs/operations.md says more",
        total,
    )
    output.line(told.format(count=total, moment=at), "bold red")


def _show_one(each: dict[str, Any]) -> None:
    whose = " ".join(part for part in (each["document"], each["name"]) if part)
    what = render(each["what"])
    output.line(f"{whose}: {what}" if whose else what, "red", indent=2)
    if each["copies"]:
        told = _("verified copies at: {targets}").format(targets=", ".join(each["copies"]))
        output.line(told, indent=4)
    for command in each["commands"]:
        output.line(command, indent=4)


COMMANDS = (compare,)
