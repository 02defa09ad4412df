"""Sentences on record keep what they were made of; what was put on record before stays as it is."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, insert, select, text

from archived.locale import render, speaking
from archived.message import Message
from archived.storage.ledger import Entry, canonical
from archived.storage.schema import Sentence, Sentences, WithMessages

UNKNOWN = Message("no document has the id {document}", document="x y")
CAUSED = Message("{path}: cannot be read ({error})", path="/a", error=UNKNOWN)

kept = Table(
    "kept",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("reason", Sentence),
    Column("notes", Sentences),
    Column("reviews", WithMessages),
)


@pytest.fixture
def connection():
    engine = create_engine("sqlite://")
    kept.metadata.create_all(engine)
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def back(connection, **values):
    connection.execute(insert(kept).values(**values))
    return connection.execute(select(kept)).one()


@pytest.mark.parametrize(
    "said", [UNKNOWN, CAUSED, Message("must be set"), "a text", "", "{x}", None]
)
def test_a_sentence_comes_back_with_its_parts(connection, said):
    read = back(connection, reason=said).reason
    assert read == said
    assert getattr(read, "parameters", None) or getattr(said, "parameters", {}) == {}
    if said:
        with speaking("vi"):
            assert render(read) == render(said)


def test_the_english_text_can_be_read_and_searched_without_us(connection):
    back(connection, reason=CAUSED)
    found = connection.execute(
        text("SELECT json_extract(reason, '$.text') FROM kept WHERE reason LIKE '%id x y%'")
    )
    assert found.scalar_one() == "/a: cannot be read (no document has the id x y)"


@pytest.mark.parametrize(
    "text_of_another",
    [
        '{"text": "gone", "template": "{a}", "parameters": {"a": "gone"}}',
        '{"text": ',
        '{"text": 3}',
        '{"text": "x", "template": "{a.__class__}", "parameters": {"a": 1}}',
    ],
)
def test_a_strangers_text_that_looks_like_ours_stays_the_text(connection, text_of_another):
    assert back(connection, reason=text_of_another).reason == text_of_another


def test_a_row_of_before_is_only_its_text(connection):
    old = "no document has the id x y"
    connection.execute(
        text("INSERT INTO kept (reason, notes) VALUES (:r, :n)"),
        {"r": old, "n": '["must be set", "3 files"]'},
    )
    row = connection.execute(select(kept)).one()
    assert (row.reason, row.notes) == (old, ["must be set", "3 files"])
    with speaking("vi"):
        assert render(row.reason) == old, "something varied in it: it is shown in English"
        assert render(row.notes[0]) == "phải đặt khóa này"


def test_lists_and_tables_keep_the_parts_of_their_sentences(connection):
    row = back(connection, notes=[UNKNOWN, "a text"], reviews=[{"message": CAUSED, "code": "x"}])
    assert row.notes == [UNKNOWN, "a text"]
    assert row.notes[0].parameters == {"document": "x y"}
    assert row.reviews == [{"message": CAUSED, "code": "x"}]
    assert row.reviews[0]["message"].parameters["error"].parameters == {"document": "x y"}


def test_the_ledger_has_the_parts_beside_the_text():
    from datetime import UTC, datetime

    entry = Entry(
        "document-held", datetime.now(UTC), "tester", facts={"reason": UNKNOWN, "code": "x"}
    )
    facts = json.loads(canonical(entry, 1, "0" * 64))["facts"]
    assert facts == {
        "code": "x",
        "reason": "no document has the id x y",
        "messages": {
            "reason": {
                "template": "no document has the id {document}",
                "parameters": {"document": "x y"},
            }
        },
    }
