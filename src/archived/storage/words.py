"""How text is folded for searching, so that a name is found however it was typed.

Accents are dropped by the index itself; what it does not know is done here: the letter đ has no
decomposition and must become d in the index and in the question alike.
"""

from __future__ import annotations

import re
import unicodedata

_D = str.maketrans({"đ": "d", "Đ": "D", "ð": "d", "Ð": "D"})


def fold(text: str) -> str:
    """Text as it goes into the index. `hòa` and `hoà` become the same once accents are gone."""
    return unicodedata.normalize("NFC", text).translate(_D)


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
