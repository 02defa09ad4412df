"""Which words of a ticket may name a file: inside the dossier's folder, visible, unambiguous.

Pure: nothing here looks at a disk. What is refused is refused with its reason, never corrected.
"""

from __future__ import annotations

import re
import stat
import unicodedata

from archived.intake.rules import RULES, rule_for

MOST_DEPTH = 16
"""Components of one path."""
_MOST_NAME = 255
"""Bytes of one component; no file system we know holds more."""
_MOST_PATH = 4096

_DRIVE = re.compile(r"[A-Za-z]:")
_FORMULA = tuple("=+-@＝＋－＠")  # spreadsheets take the wide ones for the others
_UNFIT_IN_PROSE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# In a name also what breaks a line, turns the reading direction or draws nothing.
_UNFIT_IN_NAMES = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff"
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]"
)


def begins_a_formula(text: str) -> bool:
    """Whether a spreadsheet would run this cell instead of showing it (OWASP, CSV injection)."""
    return text.startswith(_FORMULA)


def unfit_character(text: str, *, prose: bool = False) -> str:
    """The first control, surrogate or (but in prose) misleading character; empty without one."""
    found = (_UNFIT_IN_PROSE if prose else _UNFIT_IN_NAMES).search(text)
    return f"the character U+{ord(found[0]):04X}" if found else ""


def checked_path(text: str) -> tuple[str, str]:
    """(the path in NFC, "") or ("", why it cannot be used)."""
    path = unicodedata.normalize("NFC", text)
    shown = "".join(c if c.isprintable() else "?" for c in path[:80])
    wrong = _wrong(path)
    return ("", f'"{shown}": {wrong}') if wrong else (path, "")


def _wrong(path: str) -> str:
    if unfit := unfit_character(path):
        return f"it has {unfit} in it"
    if "\\" in path:
        return "it is written with \\; write / between folders"
    if path.startswith("/") or _DRIVE.match(path):
        return "it is absolute; write it relative to the ticket's folder"
    if begins_a_formula(path):
        return f'it begins with "{path[0]}", as a formula does'
    if len(path.encode()) > _MOST_PATH:
        return f"it is longer than {_MOST_PATH} bytes"
    parts = path.split("/")
    if len(parts) > MOST_DEPTH:
        return f"it lies deeper than {MOST_DEPTH} folders"
    for part in parts:
        if wrong := _wrong_part(part):
            return wrong
    rule = rule_for(path.encode(), stat.S_IFREG)
    return f"it names a file that is left alone: {RULES[rule]}" if rule else ""


def _wrong_part(part: str) -> str:
    if part == "":
        return "it has nothing between two /"
    if part in {".", ".."}:
        return f'it leaves its folder by "{part}"'
    if part != part.strip():
        return "it has a blank at the beginning or end of a name"
    if len(part.encode()) > _MOST_NAME:
        return f"it has a name of more than {_MOST_NAME} bytes"
    return ""
