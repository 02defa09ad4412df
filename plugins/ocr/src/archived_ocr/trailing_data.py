"""A second file behind the end of the first, under one name: left by a transfer or a scanner."""

from __future__ import annotations

import re
import struct
from pathlib import Path

_PDF = re.compile(rb"%%EOF[\s\0]*%PDF-\d")
_HEADS = (b"%PDF-", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")
_LARGEST = 512 * 1024 * 1024
_TAGS = range(254, 342)
"""The tags a TIFF directory begins with."""


def found(path: Path, media_type: str) -> bool:
    """Whether another document or image begins behind the end of the one at `path`."""
    if path.stat().st_size > _LARGEST:
        return False
    data = path.read_bytes()
    if media_type == "application/pdf":
        return _PDF.search(data) is not None
    if media_type == "image/tiff":
        return _second_tiff(data)
    end = _jpeg_end(data) if media_type == "image/jpeg" else png_end(data)
    rest = data[end : end + 4096] if end else b""
    return any(head in rest for head in _HEADS) and not _is_multi_picture(data, media_type)


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
