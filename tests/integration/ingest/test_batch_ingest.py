"""Dossiers, rows of pages and two passes in a real hot folder: taken in whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from archived.model.lifecycle import State
from archived.storage import atomic
from archived.storage.rows import ArrivalState
from tests.integration.ingest.hand_driven_folder import Place, paper

SOON = 'batch_settle_time = "30 ms"\nback_side_wait = "60 ms"'


def dossiers(place: Place, more: str = "", **values: str) -> None:
    place.configure(**{"deadline": "1 h", "more": f"dossiers = true\n{SOON}\n{more}", **values})
    place.new_desk()


def ticket(place: Place, folder: str, **says: object) -> Path:
    return place.drop(f"{folder}/ticket.json", json.dumps(says).encode())


def held(place: Place) -> Callable[[object], object]:
    return lambda _: [a for a in place.arrivals() if a.state is ArrivalState.HELD]


def test_a_dossier_is_taken_in_as_one_and_every_document_knows_it(place: Place) -> None:
    dossiers(place)
    for name in ("a.pdf", "phụ lục/b.pdf", "c.pdf"):
        place.drop(f"HS-7/{name}")
    place.until(lambda report: report.admitted)

    documents = place.documents()
    assert [d.dossier for d in documents] == ["HS-7"] * 3
    assert {d.received for d in documents} == {documents[0].received}, "in one transaction"
    assert place.left() == []


def test_a_ticket_closes_a_dossier_and_is_kept_with_it(place: Place) -> None:
    dossiers(place, 'closed_by = ["ticket"]')
    for name in ("2.tif.pdf", "1.tif.pdf", "thư.pdf"):
        place.drop(f"HS-8/{name}")
    place.sweep()
    sha = hashlib.sha256(paper("HS-8/thư.pdf")).hexdigest()
    said = ticket(
        place,
        "HS-8",
        dossier="08/2026",
        title="Hồ sơ đất",
        count=3,
        files=[
            {"path": "1.tif.pdf", "document": "d", "subject": "Đơn"},
            {"path": "2.tif.pdf", "document": "d"},
            {"path": "thư.pdf", "sha256": sha},
        ],
    )
    content = said.read_bytes()
    place.until(lambda report: report.admitted)

    first, second = place.documents()
    assert place.originals(first) == [paper("HS-8/1.tif.pdf"), paper("HS-8/2.tif.pdf")]
    assert (first.name, first.dossier) == ("HS-8/d", "08/2026")
    assert first.given == {"subject": "Đơn", "dossier": {"title": "Hồ sơ đất"}}
    assert place.originals(second) == [paper("HS-8/thư.pdf")]
    kept = place.services.find_bytes(first.id, "metadata/ticket.json")
    assert kept is not None
    assert kept.read_bytes() == content
    assert place.left() == [], "the ticket is in custody and gone from the folder"
    assert place.balance.in_work == 4


@pytest.mark.parametrize(
    ("says", "code"),
    [
        ({"files": [{"path": "a.pdf", "sha256": "0" * 64}, {"path": "b.pdf"}]}, "ticket-digest"),
        ({"files": [{"path": "a.pdf"}]}, "ticket-files-extra"),
        ({"files": [{"path": "../../etc/passwd"}]}, "ticket-path"),
        ({"secrecy": "tối mật"}, "ticket-secrecy"),
        ({"count": 9}, "ticket-count"),
    ],
)
def test_a_ticket_that_is_wrong_holds_every_file_and_admits_none(
    place: Place, says: dict[str, object], code: str
) -> None:
    dossiers(place, deadline="40 ms")
    place.drop("HS-9/a.pdf")
    place.drop("HS-9/b.pdf")
    ticket(place, "HS-9", **says)
    place.until(held(place))

    assert {(a.state, a.code) for a in place.arrivals()} == {(ArrivalState.HELD, code)}
    assert place.documents() == []
    assert len(place.left()) == 3
    assert list(place.spool.documents.iterdir()) == [], "nothing is left of the attempt"
    place.quiet()
    assert len([e for e in place.catalog.ledger_rows() if e[3] == "arrival-held"]) == 3


def test_a_held_dossier_goes_on_by_itself_when_its_ticket_is_put_right(place: Place) -> None:
    dossiers(place)
    place.drop("HS-9/a.pdf")
    wrong = ticket(place, "HS-9", files=[{"path": "a.pdf", "size": 1}])
    place.until(held(place))
    place.destroyed(wrong)
    ticket(place, "HS-9", files=[{"path": "a.pdf"}])
    place.until(lambda report: report.admitted)
    [document] = place.documents()
    assert document.state is State.ADMITTED
    assert place.balance.held == 0


def test_a_gigabyte_of_ticket_is_refused_by_its_size(place: Place) -> None:
    dossiers(place, largest="2 GiB")
    place.drop("HS-9/a.pdf")
    path = place.drop("HS-9/ticket.json", b'{"dossier": "1"}')
    place.destroyed(path)
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    began = time.process_time()
    place.until(held(place))
    assert {a.code for a in place.arrivals()} == {"ticket-too-large"}
    assert time.process_time() - began < 2, "it was not read"
    path.unlink()


def test_a_batch_of_which_a_file_changes_meanwhile_is_looked_at_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    dossiers(place)
    place.drop("HS-1/a.pdf")
    path = place.drop("HS-1/b.pdf", paper("before"))
    place.destroyed(path)
    once = []

    def fuse(operation: str, file: Path) -> None:
        if operation == "write" and file.name == "0001.pdf" and not once:
            once.append(1)
            place.drop("HS-1/b.pdf", paper("afterwards"))

    monkeypatch.setattr(atomic, "fuse", fuse)
    place.until(lambda report: report.admitted)
    contents = {place.custody(d) for d in place.documents()}
    assert contents == {paper("HS-1/a.pdf"), paper("afterwards")}


def test_pages_in_files_of_their_own_become_one_document_in_their_order(place: Place) -> None:
    place.configure(more=f'pages = "numbered"\n{SOON}', deadline="1 h")
    place.new_desk()
    for number in (3, 1, 2):
        place.drop(f"HĐ-{number:03}.pdf", paper(f"page {number}"))
    place.until(lambda report: report.admitted)
    [document] = place.documents()
    assert document.name == "HĐ"
    assert place.originals(document) == [paper(f"page {n}") for n in (1, 2, 3)]


def test_a_row_with_a_page_left_out_waits_and_is_then_held_in_custody(place: Place) -> None:
    place.configure(more=f'pages = "numbered"\n{SOON}', deadline="150 ms")
    place.new_desk()
    place.drop("s-1.pdf")
    place.drop("s-3.pdf")
    place.until(lambda report: report.admitted)
    [document] = place.documents()
    assert (document.state, document.code) == (State.HELD, "pages-missing")
    assert place.balance.held == 2


def test_the_missing_page_may_still_come(place: Place) -> None:
    place.configure(more=f'pages = "numbered"\n{SOON}', deadline="1 h")
    place.new_desk()
    place.drop("s-1.pdf")
    place.drop("s-3.pdf")
    give_up = time.monotonic() + 0.2
    place.until(lambda _: time.monotonic() > give_up)
    assert place.documents() == []
    place.drop("s-2.pdf")
    place.until(lambda report: report.admitted)
    [document] = place.documents()
    assert (document.state, len(place.originals(document))) == (State.ADMITTED, 3)


def test_two_passes_of_a_scanner_become_one_document_also_after_a_restart(place: Place) -> None:
    place.configure(more='collate = "two-pass"\nback_side_wait = "1 h"', deadline="1 h")
    place.new_desk()
    fronts = place.drop("fronts.pdf", paper("fronts"))
    os.utime(fronts, (1, 1))  # a file system's clock may tick slower than this test writes
    place.sweep()
    place.new_desk()
    place.drop("backs.pdf", paper("backs"))
    place.until(lambda report: report.admitted)
    [document] = place.documents()
    assert (document.collation, place.originals(document)) == (
        "two-pass",
        [paper("fronts"), paper("backs")],
    )


def test_several_pairs_are_taken_in_by_one_sweep_and_the_odd_one_waits(place: Place) -> None:
    place.configure(more='collate = "two-pass"\nback_side_wait = "1 h"', deadline="1 h")
    place.new_desk()
    for number in range(5):
        path = place.drop(f"{number}.pdf", paper(str(number)))
        os.utime(path, (number, number))
    place.sweep()
    report = place.until(lambda report: report.admitted)
    assert len(report.admitted) == 2
    assert [place.originals(d) for d in place.documents()] == [
        [paper("0"), paper("1")],
        [paper("2"), paper("3")],
    ]
    assert place.left() == ["4.pdf"]


def test_a_ticket_that_is_gone_when_it_is_read_stops_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    dossiers(place)
    place.drop("HS-1/a.pdf")
    gone = ticket(place, "HS-1", count=1)
    place.drop("alone.pdf")
    place.destroyed(gone)

    def vanish(path: object, *more: object, **by_name: object) -> int:
        if str(path).endswith("ticket.json"):
            opened.append(path)
            if len(opened) == 2:  # looked at and leased, and then it is read
                gone.unlink()
        return real(path, *more, **by_name)

    real, opened = os.open, []
    monkeypatch.setattr(os, "open", vanish)
    place.until(lambda _: len(place.documents()) == 2)
    assert (place.left(), len(opened)) == ([], 2)


def test_a_dossier_sent_again_joins_the_documents_that_are_there(place: Place) -> None:
    dossiers(place)
    for _ in range(2):
        place.drop("HS-1/a.pdf", paper("a"))
        place.drop("HS-1/b.pdf", paper("b"))
        place.until(lambda report: report.admitted)
    assert len(place.documents()) == 2
    assert [a.code for a in place.arrivals()] == [None, None, "same-bytes", "same-bytes"]
    place.drop("HS-2/a.pdf", paper("a"))
    place.until(lambda report: report.admitted)
    assert len(place.documents()) == 3, "in another dossier it is another document"


def test_whose_papers_they_are_stands_with_every_document(place: Place) -> None:
    dossiers(place, 'owner = "Văn phòng UBND huyện"')
    place.drop("HS-1/a.pdf")
    place.until(lambda report: report.admitted)
    assert [d.owner for d in place.documents()] == ["Văn phòng UBND huyện"]


def test_a_late_file_is_a_document_of_the_same_dossier(place: Place) -> None:
    dossiers(place)
    place.drop("HS-1/a.pdf")
    place.until(lambda report: report.admitted)
    place.drop("HS-1/b.pdf")
    place.until(lambda report: report.admitted)
    assert [d.dossier for d in place.documents()] == ["HS-1", "HS-1"]


def test_a_mark_that_comes_after_the_dossier_is_left_alone_by_name(place: Place) -> None:
    dossiers(place)
    place.drop("HS-1/a.pdf")
    place.until(lambda report: report.admitted)
    place.drop("HS-1/.done", b"")
    place.quiet()
    assert [a.code for a in place.arrivals()] == [None, "mark-alone"]


def test_a_mark_that_was_left_alone_is_looked_at_again_when_it_is_written_anew(
    place: Place,
) -> None:
    dossiers(place, 'closed_by = ["mark"]')
    mark = place.drop("HS/.done", b"")
    alone = [("ignored", "mark-alone")]
    place.until(lambda _: [(a.state, a.code) for a in place.arrivals()] == alone)
    place.new_desk()
    place.sweep()
    assert len(place.arrivals()) == 1, "a restart makes nothing new of it"

    place.drop("HS/a.pdf")
    place.destroyed(mark)
    place.drop("HS/.done", b"now")
    place.until(lambda report: report.admitted)
    assert (len(place.documents()), place.left()) == (1, [])


def test_a_dossier_that_does_not_fit_on_the_disk_waits_whole(place: Place) -> None:
    free = place.services.free()
    dossiers(place, keep_free=f"{free * 2} B")
    place.drop("HS-1/a.pdf")
    place.drop("HS-1/b.pdf")
    place.until(lambda report: report.no_room)
    assert place.documents() == []
    dossiers(place)
    place.until(lambda report: report.admitted)
    assert len(place.documents()) == 2


def test_a_large_dossier_is_one_submission(place: Place) -> None:
    dossiers(place)
    for number in range(120):
        place.drop(f"HS-1/{number}.pdf")
    done = threading.Event()
    place.until(lambda report: report.admitted and not done.set())
    assert len(place.documents()) == 120
    assert len({d.received for d in place.documents()}) == 1
