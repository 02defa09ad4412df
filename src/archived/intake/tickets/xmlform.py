"""A ticket in XML: plain elements, three deep, and nothing that XML can do beyond that.

No document type, entity, namespace, attribute or processing instruction is accepted; so nothing
expands and nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn
from xml.parsers import expat

from archived.intake.tickets.claims import MOST_FILES, Record, TicketProblem, plain_key

_DECLARED = re.compile(r"""<\?xml[^>]*?\bencoding\s*=\s*["']([^"']*)["']""")


def _unreadable(reason: str) -> NoReturn:
    raise TicketProblem("ticket-unreadable", reason)


def xml_records(text: str) -> tuple[Record, Sequence[Record]]:
    """(what the ticket says of itself, what it says of each file).

    Raises `TicketProblem`.
    """
    declared = _DECLARED.match(text)
    if declared and declared[1].lower() not in {"utf-8", "utf-16"}:
        _unreadable(f"it says that it is {declared[1][:40]}; write it in UTF-8")
    builder = _Builder()
    parser = expat.ParserCreate("utf-8")  # the text was decoded; no declaration counts any more
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.ProcessingInstructionHandler = _no_instruction
    try:
        parser.Parse(text.encode("utf-8", "surrogatepass"), True)
    except expat.ExpatError as error:
        message = expat.errors.messages.get(error.code, error.code)
        _unreadable(f"line {error.lineno}, column {error.offset + 1}: {message}")
    return builder.head, builder.files


def _no_doctype(*_: Any) -> NoReturn:
    _unreadable("it has a DOCTYPE; a ticket needs none")


def _no_instruction(*_: Any) -> NoReturn:
    _unreadable("it has a processing instruction; a ticket needs none")


class _Builder:
    """Fills the records as elements open and close: ticket, then file, then field."""

    def __init__(self) -> None:
        self.head: dict[str, str] = {}
        self.files: list[Record] = []
        self._open: list[str] = []
        self._record = self.head
        self._of_ticket: set[str] = set()
        self._seen = self._of_ticket
        self._words: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if attributes or ":" in name:
            _unreadable(f"<{name[:60]}>: attributes and namespaces are not read")
        self._no_words_around()
        within = "/".join(self._open)
        if within == "" and name != "ticket":
            _unreadable(f"its root is <{name[:60]}>, not <ticket>")
        if within == "ticket" and name == "file":
            if len(self.files) > MOST_FILES:
                raise TicketProblem("ticket-too-large", f"it lists more than {MOST_FILES} files")
            self._record, self._seen = {}, set()
            self.files.append(self._record)
        elif within in {"ticket", "ticket/file"}:
            if (key := plain_key(name)) in self._seen:
                _unreadable(f"<{name[:60]}> is there twice")
            self._seen.add(key)
        elif within:
            _unreadable(f"<{name[:60]}> within <{self._open[-1][:60]}>: fields hold text only")
        self._open.append(name)

    def text(self, words: str) -> None:
        self._words.append(words)

    def end(self, name: str) -> None:
        closed = "/".join(self._open)
        self._open.pop()
        if closed in {"ticket", "ticket/file"}:
            self._no_words_around()
            self._record, self._seen = self.head, self._of_ticket
        else:
            self._record[name] = "".join(self._words)
        self._words.clear()

    def _no_words_around(self) -> None:
        if "".join(self._words).strip():
            _unreadable(f"text stands beside the elements in <{(self._open or ['ticket'])[-1]}>")
        self._words.clear()
