"""A document or a waiting file is found by the name that people know: its file's."""

from __future__ import annotations

from pathlib import Path

import pytest

from archived.errors import NoSuchDocument
from archived.observe.api import QueryApi
from archived.storage.rows import ArrivalState


@pytest.fixture
def answers(told) -> QueryApi:
    return QueryApi(told.catalog, Path("/nowhere"))


def test_a_documents_name_stands_for_its_id_however_it_was_typed(told, answers):
    told.drop("quyết định.txt".encode(), text="one page")
    told.drop("again.txt", text="one page")
    [row] = told.catalog.documents()
    decomposed = "quye\u0302\u0301t đi\u0323nh.txt"
    for typed in ("quyết định.txt", decomposed, "again.txt", row.id, row.id[-12:].upper()):
        assert answers.answer("show", {"document": typed})["id"] == row.id
        assert answers.answer("explain", {"document": typed})["document"] == row.id


def test_one_name_of_several_documents_is_not_guessed(told, answers):
    told.drop("scan.txt", text="one page")
    told.drop("scan.txt", text="another page")
    with pytest.raises(NoSuchDocument, match="2 documents have the name") as refused:
        answers.resolve("scan.txt")
    for row in told.catalog.documents():
        assert row.id in refused.value.message


def test_a_file_that_waits_is_told_of_and_never_taken_for_a_document(told, answers):
    (told.hot / "half.pdf").write_bytes(b"%PDF-1.4 the rest comes")
    told.sweep()
    it = answers.answer("show", {"document": "half.pdf"})
    assert (it["id"], it["state"], it["name"]) == (None, "arriving", "half.pdf")
    story = answers.answer("explain", {"document": "half.pdf"})
    assert story["document"] is None
    assert "does not run" in story["now"]
    assert story["paper"] == "Keep the paper: it is not archived yet."
    with pytest.raises(NoSuchDocument, match="lies in the hot folder scans"):
        answers.answer("resolve", {"document": "half.pdf"})

    [file] = told.catalog.arrivals()
    with told.catalog.transaction() as change:
        change.arrival_ended(file.id, ArrivalState.HELD, told.now(), "too-large", "it has 5 GiB")
    held = answers.answer("explain", {"document": "half.pdf"})
    assert held["state"] == "held"
    assert "waits for a person" in held["now"]
    assert held["next"]


def test_documents_and_files_are_listed_by_a_part_of_their_name(told, answers):
    told.drop("tờ trình 1.txt", "tờ trình 2.txt", "100%.txt")
    (told.hot / "tờ trình 3.pdf").write_bytes(b"%PDF-1.4 the rest comes")
    told.sweep()
    found = answers.answer("documents", {"name": "trình"})
    assert {each["name"] for each in found["documents"]} == {"tờ trình 1.txt", "tờ trình 2.txt"}
    assert [each["name"] for each in found["files"]] == ["tờ trình 3.pdf"]
    told.drop("once more.txt", text="words of 'tờ trình 1.txt'")
    [joined] = answers.answer("documents", {"name": "once more"})["documents"]
    assert joined["name"] == "tờ trình 1.txt"
    assert [each["name"] for each in answers.answer("documents", {"name": "%"})["documents"]] == [
        "100%.txt"
    ]
    assert "files" not in answers.answer("documents", {})


def test_what_nobody_has_is_said_with_what_helps(answers):
    with pytest.raises(NoSuchDocument, match="no document has the name") as refused:
        answers.resolve("none.pdf")
    assert "--name" in refused.value.hint
