"""Heads of the ledger outside the archive: as text that a person can print, type and compare.

The chain alone does not tell a ledger that was made anew as a whole from the one that was written
as things happened. A head that lies where nobody who can write the catalog can write does: the hash
of an entry covers every entry before it.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Text, select, type_coerce

from archived.errors import LedgerError
from archived.message import Message
from archived.storage import schema as t
from archived.storage.catalog import Catalog
from archived.storage.ledger import GENESIS, Row

MARK = "archived-ledger-head"
LONGEST = 1 << 24
"""Characters of a list of heads that are read: more than 100,000 heads."""

_GROUPS = r"[0-9a-f]{4}(?:\s*[0-9a-f]{4}){15}"
_PUBLISHED = re.compile(
    rf"{MARK}\s+([0-9]{{1,18}})\s+(\S+)\s+({_GROUPS})\s+check\s+([0-9a-f]{{4}}\s*[0-9a-f]{{4}})(?!\S)",
    re.IGNORECASE | re.ASCII,
)
_TYPED = re.compile(rf"\s*([0-9]{{1,18}})\s+({_GROUPS})\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class PublishedHead:
    """An entry of the ledger as it was when it was the newest.

    `hash`: SHA-256, hex. `at`: when the entry was made, ISO 8601 UTC; empty where it is not known.
    """

    sequence: int
    hash: str
    at: str = ""

    @property
    def groups(self) -> str:
        """The hash in sixteen groups of four digits."""
        return _grouped(self.hash)

    @property
    def check_sum(self) -> str:
        """CRC-32 of sequence, time and hash, in two groups: finds what was typed wrong."""
        line = f"{self.sequence} {self.at} {self.hash}"
        return _grouped(f"{zlib.crc32(line.encode()):08x}")

    @property
    def text(self) -> str:
        """One line, for paper and files; `read_heads` takes it, however it is broken."""
        return f"{MARK} {self.sequence} {self.at} {self.groups} check {self.check_sum}"


@dataclass(slots=True)
class Comparison:
    """Published heads and the ledger: what agrees, what does not, what no head covers.

    Fed with the chain's rows while it is walked (`seen`).
    """

    heads: tuple[PublishedHead, ...]
    _found: dict[int, str] = field(default_factory=dict)
    _wanted: frozenset[int] = frozenset()
    head: PublishedHead = PublishedHead(0, GENESIS)
    """The newest entry that was walked."""

    def __post_init__(self) -> None:
        self._wanted = frozenset(head.sequence for head in self.heads)

    def seen(self, row: Row) -> None:
        """The next entry of the ledger."""
        sequence, _entry, hashed, _kind, _document, at = row
        self.head = PublishedHead(sequence, hashed, at)
        if sequence in self._wanted:
            self._found[sequence] = hashed

    @property
    def differing(self) -> PublishedHead | None:
        """The first published head that is not in this ledger."""
        wrong = (head for head in self.heads if self._found.get(head.sequence) != head.hash)
        return next(wrong, None)

    @property
    def agrees_to(self) -> int:
        """The last entry that is proved to be as published; 0: none."""
        return self._agrees_below(self.head.sequence + 1)

    def _agrees_below(self, sequence: int) -> int:
        agreeing = (h.sequence for h in self.heads if self._found.get(h.sequence) == h.hash)
        return max((each for each in agreeing if each < sequence), default=0)

    @property
    def why(self) -> str:
        """What is wrong; empty when every head is in the ledger."""
        head = self.differing
        if head is None:
            return ""
        last = self.head.sequence
        if head.sequence > last:
            return Message(
                "the ledger ends with entry {last}, and entry {sequence} was published: "
                "{missing} entries are missing",
                last=last,
                sequence=head.sequence,
                missing=head.sequence - last,
            )
        return Message(
            "entry {sequence} is not the one that was published: it, or one of those after "
            "entry {agreed}, was changed, and what follows was made anew",
            sequence=head.sequence,
            agreed=self._agrees_below(head.sequence),
        )

    def as_json(self) -> dict[str, Any]:
        """For `archivectl`; `not_established`: the entries that no agreeing head covers."""
        agreed, last = self.agrees_to, self.head.sequence
        left = None if agreed >= last else {"first": agreed + 1, "last": last}
        return {"heads": len(self.heads), "agrees_to": agreed, "not_established": left}


def newest(catalog: Catalog) -> PublishedHead | None:
    """The ledger's head, ready to be published; `None` while the ledger is empty."""
    e = t.ledger.c
    statement = select(e.sequence, e.hash, type_coerce(e.at, Text)).order_by(e.sequence.desc())
    with catalog.reading() as connection:
        row = connection.execute(statement.limit(1)).one_or_none()
    return None if row is None else PublishedHead(*row)


def read_heads(text: str) -> tuple[PublishedHead, ...]:
    """The heads in a text, in order of sequence, each once.

    Takes published lines among any others (a list of heads, a daily report), the store's
    `ledger-head.json`, a sealed `record.json`, or `SEQUENCE HASH` as it was noted by hand. Raises
    `LedgerError` (`bad-ledger-head`) when there is none, or one that is not whole.
    """
    if len(text) > LONGEST:
        raise _unusable(Message("it is longer than {count} characters", count=LONGEST))
    found = tuple(sorted(set(_published(text) or _other(text))))
    if not found:
        raise _unusable(Message("there is no head of a ledger in it"))
    return found


def _published(text: str) -> list[PublishedHead]:
    found = []
    for match in _PUBLISHED.finditer(text):
        head = PublishedHead(int(match[1]), _joined(match[3]), match[2].upper())
        if _joined(match[4]) != _joined(head.check_sum):
            raise _unusable(
                Message(
                    "the check sum of head {sequence} does not fit: something was typed or "
                    "copied wrong",
                    sequence=head.sequence,
                )
            )
        found.append(head)
    if len(found) != text.lower().count(MARK):
        raise _unusable(Message("a head in it is not whole"))
    return found


def _other(text: str) -> Iterator[PublishedHead]:
    if typed := _TYPED.fullmatch(text):
        yield PublishedHead(int(typed[1]), _joined(typed[2]))
        return
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return
    for each in (body, body.get("ledger") if isinstance(body, Mapping) else None):
        if isinstance(each, Mapping) and "sequence" in each and "hash" in each:
            typed = _TYPED.fullmatch(f"{each['sequence']} {each['hash']}")
            if typed is not None:
                yield PublishedHead(int(typed[1]), _joined(typed[2]))
                return


def walked(rows: Iterable[Row], comparison: Comparison) -> Iterator[Row]:
    """The same rows, each told to `comparison` after whoever takes them has judged it."""
    for row in rows:
        yield row
        comparison.seen(row)


def _grouped(digits: str) -> str:
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def _joined(groups: str) -> str:
    return "".join(groups.split()).lower()


def _unusable(why: str) -> LedgerError:
    return LedgerError(
        Message("this is no published head: {why}", why=why),
        hint=Message(
            "give the line that begins with {mark}, as archivectl report and archivectl ledger "
            "verify print it, a file with such lines, or SEQUENCE HASH",
            mark=MARK,
        ),
        code="bad-ledger-head",
    )
