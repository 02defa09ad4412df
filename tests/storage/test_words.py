"""A document is found however its name was typed."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archived.storage.words import fold, query


def found(text: str, asked: str) -> bool:
    index = sqlite3.connect(":memory:")
    index.execute(
        "CREATE VIRTUAL TABLE words USING fts5(body, tokenize='unicode61 remove_diacritics 2')"
    )
    index.execute("INSERT INTO words VALUES (?)", (fold(text),))
    terms = query(asked)
    if not terms:
        return False
    return bool(index.execute("SELECT 1 FROM words WHERE words MATCH ?", (terms,)).fetchall())


@pytest.mark.parametrize(
    "asked",
    [
        "quyết định", "quyet dinh", "QUYẾT ĐỊNH", "Quyết định", '"quyết định"', "dinh quyet",
        "quy*", "đất đai", "dat dai", "hoà bình", "hòa bình", "hoa binh", "12/QĐ-UBND", "UBND",
    ],
)  # fmt: skip
def test_words_are_found_with_and_without_accents(asked: str) -> None:
    assert found("Quyết định số 12/QĐ-UBND về đất đai tỉnh Hòa Bình", asked)


@pytest.mark.parametrize("asked", ["nghị quyết", '"định quyết"', "xyz", "quyet AND xyz", ""])
def test_other_words_are_not(asked: str) -> None:
    assert not found("Quyết định số 12/QĐ-UBND về đất đai", asked)


@given(st.text(max_size=60))
def test_nothing_a_person_types_is_an_error(asked: str) -> None:
    found("Quyết định", asked)
