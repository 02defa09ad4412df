"""What went wrong, in the words of the office: limits, and exceptions that are the document's
fault. Everything that is not listed here stays the stage's own fault.
"""

from __future__ import annotations

import errno
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import img2pdf
import pikepdf
import pypdfium2 as pdfium
from PIL import Image, UnidentifiedImageError

from archived.api import Failure, Message, Refuse

STREAM_BYTES = 256 * 1024 * 1024
"""What one compressed stream may unpack to in qpdf."""
_AGAIN = Message("Scan the paper again, or ask the sender for the file again.")
_LOWER = Message("Scan again at a lower resolution, or raise max_megapixels for this stage.")


def damaged(why: str) -> Refuse:
    """The document cannot be read."""
    return Refuse(Message("The document is damaged: {why}", why=why), code="damaged", hint=_AGAIN)


def encrypted() -> Refuse:
    """The document cannot be opened without a password or a key."""
    return Refuse(
        Message("The document is encrypted and cannot be opened without its password or key"),
        code="encrypted",
        hint=Message("Open it with the password, save it without one, and drop it in again."),
    )


def unsupported(why: str) -> Refuse:
    """This is no kind of file the stage can read."""
    return Refuse(
        Message("The file cannot be read as a document: {why}", why=why),
        code="unsupported-type",
        hint=Message("Save it as PDF, TIFF, JPEG or PNG and drop it in again."),
    )


def check_pixels(width: int, height: int, max_megapixels: int) -> None:
    """Refuse an image by its header, before it is decoded."""
    if width * height > max_megapixels * 1_000_000:
        raise Refuse(
            Message(
                "The document holds an image of {width} x {height} pixels, more than the "
                "{max_megapixels} megapixels allowed",
                width=width,
                height=height,
                max_megapixels=max_megapixels,
            ),
            code="too-large",
            hint=_LOWER,
        )


def check_pages(count: int, max_pages: int) -> None:
    """Refuse a document without pages, or with more than wanted."""
    if count == 0:
        raise Refuse(Message("The document has no pages"), code="no-pages", hint=_AGAIN)
    if count > max_pages:
        raise Refuse(
            Message(
                "The document has more than the {max_pages} pages allowed", max_pages=max_pages
            ),
            code="too-many-pages",
            hint=Message("Scan in smaller batches, or raise max_pages for this stage."),
        )


@contextmanager
def limits_in_force(max_megapixels: int) -> Iterator[None]:
    """Make Pillow and qpdf refuse bombs, and blame the document for what its bytes cause.

    Process-wide: for a child that does one document.
    """
    Image.MAX_IMAGE_PIXELS = max_megapixels * 1_000_000
    pikepdf.settings.set_qpdf_limits(
        doc_max_warnings=5000,
        parser_max_nesting=200,
        dct_max_memory=STREAM_BYTES,
        flate_max_memory=STREAM_BYTES,
        png_max_memory=STREAM_BYTES,
        run_length_max_memory=STREAM_BYTES,
        tiff_max_memory=STREAM_BYTES,
    )
    with warnings.catch_warnings():
        # Pillow only warns up to twice its limit.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except Failure:
            raise
        except Exception as error:
            failure = _blamed(error)
            if failure is None:
                raise
            raise failure from error


def _blamed(error: Exception) -> Refuse | None:
    if isinstance(error, pikepdf.PasswordError):
        return encrypted()
    if isinstance(error, pikepdf.PdfError | pdfium.PdfiumError):
        said = str(error).lower()
        return encrypted() if "password" in said or "security" in said else damaged(_bare(error))
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return Refuse(
            Message("An image has more pixels than are allowed"), code="too-large", hint=_LOWER
        )
    if isinstance(error, UnidentifiedImageError | img2pdf.ImageOpenError):
        return unsupported("its content is not what its name says")
    return None


def _bare(error: Exception) -> str:
    """An exception's first line, without the path of our own copy."""
    text = str(error).split("\n")[0]
    return text.rpartition("/")[2][:200] if "/" in text else text[:200]


@contextmanager
def while_decoding() -> Iterator[None]:
    """For Pillow's work on an image: its many exceptions all mean a damaged image."""
    try:
        yield
    except (
        Failure,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
        UnidentifiedImageError,
    ):
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.EACCES):
            raise  # the machine's fault
        raise damaged(f"an image: {_bare(error)}") from error
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
        raise damaged(f"an image: {_bare(error)}") from error
