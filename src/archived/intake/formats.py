"""What a file is, and whether its end has arrived: a bounded look at its structure.

Pure: bytes are read through `Reader`, at most a few hundred kilobytes of them; nothing is decoded.
A file whose format says "unfinished" is still arriving, not broken.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

_HEAD = 1024
_TAIL = 65536
_MOST_IFDS = 20_000


class Reader(Protocol):
    """Random access to a file's bytes."""

    @property
    def size(self) -> int: ...
    def at(self, offset: int, length: int) -> bytes: ...


class Whole(StrEnum):
    """Three-valued: a format without an end mark cannot tell."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "not established"


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found. `extension` is the safe one to store it under, without the dot."""

    media_type: str
    extension: str
    whole: Whole
    why: str = ""


def look(reader: Reader) -> Look:
    """Tell the type by the first bytes, and by the type's own end mark whether it is whole."""
    if reader.size == 0:
        return Look("application/x-empty", "bin", Whole.NO, "the file is empty")
    head = reader.at(0, _HEAD)
    if not head.strip(b"\0"):
        # Windows reserves the full size before it writes the first byte.
        return Look("application/octet-stream", "bin", Whole.NO, "it begins with zeros only")
    for kind in _KINDS:
        if kind.fits(head):
            why = kind.missing(reader)
            return Look(kind.media_type, kind.extension, Whole.NO if why else Whole.YES, why)
    if _is_text(head):
        return Look("text/plain", "txt", Whole.UNKNOWN)
    return Look("application/octet-stream", "bin", Whole.UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Kind:
    media_type: str
    extension: str
    fits: Callable[[bytes], bool]
    missing: Callable[[Reader], str]
    """Why the file is not whole; empty when it is."""


def _tail(reader: Reader, length: int = _TAIL) -> bytes:
    start = max(0, reader.size - length)
    return reader.at(start, reader.size - start)


def _pdf_end(reader: Reader) -> str:
    # ISO 32000-1, 7.5.5: the last line is %%EOF; real files carry up to a few hundred bytes more,
    # and some are padded with zeros by the scanner.
    tail = _tail(reader).rstrip(b"\0\r\n\t ")
    if b"%%EOF" not in tail[-2048:]:
        return "the end mark of a PDF (%%EOF) is missing"
    if b"startxref" not in tail:
        return "the reference to the cross-reference table (startxref) is missing"
    return ""


def _jpeg_end(reader: Reader) -> str:
    if b"\xff\xd9" not in _tail(reader):
        return "the end mark of a JPEG (EOI) is missing"
    return ""


def _png_end(reader: Reader) -> str:
    if b"IEND\xae\x42\x60\x82" not in _tail(reader):
        return "the last chunk of a PNG (IEND) is missing"
    return ""


def _gif_end(reader: Reader) -> str:
    return "" if _tail(reader, 64).rstrip(b"\0").endswith(b";") else "the end of the GIF is missing"


def _tiff_end(reader: Reader) -> str:
    """Every directory of the chain, and every strip or tile it names, lies inside the file."""
    head = reader.at(0, 16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    if len(head) < (16 if big else 8):
        return "the header of the TIFF is incomplete"
    offset = struct.unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])[0]
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= _MOST_IFDS:
            return ""  # a loop is damage, not an arrival in progress: whoever reads it will say so
        seen.add(offset)
        why, offset = _tiff_directory(reader, offset, order, big=big)
        if why:
            return f"page {len(seen)}: {why}"
    return "" if seen else "the TIFF has no page yet"


_OFFSETS = {273: 279, 324: 325}  # StripOffsets -> StripByteCounts, TileOffsets -> TileByteCounts


def _tiff_directory(reader: Reader, offset: int, order: str, *, big: bool) -> tuple[str, int]:
    count_format, entry_size = ("Q", 20) if big else ("H", 12)
    width = struct.calcsize(order + count_format)
    start = reader.at(offset, width)
    if len(start) < width:
        return "its directory lies beyond the end of the file", 0
    count = struct.unpack(order + count_format, start)[0]
    if count > 4096:
        return "", 0
    next_size = 8 if big else 4
    body = reader.at(offset + width, count * entry_size + next_size)
    if len(body) < count * entry_size + next_size:
        return "its directory is cut off", 0
    values: dict[int, list[int]] = {}
    for index in range(count):
        entry = body[index * entry_size : (index + 1) * entry_size]
        tag = struct.unpack(order + "H", entry[:2])[0]
        if tag in _OFFSETS or tag in _OFFSETS.values():
            values[tag] = _tiff_values(reader, entry, order, big=big)
    following = struct.unpack(order + ("Q" if big else "I"), body[-next_size:])[0]
    for offsets, lengths in _OFFSETS.items():
        for begin, length in zip(values.get(offsets, []), values.get(lengths, []), strict=False):
            if begin + length > reader.size:
                return "its image data is cut off", 0
    return "", following


def _tiff_values(reader: Reader, entry: bytes, order: str, *, big: bool) -> list[int]:
    kind = struct.unpack(order + "H", entry[2:4])[0]
    letter = {3: "H", 4: "I", 16: "Q"}.get(kind)
    if letter is None:
        return []
    count = struct.unpack(order + ("Q" if big else "I"), entry[4 : 12 if big else 8])[0]
    field = entry[12:20] if big else entry[8:12]
    size = struct.calcsize(order + letter) * count
    if count > 200_000:
        return []
    if size <= len(field):
        return list(struct.unpack(f"{order}{count}{letter}", field[:size]))
    offset = struct.unpack(order + ("Q" if big else "I"), field)[0]
    data = reader.at(offset, size)
    if len(data) < size:
        return [reader.size + 1]  # the list itself is cut off; so is what it points to
    return list(struct.unpack(f"{order}{count}{letter}", data))


def _nothing(_reader: Reader) -> str:
    return ""


_KINDS = (
    _Kind("application/pdf", "pdf", lambda h: b"%PDF-" in h, _pdf_end),
    _Kind(
        "image/tiff", "tif",
        lambda h: h[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff_end,
    ),
    _Kind("image/jpeg", "jpg", lambda h: h.startswith(b"\xff\xd8\xff"), _jpeg_end),
    _Kind("image/png", "png", lambda h: h.startswith(b"\x89PNG\r\n\x1a\n"), _png_end),
    _Kind("image/gif", "gif", lambda h: h.startswith((b"GIF87a", b"GIF89a")), _gif_end),
    _Kind("application/zip", "zip", lambda h: h.startswith(b"PK\x03\x04"), _nothing),
)  # fmt: skip


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not just a character cut in two by the window
            return False
        text = head[: error.start].decode("utf-8")
    return not any(ord(c) < 32 and c not in "\t\n\r\f" for c in text)
