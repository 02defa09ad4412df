"""What the QR code of a cover or separator sheet says: how it is written, and how it is read.

Pure text. Whoever prints a sheet and whoever finds one on a page have the format from here; it
never says what follows from a sheet.

A code is `ARCHIVED:1:KIND`, then `&key=value` per field, then `&c=CHECKSUM`. KIND is `C` (a cover
sheet: a dossier begins), `P` (a plain separator: a document begins) or `M` (a mark beside a cover's
QR code, which tells that there should be one). A cover's fields, in this order: `d` code of the
dossier, `n` sheets of paper in it (separators not counted), `l` its secrecy, `q` which of how many
sheets of this dossier this is (`2/5`). Values are percent-encoded UTF-8. The checksum is the CRC-32
of all that stands before it, as eight upper-case hexadecimal digits: it is there for slips of
printing, reading and typing, and is no proof of who made the sheet.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote_to_bytes

PREFIX = "ARCHIVED:"
_VERSION = "1"
LONGEST = 600
"""Characters. A longer text is not ours, whatever it begins with."""
LEVELS = ("open", "mat", "toi-mat", "tuyet-mat")
"""How a sheet writes levels of secrecy, lowest first."""
MOST_SHEETS = 99_999
MOST_COVERS = 9_999
_DOSSIER = 80
_SHAPE = re.compile(r"ARCHIVED:1:([CPM])((?:&[a-z]=[!-%'-~]*)*)&c=([0-9A-F]{8})")
_NUMBER = re.compile(r"[1-9][0-9]{0,5}")
_NOTHING = ("", None, "", 1, 1)


class SheetKind(StrEnum):
    """What a sheet does to the pages after it."""

    COVER = "C"
    """A dossier begins, and in it a document."""
    PLAIN = "P"
    """A document begins."""
    MARK = "M"
    """Nothing by itself: a cover's QR code should be on the same page."""


class SheetError(ValueError):
    """A sheet's code that begins like ours and is wrong. `code` is `sheet-invalid`, or
    `sheet-newer` for a version that is not known here."""

    def __init__(self, message: str, code: str = "sheet-invalid") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Sheet:
    """One cover or separator sheet. Only a cover says more than its kind.

    `sheets`: sheets of paper in the whole dossier, separators not counted; `None`: not said.
    `secrecy`: one of `LEVELS`, or empty: not said. `number`, `of`: which of how many sheets of this
    dossier it is, each beginning one of its documents. Raises `SheetError` for what cannot be.
    """

    kind: SheetKind
    dossier: str = ""
    sheets: int | None = None
    secrecy: str = ""
    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if self.kind is not SheetKind.COVER:
            if (self.dossier, self.sheets, self.secrecy, self.number, self.of) != _NOTHING:
                raise SheetError("only a cover sheet says something about a dossier")
            return
        check_dossier(self.dossier)
        if self.sheets is not None and not 1 <= self.sheets <= MOST_SHEETS:
            raise SheetError(f"a dossier has 1 to {MOST_SHEETS} sheets, not {self.sheets}")
        if self.secrecy and self.secrecy not in LEVELS:
            raise SheetError(f"unknown secrecy {shown(self.secrecy)}")
        if not 1 <= self.number <= self.of <= MOST_COVERS:
            raise SheetError(f"there is no sheet {self.number} of {self.of}")

    def text(self) -> str:
        """What is put into the QR code."""
        fields = ""
        if self.kind is SheetKind.COVER:
            fields = f"&d={quote(self.dossier, safe='/:,()')}"
            fields += "" if self.sheets is None else f"&n={self.sheets}"
            fields += f"&l={self.secrecy}" if self.secrecy else ""
            fields += f"&q={self.number}/{self.of}" if self.of > 1 else ""
        body = f"{PREFIX}{_VERSION}:{self.kind}{fields}"
        return f"{body}&c={_checksum(body)}"

    @classmethod
    def read(cls, text: str) -> Sheet | None:
        """The sheet whose code says `text`; `None` when it is somebody else's code.

        Raises `SheetError` for a text that begins like ours and cannot be believed.
        """
        if not text.startswith(PREFIX):
            return None
        if len(text) > LONGEST:
            raise SheetError(f"{len(text)} characters, more than the {LONGEST} a sheet has")
        version = text.removeprefix(PREFIX).partition(":")[0]
        if version != _VERSION and re.fullmatch(r"[0-9]{1,3}", version):
            raise SheetError(f"version {version} of the sheets is not known here", "sheet-newer")
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise SheetError(f"it does not have the form of a sheet's code: {shown(text)}")
        if _checksum(text[: match.start(3) - 3]) != match[3]:
            raise SheetError("its checksum is wrong")
        fields = _fields(match[2])
        number, of = _pair(fields.pop("q", "1/1"))
        sheets = fields.pop("n", None)
        sheet = cls(
            SheetKind(match[1]),
            dossier=fields.pop("d", ""),
            sheets=None if sheets is None else _number(sheets),
            secrecy=fields.pop("l", ""),
            number=number,
            of=of,
        )
        if fields:
            raise SheetError(f"unknown field {min(fields)!r}")
        return sheet


def check_dossier(code: str) -> None:
    """Raise `SheetError` unless `code` is a code a dossier may have.

    Up to 80 letters, digits, spaces and signs, NFC; parts between `/` are never empty, `.` or `..`,
    so that nobody who makes a path of one gets out of a folder.
    """
    if not code or len(code) > _DOSSIER:
        raise SheetError(f"a dossier's code has 1 to {_DOSSIER} characters, not {len(code)}")
    if code != unicodedata.normalize("NFC", code) or code != code.strip():
        raise SheetError(f"the dossier's code {shown(code)} is not plain (NFC, no spaces around)")
    for sign in code:
        kind = unicodedata.category(sign)
        if kind[0] not in "LMN" and sign not in " .-_/:,()":
            raise SheetError(f"the dossier's code {shown(code)} holds {shown(sign)}")
    if any(not part.strip(" .") for part in code.split("/")):
        raise SheetError(f"the dossier's code {shown(code)} has a part that names no place")


def shown(text: str, most: int = 80) -> str:
    """Somebody else's text, harmless: quoted, escaped, at most `most` characters."""
    cut = text[:most]
    return repr(cut) + ("..." if len(text) > most else "")


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08X}"


def _fields(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for piece in text.split("&")[1:]:
        key, _, value = piece.partition("=")
        if key in found:
            raise SheetError(f"the field {key!r} stands there twice")
        if re.search(r"%(?![0-9A-Fa-f]{2})", value):
            raise SheetError(f"the field {key!r} is not percent-encoded")
        try:
            found[key] = unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            raise SheetError(f"the field {key!r} is not UTF-8") from None
    return found


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise SheetError(f"{shown(text)} is not a number of sheets")
    return int(text)


def _pair(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not slash:
        raise SheetError(f"{shown(text)} does not say which sheet of how many")
    return _number(number), _number(of)
