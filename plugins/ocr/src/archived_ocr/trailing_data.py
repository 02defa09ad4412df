"""A second file behind the end of the first, under one name: left by a transfer or a scanner."""

from __future__ import annotations

import re
import struct
from pathlib import Path

_PDF = re.compile(rb"%%EOF[\s\0]*(?:(?!\bobj\b|startxref)[\s\S]){0,4096}?%PDF-\d")
"""A head that is not in an object, such as a file attached later, belongs to a second file."""
_HEADS = (b"%PDF-", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")
_LARGEST = 512 * 1024 * 1024
_PADDING = re.compile(rb"[\s\0]*")
_FAR = 4096
"""How far behind the end, and what fills it up, a second file begins at most."""
_TAGS = range(254, 342)
"""The tags a TIFF directory begins with."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""TIFF field type -> bytes of one value."""
_PLACES = {273: 279, 324: 325, 288: 289, 513: 514}
"""Tag of offsets -> tag of the lengths of what lies there: strips, tiles, free blocks, preview."""
_BELOW = (330, 34665, 34853)
"""Tags of directories below one."""


def found(path: Path, media_type: str) -> bool:
    """Whether another document or image begins behind the end of the one at `path`."""
    if path.stat().st_size > _LARGEST:
        return False
    data = path.read_bytes()
    if media_type == "application/pdf":
        return _PDF.search(data) is not None or _begins_another(data, _pdf_end(data))
    if media_type == "image/tiff":
        return _second_tiff(data) or _begins_another(data, _tiff_end(data))
    end = _jpeg_end(data) if media_type == "image/jpeg" else png_end(data)
    return _begins_another(data, end) and not _is_multi_picture(data, media_type)


def _begins_another(data: bytes, end: int) -> bool:
    """Whether a file begins soon behind `end`; 0 stands for an end that is not known."""
    padding = _PADDING.match(data, end)
    if not end or padding is None:
        return False
    # A PDF that is torn off behind its first end goes on with objects, not with another file.
    rest = data[padding.end() : padding.end() + _FAR].partition(b" obj")[0]
    return any(head in rest for head in _HEADS)


def _pdf_end(data: bytes) -> int:
    return data.rfind(b"%%EOF") + 5 if b"%%EOF" in data else 0


def _is_multi_picture(data: bytes, media_type: str) -> bool:
    # Cameras put a preview behind the picture, and say so; see `extra-frames`.
    return media_type == "image/jpeg" and b"MPF\0" in data[:65536]


def _jpeg_end(data: bytes) -> int:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at += 1
            continue
        marker = data[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            at = _entropy_end(data, at)
    return 0


def _entropy_end(data: bytes, at: int) -> int:
    """Where the compressed pixels that begin at `at` end."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        if data[at + 1] == 0 or 0xD0 <= data[at + 1] <= 0xD7:
            at += 2
            continue
        return at


def png_end(data: bytes) -> int:
    """Where a PNG ends; 0 when it has no end."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        at += 12 + length
        if kind == b"IEND":
            return at
    return 0


def _tiff_end(data: bytes) -> int:
    """Behind the last byte that any directory of the first TIFF speaks of; 0 when unknown."""
    order = "<" if data[:2] == b"II" else ">"
    end = 0
    seen: set[int] = set()
    try:
        todo = list(struct.unpack_from(f"{order}I", data, 4))
        while todo and len(seen) < 10_000:
            at = todo.pop()
            if not at or at in seen:
                continue
            seen.add(at)
            last, more = _directory(data, at, order)
            end = max(end, last)
            todo += more
    except (struct.error, KeyError):
        return 0
    return end if end <= len(data) else 0


def _directory(data: bytes, at: int, order: str) -> tuple[int, list[int]]:
    """Where what the directory at `at` names ends, and the directories that it names."""
    (count,) = struct.unpack_from(f"{order}H", data, at)
    behind = at + 2 + 12 * count
    end, values = behind + 4, {}
    for n in range(count):
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, at + 2 + 12 * n)
        size = _SIZES[kind] * number
        place = at + 10 + 12 * n
        if size > 4:
            (place,) = struct.unpack_from(f"{order}I", data, place)
            end = max(end, place + size)
        if kind in (3, 4, 13) and tag in {*_PLACES, *_PLACES.values(), *_BELOW}:
            letter = "H" if kind == 3 else "I"
            values[tag] = struct.unpack_from(f"{order}{number}{letter}", data, place)
    for offsets, lengths in _PLACES.items():
        both = zip(values.get(offsets, ()), values.get(lengths, ()), strict=False)
        end = max([end, *(offset + length for offset, length in both)])
    more = [place for tag in _BELOW for place in values.get(tag, ())]
    return end, [*more, *struct.unpack_from(f"{order}I", data, behind)]


def _second_tiff(data: bytes) -> bool:
    known = _directories(data)
    for head, order in ((b"II*\0", "<"), (b"MM\0*", ">")):
        at = data.find(head, 8)
        while at >= 0:
            if _is_tiff_at(data, at, order, known):
                return True
            at = data.find(head, at + 4)
    return False


def _directories(data: bytes) -> set[int]:
    """Where the directories of the first file lie: some writers keep a head before each."""
    order = "<" if data[:2] == b"II" else ">"
    found: set[int] = set()
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        while at and at not in found and len(found) < 10_000:
            found.add(at)
            (count,) = struct.unpack_from(f"{order}H", data, at)
            (at,) = struct.unpack_from(f"{order}I", data, at + 2 + 12 * count)
    except struct.error:
        pass
    return found


def _is_tiff_at(data: bytes, start: int, order: str, known: set[int]) -> bool:
    """Whether a whole TIFF begins at `start`: its first directory makes sense from there."""
    try:
        (offset,) = struct.unpack_from(f"{order}I", data, start + 4)
        (count,) = struct.unpack_from(f"{order}H", data, start + offset)
        tags = [
            struct.unpack_from(f"{order}H", data, start + offset + 2 + 12 * n)[0]
            for n in range(min(count, 6))
        ]
    except struct.error:
        return False
    if start + offset in known:
        return False
    return 4 <= count < 200 and tags == sorted(tags) and all(t in _TAGS for t in tags)
