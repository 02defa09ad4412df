"""Names for things: document ids, and names as people and disks know them.

Ids are UUIDv7 (RFC 9562): they sort by time, so a listing by id is a listing by arrival. Time and
randomness are handed in.
"""

from __future__ import annotations

import unicodedata
import uuid
from datetime import datetime, timedelta

URN = "urn:uuid:"


def document_id(now: datetime, randomness: bytes) -> str:
    """A UUIDv7 from an instant and 10 random bytes (RFC 9562 section 5.7)."""
    if len(randomness) != 10:
        raise ValueError("a UUIDv7 takes 10 random bytes")
    milliseconds = int(now.timestamp() * 1000)
    value = milliseconds << 80 | int.from_bytes(randomness)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def nth_document_id(now: datetime, number: int, randomness: bytes) -> str:
    """One of many UUIDv7 made at once, from 8 random bytes: they sort by `number` (from 0).

    The number stands in the 12 bits after the time (RFC 9562 section 6.2, method 1); every 4096
    of them borrow the next millisecond.
    """
    later, place = divmod(number, 1 << 12)
    return document_id(now + timedelta(milliseconds=later), place.to_bytes(2) + randomness)


def is_document_id(text: str) -> bool:
    """True for the canonical spelling of a UUIDv7."""
    try:
        found = uuid.UUID(text)
    except ValueError:
        return False
    return str(found) == text and found.version == 7


def object_id(document: str) -> str:
    """The OCFL object's id for a document."""
    return URN + document


def of_object(identifier: str) -> str:
    """The document id inside an OCFL object id; `ValueError` when it is not one of ours."""
    document = identifier.removeprefix(URN)
    if document == identifier or not is_document_id(document):
        raise ValueError(f"{identifier!r} does not name a document")
    return document


def readable(name: bytes) -> str:
    """A received name for people: NFC, with undecodable bytes and controls made visible.

    Two different names may read the same; the bytes are what identifies a file.
    """
    text = unicodedata.normalize("NFC", name.decode("utf-8", "backslashreplace"))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def composed(name: bytes) -> bytes:
    """A received name with its accents in one form (NFC), to compare names by.

    macOS types them decomposed, Windows composed. Bytes that are no text stay as they are. What is
    stored and opened is always the name as received.
    """
    text = name.decode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogateescape")
