"""Copies pages of a TIFF file to a new one without touching a bit of their image data.

Strips and tiles are moved as they are and only the places that tell where they lie are written
anew. What cannot be moved that way is said (`NotCopyable`), and copied by nobody here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

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
"""Type of a TIFF field -> bytes of one value."""
_STRIPS, _STRIP_COUNTS, _TILES, _TILE_COUNTS = 273, 279, 324, 325
_DATA = {_STRIPS: _STRIP_COUNTS, _TILES: _TILE_COUNTS}
_ODD = {
    330: "it has images below a page",
    512: "it holds JPEG data in the old way",
    513: "it holds JPEG data in the old way",
    519: "it holds JPEG data in the old way",
    34665: "it has a camera's notes",
    34853: "it has a place's coordinates",
    40965: "it has a camera's notes",
}
"""Fields that tell where something else lies, which would have to be moved with the page."""
_MOST_FIELDS = 500
_MOST_FRAMES = 100_000


class NotCopyable(Exception):
    """The file's pages cannot be moved as they are; says why."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How a file writes numbers. `big`: BigTIFF, with places of eight bytes."""

    order: str
    big: bool

    def number(self, data: bytes, size: int) -> int:
        letter = {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
        return int(struct.unpack(f"{self.order}{letter}", data)[0])


@dataclass(frozen=True, slots=True)
class _Field:
    tag: int
    kind: int
    count: int
    value: bytes

    def numbers(self, form: _Form) -> list[int]:
        size = _SIZES[self.kind]
        if self.kind not in (3, 4, 13, 16, 18):
            raise NotCopyable(f"its field {self.tag} has values of a kind that tells no place")
        return [
            form.number(self.value[i : i + size], size) for i in range(0, len(self.value), size)
        ]


def copy(sources: Sequence[tuple[Path, Sequence[int]]], target: Path) -> None:
    """Write `target` from frames (from 0) of one or more TIFF files, in order.

    Raises `NotCopyable`, and leaves what it wrote until then.
    """
    forms = {_opened_form(path) for path, _ in sources}
    if len(forms) != 1:
        raise NotCopyable("the files write their numbers differently")
    form = forms.pop()
    with target.open("xb") as out:
        link = _begin(out, form)
        for path, frames in sources:
            with path.open("rb") as file:
                end = file.seek(0, 2)
                places = _frames(file, form, end)
                for frame in frames:
                    if frame >= len(places):
                        raise NotCopyable("a page is not where it should be")
                    fields = _read(file, form, places[frame], end)
                    link = _write(out, form, file, fields, link, end)


def _opened_form(path: Path) -> _Form:
    with path.open("rb") as file:
        head = file.read(8)
    orders = {b"II": "<", b"MM": ">"}
    if len(head) < 8 or head[:2] not in orders:
        raise NotCopyable("it does not begin as a TIFF file does")
    order = orders[head[:2]]
    magic = struct.unpack(f"{order}H", head[2:4])[0]
    if magic not in (42, 43):
        raise NotCopyable("it does not begin as a TIFF file does")
    return _Form(order, big=magic == 43)


def _begin(out: BinaryIO, form: _Form) -> int:
    """The header. Returns where the place of the first page is to be written."""
    out.write(b"II" if form.order == "<" else b"MM")
    if form.big:
        out.write(struct.pack(f"{form.order}HHHQ", 43, 8, 0, 0))
        return 8
    out.write(struct.pack(f"{form.order}HI", 42, 0))
    return 4


def _frames(file: BinaryIO, form: _Form, end: int) -> list[int]:
    """Where each page's fields lie."""
    file.seek(8 if form.big else 4)
    found: list[int] = []
    seen: set[int] = set()
    place = _number(file, form, 8 if form.big else 4)
    while place:
        if place in seen or place >= end or len(found) >= _MOST_FRAMES:
            raise NotCopyable("its pages lie in a circle or outside the file")
        seen.add(place)
        found.append(place)
        file.seek(place)
        count = _number(file, form, 8 if form.big else 2)
        if count > _MOST_FIELDS:
            raise NotCopyable("a page has too many fields")
        file.seek(count * (20 if form.big else 12), 1)
        place = _number(file, form, 8 if form.big else 4)
    return found


def _number(file: BinaryIO, form: _Form, size: int) -> int:
    data = file.read(size)
    if len(data) != size:
        raise NotCopyable("it ends too early")
    return form.number(data, size)


def _read(file: BinaryIO, form: _Form, place: int, end: int) -> list[_Field]:
    file.seek(place)
    wide = 8 if form.big else 4
    count = _number(file, form, 8 if form.big else 2)
    heads = [
        (_number(file, form, 2), _number(file, form, 2), _number(file, form, wide), file.read(wide))
        for _ in range(count)
    ]
    fields = []
    for tag, kind, number, inline in heads:
        if tag in _ODD:
            raise NotCopyable(_ODD[tag])
        if kind not in _SIZES:
            raise NotCopyable(f"its field {tag} is of a kind that is not known")
        size = number * _SIZES[kind]
        value = inline[:size]
        if size > wide:
            start = form.number(inline, wide)
            if start + size > end:
                raise NotCopyable(f"its field {tag} lies outside the file")
            file.seek(start)
            value = file.read(size)
        fields.append(_Field(tag, kind, number, value))
    return fields


def _write(
    out: BinaryIO, form: _Form, file: BinaryIO, fields: list[_Field], link: int, end: int
) -> int:
    """Write a page; returns where the place of the next one is to be written."""
    wide = 8 if form.big else 4
    limit = 2**63 if form.big else 2**32 - 1
    moved: dict[int, bytes] = {}
    by_tag = {field.tag: field for field in fields}
    for tag, counts in _DATA.items():
        moved |= _move(out, _Source(form, file, end), by_tag, tag, counts)
    entries = []
    for field in sorted(fields, key=lambda f: f.tag):
        value = moved.get(field.tag, field.value)
        kind = (16 if form.big else 4) if field.tag in moved else field.kind
        if len(value) <= wide:
            inline = value.ljust(wide, b"\0")
        else:
            inline = struct.pack(f"{form.order}{'Q' if form.big else 'I'}", _even(out))
            out.write(value)
        entries.append(
            struct.pack(f"{form.order}HH{'Q' if form.big else 'I'}", field.tag, kind, field.count)
            + inline
        )
    here = _even(out)
    if here + 24 * len(entries) + 64 > limit:
        raise NotCopyable("the part would be too large for its kind of TIFF")
    out.write(struct.pack(f"{form.order}{'Q' if form.big else 'H'}", len(entries)))
    out.write(b"".join(entries))
    after = out.tell()
    out.write(b"\0" * wide)
    out.seek(link)
    out.write(struct.pack(f"{form.order}{'Q' if form.big else 'I'}", here))
    out.seek(0, 2)
    return after


class _Source(NamedTuple):
    """The file that pages are copied from, and how many bytes it has."""

    form: _Form
    file: BinaryIO
    end: int


def _move(
    out: BinaryIO, source: _Source, by_tag: Mapping[int, _Field], tag: int, counts: int
) -> dict[int, bytes]:
    """Copy the pieces of image data that `tag` points to: the field's new value."""
    form, file, end = source
    if tag not in by_tag:
        return {}
    if counts not in by_tag:
        raise NotCopyable("it does not say how long its image data is")
    places, sizes = by_tag[tag].numbers(form), by_tag[counts].numbers(form)
    if len(places) != len(sizes) or sum(sizes) > end:
        raise NotCopyable("it does not say clearly where its image data is")
    new = []
    for place, size in zip(places, sizes, strict=True):
        if place + size > end:
            raise NotCopyable("its image data lies outside the file")
        new.append(_even(out))
        file.seek(place)
        left = size
        while left:
            piece = file.read(min(left, 1 << 20))
            if not piece:
                raise NotCopyable("it ends too early")
            out.write(piece)
            left -= len(piece)
    letter = "Q" if form.big else "I"
    if new and new[-1] >= 2**32 and not form.big:
        raise NotCopyable("the part would be too large for its kind of TIFF")
    return {tag: struct.pack(f"{form.order}{len(new)}{letter}", *new)}


def _even(out: BinaryIO) -> int:
    """The end of the file, on a word boundary as TIFF wants it."""
    here = out.seek(0, 2)
    if here % 2:
        out.write(b"\0")
        here += 1
    return here
