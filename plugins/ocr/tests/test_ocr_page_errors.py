"""What goes wrong on one page of many names that page."""

from __future__ import annotations

import io
from pathlib import Path

import img2pdf
import pikepdf
import pytest
from PIL import Image

from archived.api import Postpone, Refuse
from archived_ocr.inspect_document import undecodable
from archived_ocr.page_errors import on_page, page_of, with_page


def failed(page: int, error: Exception) -> Exception:
    """What comes out of a library that wraps what was raised while a page was read."""

    def read() -> None:
        with on_page(page):
            raise error

    def library() -> None:
        try:
            read()
        except Exception as inner:
            raise RuntimeError("a library says something else") from inner

    with pytest.raises(RuntimeError) as caught:
        library()
    return caught.value


def test_a_refusal_names_the_page_through_whatever_wraps_it() -> None:
    error = failed(712, ValueError("no such strip"))
    refusal = Refuse("The document is damaged: no such strip", code="damaged", hint="Scan again.")

    assert page_of(error) == 712
    named = with_page(refusal, error)

    assert named.message == "Page 713: The document is damaged: no such strip"
    assert (named.code, named.hint) == ("damaged", "Scan again.")


def test_what_names_its_page_or_is_of_no_page_stays_as_it_is() -> None:
    error = failed(2, ValueError())
    own = Refuse("damaged: page 3 has no size", code="damaged")
    wait = Postpone("no room", code="no-space")

    assert with_page(own, error) is own
    assert with_page(wait, error) is wait
    assert page_of(ValueError()) is None
    assert with_page(own, ValueError()) is own


def test_the_page_nearest_to_the_error_counts() -> None:
    with pytest.raises(ValueError) as caught, on_page(1), on_page(2):
        raise ValueError
    assert page_of(caught.value) == 2


def test_a_stream_that_cannot_be_unpacked_is_told_with_its_page(tmp_path: Path) -> None:
    path = tmp_path / "damaged.pdf"
    scans = []
    for shade in range(4):
        scan = io.BytesIO()
        Image.new("L", (200, 280), 60 * shade).save(scan, "JPEG", dpi=(100, 100))
        scans.append(scan.getvalue())
    with pikepdf.open(io.BytesIO(img2pdf.convert(scans) or b"")) as pdf:
        (picture,) = pdf.pages[2].get_images().values()
        picture.write(picture.read_raw_bytes()[:100], filter=pikepdf.Name.DCTDecode)
        pdf.save(path)

    assert undecodable(path).startswith("a part of page 3 ")
