"""What went wrong, in the words of the office: exceptions that are the document's fault.

Only exceptions listed here are blamed on the document. Everything else stays what it is: the
stage's fault, to be tried again and then looked at by whoever maintains it.
"""

from __future__ import annotations

import errno
import re
import struct
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import img2pdf
import pikepdf
import pypdfium2 as pdfium
from ocrmypdf import exceptions as om
from PIL import Image, UnidentifiedImageError

from archived.api import Failure, Message, Refuse

_READERS = ("ocrmypdf.pdfinfo", "pdfminer")
"""Libraries that only ever read the document. They have no error type of their own for one whose
figures and types make no sense, and stumble over it instead."""
_STUMBLED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_UNLOCK = Message("Open it with the password, save it without one, and drop it in again.")
_AGAIN = Message("Scan the paper again, or ask the sender for the file again.")


def encrypted() -> Refuse:
    """The document cannot be opened without a password or a key."""
    return Refuse(
        Message("The document is encrypted and cannot be opened without its password or key"),
        code="encrypted",
        hint=_UNLOCK,
    )


def damaged(why: str) -> Refuse:
    """The document is broken beyond what can be repaired."""
    return Refuse(Message("The document is damaged: {why}", why=why), code="damaged", hint=_AGAIN)


def no_pages() -> Refuse:
    """There is nothing to read."""
    return Refuse(
        Message("The document has no pages"),
        code="no-pages",
        hint=Message("Scan it again, or ask the sender for a complete file."),
    )


def bomb(why: str) -> Refuse:
    """The document unpacks to an absurd size."""
    return Refuse(
        Message("The document was made to exhaust a computer, or is damaged: {why}", why=why),
        code="decompression-bomb",
        hint=Message("Do not open it elsewhere. Ask the sender for a clean copy."),
    )


def unsupported(why: str) -> Refuse:
    """This is not a kind of file the stage can read."""
    return Refuse(
        Message("The file cannot be read as a document: {why}", why=why),
        code="unsupported-type",
        hint=Message("Save it as PDF, TIFF, JPEG or PNG and drop it in again."),
    )


def _bare(error: Exception) -> str:
    """An exception's text without the path of our own copy, which says nothing to the office."""
    text = " ".join(str(error).split())
    return re.sub(r"( '/[^']*'| <_io[^>]*>|^/\S.*?(: | (?=\()))", "", text)[:300]


def _pdf_error(error: Exception) -> Refuse | None:
    text = _bare(error)
    low = text.lower()
    if "no pages found" in low:
        return no_pages()
    if "limit" in low or "memory" in low or "nesting" in low or "too many" in low:
        return bomb(text)
    if "encrypt" in low or "security handler" in low or "password" in low:
        return encrypted()
    return damaged(text or "it is not a readable PDF")


def of_machine(error: BaseException) -> OSError | None:
    """The full disk or failing device behind `error`, whatever a library made of it."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        if isinstance(at, OSError) and at.errno in _MACHINE:
            return at
        seen.add(id(at))
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return None


def blamed(error: BaseException) -> Failure | None:
    """The refusal that explains `error`, or `None` when the document is not at fault."""
    if isinstance(error, Failure):
        return error
    if of_machine(error) is not None:
        return None
    if isinstance(error, pikepdf.PasswordError | om.EncryptedPdfError):
        return encrypted()
    if isinstance(error, pikepdf.DataDecodingError):
        return _pdf_error(error)
    if isinstance(error, pikepdf.PdfError | pikepdf.QpdfRuntimeError | pdfium.PdfiumError):
        return _pdf_error(error)
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return Refuse(
            Message("An image on a page has more pixels than are allowed"),
            code="too-large",
            hint=Message(
                "Scan again at a lower resolution, or raise max_megapixels for this stage."
            ),
        )
    if isinstance(error, UnidentifiedImageError | om.UnsupportedImageFormatError):
        return unsupported("its content is not what its name says")
    if isinstance(error, img2pdf.ImageOpenError | img2pdf.PdfTooLargeError):
        return unsupported(str(error) or "it is not an image we can place on a page")
    if isinstance(error, om.DpiError):
        return unsupported("its resolution makes no sense")
    if isinstance(error, om.InputFileError):
        return _caused(error) or damaged(str(error).strip() or "OCRmyPDF cannot read it")
    if isinstance(error, RecursionError):
        return bomb("its parts are nested too deeply")
    if isinstance(error, _STUMBLED) and (reader := _reader(error)):
        return damaged(f"{reader} cannot make sense of it ({type(error).__name__}: {_bare(error)})")
    return None


def _reader(error: BaseException) -> str:
    """The library that was taking the document apart when it raised `error`; empty when none was.

    None of them calls back into this stage: what is raised within them is about what they read.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = str(frame.f_globals.get("__name__", ""))
        for reader in _READERS:
            if name == reader or name.startswith(f"{reader}."):
                return reader
    return ""


def _caused(error: BaseException) -> Failure | None:
    cause = error.__cause__
    return blamed(cause) if cause is not None else None


@contextmanager
def while_decoding(what: str) -> Iterator[None]:
    """For Pillow's work on an image: its many exceptions all mean a damaged image."""
    try:
        yield
    except Failure:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise blamed(error) or error from error
    except OSError as error:
        if error.errno in (*_MACHINE, errno.EACCES):
            raise
        raise damaged(f"{what}: {_bare(error)}") from error
    except (
        SyntaxError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        struct.error,
        OverflowError,
        ZeroDivisionError,
        AttributeError,
    ) as error:
        raise damaged(f"{what}: {_bare(error)}") from error
