"""What a file is, and whether its end has arrived: a bounded look at its structure.

Pure: bytes are read through `Reader`, a bounded number of them; nothing is decoded.
A file whose format says "unfinished" is still arriving, not broken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from archived.intake import ends
from archived.intake.ends import Reader
from archived.intake.tiff import tiff

_HEAD = 1024
_MOST_BYTES = 16 << 20
"""What one look may read; a TIFF of a thousand pages needs some megabytes."""
_A_READ = 128
"""What a read costs at least, so that a million tiny ones end as well."""


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
    if any(len(head) < len(mark) and mark.startswith(head) for mark in _MARKS):
        return Look("application/octet-stream", "bin", Whole.NO, "it ends within its first mark")
    for kind in _KINDS:
        if kind.fits(head):
            return _at_its_end(kind, reader)
    if _is_text(head):
        return Look("text/plain", "txt", Whole.UNKNOWN)
    return Look("application/octet-stream", "bin", Whole.UNKNOWN)


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


def _at_its_end(kind: _Kind, reader: Reader) -> Look:
    try:
        why = kind.end(_Frugal(reader))
    except _Enough:
        why = None
    if why is None:
        return Look(kind.media_type, kind.extension, Whole.UNKNOWN, "its structure is unusual")
    return Look(kind.media_type, kind.extension, Whole.NO if why else Whole.YES, why)


class _Enough(Exception):
    """The look has read as much as it may."""


class _Frugal:
    """A reader that can be used up: a made-up file must not keep the desk busy."""

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
    _Kind("image/jpeg", "jpg", (b"\xff\xd8\xff",), ends.jpeg),
    _Kind("image/png", "png", (b"\x89PNG\r\n\x1a\n",), ends.png),
    _Kind("image/gif", "gif", (b"GIF87a", b"GIF89a"), ends.gif),
    _Kind("application/zip", "zip", (b"PK\x03\x04",), ends.zipped),
    _Pdf("application/pdf", "pdf", (b"%PDF-",), ends.pdf),
)  # fmt: skip
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
    "application/pdf": "pdf", "image/tiff": "tiff", "image/jpeg": "jpeg", "image/png": "png",
    "image/gif": "gif", "application/zip": "zip", "text/plain": "text",
}  # fmt: skip
"""Media type -> the word by which a hot folder says that it accepts files of this type."""


def not_accepted(found: Look, accept: Collection[str]) -> str:
    """What a file is that a hot folder does not accept; empty for one that it does.

    Of a file whose end has not come nothing is said while its type cannot be told.
    """
    word = TYPES.get(found.media_type)
    if ANY_TYPE in accept or word in accept or (word is None and found.whole is Whole.NO):
        return ""
    return f"by its content it is {found.media_type}" if word else "what it is cannot be recognised"


_SCANS = frozenset({"application/pdf", "image/tiff", "image/jpeg", "image/png"})
_PROMISES = {
    "pdf": "a PDF", "tif": "a TIFF", "tiff": "a TIFF", "jpg": "a JPEG", "jpeg": "a JPEG",
    "png": "a PNG",
}  # fmt: skip


def broken_promise(name: bytes, found: Look) -> str:
    """What a scan's name promises and its content is not; empty when the name promises nothing.

    A PNG called `.jpg` is a scan all the same; text called `.pdf` is not.
    """
    ending = name.rsplit(b"/", 1)[-1].rpartition(b".")[2].lower().decode("ascii", "replace")
    promised = _PROMISES.get(ending)
    if promised is None or found.media_type in _SCANS:
        return ""
    known = found.media_type not in {"application/octet-stream", "application/x-empty"}
    what = f"contains {found.media_type}" if known else "cannot be recognised"
    return f"the name promises {promised}, the content {what}"
