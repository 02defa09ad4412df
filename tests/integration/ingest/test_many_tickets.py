"""Folders full of large tickets take neither the memory nor the sweeps of a hot folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from archived.ingest import batch_ingest
from archived.ingest.tickets import read_ticket
from tests.integration.ingest.hand_driven_folder import Place, paper


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    more = 'dossiers = true\nclosed_by = ["ticket"]'
    made = Place(tmp_path, more=more)
    yield made
    made.settle_up()


def ticket(place: Place, folder: str, *names: str) -> None:
    listed = {"format": 1, "dossier": folder, "files": [{"path": name} for name in names]}
    place.drop(f"{folder}/ticket.json", json.dumps(listed).encode())


def lies(place: Place, count: int) -> None:
    """Each lists files that never come; they are waited for."""
    for number in range(count):
        ticket(place, f"nói dối {number}", *(f"{name}.pdf" for name in range(100)))


def read_of(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Which tickets are read from now on."""
    read: list[bytes] = []
    true = read_ticket

    def noted(path: bytes, content: bytes) -> object:
        read.append(path)
        return true(path, content)

    monkeypatch.setattr(batch_ingest, "read_ticket", noted)
    return read


def test_what_is_kept_of_tickets_is_bounded_and_the_rest_is_read_in_turn(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lies(place, 30)
    size = (place.hot / "nói dối 0" / "ticket.json").stat().st_size
    monkeypatch.setattr(batch_ingest, "REMEMBERED", 5 * size + 100)
    monkeypatch.setattr(batch_ingest, "READ_AT_ONCE", 4 * size)
    read = read_of(place, monkeypatch)
    place.sweep()
    came: set[bytes] = set()
    for _ in range(60):
        read.clear()
        place.sweep()
        came.update(read)
        assert len(read) <= 5, "one sweep reads no more, whatever lies there"
        assert len(place.ingest._gathering._tickets) <= 5
    assert len(came) == 30, "each is read in its turn"


def test_an_honest_dossier_comes_in_between(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    lies(place, 40)
    size = (place.hot / "nói dối 0" / "ticket.json").stat().st_size
    monkeypatch.setattr(batch_ingest, "REMEMBERED", 3 * size)
    monkeypatch.setattr(batch_ingest, "READ_AT_ONCE", 2 * size)
    place.sweep()
    place.drop("thật/1.pdf", paper("thật"))
    ticket(place, "thật", "1.pdf")
    place.until(lambda report: report.admitted, 30)
    [document] = place.documents()
    assert document.dossier == "thật"


def test_what_was_read_once_and_fits_is_not_read_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lies(place, 10)
    read = read_of(place, monkeypatch)
    place.sweep()
    place.until(lambda _: len(read) >= 10)
    for _ in range(5):
        place.sweep()
    assert len(read) == 10
