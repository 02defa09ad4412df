"""The page beside the pictures of what a person must look at: HTML, without a script, in
Vietnamese and English. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from archived.locale import speaking
from archived.observe.share.words import reason_in_words

_STYLE = """
body { font: 16px/1.5 sans-serif; margin: 2em; max-width: 70em }
section { border-top: 2px solid #444; margin-top: 2em; padding-top: 1em }
ol { display: flex; flex-wrap: wrap; gap: 1em; padding: 0; list-style: none }
li { border: 1px solid #aaa; padding: .5em; max-width: 22em }
img { max-width: 100%; display: block; background: #eee }
small { color: #444 }
code { user-select: all }
"""
_RELEASE = "archivectl release --reviewed FOLDER --note WHY"


def page(documents: Sequence[Mapping[str, Any]], folder: str) -> str:
    """Everything that was written into `folder`. Each document has `document`, as the daemon
    answers, `step`, and with its regions the name of their `file`.
    """
    count = sum(len(review["regions"]) for each in documents for review in each["reviews"])
    body = [
        "<!DOCTYPE html>",
        '<html lang="vi"><head><meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" content="script-src \'none\'">',
        f"<title>archivectl review</title><style>{_STYLE}</style></head><body>",
        "<h1>Chỗ cần người xem / What a person must look at</h1>",
        f"<p>{len(documents)} tài liệu, {count} chỗ. / {len(documents)} documents, "
        f"{count} regions.</p>",
        "<p>Xem từng hình. Nếu mọi tài liệu đều được đi tiếp, gõ lệnh dưới đây; lệnh chỉ áp dụng "
        "cho những gì có trên trang này.<br>Look at each picture. When all documents may go on, "
        "type this; it covers what is on this page and nothing else.</p>",
        f"<p><code>{escape(_RELEASE.replace('FOLDER', folder))}</code></p>",
        *(line for each in documents for line in _document(each)),
        "</body></html>",
    ]
    return "\n".join(body) + "\n"


def _document(it: Mapping[str, Any]) -> list[str]:
    document = it["document"]
    dossier = f" · hồ sơ / dossier {escape(document['dossier'])}" if document["dossier"] else ""
    lines = [
        "<section>",
        f"<h2>{escape(document['name'])}</h2>",
        f"<p><small><code>{escape(document['id'])}</code> · {escape(document['hotfolder'])}"
        f"{dossier} · {escape(it['stage'])}</small></p>",
    ]
    for review in it["reviews"]:
        with speaking("vi"):
            vietnamese = reason_in_words(review["message"], review["code"])
        lines += [
            f"<p>{escape(vietnamese)}.<br>{escape(review['message'])} "
            f"<small>[{escape(review['code'])}]</small></p>"
        ]
        lines += [f"<p>{escape(review['hint'])}</p>"] if review["hint"] else []
        lines += ["<ol>", *map(_region, review["regions"]), "</ol>"]
        if not review["regions"]:
            lines += ["<p>Cả tài liệu. / The whole document.</p>"]
    return [*lines, "</section>"]


def _region(region: Mapping[str, Any]) -> str:
    told = f"Trang {region['page']} / Page {region['page']}"
    if region["kind"]:
        told += f" · {escape(region['kind'])}"
    if region["share"] is not None:
        told += f" · {region['share'] * 100:.1f} %"
    if region["file"]:
        name = escape(region["file"])
        return f'<li><img src="{name}" alt="{name}">{told}<br><small>{_where(region)}</small></li>'
    no_picture = "không có hình: hãy xem trang đó / no picture: look at that page"
    return f"<li>{told}<br>{no_picture}<br><small>{_where(region)}</small></li>"


def _where(region: Mapping[str, Any]) -> str:
    left, top, right, bottom = (f"{share * 100:.0f}" for share in region["box"])
    return f"ngang / across {left}–{right} %, dọc / down {top}–{bottom} %"
