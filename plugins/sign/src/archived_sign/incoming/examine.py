"""All signatures of one received PDF. The parser's failures are findings, and never errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import enumerate_sig_fields

from archived_sign.existing import look
from archived_sign.incoming.judgement import (
    OPEN,
    UNREADABLE,
    SignatureVerdict,
    Trusted,
    judge,
)
from archived_sign.revocation import Material
from archived_sign.signed_file import stored

MOST = 200
"""Signatures of one file that are judged; real ones have fewer than ten."""
_LARGEST = 64 << 20
"""Bytes up to which what was added to a file later is analysed: it takes memory and time."""


def examine(path: Path, trusted: Trusted) -> tuple[list[SignatureVerdict], str]:
    """The verdicts, in the order of signing, and why the file could not be read as a whole.

    A file that holds the trace of a signature and gives none is one finding without a field.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        reader, why = _opened(file)
        if reader is None:
            return _traces(path, why), why
        try:
            found = list(_judged(reader, trusted, differences=size <= _LARGEST))
        except (OSError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - any failure of the parser is the file's
            why = f"{type(error).__name__}: {error}"
            return _traces(path, why), why
    return (found or _traces(path, "no signature can be reached from the catalog")), why


def _opened(file: Any) -> tuple[PdfFileReader | None, str]:
    """Strictly, else leniently: real ones are often damaged."""
    why = ""
    for strict in (True, False):
        file.seek(0)
        try:
            reader = PdfFileReader(file, strict=strict)
            _ = len(reader.embedded_signatures), reader.encrypted
            if strict and reader.xrefs.hybrid_xrefs_present:
                continue  # two cross-reference tables: the library judges them leniently only
        except (OSError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - as above
            why = why or f"{type(error).__name__}: {error}"
        else:
            return reader, why
    return None, why


def _judged(
    reader: PdfFileReader, trusted: Trusted, *, differences: bool
) -> Iterator[SignatureVerdict]:
    embedded = list(reader.embedded_signatures)
    material = _material(reader)
    for each in embedded[:MOST]:
        yield judge(
            each,
            trusted,
            material,
            differences=differences,
            ambiguous=bool(reader.xrefs.hybrid_xrefs_present),
        )
    for each in embedded[MOST:]:
        yield SignatureVerdict(each.field_name[:300], "signature", OPEN, "too-many")
    signed = {each.field_name for each in embedded}
    for name, value, _ in enumerate_sig_fields(reader):
        if value is None and name not in signed:
            yield SignatureVerdict(str(name)[:300], "empty field", OPEN, "empty-field")


def _material(reader: PdfFileReader) -> Material:
    try:
        return stored(reader)
    except (OSError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - validation data that cannot be read proves nothing
        return Material()


def _traces(path: Path, why: str) -> list[SignatureVerdict]:
    if not look(path).signed:
        return []
    return [SignatureVerdict("", "signature", OPEN, UNREADABLE, why[:300])]
