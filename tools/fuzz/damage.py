"""Damages bytes as scanners, networks, disks and ill will do, from a seed and nothing else.

Pure: bytes and a random generator in, bytes out. The same generator gives the same bytes.
"""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence

LONGEST = 8 << 20
"""Bytes of a made file at most: the corpus is small, and the machine's time is for parsers."""

Mutator = Callable[[bytearray, random.Random, Sequence[bytes]], None]

_NUMBERS = (
    0,
    1,
    2,
    7,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
)
_WRITTEN = (
    b"0",
    b"-1",
    b"1",
    b"65536",
    b"2147483648",
    b"4294967295",
    b"99999999999999999999",
    b"0.0000001",
    b"-9e999",
    b"1e308",
    b"--5",
    b"",
)
_TYPES = (0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 16, 255)
_PDF_WORDS = (
    b"/Type/Catalog",
    b"/Type/Page",
    b"/Type/Pages",
    b"/Type/ObjStm",
    b"/Type/XRef",
    b"/Filter/FlateDecode",
    b"/Filter/DCTDecode",
    b"/Filter/JBIG2Decode",
    b"/Filter/LZWDecode",
    b"/Filter[/FlateDecode/FlateDecode]",
    b"/Filter/Crypt",
    b"/Encrypt 1 0 R",
    b"/Kids[1 0 R]",
    b"/Parent 3 0 R",
    b"/Length 1 0 R",
    b"/Length -1",
    b"/Prev 9",
    b"/Rotate 45",
    b"/MediaBox[]",
    b"/MediaBox[0 0 1e9 1e9]",
    b"/Width 100000",
    b"/Height 100000",
    b"/BitsPerComponent 16",
    b"/ColorSpace/Pattern",
    b"/ColorSpace[/Indexed/DeviceRGB 255 1 0 R]",
    b"/SMask 1 0 R",
    b"/XFA[(a)1 0 R]",
    b"/AcroForm 1 0 R",
    b"/OpenAction 1 0 R",
    b"/Decode[1 0]",
    b"null",
    b"true",
    b"endobj",
    b"endstream",
    b"stream\n",
    b"xref\n",
    b"trailer",
    b"startxref",
    b"%%EOF",
    b"<<",
    b">>",
    b"[",
    b"]",
    b"q ",
    b"Q ",
    b"BI ",
    b" ID ",
    b"EI ",
    b"Do ",
    b"R ",
)


def mutate(seed: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """One damaged file: one to a few changes, more of those that know the seed's format."""
    data = bytearray(seed)
    known = _by_format(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        change = rng.choice(known) if known and rng.random() < 0.6 else rng.choice(_ANYTHING)
        if data:
            change(data, rng, others)
    return bytes(data[:LONGEST])


def _by_format(seed: bytes) -> Sequence[Mutator]:
    if b"%PDF-" in seed[:1024]:
        return _PDF
    if seed[:4] in (b"II*\0", b"MM\0*"):
        return _TIFF
    if seed.startswith(b"\xff\xd8\xff"):
        return _JPEG
    if seed.startswith(b"\x89PNG"):
        return _PNG
    if seed.startswith((b"{", b"path", b"<?xml")):
        return (_written_text,)
    if seed.startswith((b"\xff\xfe", b"\xfe\xff")):
        return (_wide_text,)
    return ()


# -- any bytes ----------------------------------------------------------------------------------


def _place(data: bytearray, rng: random.Random) -> int:
    # Half of all changes hit the first bytes, where headers are.
    reach = min(len(data), 512) if rng.random() < 0.5 else len(data)
    return rng.randrange(max(1, reach))


def _flip(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    for _each in range(rng.choice((1, 1, 4, 32))):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    start = _place(data, rng)
    length = min(len(data) - start, rng.choice((1, 2, 4, 16, 256, 4096)))
    data[start : start + length] = rng.choice((rng.randbytes(length), bytes(length)))


def _number(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    form = rng.choice(("<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    start = _place(data, rng)
    value = rng.choice(_NUMBERS) & (1 << size * 8) - 1
    if start + size <= len(data):
        struct.pack_into(form, data, start, value)


def _cut(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def _remove(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    start = _place(data, rng)
    del data[start : start + rng.choice((1, 2, 16, 512, 8192))]


def _repeat(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    start = _place(data, rng)
    piece = bytes(data[start : start + rng.choice((1, 16, 512, 8192))])
    data[start:start] = piece * rng.choice((1, 2, 64))


def _insert(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    start = _place(data, rng)
    data[start:start] = rng.randbytes(rng.choice((1, 3, 64, 1024)))


def _splice(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    other = rng.choice(others)
    start, end = sorted((rng.randrange(len(other) + 1), rng.randrange(len(other) + 1)))
    piece = other[start : min(end, start + 65536)]
    at = _place(data, rng)
    data[at : at + rng.choice((0, len(piece)))] = piece


def _grow(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    data += rng.choice((bytes(4096), rng.randbytes(1024), rng.choice(others)[:65536]))


_ANYTHING: Sequence[Mutator] = (
    _flip,
    _flip,
    _overwrite,
    _number,
    _number,
    _cut,
    _remove,
    _repeat,
    _insert,
    _splice,
    _grow,
)


# -- PDF ----------------------------------------------------------------------------------------

_FIGURE = re.compile(rb"-?\d+(?:\.\d+)?")
_NAME = re.compile(rb"/[A-Za-z][A-Za-z0-9]*")
_REFERENCE = re.compile(rb"\d+ 0 R")


def _one_of(
    pattern: re.Pattern[bytes], data: bytearray, rng: random.Random
) -> re.Match[bytes] | None:
    # From a place of its own onwards: listing every number of a large file costs too much.
    return pattern.search(data, rng.randrange(len(data))) or pattern.search(data)


def _pdf_number(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    if found := _one_of(_FIGURE, data, rng):
        data[found.start() : found.end()] = rng.choice(_WRITTEN)


def _pdf_name(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    one, two = _one_of(_NAME, data, rng), _one_of(_NAME, data, rng)
    if one and two:
        data[one.start() : one.end()] = two[0]


def _pdf_reference(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """To another object: loops, wrong types, objects that are not there."""
    one = _one_of(_REFERENCE, data, rng)
    if one:
        data[one.start() : one.end()] = b"%d 0 R" % rng.choice((0, 1, 2, 3, 4, 5, 9, 99, 2**31))


def _pdf_word(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    if found := _one_of(re.compile(rb"<<|\[|>>|\n"), data, rng):
        data[found.end() : found.end()] = b" " + rng.choice(_PDF_WORDS) + b" "


def _pdf_stream(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """Another content that unpacks well: damage behind the first filter."""
    start = data.find(b"stream\n", rng.randrange(len(data)))
    end = data.find(b"endstream", start) if start >= 0 else -1
    if end < 0:
        return
    body = bytes(data[start + 7 : end])
    try:
        plain = bytearray(zlib.decompressobj().decompress(body, 1 << 20))
    except zlib.error:
        plain = bytearray(body[: 1 << 20])
    for _each in range(rng.choice((1, 4, 16))):
        if plain:
            rng.choice((_flip, _number, _remove, _repeat, _pdf_number))(plain, rng, ())
    data[start + 7 : end] = zlib.compress(bytes(plain[: 1 << 20]))


_PDF: Sequence[Mutator] = (
    _pdf_number,
    _pdf_number,
    _pdf_name,
    _pdf_reference,
    _pdf_word,
    _pdf_word,
    _pdf_stream,
    _pdf_stream,
)


# -- images -------------------------------------------------------------------------------------


def _tiff_entry(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """A field of a directory: its tag, type, count or value."""
    order = "<" if data[:1] == b"I" else ">"
    if len(data) < 16:
        return
    offset = struct.unpack_from(order + "I", data, 4)[0]
    if offset + 2 > len(data):
        return
    entries = struct.unpack_from(order + "H", data, offset)[0]
    at = offset + 2 + 12 * rng.randrange(max(1, min(entries, 64)))
    if at + 16 > len(data):
        return
    match rng.randrange(5):
        case 0:
            struct.pack_into(order + "H", data, at, rng.randrange(250, 340))
        case 1:
            struct.pack_into(order + "H", data, at + 2, rng.choice(_TYPES))
        case 2:
            struct.pack_into(order + "I", data, at + 4, rng.choice(_NUMBERS))
        case 3:
            struct.pack_into(order + "I", data, at + 8, rng.choice((*_NUMBERS, offset, len(data))))
        case _:  # the next directory: a loop, or one in the middle of nowhere
            where = offset + 2 + 12 * entries
            if where + 4 <= len(data):
                struct.pack_into(order + "I", data, where, rng.choice((offset, 8, len(data) - 9)))


def _jpeg_segment(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """A marker, a length, or a byte of a header: sizes, tables, components."""
    places: list[int] = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA and len(places) < 64:
        places.append(at)
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    if not places:
        return
    at = rng.choice(places)
    match rng.randrange(3):
        case 0:
            data[at + 1] = rng.randrange(0xC0, 0xFF)
        case 1:
            struct.pack_into(">H", data, at + 2, rng.choice(_NUMBERS) & 0xFFFF)
        case _:
            inside = at + 4 + rng.randrange(16)
            if inside < len(data):
                data[inside] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))


def _png_chunk(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """A chunk's body, with a check sum that is right: libraries look at it first."""
    chunks: list[tuple[int, int]] = []
    at = 8
    while at + 12 <= len(data) and len(chunks) < 64:
        length = int.from_bytes(data[at : at + 4])
        if at + 12 + length > len(data):
            break
        chunks.append((at, length))
        at += 12 + length
    if not chunks:
        return
    at, length = rng.choice(chunks)
    body = bytearray(data[at + 8 : at + 8 + length])
    if body:
        rng.choice((_flip, _number, _overwrite))(body, rng, ())
    kind = bytes(data[at + 4 : at + 8])
    chunk = struct.pack(">I", len(body)) + kind + bytes(body)
    data[at : at + 12 + length] = chunk + struct.pack(">I", zlib.crc32(kind + bytes(body)))


# -- tickets ------------------------------------------------------------------------------------

_TICKET_WORDS = (
    "../",
    "/etc/passwd",
    "..\\",
    "a//b",
    "./",
    "\0",
    "\x1b[2J",
    "\u202e",
    "=cmd|' /C calc'!A0",
    "+1",
    "@SUM(1)",
    '"',
    "'",
    ";",
    ",",
    "\t",
    "\r",
    "\n\n",
    "{",
    "}",
    "[" * 5000,
    "]",
    "<",
    ">",
    "</ticket>",
    "<!DOCTYPE t [<!ENTITY a 'aaaaaaaaaa'>]>",
    "&a;",
    "&#0;",
    "&#x110000;",
    "<?php ?>",
    "<![CDATA[",
    "<x xmlns='y'/>",
    '"path": "x",',
    '"files": [],',
    "NaN",
    "1e999",
    "-1",
    "9" * 400,
    "0x10",
    "true",
    "null",
    "\ud800",
    "\u0301" * 300,
    "\ufeff",
    "Tuyệt mật",
    "TỐI MẬT",
    "path",
    "sha256",
    "count",
    "dossier",
    "x" * 70_000,
)


def _written_text(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """A word that some reader of such files once fell for, at a place where one may stand."""
    spots = [m.end() for m in re.finditer(rb"[\"',;:>{\[\n]", data[:20_000])] or [0]
    at = rng.choice(spots)
    word = rng.choice(_TICKET_WORDS).encode("utf-8", "surrogatepass")
    data[at : at + rng.choice((0, 0, 1, len(word)))] = word * rng.choice((1, 1, 1, 2, 20))


def _wide_text(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """The same in UTF-16, or its mark taken away."""
    if rng.random() < 0.1:
        del data[:2]
        return
    text = bytearray(bytes(data).decode("utf-16", "replace").encode("utf-8", "replace"))
    _written_text(text, rng, others)
    data[:] = bytes(text).decode("utf-8", "replace").encode("utf-16")


_TIFF: Sequence[Mutator] = (_tiff_entry,)
_JPEG: Sequence[Mutator] = (_jpeg_segment,)
_PNG: Sequence[Mutator] = (_png_chunk,)
