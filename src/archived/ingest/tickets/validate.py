"""A ticket's records as checked values: the shape, the limits, the paths. Pure.

The same for all formats. A path must lie inside the dossier's folder, be visible and unambiguous.
What is refused is refused with its reason, never corrected.
"""

from __future__ import annotations

import re
import stat
import unicodedata
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import MappingProxyType

from archived.ingest.hold_reasons import BatchProblem
from archived.ingest.ignore_rules import RULES, rule_for
from archived.message import Message
from archived.model import secrecy

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
    return Message("the character U+{ord:04X}", ord=ord(found[0])) if found else ""


def checked_path(text: str) -> tuple[str, str]:
    """(the path in NFC, "") or ("", why it cannot be used)."""
    path = unicodedata.normalize("NFC", text)
    shown = "".join(c if c.isprintable() else "?" for c in path[:80])
    wrong = _wrong(path)
    return ("", Message('"{shown}": {wrong}', shown=shown, wrong=wrong)) if wrong else (path, "")


def _wrong(path: str) -> str:
    if unfit := unfit_character(path):
        return Message("it has {unfit} in it", unfit=unfit)
    if "\\" in path:
        return Message("it is written with \\; write / between folders")
    if path.startswith("/") or _DRIVE.match(path):
        return Message("it is absolute; write it relative to the ticket's folder")
    if begins_a_formula(path):
        return Message('it begins with "{path}", as a formula does', path=path[0])
    if len(path.encode()) > _MOST_PATH:
        return Message("it is longer than {most_path} bytes", most_path=_MOST_PATH)
    parts = path.split("/")
    if len(parts) > MOST_DEPTH:
        return Message("it lies deeper than {most_depth} folders", most_depth=MOST_DEPTH)
    for part in parts:
        if wrong := _wrong_part(part):
            return wrong
    rule = rule_for(path.encode(), stat.S_IFREG)
    return Message("it names a file that is left alone: {rules}", rules=RULES[rule]) if rule else ""


def _wrong_part(part: str) -> str:
    if part == "":
        return Message("it has nothing between two /")
    if part in {".", ".."}:
        return Message('it leaves its folder by "{part}"', part=part)
    if part != part.strip():
        return Message("it has a blank at the beginning or end of a name")
    if len(part.encode()) > _MOST_NAME:
        return Message("it has a name of more than {most_name} bytes", most_name=_MOST_NAME)
    return ""


MOST_BYTES = 1 << 20
"""A ticket is no larger; whoever reads one reads no more than a byte beyond it."""
MOST_FILES = 10_000
MOST_COLUMNS = 100
"""Fields of one record, the unknown ones included."""
MOST_TEXT = 4096
"""Bytes of one text, in UTF-8."""
MOST_LABEL = 200
"""Characters of a dossier's code, a document's label, and a key's name."""

_MOST_SIZE = (1 << 63) - 1
_MOST_PAGES = 100_000
_MOST_COUNT = 1_000_000
_DIGITS = re.compile(r"[0-9]{1,19}")
_HEX = re.compile(r"[0-9a-f]+")

_TICKET_KEYS = frozenset({"dossier", "title", "secrecy", "count"})
_FILE_KEYS = frozenset({"path", "size", "sha256", "sha512", "pages", "document"})
# In the wrong place these would be overlooked; "title" and "pages" make sense in both.
_NOT_OF_TICKET = frozenset({"path", "size", "sha256", "sha512", "document", "files"})
_NOT_OF_FILE = frozenset({"dossier", "secrecy", "count", "files"})

Record = Mapping[str, str]
"""Key -> text, as the ticket has them; a format's reader makes it, checked for repeated keys."""


class TicketProblem(Exception):
    """The ticket cannot be used. Carries the `problem`: code, reason, hint."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.problem = BatchProblem(code, reason)
        self.code = code
        self.reason = reason

    @property
    def hint(self) -> str:
        """What a person can do about it."""
        return self.problem.hint


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file as the ticket lists it. `path` is relative to the dossier's folder, NFC, with `/`.

    `size` in bytes; digests in lower-case hex. `document`: files with the same label are one
    document, in the order listed; an empty label is a document of its own. `given`: everything
    else the ticket says about it, as text.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    sha512: str | None = None
    pages: int | None = None
    document: str = ""
    given: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Ticket:
    """All that one ticket says. `expected`: how many files it claims; no `files`: it lists none."""

    dossier: str = ""
    title: str = ""
    secrecy: str = ""
    """One of the words of `model.secrecy`, or empty."""
    expected: int | None = None
    files: tuple[ListedFile, ...] = ()
    given: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def documents(self) -> tuple[tuple[ListedFile, ...], ...]:
        """The files of each document, in the order in which documents are first listed."""
        found: dict[object, list[ListedFile]] = {}
        for place, listed in enumerate(self.files):
            found.setdefault(listed.document or place, []).append(listed)
        return tuple(tuple(files) for files in found.values())


def plain_key(text: str) -> str:
    """A key without what makes no difference: capitals, blanks, hyphens, underscores."""
    return re.sub(r"[\s_-]", "", unicodedata.normalize("NFC", text)).casefold()


def is_of_ticket(key: str) -> bool:
    """Whether this key, as written, is said of the ticket as a whole."""
    return plain_key(key) in _TICKET_KEYS


def is_of_file(key: str) -> bool:
    """Whether this key, as written, is said of one file."""
    return plain_key(key) in _FILE_KEYS


def checked_ticket(head: Record, files: Sequence[Record]) -> Ticket:
    """The ticket these records make; raises `TicketProblem` for the first that cannot stand."""
    if len(files) > MOST_FILES:
        raise TicketProblem(
            "ticket-too-large",
            Message(
                "it lists {count} files, the limit is {most_files}",
                count=len(files),
                most_files=MOST_FILES,
            ),
        )
    known, given = _sorted_out(head, _TICKET_KEYS, _NOT_OF_TICKET, "")
    return Ticket(
        dossier=_label(known, "dossier", ""),
        title=known.get("title", ""),
        secrecy=_secrecy(known.get("secrecy", "")),
        expected=_number(known, "count", _MOST_COUNT, ""),
        files=tuple(_listed(record, place) for place, record in enumerate(files, 1)),
        given=given,
    )


def _listed(record: Record, place: int) -> ListedFile:
    where = Message("file number {place}: ", place=place)
    known, given = _sorted_out(record, _FILE_KEYS, _NOT_OF_FILE, where)
    path = known.get("path", "")
    if not path:
        raise TicketProblem("ticket-field", Message("{where}it has no path", where=where))
    path, wrong = checked_path(path)
    if wrong:
        raise TicketProblem("ticket-path", Message("{where}{wrong}", where=where, wrong=wrong))
    pages = _number(known, "pages", _MOST_PAGES, where)
    if pages == 0:
        raise TicketProblem(
            "ticket-field", Message("{where}a file has one page or more", where=where)
        )
    return ListedFile(
        path=path,
        size=_number(known, "size", _MOST_SIZE, where),
        sha256=_digest(known, "sha256", 64, where),
        sha512=_digest(known, "sha512", 128, where),
        pages=pages,
        document=_label(known, "document", where),
        given=given,
    )


def _sorted_out(
    record: Record, keys: Set[str], misplaced: Set[str], where: str
) -> tuple[dict[str, str], Mapping[str, str]]:
    """(known fields, what else is given), each text checked; empty ones are as good as absent."""
    if len(record) > MOST_COLUMNS:
        raise TicketProblem(
            "ticket-field",
            Message(
                "{where}more than {most_columns} fields", where=where, most_columns=MOST_COLUMNS
            ),
        )
    known: dict[str, str] = {}
    given: dict[str, str] = {}
    for key, raw in record.items():
        plain = plain_key(key)
        name = _checked_key(key, where)
        # A path is taken as it is: a blank at its end would be another file's name.
        text = raw if plain == "path" else unicodedata.normalize("NFC", raw).strip()
        if not text:
            continue
        if plain in misplaced:
            raise TicketProblem(
                "ticket-field",
                Message('{where}"{name}" does not belong here', where=where, name=name),
            )
        if plain != "path":
            _check_text(text, name, where)
        if plain in keys:
            known[plain] = text
        else:
            given[name] = _harmless(text, name, where)
    return known, MappingProxyType(given)


def _checked_key(key: str, where: str) -> str:
    name = unicodedata.normalize("NFC", key).strip()
    if not name or len(name) > MOST_LABEL or not name.isprintable():
        raise TicketProblem(
            "ticket-field",
            Message(
                "{where}a field's name is empty, longer than {most_label} characters or "
                "not printable",
                where=where,
                most_label=MOST_LABEL,
            ),
        )
    return name


def _check_text(text: str, name: str, where: str) -> None:
    if unfit := unfit_character(text, prose=True):
        raise TicketProblem(
            "ticket-field",
            Message('{where}"{name}" has {unfit} in it', where=where, name=name, unfit=unfit),
        )
    if len(text.encode()) > MOST_TEXT:
        raise TicketProblem(
            "ticket-field",
            Message(
                '{where}"{name}" is longer than {most_text} bytes',
                where=where,
                name=name,
                most_text=MOST_TEXT,
            ),
        )


def _harmless(text: str, name: str, where: str) -> str:
    """What stands under a key nobody knows must not be a level of secrecy that nobody sees."""
    try:
        hidden = secrecy.level(text) > secrecy.Level.OPEN
    except ValueError:
        return text
    if hidden:
        raise TicketProblem(
            "ticket-secrecy",
            Message(
                '{where}"{name}" names a level; it is read under "secrecy" only',
                where=where,
                name=name,
            ),
        )
    return text


def _secrecy(word: str) -> str:
    try:
        secrecy.level(word)
    except ValueError as error:
        # The word is the ticket's: in a terminal it might be obeyed.
        told = "".join(c if c.isprintable() else "?" for c in str(error))
        raise TicketProblem("ticket-secrecy", told) from None
    return word


def _label(known: Mapping[str, str], key: str, where: str) -> str:
    """A short name that people and other programs will sort, print and open in spreadsheets."""
    text = known.get(key, "")
    if len(text) > MOST_LABEL or unfit_character(text):
        raise TicketProblem(
            "ticket-field",
            Message(
                '{where}"{key}" is one line of at most {most_label} characters',
                where=where,
                key=key,
                most_label=MOST_LABEL,
            ),
        )
    if begins_a_formula(text):
        raise TicketProblem(
            "ticket-field",
            Message(
                '{where}"{key}" begins with "{text}", as a formula does',
                where=where,
                key=key,
                text=text[0],
            ),
        )
    return text


def _number(known: Mapping[str, str], key: str, most: int, where: str) -> int | None:
    text = known.get(key)
    if text is None:
        return None
    if not _DIGITS.fullmatch(text) or int(text) > most:
        raise TicketProblem(
            "ticket-field",
            Message(
                '{where}"{key}" is a whole number from 0 to {most}', where=where, key=key, most=most
            ),
        )
    return int(text)


def _digest(known: Mapping[str, str], key: str, length: int, where: str) -> str | None:
    text = known.get(key)
    if text is None:
        return None
    text = text.lower()
    if len(text) != length or not _HEX.fullmatch(text):
        raise TicketProblem(
            "ticket-field",
            Message(
                '{where}"{key}" is {length} hexadecimal digits', where=where, key=key, length=length
            ),
        )
    return text
