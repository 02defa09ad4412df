"""Which names the folder keeps as they were given."""

from __future__ import annotations

import os

from archived.intake.probe.ground import PREFIX, Answer, Ground


def _named(g: Ground, label: str, otherwise: str) -> Answer:
    try:
        g.w.do("create", label)
    except OSError as error:
        return "no", f"{error.strerror}: {otherwise}", ""
    names = g.d.do("names")
    return ("yes", "", "") if label in names else ("no", f"another name came back: {otherwise}", "")


def nfd(g: Ground) -> Answer:
    """Decomposed accents, as macOS sends them."""
    told = _named(g, "Nghi\u0323\u0302 quye\u0302\u0301t", "the name on record is the folder's")
    if told[0] != "yes":
        return told
    one = g.d.do("stat", "Ngh\u1ecb quy\u1ebft") is None  # the same, composed
    other = "two spellings of a name are two files" if one else "two spellings are one file"
    return "yes", other, ""


def longest(g: Ground) -> Answer:
    """As long as Linux allows."""
    room = 255 - len(PREFIX) - 9
    return _named(g, "n" * room, "longer names are lost before they arrive")


def newline(g: Ground) -> Answer:
    """A byte that breaks lists of names."""
    return _named(g, "two\nlines", "such names cannot arrive")


def not_utf8(g: Ground) -> Answer:
    """Bytes that are no text."""
    return _named(g, os.fsdecode(b"Ngh\xde quy\xd5t"), "such names cannot arrive")


def case(g: Ground) -> Answer:
    """Or one name, as on Windows."""
    g.w.do("create", "Page.PDF", "upper")
    if g.d.do("stat", "page.pdf") is not None:
        why = "Scan.pdf overwrites scan.PDF if both come before it is taken in"
        return "no", why, "let scanners number their files"
    return "yes", "", ""
