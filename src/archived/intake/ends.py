"""Where a format says that it ends: one function per format, over a bounded look at the bytes.

Each returns why the file is not whole, an empty text when it is, or `None` when it cannot tell.
Nothing is decoded; damage that is no truncation is left to whoever reads the file later.
"""

from __future__ import annotations

import re
from typing import Protocol

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
        return "the end mark of a PDF (%%EOF) is missing"
    if b"startxref" not in tail:
        return "the reference to the cross-reference table (startxref) is missing"
    # A linearized file has an end mark near its beginning, but says how long it is.
    linearized = re.search(rb"/Linearized\b[^>]*?/L\s+(\d{1,18})", reader.at(0, 1024))
    if linearized and reader.size - padding < int(linearized[1]):
        return f"{int(linearized[1])} bytes were promised (linearized PDF)"
    return ""


def jpeg(reader: Reader) -> str | None:
    """ITU-T T.81, B.1.1. Previews inside the headers have end marks of their own."""
    missing = "the end mark of a JPEG (EOI) is missing"
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
        return "the last chunk of a PNG (IEND) is missing"
    return ""


def zipped(reader: Reader) -> str | None:
    """APPNOTE 4.3.16: the end of central directory record, and the comment after it."""
    tail = _tail(reader, 22 + 65535)
    record = tail.rfind(b"PK\5\6")
    if record < 0:
        return "the directory at the end of the ZIP file is missing"
    comment = int.from_bytes(tail[record + 20 : record + 22], "little")
    if len(tail) < record + 22 + comment:
        return "the directory at the end of the ZIP file is cut off"
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
