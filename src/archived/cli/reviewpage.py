"""The page beside the pictures of what a person must look at: HTML, without a script, in
Vietnamese and English. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from shlex import quote
from typing import Any

from archived.cli.shown import clean
from archived.locale import heard, speaking

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
    from archived.observe.share.words import reason_in_words

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
            hint = heard(review["hint"])
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
        return ["<p>Chỉ để biết: tài liệu không chờ quyết định này. / For your information: the "
                "document does not wait for this.</p>"]  # fmt: skip
    go_on = _code(f"archivectl release {document} --reviewed {quote(folder)}")
    refuse = _code(f"archivectl refuse {document}")
    return [
        f'<p class="do">Chỉ tài liệu này đi tiếp / This document alone goes on: {go_on}<br>'
        f"Không lưu trữ tài liệu này / It is not archived: {refuse}</p>"
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
