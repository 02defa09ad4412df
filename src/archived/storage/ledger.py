"""The hash-chained ledger: every action, in order, each entry bound to the one before.

An entry is canonical JSON; its hash is the SHA-256 of those bytes; it holds the hash of the entry
before it. Changing, removing or inserting an entry breaks the chain from there on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from archived.errors import LedgerError
from archived.message import Message, with_parts

GENESIS = "0" * 64
"""What the first entry names as the hash before it."""

KINDS: Mapping[str, str] = {
    "ledger-opened": "The ledger began.",
    "daemon-started": "The daemon started; the agent names its version.",
    "daemon-stopped": "The daemon stopped in order.",
    "document-admitted": "A file's bytes became durable in the spool; digests of the original.",
    "source-removed": "The file was taken out of the hot folder after its bytes were compared.",
    "arrival-joined": "A further file of a document became durable in the spool with it.",
    "arrival-repeated": "The same bytes arrived again; compared, and counted as an arrival.",
    "document-source-grew": "More was written to a file after it was taken in; it arrived anew.",
    "arrival-ignored": "A file in a hot folder was left alone under a named rule.",
    "arrivals-ignored": "Many files were left alone; their numbers by rule and device, and the "
    "SHA-256 of their names.",
    "arrival-held": "A file in a hot folder cannot be taken in.",
    "arrivals-held": "Many files cannot be taken in; their numbers by code and device, and the "
    "SHA-256 of their names.",
    "step-finished": "A stage ended well; digests of what it made.",
    "document-divided": "A stage cut the document into parts; the entry names them in order.",
    "part-admitted": "A part became a document of its own; digests of its file.",
    "step-skipped": "A stage does not accept the document's type.",
    "step-postponed": "A stage waits for the world.",
    "step-refused": "A stage decided that the document must not go on.",
    "step-failed": "A stage failed.",
    "step-requeued": "A stage was stopped from outside and will be started again.",
    "step-lost": "The daemon or the machine died under a stage.",
    "review-required": "A stage ended well, and a person must look; how many regions, and whether "
    "that holds the document.",
    "document-held": "A person must decide.",
    "document-released": "A person decided that the document goes on.",
    "document-retried": "A person asked for another try.",
    "copies-asked": "A person asked for the copies that the document's pipeline makes now.",
    "document-rejected": "A person decided that the document is not archived.",
    "document-sealed": "The OCFL object is durable; digest of its inventory.",
    "document-upgraded": "A new version of the OCFL object is durable, with what a stage improved; "
    "digest of its inventory.",
    "copy-verified": "A copy was written and read back; digest of its inventory.",
    "document-safe": "The wanted number of copies was verified.",
    "catalog-rebuilt": "A person had the catalog made from the store; how far its objects' own "
    "ledger went.",
    "recovered": "What a crash left was put right; the entry says what.",
}
"""Entry kind -> what it records. Kinds are an interface."""


SEALED_KINDS = frozenset({"document-sealed", "document-upgraded"})
"""Kinds of entries that tell of a version of an object."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One action. `digests`: name -> SHA-512, hex. `agent`: `tool version`, or a person."""

    kind: str
    at: datetime
    agent: str
    document: str | None = None
    digests: Mapping[str, str] | None = None
    facts: Mapping[str, Any] | None = None


def canonical(entry: Entry, sequence: int, previous: str) -> str:
    """The exact text that is hashed: JSON, sorted keys, no spaces, UTF-8."""
    if entry.kind not in KINDS:
        raise ValueError(f"{entry.kind!r} is not a kind of ledger entry")
    body: dict[str, Any] = {
        "agent": entry.agent,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": entry.kind,
        "previous": previous,
        "sequence": sequence,
    }
    if entry.document is not None:
        body["document"] = entry.document
    if entry.digests:
        body["digests"] = dict(entry.digests)
    if entry.facts:
        body["facts"] = with_parts(entry.facts)
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(entry: str) -> str:
    """SHA-256 of an entry's canonical text, hex."""
    return hashlib.sha256(entry.encode()).hexdigest()


Row = tuple[int, str, str, str, str | None, str]
"""Sequence, entry, hash, kind, document, time: a row of the ledger as the catalog has it."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry: where the chain ends."""

    sequence: int
    hash: str


def verify(rows: Iterable[Row]) -> Head:
    """Walk the chain; returns its head. Raises `LedgerError` naming the first entry that is wrong.

    `rows` are in order of sequence, from the first on.
    """
    head = Head(0, GENESIS)
    for row in rows:
        sequence, _entry, stored, *_columns = row
        wrong = _what_is_wrong(head, row)
        if wrong:
            raise LedgerError(
                Message("ledger entry {sequence}: {wrong}", sequence=sequence, wrong=wrong),
                hint=Message(
                    "Stop the daemon, keep the catalog as it is, and compare it with a "
                    "backup: somebody or something changed the record."
                ),
            )
        head = Head(sequence, stored)
    return head


def _what_is_wrong(head: Head, row: Row) -> str:
    sequence, entry, stored, kind, document, at = row
    if sequence != head.sequence + 1:
        return Message("entry {sequence} is missing", sequence=head.sequence + 1)
    if not isinstance(entry, str) or digest(entry) != stored:
        return Message("its text does not match its hash")
    try:
        body = json.loads(entry)
    except (ValueError, RecursionError):
        return Message("its text is not JSON")
    if not isinstance(body, dict):
        return Message("its text is not JSON")
    if body.get("previous") != head.hash:
        return Message("it does not continue the entry before it")
    if body.get("sequence") != sequence:
        return Message("its text carries another sequence number")
    if (body.get("kind"), body.get("document"), body.get("at")) != (kind, document, at):
        return Message("its columns do not match its text")
    return ""
