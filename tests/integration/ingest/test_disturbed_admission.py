"""What happens at the wrong moment of an admission: disks that fail, tickets that are corrected."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest

from archived.ingest.batch_ingest import BatchIngest
from archived.ingest.batches import BatchClosed, BatchDecision, BatchFile, BatchHeld, BatchWaits
from archived.storage import atomic
from archived.storage.rows import ArrivalState
from tests.integration.ingest.hand_driven_folder import Place, paper


def with_dossiers(place: Place, **values: str) -> None:
    place.configure(deadline="1 h", more="dossiers = true", **values)
    place.new_desk()


def gathering_of(place: Place) -> BatchIngest:
    found = place.ingest._gathering
    assert found is not None
    return found


def test_a_corrected_ticket_is_read_also_when_its_size_is_the_same(place: Place) -> None:
    with_dossiers(place)
    place.drop("HS/a.pdf")
    path = place.drop("HS/ticket.json", json.dumps({"files": [{"path": "b.pdf"}]}).encode())
    place.sweep()
    gathering = gathering_of(place)

    def decided(still: float, *, ready: bool = True) -> BatchDecision:
        files = [
            BatchFile(a.path, a.id, a.size, still, ready, "one", seen=a.id)
            for a in place.arrivals()
        ]
        [(_, decision)] = gathering.decisions(files)
        return decision

    assert isinstance(decided(5), BatchHeld), "there is no b.pdf"
    place.destroyed(path)
    place.drop("HS/ticket.json", path.read_bytes().replace(b"b.pdf", b"a.pdf"))
    assert decided(0, ready=False) == BatchWaits()
    assert isinstance(decided(6), BatchClosed)


def test_bytes_that_a_ticket_does_not_list_are_read_once_and_not_in_every_sweep(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_dossiers(place)
    page = place.drop("HS/a.pdf")
    listed = [{"path": "a.pdf", "sha256": atomic.digest(page).sha256[::-1]}]
    ticket = place.drop("HS/ticket.json", json.dumps({"files": listed}).encode())
    place.until(lambda _: {a.code for a in place.arrivals()} == {"ticket-digest"})
    read: list[Path] = []
    monkeypatch.setattr(
        atomic, "fuse", lambda operation, path: read.append(path) if operation == "write" else None
    )
    for _ in range(3):
        place.sweep()
    assert read == []

    place.destroyed(ticket)
    place.drop("HS/ticket.json", json.dumps({"files": [{"path": "a.pdf"}]}).encode())
    place.until(lambda report: report.admitted)


def test_a_file_held_for_itself_is_not_held_for_its_dossier_in_turns(place: Place) -> None:
    with_dossiers(place, largest="2000 B")
    place.drop("HS/large.pdf", paper("many words" * 50))
    for ending in ("json", "csv"):
        place.drop(f"HS/ticket.{ending}", b"{}")
    for _ in range(2):
        place.until(lambda _: len([a for a in place.arrivals() if a.code]) == 3)
    assert {a.name: a.code for a in place.arrivals()} == {
        "HS/large.pdf": "too-large",
        "HS/ticket.json": "ticket-several",
        "HS/ticket.csv": "ticket-several",
    }
    assert [entry[3] for entry in place.catalog.ledger_rows()] == ["arrival-held"] * 3


def test_a_disk_that_fails_after_a_repeated_arrival_is_on_record_records_it_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.drop("a.pdf", paper("same"))
    place.quiet()
    place.drop("b.pdf", paper("same"))
    failed: list[Path] = []

    def fuse(operation: str, path: Path) -> None:
        if operation == "rename" and path.name.endswith(".dropped") and not failed:
            failed.append(path)
            raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(atomic, "fuse", fuse)
    [document] = place.quiet()

    kinds = [entry.kind for entry in place.catalog.ledger_of(document.id)]
    assert (len(failed), kinds.count("arrival-repeated"), place.left()) == (1, 1, [])
    assert place.recover().dropped != []


def test_a_link_in_place_of_a_folder_does_not_lead_a_removal_elsewhere(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = place.drop("sub/a.pdf")
    elsewhere = place.root / "elsewhere"
    elsewhere.mkdir()
    precious = elsewhere / "a.pdf"
    shutil.copy2(source, precious)

    def fuse(operation: str, path: Path) -> None:
        if operation == "rename" and path.name.startswith(".archived-taken-"):
            monkeypatch.setattr(atomic, "fuse", None)
            source.parent.rename(place.hot / "was")
            source.parent.symlink_to(elsewhere)

    monkeypatch.setattr(atomic, "fuse", fuse)
    place.until(lambda report: report.admitted)
    assert list(elsewhere.iterdir()) == [precious]
    assert list((place.hot / "was").iterdir()) == []
    assert len(place.quiet()) == 1


def test_bytes_that_cannot_be_compared_are_a_document_of_their_own(place: Place) -> None:
    place.drop("a.pdf", paper("same"))
    [first] = place.quiet()
    ours = place.services.find_bytes(first.id)
    assert ours is not None
    aside = ours.rename(ours.with_name("aside"))
    ours.symlink_to(aside)  # the kernel refuses to open it, as a failing disk would
    place.drop("b.pdf", paper("same"))
    documents = place.quiet()
    aside.replace(ours)
    assert [place.custody(each) for each in documents] == [paper("same")] * 2
    assert {a.state for a in place.arrivals()} == {ArrivalState.ADMITTED}
