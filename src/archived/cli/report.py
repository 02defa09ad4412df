"""The report of a day, for those who read no logs: what other questions answer, on one page.

Composes answers; counts and decides nothing. A file tells it in every language there is.
"""

from __future__ import annotations

import csv
import io
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import click

from archived.cli import output
from archived.cli.client import Session
from archived.cli.errors import OK, PROBLEM
from archived.cli.status import balance, for_a_person, never_safe
from archived.errors import ArchivedError
from archived.locale import LANGUAGES, _, day_text, ngettext, render, speaking
from archived.locale.dates import read_day
from archived.message import Message

_MOST = 1000
"""Documents of a kind that are asked for, the newest; the table has them all."""
_PAGE = 72
"""Characters of a printed line."""
_LISTED = 100
"""Of these so many are told in words."""
_UNSAFE = ("admitted", "working", "waiting", "divided", "sealed")
_TITLES = (
    "Tình trạng / State",
    "Thư mục / Hot folder",
    "Tệp / File",
    "Nhận lúc / Received",
    "Mã / Code",
    "Lý do",
    "Reason",
    "Mã tài liệu / Document",
)


@click.command("report")
@click.option(
    "--day",
    default="today",
    show_default=True,
    metavar="DAY",
    help="The day that is told of: today, yesterday, or like 2026-11-22.",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Write DAY.txt and DAY.csv there, in every language.",
)
@click.option(
    "--keep",
    type=click.IntRange(1),
    default=400,
    show_default=True,
    metavar="DAYS",
    help="With --into, take away reports of days longer ago.",
)
@click.pass_obj
def report(session: Session, day: str, into: Path | None, keep: int) -> None:
    """Tell how a day went and how the archive stands now, for people who read no logs.

    What came, by hot folder and device; what is held and why; what is not safe yet; what is
    unaccounted for; copies, and room on the disks. Ends with 1 when a file is unaccounted for;
    with --into, when the report was not written.
    """
    it = _gathered(session, _day(day, session.place.zone))
    if into is not None:
        _mask(it, session.place.open_folders)
        _write(it, into, session.place.zone)
        _clear(into, date.fromisoformat(it["day"]) - timedelta(days=keep))
    elif session.as_json:
        output.as_json(it)
    else:
        _tell(it, session.place.zone)
    sys.exit(OK if into or it["balanced"] else PROBLEM)


def _day(word: str, zone: tzinfo) -> date:
    today = datetime.now(zone).date()
    named = {"today": today, "yesterday": today - timedelta(days=1)}
    try:
        return named.get(word) or read_day(word)
    except ValueError:
        raise ArchivedError(
            Message("day: {word!r} is not a day", word=word),
            hint='write "2026-11-22", today or yesterday',
            code="bad-question",
        ) from None


def _gathered(session: Session, day: date) -> dict[str, Any]:
    whole = session.ask("account", zone=session.place.timezone)
    of_day = session.ask("account", since=day, until=day, zone=session.place.timezone)
    stands = session.ask("status")
    return {
        "day": day.isoformat(),
        "at": whole["at"],
        "zone": session.place.timezone,
        "not_ready": None if stands["daemon"] is None else stands["daemon"]["not_ready"],
        "balanced": whole["balanced"],
        "unaccounted": whole["total"]["unaccounted"],
        "differences": whole["differences"],
        "came": {key: of_day[key] for key in ("folders", "devices", "total")},
        "documents": stands["documents"],
        "arriving": stands.get("arriving_files", 0),
        "never_safe": stands["never_safe"],
        "held": session.ask("documents", states="held", limit=_MOST)["documents"],
        "held_files": whole["held_files"],
        "not_safe": session.ask("documents", states=",".join(_UNSAFE), limit=_MOST)["documents"],
        "copies": session.ask("copies")["copies"],
        "ledger": stands["ledger"],
        "disks": [_disk("spool", session.place.state), _disk("store", session.place.store)],
    }


def _disk(use: str, path: Path) -> dict[str, Any]:
    try:
        usage = shutil.disk_usage(path)
    except OSError as error:
        return {"use": use, "path": str(path), "free": None, "size": None, "why": error.strerror}
    return {"use": use, "path": str(path), "free": usage.free, "size": usage.total, "why": ""}


def _mask(it: dict[str, Any], open_folders: frozenset[str]) -> None:
    """Leave out what files of secret papers are called and what was found in them.

    Also where the level is not known, as of a hot folder that is no more. Whoever may ask finds
    the rest by the id that stands in a document's place.
    """
    for each in [*it["held"], *it["not_safe"], *it["held_files"], *it["differences"]]:
        if each["hotfolder"] not in open_folders:
            each["name"] = f"({each.get('id') or each.get('arrival') or '...'})"
            each["reason"] = ""


# In words ----------------------------------------------------------------------------------------


def _tell(it: dict[str, Any], zone: tzinfo) -> None:
    at = output.moment(it["at"], zone, seconds=True)
    day = day_text(date.fromisoformat(it["day"]))
    output.line(_("Report of {day}").format(day=day), "bold")
    output.line(_("as things stood at {moment}; {zone}").format(moment=at, zone=zone), "dim")
    output.heading(_("In short"))
    for text, style in _in_short(it):
        output.line(f"- {text}", style)
    came = it["came"]
    if came["total"]["seen"]:
        output.heading(_("What came on that day, by hot folder"))
        balance(came["folders"], "hotfolder", came["total"])
    if came["total"]["seen"] and _devices_differ(came):
        output.heading(_("What came on that day, by device"))
        balance(came["devices"], "device", came["total"])
    _held(it, zone)
    if it["never_safe"]:
        output.heading(_("Sealed, and nothing makes the copies: the paper stays out of its box"))
        _list([each for each in it["not_safe"] if _is_left(each)], it["never_safe"], zone)
    if count := _unsafe(it):
        output.heading(_("On the way and not safe yet: the paper stays out of its box"))
        _list([each for each in it["not_safe"] if not _is_left(each)], count, zone)
    _copies(it["copies"], zone)
    _disks(it["disks"])
    _ledger_head(it["ledger"], zone)


def _devices_differ(came: dict[str, Any]) -> bool:
    """Whether a table by device says anything that the one by hot folder does not."""
    return {each["device"] for each in came["devices"]} != {
        each["hotfolder"] for each in came["folders"]
    }


def _held(it: dict[str, Any], zone: tzinfo) -> None:
    count = it["documents"].get("held", 0)
    if not count and not it["held_files"]:
        return
    output.heading(_("Held for a person"))
    _list(it["held"], count, zone)
    for file in it["held_files"]:
        why = output.reason(file["reason"], file["code"])
        output.line(f"- {file['hotfolder']}/{file['name']}: {why} [{file['code']}]")


def _in_short(it: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if it["not_ready"] is None:
        yield _("THE SERVICE DOES NOT RUN: nothing is taken in"), "bold red"
    for reason in it["not_ready"] or ():
        yield _("not ready: {reason}").format(reason=render(reason)), "red"
    if it["balanced"]:
        yield _("every file that ever came is accounted for"), "green"
    else:
        told = ngettext(
            "{count} FILE IS UNACCOUNTED FOR",
            "{count} FILES ARE UNACCOUNTED FOR",
            it["unaccounted"],
        )
        yield told.format(count=it["unaccounted"]), "bold red"
    for each in it["differences"]:
        yield f"{each['hotfolder']}/{each['name']}: {render(each['why'])}", "red"
    yield _came(it["came"]["total"]), ""
    waits = for_a_person(it["documents"].get("held", 0), (), len(it["held_files"]))
    yield _("waits for a person: {what}").format(what=waits or _("nothing")), ""
    if it["never_safe"]:
        yield never_safe(it["never_safe"]), "bold red"
    if it["arriving"]:
        told = ngettext(
            "{count} file lies in a hot folder and is not taken in yet",
            "{count} files lie in hot folders and are not taken in yet",
            it["arriving"],
        )
        yield told.format(count=it["arriving"]), ""
    count = _unsafe(it)
    told = ngettext(
        "{count} document is on its way and not safe yet",
        "{count} documents are on their way and not safe yet",
        count,
    )
    yield (told.format(count=count) if count else _("no document is on its way")), ""


def _came(total: dict[str, Any]) -> str:
    if not total["seen"]:
        return _("nothing came on that day")
    told = ngettext(
        "{count} file came on that day", "{count} files came on that day", total["seen"]
    )
    return told.format(count=total["seen"])


def _unsafe(it: dict[str, Any]) -> int:
    count: int = sum(it["documents"].get(state, 0) for state in _UNSAFE)
    return count - int(it["never_safe"])


def _is_left(each: dict[str, Any]) -> bool:
    """Sealed, with too few copies, and no step is due."""
    return each["state"] == "sealed" and each["due"] is None and not each["running"]


def _list(found: list[dict[str, Any]], count: int, zone: tzinfo) -> None:
    for each in found[:_LISTED]:
        told = [f"- {each['hotfolder']}/{each['name']}, {output.moment(each['received'], zone)}"]
        told += [output.word(each["state"])] if each["state"] != "held" else []
        told += [f"{output.reason(each['reason'], each['code'])} [{each['code']}]"] * bool(
            each["code"]
        )
        output.line(": ".join(told))
    if (more := count - min(len(found), _LISTED)) > 0:
        output.line(_("and {count} more").format(count=more))


def _copies(copies: list[dict[str, Any]], zone: tzinfo) -> None:
    output.heading(_("Copies, read back when they were made"))
    if not copies:
        output.line(_("none"))
        return
    for each in copies:
        told = ngettext(
            "{target}: {count} document, the last copy {moment}",
            "{target}: {count} documents, the last copy {moment}",
            each["documents"],
        )
        last = output.moment(each["verified"], zone)
        output.line(told.format(target=each["target"], count=each["documents"], moment=last))


def _disks(disks: list[dict[str, Any]]) -> None:
    output.heading(_("Room on the disks"))
    for each in disks:
        if each["free"] is None:
            told = _("{path}: not established: {why}")
            output.line(told.format(path=each["path"], why=each["why"]), "yellow")
        else:
            told = _("{path}: {free} free of {size}")
            free, size = output.size(each["free"]), output.size(each["size"])
            output.line(told.format(path=each["path"], free=free, size=size))


def _ledger_head(head: dict[str, Any], zone: tzinfo) -> None:
    """On paper it is out of reach of whoever can change the record afterwards."""
    output.heading(_("Head of the ledger: keep this page outside the archive"))
    if head["published"] is None:
        output.line(_("none"))
        return
    told = _("entry {sequence}, of {moment}; to compare: archivectl ledger verify --against")
    moment = output.moment(head["at"], zone, seconds=True)
    output.line(told.format(sequence=head["sequence"], moment=moment))
    for line in textwrap.wrap(head["published"], _PAGE, break_on_hyphens=False):
        click.echo(line)


# In files ----------------------------------------------------------------------------------------


def _write(it: dict[str, Any], into: Path, zone: tzinfo) -> None:
    """For any kind of machine: with a mark of UTF-8, and lines as DOS ends them."""
    from archived.storage.atomic import write_file

    pages = []
    for tag in (*LANGUAGES, None):
        with speaking(tag), redirect_stdout(io.StringIO()) as page:
            _tell(it, zone)
        pages.append(page.getvalue())
    text = f"\n{'=' * 72}\n\n".join(pages).replace("\n", "\r\n")
    for ending, content in (("txt", text), ("csv", _table(it, zone))):
        file = into / f"{it['day']}.{ending}"
        write_file(file, ("\ufeff" + content).encode("utf-8"), mode=0o640)
        click.echo(file)


def _table(it: dict[str, Any], zone: tzinfo) -> str:
    from archived.observe.receipts.texts import harmless

    files = [
        {**each, "id": "", "state": "held", "received": each["first_seen"]}
        for each in it["held_files"]
    ]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")
    table.writerow(_TITLES)
    for each in [*it["held"], *files, *it["not_safe"]]:
        with speaking("vi"):
            state, why = output.word(each["state"]), output.reason(each["reason"], each["code"])
            received = output.moment(each["received"], zone)
        cells = [
            f"{state} / {each['state']}",
            each["hotfolder"],
            each["name"],
            received,
            each["code"] or "",
            why if each["code"] else "",
            each["reason"] or "",
            each["id"],
        ]
        table.writerow([harmless(output.clean(cell)) for cell in cells])
    return out.getvalue()


def _clear(folder: Path, first: date) -> None:
    """Take away older reports; what else lies there is left alone."""
    for file in folder.iterdir():
        try:
            day = date.fromisoformat(file.stem)
        except ValueError:
            continue
        if file.suffix in {".txt", ".csv"} and day < first:
            file.unlink()


COMMANDS = (report,)
