"""Commands about the whole house: how it stands, its balance sheet, its plug-ins, its reload."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

from archived.cli import place, shown
from archived.cli.asking import Session
from archived.cli.exits import OK, PROBLEM

_BY = {"folder": "hotfolder", "device": "device", "day": "day"}
"""What a line of the balance sheet can stand for, and the key of its name in the answer."""


@click.command("status")
@click.pass_obj
def status(session: Session) -> None:
    """Show how the archive stands: does it work, what is in it, what waits for a person.

    Ends with 1 when the daemon runs and is not ready, or when a file is unaccounted for.
    """
    answer = session.ask("status")
    if session.as_json:
        shown.as_json(answer)
    else:
        shown.pairs([*_daemon(answer["daemon"]), *_holdings(answer)])
        for reason in (answer["daemon"] or {}).get("not_ready", ()):
            shown.line(f"not ready: {reason}", "red")
        _waiting(answer, session)
        _today(answer["daemon"] or {}, session)
    lost = any(sheet["unaccounted"] for sheet in answer["balance"])
    stuck = bool(answer["daemon"] and answer["daemon"]["not_ready"])
    sys.exit(PROBLEM if lost or stuck else OK)


def _ago(text: str | None) -> str | None:
    if text is None:
        return None
    return f"{shown.span((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds())} ago"


def _daemon(live: dict[str, Any] | None) -> list[tuple[str, object]]:
    if live is None:
        return [("daemon", "not running")]
    return [
        ("daemon", f"archived {live['version']}, started {_ago(live['started'])}"),
        ("ready", "no" if live["not_ready"] else "yes"),
    ]


def _holdings(it: dict[str, Any]) -> list[tuple[str, object]]:
    held = ", ".join(it["held"])
    waiting = [f"{shown.many(sum(it['held'].values()), 'document')} ({held})"] if held else []
    if it["held_files"]:
        waiting.append(f"{shown.many(it['held_files'], 'file')} in hot folders")
    return [
        ("documents", ", ".join(f"{n} {state}" for state, n in it["documents"].items()) or "none"),
        ("pages archived", it["pages_archived"]),
        ("for a person", " and ".join(waiting) or "nothing"),
        ("unaccounted files", sum(sheet["unaccounted"] for sheet in it["balance"])),
        ("oldest in work", _ago(it["oldest_document_in_work"])),
        ("oldest file arriving", _ago(it["oldest_unclaimed_file"])),
        ("ledger", shown.many(it["ledger"]["sequence"], "entry", "entries")),
    ]


def _waiting(it: dict[str, Any], session: Session) -> None:
    due = {each["lane"]: each["steps"] for each in it["steps_due"]}
    for each in (it["daemon"] or {}).get("closed", ()):
        steps = shown.many(due.pop(each["lane"], 0), "step")
        opens = shown.moment(each["opens"], session.place.zone)
        shown.line(f"lane {each['lane']}: not its hours until {opens}; {steps} due", "yellow")
    for lane, steps in due.items():
        shown.line(f"lane {lane}: {shown.many(steps, 'step')} due")


def _today(live: dict[str, Any], session: Session) -> None:
    for name, problems in live.get("problems", {}).items():
        for problem in problems:
            shown.line(f"{name}: {problem}", "red")
    if live.get("hotfolders"):
        shown.heading("Hot folders")
        folders = shown.Sheet(["name", "noticed by", "arriving", "state", "path"],
                              right=["arriving"], give="path")  # fmt: skip
        for each in live["hotfolders"]:
            state = each["offline"] or each["paused"] or each["failing"] or "open"
            folders.row(each["name"], each["mode"], each["arriving"], state, each["path"])
        folders.show()
    if live.get("running"):
        shown.heading("Running now")
        steps = shown.Sheet(["document", "stage", "since", "done", "name"], give="name")
        for each in live["running"]:
            since = shown.moment(each["started"], session.place.zone, seconds=True)
            done = f"{each['progress']:.0%}" if each["progress"] else None
            steps.row(each["document"], each["stage"], since, done, each["name"])
        steps.show()
        shown.line(shown.zone_name(session.place.zone), "dim")


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
        shown.as_json(answer)
    else:
        _account(answer, by, session)
    sys.exit(OK if answer["balanced"] else PROBLEM)


def _account(it: dict[str, Any], by: str, session: Session) -> None:
    lines, name = it[f"{by}s"], _BY[by]
    total = {name: "all", **it["total"]}
    lines = [*lines, *([total] if len(lines) != 1 else [])]
    numbers = ["seen", "archived", "held", "ignored", "in work", "difference"]
    title = "hot folder" if by == "folder" else by
    sheet = shown.Sheet([title, *numbers], right=numbers)
    pages = shown.Sheet([title, *numbers[:3], "in work", "not counted"],
                        right=[*numbers, "not counted"])  # fmt: skip
    for each in lines:
        sheet.row(each[name], each["seen"], each["archived"], each["held"],
                  each["ignored"], each["in_work"], each["unaccounted"])  # fmt: skip
        known = each["pages"]
        pages.row(each[name], known["seen"], known["archived"], known["held"], known["in_work"],
                  shown.many(each["pages_unknown"], "file"))  # fmt: skip
    sheet.show()
    shown.heading("Pages, as far as they are known")
    pages.show()
    _left_alone(it)
    _held(it)
    for each in it["differences"]:
        shown.line(f"{each['hotfolder']}/{each['name']} (arrival {each['arrival']}): {each['why']}",
                   "red")  # fmt: skip
    at = shown.moment(it["at"], session.place.zone, seconds=True)
    verdict = "every file is accounted for" if it["balanced"] else "FILES ARE UNACCOUNTED FOR"
    shown.line(f"{verdict} at {at}; {shown.zone_name(session.place.zone)}",
               "green" if it["balanced"] else "bold red")  # fmt: skip


def _left_alone(it: dict[str, Any]) -> None:
    rules = [
        f"{folder['hotfolder']}: {n} under the rule {rule}"
        for folder in it["folders"]
        for rule, n in folder["rules"].items()
    ]
    if rules:
        shown.heading("Ignored")
        for rule in rules:
            shown.line(rule, indent=2)


def _held(it: dict[str, Any]) -> None:
    if it["held_documents"] or it["held_files"]:
        shown.heading("Held for a person")
        for code, n in it["held_documents"].items():
            shown.line(
                f"  {shown.many(n, 'document')} [{code}]; see: archivectl documents --state held"
            )
        for file in it["held_files"]:
            shown.line(f"{file['hotfolder']}/{file['name']}: {file['reason']} [{file['code']}]",
                       indent=2)  # fmt: skip


@click.command("plugins")
@click.pass_obj
def plugins(session: Session) -> None:
    """List the enabled plug-ins: versions, what they give, where from, and their own checks.

    Ends with 1 when a check found a problem. Without the daemon nothing is checked: archived
    check does that.
    """
    answer = session.ask("plugins")
    if answer["plugins"] is None:
        answer["plugins"] = _from_config(session)
    found = [_judged(plugin, answer["problems"], answer["checked"]) for plugin in answer["plugins"]]
    if session.as_json:
        shown.as_json({"checked": answer["checked"], "plugins": found})
    else:
        _plugins(found)
    sys.exit(PROBLEM if any(p["fit"] == "no" for p in found) else OK)


def _from_config(session: Session) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from archived.config import load

    settings = load(place.chosen(session.config))
    return [asdict(plugin) for plugin in settings.plugins.catalogue()]


def _judged(plugin: dict[str, Any], problems: Any, checked: Any) -> dict[str, Any]:
    """The plug-in with the verdict of its checks: yes, no, or not established."""
    wrong = [p for name in plugin["stages"] for p in (problems or {}).get(name, ())]
    sure = bool(checked or not plugin["stages"])  # what gives no stage has nothing to check
    fit = "no" if wrong else "yes" if sure else "not established"
    why = "" if wrong or sure else (
        "the daemon is not running; archived check looks" if problems is None
        else "the daemon has not said that its checks have ended"
    )  # fmt: skip
    return plugin | {"fit": fit, "why": why, "problems": wrong}


def _plugins(found: list[dict[str, Any]]) -> None:
    sheet = shown.Sheet(["plug-in", "version", "gives", "from", "fit"], give="gives")
    for each in found:
        gives = [*each["stages"], *(f"target {t}" for t in each["targets"]),
                 *(f"runner {r}" for r in each["runners"])]  # fmt: skip
        gives += ["commands"] if "register_commands" in each["hooks"] else []
        gives += ["on_event"] if "on_event" in each["hooks"] else []
        gives += ["choose_pipeline"] if "choose_pipeline" in each["hooks"] else []
        sheet.row(each["name"], each["version"] or None, ", ".join(gives),
                  each["distribution"] or each["where"], each["fit"])  # fmt: skip
    sheet.show()
    for each in found:
        for problem in each["problems"]:
            shown.line(f"{each['name']}: {problem}", "red")
    for why in sorted({each["why"] for each in found if each["why"]}):
        shown.line(f"not established: {why}", "yellow")


@click.command("reload")
@click.pass_obj
def reload(session: Session) -> None:
    """Let the daemon read its configuration again; a file with mistakes changes nothing."""
    answer = session.tell("POST", "/v1/reload")
    if session.as_json:
        shown.as_json(answer)
        return
    for change in answer["changes"]:
        shown.line(change)
    if not answer["changes"]:
        shown.line("nothing changed")


COMMANDS = (status, account, plugins, reload)
