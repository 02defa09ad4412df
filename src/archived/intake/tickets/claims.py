"""What a ticket claims, once every word of it was checked: the same for all formats.

Here stand the shape, the limits, and the one place where a field becomes a value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import MappingProxyType

from archived.intake.problems import Problem
from archived.intake.tickets.paths import begins_a_formula, checked_path, unfit_character
from archived.model import secrecy

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
        self.problem = Problem(code, reason)
        self.code = code
        self.reason = reason

    @property
    def hint(self) -> str:
        """What a person can do about it."""
        return self.problem.hint


@dataclass(frozen=True, slots=True)
class Listed:
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
    files: tuple[Listed, ...] = ()
    given: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def documents(self) -> tuple[tuple[Listed, ...], ...]:
        """The files of each document, in the order in which documents are first listed."""
        found: dict[object, list[Listed]] = {}
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
            "ticket-too-large", f"it lists {len(files)} files, the limit is {MOST_FILES}"
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


def _listed(record: Record, place: int) -> Listed:
    where = f"file number {place}: "
    known, given = _sorted_out(record, _FILE_KEYS, _NOT_OF_FILE, where)
    path = known.get("path", "")
    if not path:
        raise TicketProblem("ticket-field", f"{where}it has no path")
    path, wrong = checked_path(path)
    if wrong:
        raise TicketProblem("ticket-path", f"{where}{wrong}")
    pages = _number(known, "pages", _MOST_PAGES, where)
    if pages == 0:
        raise TicketProblem("ticket-field", f"{where}a file has one page or more")
    return Listed(
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
        raise TicketProblem("ticket-field", f"{where}more than {MOST_COLUMNS} fields")
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
            raise TicketProblem("ticket-field", f'{where}"{name}" does not belong here')
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
            f"{where}a field's name is empty, longer than {MOST_LABEL} characters or not printable",
        )
    return name


def _check_text(text: str, name: str, where: str) -> None:
    if unfit := unfit_character(text, prose=True):
        raise TicketProblem("ticket-field", f'{where}"{name}" has {unfit} in it')
    if len(text.encode()) > MOST_TEXT:
        raise TicketProblem("ticket-field", f'{where}"{name}" is longer than {MOST_TEXT} bytes')


def _harmless(text: str, name: str, where: str) -> str:
    """What stands under a key nobody knows must not be a level of secrecy that nobody sees."""
    try:
        hidden = secrecy.level(text) > secrecy.Level.OPEN
    except ValueError:
        return text
    if hidden:
        raise TicketProblem(
            "ticket-secrecy", f'{where}"{name}" names a level; it is read under "secrecy" only'
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
            f'{where}"{key}" is one line of at most {MOST_LABEL} characters',
        )
    if begins_a_formula(text):
        raise TicketProblem(
            "ticket-field", f'{where}"{key}" begins with "{text[0]}", as a formula does'
        )
    return text


def _number(known: Mapping[str, str], key: str, most: int, where: str) -> int | None:
    text = known.get(key)
    if text is None:
        return None
    if not _DIGITS.fullmatch(text) or int(text) > most:
        raise TicketProblem("ticket-field", f'{where}"{key}" is a whole number from 0 to {most}')
    return int(text)


def _digest(known: Mapping[str, str], key: str, length: int, where: str) -> str | None:
    text = known.get(key)
    if text is None:
        return None
    text = text.lower()
    if len(text) != length or not _HEX.fullmatch(text):
        raise TicketProblem("ticket-field", f'{where}"{key}" is {length} hexadecimal digits')
    return text
