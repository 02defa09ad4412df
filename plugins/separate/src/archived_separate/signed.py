"""Whether a PDF carries a signature. In doubt the answer is yes: a signed file is never cut."""

from __future__ import annotations

from pathlib import Path

import pikepdf

_TRACE = b"/ByteRange"


def signed(path: Path) -> bool:
    """A signature, or a trace of one, in the file's objects or in its bytes."""
    if _holds(path, _TRACE):
        return True
    with pikepdf.open(path) as pdf:
        if "/Perms" in pdf.Root or "/DSS" in pdf.Root:
            return True
        # Objects may lie in compressed streams, where the bytes say nothing.
        return any(
            isinstance(item, pikepdf.Dictionary)
            and not isinstance(item, pikepdf.Stream)
            and ("/ByteRange" in item or (item.get("/FT") == "/Sig" and "/V" in item))
            for item in pdf.objects
        )


def _holds(path: Path, needle: bytes) -> bool:
    tail = b""
    with path.open("rb") as file:
        while part := file.read(1024 * 1024):
            if needle in tail + part:
                return True
            tail = part[-len(needle) :]
    return False
