"""The engine, made once for the tests of a file."""

import pytest

from archived_ocr.reading import Reader

from .ocr_scans import TESSDATA


@pytest.fixture(scope="module")
def reader():
    made = Reader("vie", TESSDATA)
    yield made
    made.close()
