"""Is a TIFF whole? Every directory of the chain, and all that it names, must lie inside the file.

TIFF 6.0 and BigTIFF. Nothing is decoded, and nothing here trusts a number it has read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from archived.intake.ends import Reader

_MOST_PAGES = 20_000
_MOST_ENTRIES = 4096
_MOST_VALUES = 200_000
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
          16: 8, 17: 8, 18: 8}  # fmt: skip
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
        return "the header of the TIFF is incomplete"
    offset = form.number(head[8:16] if form.big else head[4:8])
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= _MOST_PAGES:
            return None  # a loop is damage, not an arrival in progress
        seen.add(offset)
        try:
            following = _directory(reader, offset, form)
        except _CutOff as why:
            return f"page {len(seen)}: {why}"
        if following is None:
            return None
        offset = following
    return "" if seen else "the TIFF has no page yet"


def _directory(reader: Reader, offset: int, form: _Form) -> int | None:
    """Check one page; returns the offset of the next, 0 for none, `None` for nonsense."""
    width, entry_size, next_size = (8, 20, 8) if form.big else (2, 12, 4)
    start = reader.at(offset, width)
    if len(start) < width:
        raise _CutOff("its directory lies beyond the end of the file")
    count = form.number(start, "" if form.big else "H")
    if count == 0:
        raise _CutOff("its directory is not written yet")  # size reserved, nothing but zeros
    if count > _MOST_ENTRIES:
        return None
    body = reader.at(offset + width, count * entry_size + next_size)
    if len(body) < count * entry_size + next_size:
        raise _CutOff("its directory is cut off")
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
                raise _CutOff("its image data is cut off")
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
