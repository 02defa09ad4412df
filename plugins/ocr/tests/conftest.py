"""The engine, made once for the tests of a file."""

import pytest
from ocr_scans import TESSDATA

from archived_ocr.reading import Reader


@pytest.fixture(scope="module")
def reader():
    made = Reader("vie", TESSDATA)
    yield made
    made.close()
