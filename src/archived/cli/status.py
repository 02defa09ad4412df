"""Commands about the whole archive: status, balance sheet, plug-ins, reload."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

import click

from archived.cli import client, output
from archived.cli.check import busy, changed, looked, running
from archived.cli.client import RELOAD_PATIENCE, Session
from archived.cli.compare import summary
from archived.cli.credentials import compare, sources
from archived.cli.errors import OK, PROBLEM
from archived.locale import _, day_text, ngettext, render

_BY = {"folder": "hotfolder", "device": "device", "day": "day"}
"""What a line of the balance sheet can stand for, and the key of its name in the answer."""


@click.command("status")
@click.pass_obj
def status(session: Session) -> None:
    """Show how the archive stands: does it work, what is in it, what waits for a person.

    Ends with 1 when the daemon does not run, is not ready or has refused the configuration on
    disk, when a stage or a target is not fit (its disk is away, its key does not open), when
    others may write the receipts, when a file is unaccounted for, or when catalog and store do not
    agree. Documents and files that wait for a person are no fault, and end with 0.
    """
    answer = session.ask("status")
    if session.as_json:
        output.as_json(answer)
    else:
        output.pairs([*_daemon(answer["daemon"]), *_holdings(answer)])
        for reason in (answer["daemon"] or {}).get("not_ready", ()):
            output.line(_("not ready: {reason}").format(reason=render(reason)), "red")
        _refused(answer["daemon"] or {}, session)
        _copies(answer)
        _uncleared(answer["daemon"] or {})
        _waiting_steps(answer)
        _waiting(answer, session)
        _today(answer["daemon"] or {}, session)
    lost = any(sheet["unaccounted"] for sheet in answer["balance"]) or any(_differing(answer))
    live = answer["daemon"] or {}
    faults = ("not_ready", "config_refused", "problems", "untrusted_receipts")
    stuck = not live or any(live.get(each) for each in faults)
    sys.exit(PROBLEM if lost or stuck else OK)


def _differing(answer: dict[str, Any]) -> list[int]:
    """How much differs between catalog and store, by kind; empty while that is not known."""
    store = (answer["daemon"] or {}).get("store")
    return list(store["counts"].values()) if store else []


def _store(live: dict[str, Any] | None) -> object:
    store = (live or {}).get("store")
    if not store:
        return _("not compared yet")
    if not any(store["counts"].values()):
        return _("as in the catalog, compared {ago}").format(ago=_ago(store["at"]))
    told = _("differs from the catalog: {kinds}; see: archivectl compare")
    return told.format(kinds=summary(store["counts"]))


def _ago(text: str | None) -> str | None:
    if text is None:
        return None
    passed = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    return _("{span} ago").format(span=output.span(passed))


def _daemon(live: dict[str, Any] | None) -> list[tuple[str, object]]:
    if live is None:
        return [(_("daemon"), _("not running"))]
    started = _("archived {version}, started {ago}")
    return [
        (_("daemon"), started.format(version=live["version"], ago=_ago(live["started"]))),
        (_("ready"), output.word("no" if live["not_ready"] else "yes")),
    ]


def for_a_person(documents: int, codes: Iterable[str], files: int) -> str:
    """What waits for somebody to decide; empty when nothing does."""
    waiting = []
    if documents:
        named = ngettext("{count} document ({codes})", "{count} documents ({codes})", documents)
        plain = ngettext("{count} document", "{count} documents", documents)
        told = ", ".join(codes)
        waiting.append((named if told else plain).format(count=documents, codes=told))
    if files:
        told = ngettext("{count} file in hot folders", "{count} files in hot folders", files)
        waiting.append(told.format(count=files))
    return _(" and ").join(waiting)


def _holdings(it: dict[str, Any]) -> list[tuple[str, object]]:
    waiting = for_a_person(sum(it["held"].values()), it["held"], it["held_files"])
    documents = ", ".join(f"{n} {output.word(state)}" for state, n in it["documents"].items())
    entries = it["ledger"]["sequence"]
    return [
        (_("documents"), documents or _("none")),
        (_("pages archived"), it["pages_archived"]),
        (_("for a person"), waiting or _("nothing")),
        (_("unaccounted files"), sum(sheet["unaccounted"] for sheet in it["balance"])),
        (_("oldest in work"), _ago(it["oldest_document_in_work"])),
        (_("oldest file arriving"), _ago(it["oldest_unclaimed_file"])),
        (_("store"), _store(it["daemon"])),
        (_("ledger"), ngettext("{count} entry", "{count} entries", entries).format(count=entries)),
    ]


def _refused(live: dict[str, Any], session: Session) -> None:
    if refused := live.get("config_refused"):
        told = _("the configuration on disk is refused since {moment}: {why}")
        since = output.moment(refused["since"], session.place.zone)
        output.line(told.format(moment=since, why=render(refused["why"])), "red")


def _copies(it: dict[str, Any]) -> None:
    if count := it["never_safe"]:
        output.line(never_safe(count), "red")
    if count := it["further_copies"]["due"]:
        told = ngettext(
            "{count} safe document is to get a further copy; {failed} of them failed so far",
            "{count} safe documents are to get a further copy; {failed} of them failed so far",
            count,
        )
        output.line(told.format(count=count, failed=it["further_copies"]["failed"]))


def never_safe(count: int) -> str:
    """That documents are sealed and nothing makes their copies, and what to do."""
    told = ngettext(
        "{count} document is sealed, and nothing makes its copies (copies-missing): "
        "archivectl copy --all",
        "{count} documents are sealed, and nothing makes their copies (copies-missing): "
        "archivectl copy --all",
        count,
    )
    return told.format(count=count)


def _doubts() -> dict[str, str]:
    return {
        "owner": _(
            "hot folder {name}: the receipts folder belongs to somebody else; what stands "
            "there may be forged (receipts-untrusted)"
        ),
        "mode": _(
            "hot folder {name}: others may write into the receipts folder; what stands "
            "there may be forged (receipts-untrusted)"
        ),
        "files": _(
            "hot folder {name}: somebody else wrote files under the names of receipts; they "
            "may be forged (receipts-untrusted)"
        ),
    }


def _uncleared(live: dict[str, Any]) -> None:
    for name, why in live.get("untrusted_receipts", {}).items():
        output.line(_doubts().get(why, "{name}").format(name=name), "red")
    for folder, count in live.get("uncleared", {}).items():
        if count:
            told = ngettext(
                "{count} folder could not be removed (not-cleared); it lies in {folder}",
                "{count} folders could not be removed (not-cleared); they lie in {folder}",
                count,
            )
            output.line(told.format(count=count, folder=folder), "yellow")


def _waiting_steps(it: dict[str, Any]) -> None:
    """Documents whose next step had to wait: for a target that is away, say."""
    for each in it["waiting"]:
        told = ngettext(
            "{stage}: {count} document waits: {reason}",
            "{stage}: {count} documents wait: {reason}",
            each["documents"],
        )
        why = f"{output.reason(each['reason'], each['code'])} [{each['code']}]"
        output.line(told.format(stage=each["stage"], count=each["documents"], reason=why), "yellow")


def _waiting(it: dict[str, Any], session: Session) -> None:
    due = {each["lane"]: each["steps"] for each in it["steps_due"]}
    for each in (it["daemon"] or {}).get("closed", ()):
        told = _("lane {lane}: not its hours until {moment}; {steps} due")
        opens = output.moment(each["opens"], session.place.zone)
        steps = _steps(due.pop(each["lane"], 0))
        output.line(told.format(lane=each["lane"], moment=opens, steps=steps), "yellow")
    for lane, count in due.items():
        output.line(_("lane {lane}: {steps} due").format(lane=lane, steps=_steps(count)))


def _steps(count: int) -> str:
    return ngettext("{count} step", "{count} steps", count).format(count=count)


def _today(live: dict[str, Any], session: Session) -> None:
    for name, problems in live.get("problems", {}).items():
        for problem in problems:
            output.line(f"{name}: {render(problem)}", "red")
    if live.get("hotfolders"):
        output.heading(_("Hot folders"))
        folders = output.Table(
            [_("name"), _("noticed by"), _("arriving"), _("state"), _("path")],
            right=[_("arriving")],
            give=_("path"),
        )
        for each in live["hotfolders"]:
            why = each["offline"] or each["paused"] or each["failing"]
            state = render(why) if why else output.word("open")
            mode = output.word(each["mode"])
            folders.row(each["name"], mode, each["arriving"], state, each["path"])
        folders.show()
        _files_waiting(live["hotfolders"], session)
    if live.get("running"):
        output.heading(_("Running now"))
        steps = output.Table(
            [_("document"), _("stage"), _("since"), _("done"), _("name")], give=_("name")
        )
        for each in live["running"]:
            since = output.moment(each["started"], session.place.zone, seconds=True)
            done = f"{each['progress']:.0%}" if each["progress"] else None
            steps.row(output.short_id(each["document"]), each["stage"], since, done, each["name"])
        steps.show()
        output.line(output.zone_name(session.place.zone), "dim")


def _files_waiting(folders: list[dict[str, Any]], session: Session) -> None:
    """Files that were not taken in yet, by name, with the reason."""
    for folder in folders:
        for each in folder.get("waiting", ()):
            told = _("{folder}/{name} waits since {moment}: {why}")
            since = output.moment(each["since"], session.place.zone)
            output.line(
                told.format(
                    folder=folder["name"], name=each["name"], moment=since, why=render(each["why"])
                ),
                "yellow",
            )
        if (more := folder["arriving"] - len(folder.get("waiting", ()))) > 0:
            output.line(_("and {count} more").format(count=more))


@click.command("account")
@click.option("--since", metavar="WHEN", help="Only files first seen from this day or instant on.")
@click.option(
    "--until",
    metavar="WHEN",
    help="Only files first seen up to the end of this day, or before this instant.",
)
@click.option("--folder", metavar="NAME", help="Only this hot folder.")
@click.option("--device", metavar="NAME", help="Only what came from this device.")
@click.option(
    "--by",
    type=click.Choice(list(_BY)),
    default="folder",
    show_default=True,
    help="What each line of the table stands for; --json has them all.",
)
@click.pass_obj
def account(
    session: Session,
    since: str | None,
    until: str | None,
    folder: str | None,
    device: str | None,
    by: str,
) -> None:
    """Show the balance sheet: what became of every file that was ever seen in a hot folder.

    seen = archived + held + ignored + in work, by the ledger and by the catalog; a file of which
    they do not say the same is unaccounted for, and then this ends with 1.
    """
    answer = session.ask(
        "account", since=since, until=until, folder=folder, device=device, zone=session.place.zone
    )
    if session.as_json:
        output.as_json(answer)
    else:
        _account(answer, by, session)
    sys.exit(OK if answer["balanced"] else PROBLEM)


def balance(lines: list[dict[str, Any]], name: str, total: dict[str, Any]) -> None:
    """The balance sheet in files and in pages; `name` is the key of what a line stands for."""
    total = {name: _("all"), **total}
    lines = [*lines, *([total] if len(lines) != 1 else [])]
    seen, work, unknown = _("seen"), _("in work"), _("not counted")
    archived, held = _("archived"), _("held")
    numbers = [seen, archived, held, _("ignored"), work, _("difference")]
    title = {"hotfolder": _("hot folder"), "device": _("device"), "day": _("day")}[name]
    sheet = output.Table([title, *numbers], right=numbers, give=title)
    pages = output.Table(
        [title, seen, archived, held, work, unknown], right=[*numbers, unknown], give=title
    )
    for each in lines:
        if name == "day" and each is not total:
            each = {**each, name: day_text(date.fromisoformat(each[name]))}  # noqa: PLW2901
        sheet.row(
            each[name],
            each["seen"],
            each["archived"],
            each["held"],
            each["ignored"],
            each["in_work"],
            each["unaccounted"],
        )
        known = each["pages"]
        pages.row(
            each[name],
            known["seen"],
            known["archived"],
            known["held"],
            known["in_work"],
            _files(each["pages_unknown"]),
        )
    sheet.show()
    output.heading(_("Pages, as far as they are known"))
    pages.show()


def _account(it: dict[str, Any], by: str, session: Session) -> None:
    balance(it[f"{by}s"], _BY[by], it["total"])
    _left_alone(it)
    _held(it)
    for each in it["differences"]:
        told = _("{folder}/{name} (arrival {arrival}): {why}").format(
            folder=each["hotfolder"],
            name=each["name"],
            arrival=each["arrival"],
            why=render(each["why"]),
        )
        output.line(told, "red")
    at = output.moment(it["at"], session.place.zone, seconds=True)
    told = (
        _("every file is accounted for at {moment}; {zone}")
        if it["balanced"]
        else _("FILES ARE UNACCOUNTED FOR at {moment}; {zone}")
    )
    output.line(
        told.format(moment=at, zone=output.zone_name(session.place.zone)),
        "green" if it["balanced"] else "bold red",
    )


def _files(count: int) -> str:
    return ngettext("{count} file", "{count} files", count).format(count=count)


def _left_alone(it: dict[str, Any]) -> None:
    rules = [
        _("{folder}: {count} under the rule {rule}").format(
            folder=folder["hotfolder"], count=n, rule=rule
        )
        for folder in it["folders"]
        for rule, n in folder["rules"].items()
    ]
    if rules:
        output.heading(_("Ignored"))
        for rule in rules:
            output.line(rule, indent=2)


def _held(it: dict[str, Any]) -> None:
    if it["held_documents"] or it["held_files"]:
        output.heading(_("Held for a person"))
        for code, n in it["held_documents"].items():
            told = ngettext(
                "{count} document [{code}]; see: archivectl documents --state held",
                "{count} documents [{code}]; see: archivectl documents --state held",
                n,
            )
            output.line(told.format(count=n, code=code), indent=2)
        for file in it["held_files"]:
            why = output.reason(file["reason"], file["code"])
            output.line(f"{file['hotfolder']}/{file['name']}: {why} [{file['code']}]", indent=2)


@click.command("plugins")
@click.pass_obj
def plugins(session: Session) -> None:
    """List the enabled plug-ins: versions, what they give, where from, and their own checks.

    Ends with 1 when a check found a problem. Without the daemon nothing is checked: archived
    check does that.
    """
    with busy(_("the stages look at their surroundings ...")):
        looked(session)
    answer = session.ask("plugins")
    if answer["plugins"] is None:
        answer["plugins"] = _from_config(session)
    found = [_judged(plugin, answer["problems"], answer["checked"]) for plugin in answer["plugins"]]
    if session.as_json:
        output.as_json({"checked": answer["checked"], "plugins": found})
    else:
        _plugins(found)
    sys.exit(PROBLEM if any(p["fit"] == "no" for p in found) else OK)


def _from_config(session: Session) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from archived.config import load

    settings = load(client.chosen(session.config))
    return [asdict(plugin) for plugin in settings.plugins.catalogue()]


def _judged(plugin: dict[str, Any], problems: Any, checked: Any) -> dict[str, Any]:
    """The plug-in with the verdict of its checks: yes, no, or not established."""
    wrong = [p for name in plugin["stages"] for p in (problems or {}).get(name, ())]
    sure = bool(checked or not plugin["stages"])  # what gives no stage has nothing to check
    fit = "no" if wrong else "yes" if sure else "not established"
    why = (
        ""
        if wrong or sure
        else (
            _("the daemon is not running; archived check looks")
            if problems is None
            else _("the daemon has not said that its checks have ended")
        )
    )
    return plugin | {"fit": fit, "why": why, "problems": wrong}


def _plugins(found: list[dict[str, Any]]) -> None:
    titles = [_("plug-in"), _("version"), _("gives"), _("from"), _("code"), _("fit")]
    sheet = output.Table(titles, give=_("from"), also=[_("gives")])
    for each in found:
        gives = [
            *each["stages"],
            *(_("target {name}").format(name=t) for t in each["targets"]),
            *(_("runner {name}").format(name=r) for r in each["runners"]),
        ]
        gives += [_("commands")] if "register_commands" in each["hooks"] else []
        gives += ["on_event"] if "on_event" in each["hooks"] else []
        gives += ["choose_pipeline"] if "choose_pipeline" in each["hooks"] else []
        sheet.row(
            each["name"],
            each["version"] or None,
            ", ".join(gives),
            each["distribution"] or each["where"],
            each.get("sha256", "")[:12] or None,
            output.word(each["fit"]),
        )
    sheet.show()
    for each in found:
        for problem in each["problems"]:
            output.line(f"{each['name']}: {render(problem)}", "red")
    for why in sorted({each["why"] for each in found if each["why"]}):
        output.line(_("not established: {why}").format(why=why), "yellow")


@click.command("reload")
@click.pass_obj
def reload(session: Session) -> None:
    """Let the daemon read its configuration again; a file with mistakes changes nothing.

    Ends with 78 when the files are refused; with 1 when it was read, but a file behind a
    credential was changed since the service started: that takes a restart.
    """
    answer = session.tell("POST", "/v1/reload", patience=RELOAD_PATIENCE)
    old = [each for each in compare(running(session) or {}, sources()) if each.verdict == "no"]
    answer["credentials"] = [asdict(each) for each in old]
    if session.as_json:
        output.as_json(answer)
        sys.exit(PROBLEM if old else OK)
    for change in answer["changes"]:
        output.line(render(change))
    if not answer["changes"]:
        output.line(_("nothing changed"))
    for each in old:
        click.echo(changed(each), err=True)
    sys.exit(PROBLEM if old else OK)


COMMANDS = (status, account, reload)
