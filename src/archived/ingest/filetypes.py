"""What a file is, and whether its end has arrived: a bounded look at its structure.

Bytes are read through `Reader`, a bounded number of them; nothing is decoded, and no number that
was read is trusted. There is one function per format. It returns why the file is not whole, an
empty text when it is, or `None` when the format cannot tell. For TIFF 6.0 and BigTIFF every
directory of the chain and all that it names must lie inside the file. A file whose format says
"unfinished" is still arriving, not damaged.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from archived.message import Message

_TAIL = 65536
_MOST_SEGMENTS = 2000
_LARGEST_GIF = 8 << 20


class Reader(Protocol):
    """Random access to a file's bytes; what lies beyond the end is simply missing."""

    @property
    def size(self) -> int: ...
    def at(self, offset: int, length: int) -> bytes: ...


def _tail(reader: Reader, length: int = _TAIL, *, after: int = 0) -> bytes:
    start = max(after, reader.size - length)
    return reader.at(start, reader.size - start)


def pdf(reader: Reader) -> str | None:
    """ISO 32000-1, 7.5.5 and annex F.

    Real files carry up to a few hundred bytes after the last line, and some are padded with zeros
    by the scanner. A file with incremental updates cut exactly behind an earlier end mark is a
    whole PDF, and passes for one.
    """
    tail = _tail(reader)
    padding = len(tail) - len(tail.rstrip(b"\0"))
    tail = tail.rstrip(b"\0\r\n\t ")
    if b"%%EOF" not in tail[-2048:]:
        return Message("the end mark of a PDF (%%EOF) is missing")
    if b"startxref" not in tail:
        return Message("the reference to the cross-reference table (startxref) is missing")
    # A linearized file has an end mark near its beginning, but says how long it is.
    linearized = re.search(rb"/Linearized\b[^>]*?/L\s+(\d{1,18})", reader.at(0, 1024))
    if linearized and reader.size - padding < int(linearized[1]):
        return Message("{int} bytes were promised (linearized PDF)", int=int(linearized[1]))
    return ""


def jpeg(reader: Reader) -> str | None:
    """ITU-T T.81, B.1.1. Previews inside the headers have end marks of their own."""
    missing = Message("the end mark of a JPEG (EOI) is missing")
    place = 2
    for _ in range(_MOST_SEGMENTS):
        head = reader.at(place, 4)
        if len(head) < 4:
            return missing
        if head[0] != 0xFF or head[1] == 0xDA:  # damaged, or the image itself
            return "" if b"\xff\xd9" in _tail(reader, after=place) else missing
        if head[1] == 0xFF:
            place += 1
        elif head[1] in {0x01, *range(0xD0, 0xD9)}:
            place += 2
        else:
            place += 2 + int.from_bytes(head[2:])
    return None


def png(reader: Reader) -> str | None:
    """ISO/IEC 15948, 11.2.5."""
    if b"IEND\xae\x42\x60\x82" not in _tail(reader):
        return Message("the last chunk of a PNG (IEND) is missing")
    return ""


def zipped(reader: Reader) -> str | None:
    """APPNOTE 4.3.16: the end of central directory record, and the comment after it."""
    tail = _tail(reader, 22 + 65535)
    record = tail.rfind(b"PK\5\6")
    if record < 0:
        return Message("the directory at the end of the ZIP file is missing")
    comment = int.from_bytes(tail[record + 20 : record + 22], "little")
    if len(tail) < record + 22 + comment:
        return Message("the directory at the end of the ZIP file is cut off")
    return ""


def gif(reader: Reader) -> str | None:
    """GIF89a, appendix A: block after block until the trailer; any byte can look like one."""
    if reader.size > _LARGEST_GIF:
        return None
    data, missing = reader.at(0, reader.size), "the end of the GIF is missing"
    place = 13 + _colours(data, 10)
    while place < len(data):
        match data[place]:
            case 0x3B:
                return ""
            case 0x21:
                place = _after_blocks(data, place + 2)
            case 0x2C:
                place = _after_blocks(data, place + 11 + _colours(data, place + 9))
            case 0:
                if not data[place:].strip(b"\0"):
                    return missing
                return None
            case _:
                return None  # damaged
    return missing


def _colours(data: bytes, flags: int) -> int:
    if flags >= len(data) or not data[flags] & 0x80:
        return 0
    return int(3 << ((data[flags] & 7) + 1))


def _after_blocks(data: bytes, place: int) -> int:
    while place < len(data) and data[place]:
        place += 1 + data[place]
    return place + 1


_MOST_PAGES = 20_000
_MOST_ENTRIES = 4096
_MOST_VALUES = 200_000
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""Field type -> bytes of one value."""
_LETTERS = {3: "H", 4: "I", 13: "I", 16: "Q"}
_LENGTH_OF = {273: 279, 324: 325, 513: 514}
"""Tag of offsets -> tag of lengths: strips, tiles, the one stream of old-style JPEG."""
_WANTED = frozenset({*_LENGTH_OF, *_LENGTH_OF.values()})


class _CutOff(Exception):
    """Something lies beyond the end of the file."""


@dataclass(frozen=True, slots=True)
class _Form:
    order: str
    big: bool

    def number(self, data: bytes, letter: str = "") -> int:
        letter = letter or ("Q" if self.big else "I")
        return int(struct.unpack(self.order + letter, data)[0])


def tiff(reader: Reader) -> str | None:
    """See `ends`. A writer that patches the chain page by page leaves a whole file each time."""
    head = reader.at(0, 16)
    order = "<" if head[:2] == b"II" else ">"
    form = _Form(order, struct.unpack(order + "H", head[2:4])[0] == 43)
    if len(head) < (16 if form.big else 8):
        return Message("the header of the TIFF is incomplete")
    offset = form.number(head[8:16] if form.big else head[4:8])
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= _MOST_PAGES:
            return None  # a loop is damage, not an arrival in progress
        seen.add(offset)
        try:
            following = _directory(reader, offset, form)
        except _CutOff as why:
            return Message("page {count}: {why}", count=len(seen), why=why)
        if following is None:
            return None
        offset = following
    return "" if seen else Message("the TIFF has no page yet")


def _directory(reader: Reader, offset: int, form: _Form) -> int | None:
    """Check one page; returns the offset of the next, 0 for none, `None` for nonsense."""
    width, entry_size, next_size = (8, 20, 8) if form.big else (2, 12, 4)
    start = reader.at(offset, width)
    if len(start) < width:
        raise _CutOff(Message("its directory lies beyond the end of the file"))
    count = form.number(start, "" if form.big else "H")
    if count == 0:
        raise _CutOff("its directory is not written yet")  # size reserved, nothing but zeros
    if count > _MOST_ENTRIES:
        return None
    body = reader.at(offset + width, count * entry_size + next_size)
    if len(body) < count * entry_size + next_size:
        raise _CutOff(Message("its directory is cut off"))
    values: dict[int, tuple[int, ...]] = {}
    for index in range(count):
        entry = body[index * entry_size : (index + 1) * entry_size]
        tag = form.number(entry[:2], "H")
        found = _values(reader, entry, form, wanted=tag in _WANTED and tag not in values)
        if found:
            values[tag] = found
    for offsets, lengths in _LENGTH_OF.items():
        for begin, length in zip(values.get(offsets, ()), values.get(lengths, ()), strict=False):
            if begin + length > reader.size:
                raise _CutOff(Message("its image data is cut off"))
    return form.number(body[-next_size:])


def _values(reader: Reader, entry: bytes, form: _Form, *, wanted: bool) -> tuple[int, ...]:
    kind = form.number(entry[2:4], "H")
    count = form.number(entry[4:12] if form.big else entry[4:8])
    field = entry[12:20] if form.big else entry[8:12]
    size = _SIZES.get(kind, 0) * count
    if size > len(field):
        offset = form.number(field)
        if offset + size > reader.size:
            raise _CutOff("a value of its directory lies beyond the end of the file")
    if not wanted or kind not in _LETTERS or count > _MOST_VALUES:
        return ()
    data = field[:size] if size <= len(field) else reader.at(offset, size)
    if len(data) < size:
        raise _CutOff("a value of its directory is cut off")
    return struct.unpack(f"{form.order}{count}{_LETTERS[kind]}", data)


_HEAD = 1024
_MOST_BYTES = 16 << 20
"""What one look may read; a TIFF of a thousand pages needs some megabytes."""
_A_READ = 128
"""What a read costs at least, so that a million tiny ones end as well."""


class Completeness(StrEnum):
    """Three-valued: a format without an end mark cannot tell."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "not established"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a look found. `extension` is the safe one to store it under, without the dot."""

    media_type: str
    extension: str
    whole: Completeness
    why: str = ""


def inspect(reader: Reader) -> Inspection:
    """Tell the type by the first bytes, and by the type's own end mark whether it is whole."""
    if reader.size == 0:
        return Inspection(
            "application/x-empty", "bin", Completeness.NO, Message("the file is empty")
        )
    head = reader.at(0, _HEAD)
    if not head.strip(b"\0"):
        # Windows reserves the full size before it writes the first byte.
        return Inspection(
            "application/octet-stream", "bin", Completeness.NO, Message("it begins with zeros only")
        )
    if any(len(head) < len(mark) and mark.startswith(head) for mark in _MARKS):
        return Inspection(
            "application/octet-stream", "bin", Completeness.NO, "it ends within its first mark"
        )
    for kind in _KINDS:
        if kind.fits(head):
            return _at_its_end(kind, reader)
    if _is_text(head):
        return Inspection("text/plain", "txt", Completeness.UNKNOWN)
    return Inspection("application/octet-stream", "bin", Completeness.UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Kind:
    media_type: str
    extension: str
    marks: tuple[bytes, ...]
    end: Callable[[Reader], str | None]

    def fits(self, head: bytes) -> bool:
        return head.startswith(self.marks)


class _Pdf(_Kind):
    def fits(self, head: bytes) -> bool:
        return self.marks[0] in head  # printers put lines of their own before it


def _at_its_end(kind: _Kind, reader: Reader) -> Inspection:
    try:
        why = kind.end(_Frugal(reader))
    except _Enough:
        why = None
    if why is None:
        return Inspection(
            kind.media_type,
            kind.extension,
            Completeness.UNKNOWN,
            Message("its structure is unusual"),
        )
    return Inspection(
        kind.media_type, kind.extension, Completeness.NO if why else Completeness.YES, why
    )


class _Enough(Exception):
    """The look has read as much as it may."""


class _Frugal:
    """A reader that can be used up: a made-up file must not keep a sweep busy."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._left = _MOST_BYTES
        self.size = reader.size

    def at(self, offset: int, length: int) -> bytes:
        self._left -= max(length, _A_READ)
        if self._left < 0:
            raise _Enough
        return self._reader.at(offset, length)


_KINDS = (
    _Kind("image/tiff", "tif", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), tiff),
    _Kind("image/jpeg", "jpg", (b"\xff\xd8\xff",), jpeg),
    _Kind("image/png", "png", (b"\x89PNG\r\n\x1a\n",), png),
    _Kind("image/gif", "gif", (b"GIF87a", b"GIF89a"), gif),
    _Kind("application/zip", "zip", (b"PK\x03\x04",), zipped),
    _Pdf("application/pdf", "pdf", (b"%PDF-",), pdf),
)
_MARKS = tuple(mark for kind in _KINDS for mark in kind.marks)


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # Only a character that our own window cuts in two is forgiven.
        if len(head) < _HEAD or error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return not any(ord(c) < 32 and c not in "\t\n\r\f" for c in text)


ANY_TYPE = "any"
TYPES: Mapping[str, str] = {
    "application/pdf": "pdf",
    "image/tiff": "tiff",
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/gif": "gif",
    "application/zip": "zip",
    "text/plain": "text",
}
"""Media type -> the word by which a hot folder says that it accepts files of this type."""


def not_accepted(found: Inspection, accept: Collection[str]) -> str:
    """What a file is that a hot folder does not accept; empty for one that it does.

    Of a file whose end has not come nothing is said while its type cannot be told.
    """
    word = TYPES.get(found.media_type)
    if ANY_TYPE in accept or word in accept or (word is None and found.whole is Completeness.NO):
        return ""
    return (
        Message("by its content it is {media_type}", media_type=found.media_type)
        if word
        else Message("what it is cannot be recognised")
    )


_SCANS = frozenset({"application/pdf", "image/tiff", "image/jpeg", "image/png"})
_PROMISES = {
    "pdf": Message("a PDF"),
    "tif": Message("a TIFF"),
    "tiff": Message("a TIFF"),
    "jpg": Message("a JPEG"),
    "jpeg": Message("a JPEG"),
    "png": Message("a PNG"),
}


def broken_promise(name: bytes, found: Inspection) -> str:
    """What a scan's name promises and its content is not; empty when the name promises nothing.

    A PNG called `.jpg` is a scan all the same; text called `.pdf` is not.
    """
    ending = name.rsplit(b"/", 1)[-1].rpartition(b".")[2].lower().decode("ascii", "replace")
    promised = _PROMISES.get(ending)
    if promised is None or found.media_type in _SCANS:
        return ""
    known = found.media_type not in {"application/octet-stream", "application/x-empty"}
    what = (
        Message("contains {media_type}", media_type=found.media_type)
        if known
        else Message("cannot be recognised")
    )
    return Message("the name promises {promised}, the content {what}", promised=promised, what=what)
