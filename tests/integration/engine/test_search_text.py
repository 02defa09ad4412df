"""What of a document's text is searched: bounded for all its files together, and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from archived.engine import sealing
from archived.engine.sealing import search_text

PAGE = "Ủy ban nhân dân huyện quyết định thu hồi đất của hộ gia đình. " * 56
"""3,472 characters: a page that is full."""


def files(folder: Path, *texts: str) -> list[Path]:
    made = [folder / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(made, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return made


def test_an_honest_document_of_3000_pages_is_searched_whole(tmp_path: Path) -> None:
    found = search_text(files(tmp_path, "\f".join([PAGE] * 3000) + " hết"))
    assert found.left_out == 0
    assert found.text.endswith(" hết")


def test_many_texts_together_have_one_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "_SEARCHABLE", 1000)
    found = search_text(files(tmp_path, "ả" * 600, "ẻ" * 600, "ỉ" * 600, "", "ỏ"))
    assert found.text == "\n".join(["ả" * 600, "ẻ" * 400, "", "", ""])
    assert found.left_out == 3 * (200 + 600 + 1), "bytes of UTF-8"


def test_bytes_that_are_no_text_are_bounded_too(tmp_path: Path) -> None:
    path = tmp_path / "odd.txt"
    path.write_bytes(b"\xff" * 100 + "chữ".encode())
    found = search_text([path])
    assert found == ("\ufffd" * 100 + "chữ", 0)
