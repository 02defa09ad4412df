"""What a PDF already carries: signatures, encryption, or a structure we must not append to.

Only looks. In doubt the answer is "signed", because appending to or rewriting a signed file can
turn a genuine deed into one that looks forged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyhanko.pdf_utils.reader import PdfFileReader

from archived.api import Message

_TRACE = b"/ByteRange"


@dataclass(frozen=True)
class Existing:
    """`signed`: why it counts as signed, or empty. `broken`: why it cannot be appended to, or
    empty."""

    signed: str = ""
    broken: str = ""


def look(path: Path) -> Existing:
    """Look at a PDF without trusting it."""
    trace = "its bytes hold a signature's /ByteRange" if _holds(path, _TRACE) else ""
    with path.open("rb") as file:
        try:
            return _look(PdfFileReader(file, strict=True), trace)
        except (OSError, MemoryError):
            raise
        except Exception as strict:  # noqa: BLE001 - any failure of the parser is the file's
            try:
                lenient = _look(PdfFileReader(file, strict=False), trace)
            except (OSError, MemoryError):
                raise
            except Exception:  # noqa: BLE001 - as above
                lenient = Existing(trace)
            why = f"{type(strict).__name__}: {strict}" if str(strict) else type(strict).__name__
            return Existing(lenient.signed, lenient.broken or why)


def _look(reader: PdfFileReader, trace: str) -> Existing:
    if reader.encrypted:
        return Existing(trace, Message("it is encrypted"))
    root = reader.root
    found = len(reader.embedded_signatures)
    if found:
        signed = Message(
            "it carries {found} signature{value}", found=found, value="s" if found > 1 else ""
        )
    elif "/Perms" in root:
        signed = Message("it carries a signature of its permissions (/Perms)")
    elif "/DSS" in root:
        signed = Message("it carries a document security store (/DSS)")
    else:
        signed = Message(trace)
    broken = ""
    if reader.xrefs.hybrid_xrefs_present:
        broken = Message(
            "it has two cross-reference tables that may differ (hybrid-reference file)"
        )
    elif int(root["/Pages"]["/Count"]) < 1:
        broken = Message("it has no pages")
    return Existing(signed, broken)


def _holds(path: Path, needle: bytes) -> bool:
    tail = b""
    with path.open("rb") as file:
        while part := file.read(1024 * 1024):
            if needle in tail + part:
                return True
            tail = part[-len(needle) :]
    return False
