"""Names of answers: what any client of a share can show, told apart by ids. Pure.

Received names are hostile: any byte, any length. An answer's name only resembles them; the true
name stands inside the answer.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 60
"""Characters of a received name that its answer shows; Windows refuses paths over 260."""
_LONGEST_BYTES = 150
"""A name on disk has at most 255 bytes, and ours go on after it."""
_TAIL = 16
"""Scanners count at the end of a name: the end of a name that is cut stays."""

_FORBIDDEN = re.compile(r'[\\/:*?"<>|]')
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"}
)  # fmt: skip
"""Names that Windows keeps for devices, whatever follows their first dot."""

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
RECEIPT = re.compile(rf".+_{_ID}(?:_\d+|_refused)?\.(?:txt|json)", re.S)
REASON = re.compile(rf".+_(?:{_ID}|file-\d+)\.txt", re.S)
SAFE_LIST = re.compile(r"safe-\d{4}-\d\d-\d\d\.csv")
STATUS = "STATUS.txt"


def resembling(path: bytes) -> str:
    """The last part of a received path as a harmless beginning of a file name, never empty."""
    last = path.rsplit(b"/", 1)[-1].decode("utf-8", "replace")
    name = unicodedata.normalize("NFC", last).replace("\N{REPLACEMENT CHARACTER}", "_")
    # Not printable: line feeds, and marks that turn the direction of writing.
    name = "".join(c if c.isprintable() else "_" for c in _FORBIDDEN.sub("_", name))
    name = _cut(name).strip(" ")
    name = re.sub(r"[. ]+$", "_", name) or "_"
    # A dot hides a file, a dash looks like an option, "~" like a temporary file.
    if name[0] in ".-~$=+@" or name.split(".", 1)[0].rstrip().casefold() in _DEVICES:
        name = f"_{name}"
    return name


def _cut(name: str) -> str:
    if len(name) <= LONGEST and len(name.encode()) <= _LONGEST_BYTES:
        return name
    tail, head = name[-_TAIL:], name[: LONGEST - _TAIL - 1]
    while len(f"{head}…{tail}".encode()) > _LONGEST_BYTES:
        head = head[:-1]
    return f"{head}…{tail}"


def receipt(path: bytes, document: str, arrival: int | None) -> str:
    """Name of a receipt, without its suffix. The same arrival always has the same."""
    number = "" if arrival is None else f"_{arrival}"
    return f"{resembling(path)}_{document}{number}"


def reason(path: bytes, *, document: str | None = None, arrival: int = 0) -> str:
    """Name of the reason file of a held document, or of a file that was not taken in."""
    return f"{resembling(path)}_{document or f'file-{arrival}'}.txt"
