"""A document is found however its name was typed."""

import sqlite3
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archived.storage.search import fold, printed, query


def snippets(text: str, asked: str) -> list[str]:
    index = sqlite3.connect(":memory:")
    index.execute(
        "CREATE VIRTUAL TABLE words USING fts5(body, tokenize='unicode61 remove_diacritics 2')"
    )
    index.execute("INSERT INTO words VALUES (?)", (fold(text),))
    terms = query(asked)
    if not terms:
        return []
    asked_for = "SELECT snippet(words, 0, '[', ']', '…', 64) FROM words WHERE words MATCH ?"
    return [row[0] for row in index.execute(asked_for, (terms,))]


def found(text: str, asked: str) -> bool:
    return bool(snippets(text, asked))


@pytest.mark.parametrize(
    "asked",
    [
        "quyết định",
        "quyet dinh",
        "QUYẾT ĐỊNH",
        "Quyết định",
        '"quyết định"',
        "dinh quyet",
        "quy*",
        "đất đai",
        "dat dai",
        "hoà bình",
        "hòa bình",
        "hoa binh",
        "12/QĐ-UBND",
        "UBND",
    ],
)
def test_words_are_found_with_and_without_accents(asked: str) -> None:
    assert found("Quyết định số 12/QĐ-UBND về đất đai tỉnh Hòa Bình", asked)


@pytest.mark.parametrize("asked", ["nghị quyết", '"định quyết"', "xyz", "quyet AND xyz", ""])
def test_other_words_are_not(asked: str) -> None:
    assert not found("Quyết định số 12/QĐ-UBND về đất đai", asked)


def test_a_word_with_a_quotation_mark_in_it_is_found_and_is_no_syntax() -> None:
    assert found('bản vẽ khổ 15"x20 cm', '15"x20')
    assert not found('bản vẽ khổ 15"x20 cm', '15"x30')


@pytest.mark.parametrize("asked", ["dinh", "Định", "đ*", "D*", "đinh"])
def test_what_is_shown_of_a_text_is_the_text_as_it_was_printed(asked: str) -> None:
    (shown,) = snippets("QUYẾT ĐỊNH của HĐND tỉnh Đồng Tháp: quyết định thu hồi đất", asked)
    plain = printed(shown).replace("[", "").replace("]", "")
    assert plain == "QUYẾT ĐỊNH của HĐND tỉnh Đồng Tháp: quyết định thu hồi đất"
    assert "[ĐỊNH]" in printed(shown)


@given(st.text(max_size=60))
@example("d\u032eồng và Ðà Nẵng, đ, d\u0330, ð")
def test_the_index_keeps_every_letter_but_the_marks_that_it_uses_itself(text: str) -> None:
    kept = unicodedata.normalize("NFC", text).replace("\u032e", "").replace("\u0330", "")
    assert printed(fold(text)) == kept


@given(st.text(max_size=60))
def test_nothing_a_person_types_is_an_error(asked: str) -> None:
    found("Quyết định", asked)
