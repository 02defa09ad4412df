"""Real documents whose text needs no OCR are read as a person read them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

from archived_classify import Options
from archived_classify.extraction import classify
from archived_classify.profile import load
from archived_classify.reading import FIELDS

CORPUS = (
    Path(os.environ.get("ARCHIVED_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
    / "vn"
)
FILES = ("04.pdf", "09.pdf", "Quyết định-2858-QĐ-UBND.pdf", "vht534.signed_20250510_124908.pdf")
ONLY_IN_SIGNATURES = {"number", "code", "issued_date"}
"""What these documents may keep from us: filled in as a signature's picture, not as text."""


def text_layer(path: Path) -> str:
    pages = pypdfium2.PdfDocument(path)
    return "\f".join(p.get_textpage().get_text_range().replace("\r\n", "\n") for p in pages)


def plain(value: str | None) -> str | None:
    return value and re.sub(r"\s+", " ", value)


@pytest.mark.shared
@pytest.mark.parametrize("name", FILES)
def test_a_born_digital_document_is_read_as_a_person_read_it(name: str) -> None:
    if not (CORPUS / "documents.json").exists():
        pytest.skip(f"the shared corpus is not at {CORPUS}")
    documents: list[dict[str, Any]] = json.loads((CORPUS / "documents.json").read_text())[
        "documents"
    ]
    truth = next(d for d in documents if d["file"] == name)
    found = classify(text_layer(CORPUS / name), load(Options().profiles)).found
    for field in FIELDS:
        if found[field].value is None and field in ONLY_IN_SIGNATURES:
            assert found[field].why
            continue
        assert plain(found[field].value) == plain(truth[field]), field
