"""What an admission makes of files that change, come again, or cannot be put on record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archived.engine import decisions
from archived.engine.decisions import PersonDecision
from archived.errors import CatalogError
from archived.model.lifecycle import State
from archived.storage import atomic
from archived.storage.rows import DocumentRow
from archived.storage.transaction import Transaction
from tests.integration.ingest.hand_driven_folder import Place, paper


def test_a_file_that_another_took_the_place_of_while_it_was_read_is_not_taken_in(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.drop("a.pdf", paper("before"))
    place.destroyed(path)

    def fuse(operation: str, file: Path) -> None:
        if operation == "write" and file.is_relative_to(place.spool.incoming):
            monkeypatch.setattr(atomic, "fuse", None)
            place.drop("new", paper("afterwards")).rename(path)

    monkeypatch.setattr(atomic, "fuse", fuse)
    [document] = place.quiet()
    assert place.custody(document) == paper("afterwards")
    assert (document.position, document.attempts, document.postponed) == (0, 0, 0)
    assert place.balance.seen == 1


def test_what_a_person_refused_does_not_keep_the_same_file_out_when_it_comes_again(
    place: Place,
) -> None:
    cut = paper("half")[:150]
    place.configure(deadline="20 ms")
    place.new_desk()
    place.drop("a.pdf", cut)
    place.until(lambda report: report.admitted)
    [first] = place.documents()
    assert first.state is State.HELD
    decisions.reject(
        place.catalog, first.id, PersonDecision("lan", "half a page", place.services.now())
    )
    place.drop("a.pdf", cut)
    place.until(lambda report: report.admitted)
    assert [row.state for row in place.documents()] == [State.REJECTED, State.HELD]


def test_bytes_are_kept_when_it_cannot_be_asked_whether_they_are_on_record(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit reached the disk, and its answer was lost with the catalog's."""
    place.drop("a.pdf", paper("a"))
    real, ask = place.catalog.transaction, place.catalog.document
    lost: list[str] = []

    @contextmanager
    def transaction() -> Iterator[Transaction]:
        with real() as change:
            yield change
        if place.catalog.documents():
            lost.append("answer")
            raise CatalogError("the disk is away")

    def document(_: str) -> DocumentRow:
        raise CatalogError("the disk is away")

    with monkeypatch.context() as away:
        away.setattr(place.catalog, "transaction", transaction)
        away.setattr(place.catalog, "document", document)
        with pytest.raises(CatalogError):
            place.until(lambda _: lost)
    assert place.catalog.document == ask
    [row] = place.documents()
    assert place.custody(row) == paper("a")
    place.recover()
    place.new_desk()
    [again] = place.quiet()
    assert (again.id, place.left()) == (row.id, [])


def test_a_file_that_comes_again_while_the_first_is_being_sealed_waits_and_joins_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool let the bytes go when they were about to be compared: they are in the store."""
    place.drop("a.pdf", paper("a"))
    [first] = place.quiet()
    find, gone = place.services.find_bytes, []

    def find_bytes(document: str, became: str | None = None) -> Path | None:
        if gone:
            return find(document, became)
        gone.append(document)
        return place.root / "was sealed just now"

    monkeypatch.setattr(place.services, "find_bytes", find_bytes)
    place.drop("again.pdf", paper("a"))
    place.until(lambda _: gone)
    assert [row.id for row in place.documents()] == [first.id]
    assert place.left() == ["again.pdf"]
    assert [row.id for row in place.quiet()] == [first.id]
    assert place.left() == []
    assert place.balance.seen == 2
