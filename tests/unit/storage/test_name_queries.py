"""A document or a file is found by the name that a person types, and by no part of it unasked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from archived.storage.catalog import Catalog
from archived.storage.name_queries import documents_named, files_named
from archived.storage.rows import ArrivalState
from tests.unit.storage.catalog_rows import arrival, have


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog.open(tmp_path / "catalog.db")
    yield catalog
    catalog.close()


def test_a_document_is_found_by_its_whole_name_with_or_without_folders(catalog: Catalog) -> None:
    have(
        catalog,
        d1={"name": "a.pdf"},
        d2={"name": "phòng/a.pdf"},
        d3={"name": "aa.pdf"},
        d4={"name": "a_pdf"},
        d5={"name": "other"},
    )
    with catalog.transaction() as change:
        change.arrivals_seen(
            [
                arrival("phòng/a.pdf", document="d5", state=ArrivalState.ADMITTED, present=False),
                arrival("x/a.pdf"),
            ]
        )
    assert documents_named(catalog, "a.pdf") == ["d5", "d2", "d1"]
    assert documents_named(catalog, "phòng/a.pdf") == ["d5", "d2"]
    assert documents_named(catalog, "%.pdf") == documents_named(catalog, "pdf") == []


def test_ten_documents_of_one_name_are_told_the_newest_first(catalog: Catalog) -> None:
    have(catalog, **{f"d{number:02}": {"name": "a"} for number in range(12)})
    found = documents_named(catalog, "a")
    assert (len(found), found[0], found[-1]) == (10, "d11", "d02")


def test_a_file_is_found_while_it_lies_in_a_folder_and_became_no_document(
    catalog: Catalog,
) -> None:
    have(catalog, d1={})
    held = ArrivalState.HELD
    with catalog.transaction() as change:
        change.arrivals_seen(
            [
                arrival("a.pdf", state=held, code="odd"),
                arrival("x/a.pdf"),
                arrival("gone/a.pdf", present=False),
                arrival("ours/a.pdf", document="d1", state=held),
                arrival("lost/a.pdf", state=ArrivalState.ADMITTED),
                arrival("x/aa.pdf"),
            ]
        )
    assert [file.name for file in files_named(catalog, "a.pdf")] == ["x/a.pdf", "a.pdf"]
    assert files_named(catalog, "a.pdf")[1].state is held
    assert files_named(catalog, "a") == files_named(catalog, "%") == []
    assert [file.name for file in files_named(catalog, "a.p", part=True)] == [
        "x/aa.pdf",
        "x/a.pdf",
        "a.pdf",
    ]
    assert files_named(catalog, "a%p", part=True) == []
    with catalog.transaction() as change:
        change.arrivals_seen([arrival(f"{number}/b") for number in range(12)])
    assert len(files_named(catalog, "b")) == 10
