"""`archivectl review`: what a person must look at, written into a folder: pictures and a page.

The page is HTML without a script, in Vietnamese and English. The daemon hands the pictures out as
files; nothing here opens one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from shlex import quote
from typing import Any

import click

from archived.cli.client import Session
from archived.cli.documents import complete_document
from archived.cli.errors import DaemonDown
from archived.cli.group import Word
from archived.cli.output import Table, as_json, clean, line, short_id
from archived.cli.review_folder import ReviewFolder, read_shown
from archived.errors import ArchivedError
from archived.locale import _, ngettext, render, speaking
from archived.model.former_names import CODES

_STYLE = """
body { font: 16px/1.5 sans-serif; margin: 2em; max-width: 70em }
section { border-top: 2px solid #444; margin-top: 2em; padding-top: 1em }
ol { display: flex; flex-wrap: wrap; gap: 1em; padding: 0; list-style: none }
li { border: 1px solid #aaa; padding: .5em; max-width: 22em }
img { max-width: 100%; display: block; background: #eee }
small { color: #444 }
code { user-select: all; background: #eee; padding: .1em .3em; overflow-wrap: anywhere }
.do { border-left: 4px solid #444; padding-left: 1em }
"""
_SAFE = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'"
"""Nothing runs, and nothing is fetched from anywhere but beside the page."""


def page(documents: Sequence[Mapping[str, Any]], folder: str) -> str:
    """Everything that was written into `folder`. Each document has `document`, as the daemon
    answers, `step`, and with its regions the name of their `file`.
    """
    count = sum(len(review["regions"]) for each in documents for review in each["reviews"])
    body = [
        "<!DOCTYPE html>",
        '<html lang="vi"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_SAFE}">',
        f"<title>archivectl review</title><style>{_STYLE}</style></head><body>",
        "<h1>Chỗ cần người xem / What a person must look at</h1>",
        f"<p>{len(documents)} tài liệu, {count} chỗ. / {len(documents)} documents, "
        f"{count} regions.</p>",
        "<p>Xem từng hình. Nếu không hình nào có dấu chỉ độ mật và mọi tài liệu đều được đi tiếp, "
        "gõ lệnh dưới đây; lệnh chỉ áp dụng cho những gì có trên trang này. Nếu có tài liệu không "
        "được đi tiếp, đừng gõ lệnh này: dùng lệnh ghi ở từng tài liệu.<br>Look at each picture. "
        "When none shows a mark of secrecy and all documents may go on, type this; it covers what "
        "is on this page and nothing else. When one may not, do not type it: each document has "
        "commands of its own.</p>",
        f'<p class="do">{_code(f"archivectl release --reviewed {quote(folder)}")}</p>',
        "<p>Các hình này có thể là bí mật: xóa thư mục sau khi quyết định xong. / The pictures may "
        "be secret: remove the folder after the decision.</p>",
        *(line for each in documents for line in _document(each, folder)),
        "</body></html>",
    ]
    return "\n".join(body) + "\n"


def _code(command: str) -> str:
    return f"<code>{_text(command)} --note</code> <small>(viết lý do / write why)</small>"


def _text(text: object) -> str:
    """A stranger's text: it is no markup, and nothing in it turns the line around."""
    return escape(clean(text))


def _document(it: Mapping[str, Any], folder: str) -> list[str]:
    from archived.observe.receipts.reasons import reason_in_words

    document = it["document"]
    dossier = f" · hồ sơ / dossier {_text(document['dossier'])}" if document["dossier"] else ""
    lines = [
        "<section>",
        f"<h2>{_text(document['name'])}</h2>",
        f"<p><small><code>{_text(document['id'])}</code> · {_text(document['hotfolder'])}"
        f"{dossier} · {_text(it['stage'])}</small></p>",
    ]
    for review in it["reviews"]:
        with speaking("vi"):
            vietnamese = reason_in_words(review["message"], review["code"])
            hint = render(review["hint"])
        lines += [
            f"<p>{_text(vietnamese)}.<br>{_text(review['message'])} "
            f"<small>[{_text(review['code'])}]</small></p>"
        ]
        hints = [_text(each) for each in dict.fromkeys((hint, review["hint"])) if each]
        lines += [f"<p>{'<br>'.join(hints)}</p>"] if hints else []
        lines += ["<ol>", *map(_region, review["regions"]), "</ol>"]
        if not review["regions"]:
            lines += ["<p>Cả tài liệu. / The whole document.</p>"]
    return [*lines, *_commands(it, folder), "</section>"]


def _commands(it: Mapping[str, Any], folder: str) -> list[str]:
    """What may be typed about this document alone."""
    document = it["document"]["id"]
    if not it["holds"]:
        return [
            "<p>Chỉ để biết: tài liệu không chờ quyết định này. / For your information: the "
            "document does not wait for this.</p>"
        ]
    go_on = _code(f"archivectl release {document} --reviewed {quote(folder)}")
    reject = _code(f"archivectl reject {document}")
    return [
        f'<p class="do">Chỉ tài liệu này đi tiếp / This document alone goes on: {go_on}<br>'
        f"Không lưu trữ tài liệu này / It is not archived: {reject}</p>"
    ]


def _region(region: Mapping[str, Any]) -> str:
    told = f"Trang {region['page']} / Page {region['page']}"
    if region["kind"]:
        told += f" · {_text(region['kind'])}"
    if region["share"] is not None:
        told += f" · {region['share'] * 100:.1f} % mực của trang / of the page's ink"
    if region["file"]:
        name = _text(region["file"])
        return f'<li><img src="{name}" alt="{name}">{told}<br><small>{_where(region)}</small></li>'
    no_picture = "không có hình: hãy xem trang đó / no picture: look at that page"
    return f"<li>{told}<br>{no_picture}<br><small>{_where(region)}</small></li>"


def _where(region: Mapping[str, Any]) -> str:
    left, top, right, bottom = (f"{share * 100:.0f}" for share in region["box"])
    return f"ngang / across {left}–{right} %, dọc / down {top}–{bottom} %"


_AT_ONCE = 500


@click.command("review")
@click.argument("documents", metavar="[DOC]...", nargs=-1, shell_complete=complete_document)
@click.option("--code", type=Word(CODES), metavar="CODE", help="Only what is held for this.")
@click.option("--dossier", metavar="CODE", help="Only what belongs to this dossier.")
@click.option("--hotfolder", metavar="NAME", help="Only what arrived in this hot folder.")
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Write the pictures and a page into this new folder.",
)
@click.pass_obj
def review(
    session: Session,
    documents: tuple[str, ...],
    code: str | None,
    dossier: str | None,
    hotfolder: str | None,
    output: Path | None,
) -> None:
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
        folder = ReviewFolder.new(output)
        found = [each for each in found if _fetch(session, folder, each)]
        folder.write("index.html", page(found, str(folder.path)))
        folder.write_shown(found)
    if session.as_json:
        as_json({"folder": output and str(output.absolute()), "documents": found})
        return
    _list(found)
    if output is not None and found:
        told = _("look at {page}, then: archivectl release --reviewed {folder} --note WHY")
        line(told.format(page=output / "index.html", folder=quote(str(output))))


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


def _fetch(session: Session, folder: ReviewFolder, it: dict[str, Any]) -> bool:
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
                why = render(error.message)
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
    session: Session,
    folder: Path,
    note: str,
    *,
    document: str | None,
    code: str | None,
    dossier: str | None,
) -> bool:
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
        as_json({"released": released, "not_released": left})
        return not left
    told = ngettext(
        "{count} document goes on; the decision is on record",
        "{count} documents go on; the decision is on record",
        len(released),
    )
    line(told.format(count=len(released)))
    for each in left:
        line(f"{each['name']}: {render(each['why'])}", "red")
    return not left


def _list(found: list[dict[str, Any]]) -> None:
    if not found:
        click.echo(_("nothing waits for a person to look"), err=True)
        return
    sheet = Table(
        [_("document"), _("why"), _("page"), _("kind"), _("ink"), _("file"), _("name")],
        right=[_("page"), _("ink")],
        give=_("name"),
        also=[_("kind")],
    )
    for it in found:
        document = it["document"]
        for each in it["reviews"]:
            for region in each["regions"] or [{}]:
                share = region.get("share")
                sheet.row(
                    short_id(document["id"]),
                    each["code"],
                    region.get("page"),
                    region.get("kind") or None,
                    None if share is None else f"{share * 100:.1f} %",
                    region.get("file") or None,
                    document["name"],
                )
    sheet.show()


COMMANDS = (review,)
