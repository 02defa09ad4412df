"""How text is folded for searching, so that a name is found however it was typed.

Accents are dropped by the index itself, which keeps the text as it was printed. What the index does
not know is done here: the letter đ has no decomposition, so it is kept as d and a mark that the
index drops like any accent. `printed` puts the letter back: text for eyes is never folded.
"""

from __future__ import annotations

import re
import unicodedata

_STROKE = "\N{COMBINING BREVE BELOW}"
_ETH = "\N{COMBINING TILDE BELOW}"
"""Marks that FTS5 drops, with which no d is composed and which Vietnamese does not have."""

_KEPT = {"đ": f"d{_STROKE}", "Đ": f"D{_STROKE}", "ð": f"d{_ETH}", "Ð": f"D{_ETH}"}
_FOLD = str.maketrans({**_KEPT, _STROKE: None, _ETH: None})
_PRINTED = {kept: letter for letter, kept in _KEPT.items()}
_MARKED = re.compile(f"[dD][{_STROKE}{_ETH}]")


def fold(text: str) -> str:
    """Text as it goes into the index. `hòa` and `hoà` become the same once accents are gone."""
    return unicodedata.normalize("NFC", text).translate(_FOLD)


def printed(text: str) -> str:
    """Text of the index as it was printed. What an earlier archived folded stays as it is."""
    return _MARKED.sub(lambda found: _PRINTED[found[0]], text)


def query(text: str) -> str:
    """A person's words as an FTS5 query: every word must occur; `"..."` is a phrase; `x*` a prefix.

    Nothing in it can be taken for FTS5 syntax. Empty when there is no word in it.
    """
    terms = []
    printable = "".join(c if c.isprintable() else " " for c in text)
    for phrase, word in re.findall(r'"([^"]*)"|(\S+)', fold(printable)):
        star = "*" if word.endswith("*") else ""
        quoted = (phrase or word.rstrip("*")).replace('"', '""')
        if any(c.isalnum() for c in quoted):
            terms.append(f'"{quoted}"{star}')
    return " AND ".join(terms)
