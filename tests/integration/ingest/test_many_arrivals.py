"""Files that come and go by thousands leave few entries in the ledger, and both books agree."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections import Counter

import pytest

from archived.ingest import entry_folding
from archived.model.reconciliation import ranges
from archived.storage.atomic import digest
from archived.storage.ledger import verify
from archived.storage.reconcile_query import settled
from tests.integration.ingest.hand_driven_folder import Place, paper
from tests.unguarded_ledger import unguard

STORM = 2000


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.settle_up()


def kinds(place: Place) -> Counter[str]:
    return Counter(kind for _, _, _, kind, *_ in place.catalog.ledger_rows())


def together(place: Place, kind: str = "arrivals-ignored") -> list[dict]:
    rows = place.catalog.ledger_rows()
    return [json.loads(row[1])["facts"] for row in rows if row[3] == kind]


def agree(place: Place) -> None:
    """Nothing is unaccounted for, in either book, and the chain holds."""
    assert place.balance.unaccounted == 0
    assert [file.why for file in settled(place.catalog) if file.why] == []


def test_two_thousand_files_that_come_and_go_leave_a_handful_of_entries(place: Place, monkeypatch):
    monkeypatch.setattr(entry_folding, "PERIOD", 3600.0)
    place.sweep()
    before = place.catalog.ledger_head().sequence
    for turn in range(20):
        names = [place.hot / f"{turn:02}-{number:03}.pdf" for number in range(STORM // 20)]
        for name in names:
            name.touch()
        place.sweep()
        agree(place)
        for name in names:
            name.unlink()
        place.sweep()
        agree(place)
        assert place.balance.seen == (turn + 1) * STORM // 20, "each is on record at once"
    assert place.catalog.ledger_head().sequence - before <= entry_folding.SINGLE + 2
    monkeypatch.setattr(entry_folding, "PERIOD", 0.0)
    place.sweep()
    agree(place)
    assert place.balance.rules == {"withdrawn": STORM}
    assert kinds(place)["arrival-ignored"] == entry_folding.SINGLE
    shared = together(place)
    assert len(shared) <= 2
    assert sum(each["count"] for each in shared) == STORM - entry_folding.SINGLE
    verify(place.catalog.ledger_rows())


def test_they_are_told_to_observers_as_one(place: Place):
    for number in range(200):
        (place.hot / f"{number}.pdf").touch()
    place.sweep()
    for path in place.hot.iterdir():
        path.unlink()
    place.sweep()
    told = Counter(event.name for event in place.catalog.events_for("", limit=10_000))
    assert told["arrivals-ignored"] == 1
    assert told["arrival-ignored"] == entry_folding.SINGLE


def test_what_comes_in_during_a_storm_is_taken_in(place: Place, monkeypatch):
    monkeypatch.setattr(entry_folding, "PERIOD", 3600.0)
    for turn in range(3):
        for number in range(100):
            (place.hot / f"{turn}-{number}.pdf").touch()
        place.sweep()
        for path in place.hot.glob("*.pdf"):
            path.unlink()
        place.sweep()
    place.drop("thư.pdf", paper("thư"))
    [document] = place.quiet()
    assert place.custody(document) == paper("thư")
    agree(place)


def test_a_file_that_comes_back_under_its_name_meanwhile_is_taken_in(place: Place, monkeypatch):
    monkeypatch.setattr(entry_folding, "PERIOD", 3600.0)
    for number in range(100):
        (place.hot / f"{number}.pdf").touch()
    place.sweep()
    for path in place.hot.iterdir():
        path.unlink()
    place.sweep()
    for number in range(50):
        (place.hot / f"again-{number}.pdf").touch()
    place.sweep()
    for path in place.hot.iterdir():
        path.unlink()
    place.sweep()
    assert place.balance.rules == {"withdrawn": 100}, "the others wait"
    place.drop("again-7.pdf", paper("bảy"))
    [document] = place.quiet()
    assert place.custody(document) == paper("bảy")
    assert place.balance.seen == 150, "the same name, not taken in yet: the same arrival"
    agree(place)
    monkeypatch.setattr(entry_folding, "PERIOD", 0.0)
    place.sweep()
    assert place.balance.rules == {"withdrawn": 149}


def test_after_a_crash_in_a_storm_every_file_is_accounted_for(place: Place, monkeypatch):
    monkeypatch.setattr(entry_folding, "PERIOD", 3600.0)
    for turn in range(2):
        for number in range(100):
            (place.hot / f"{turn}-{number}.pdf").touch()
        place.sweep()
        for path in place.hot.iterdir():
            path.unlink()
        place.sweep()
    assert place.balance.rules == {"withdrawn": 100}
    agree(place)
    place.new_desk()
    place.recover()
    place.sweep()
    agree(place)
    assert place.balance.rules == {"withdrawn": 200}


def test_a_period_that_is_over_is_put_on_record_without_anything_new(place: Place, monkeypatch):
    monkeypatch.setattr(entry_folding, "PERIOD", 0.2)
    for turn in range(2):
        for number in range(60):
            (place.hot / f"{turn}-{number}.pdf").touch()
        place.sweep()
        for path in place.hot.iterdir():
            path.unlink()
        report = place.sweep()
    until = time.monotonic() + 30
    while place.balance.rules != {"withdrawn": 120}:
        assert report.settles <= 0.2, "the desk is told when to look again"
        assert time.monotonic() < until
        report = place.sweep()
    agree(place)


def test_names_that_are_left_alone_by_hundreds_are_one_entry(place: Place):
    for number in range(STORM):
        (place.hot / f"{number}.pdf.part").touch()
    place.sweep()
    agree(place)
    assert place.balance.rules == {"temporary-name": STORM}
    assert kinds(place)["arrival-ignored"] == 0
    assert kinds(place)["arrivals-ignored"] <= STORM // 250
    for path in place.hot.iterdir():
        path.unlink()
    place.sweep()
    agree(place)


def test_a_hundred_files_that_are_taken_away_at_once_are_so_in_the_next_sweep(place: Place):
    for number in range(100):
        (place.hot / f"{number}.pdf").touch()
    place.sweep()
    for path in place.hot.iterdir():
        path.unlink()
    place.sweep()
    assert place.balance.rules == {"withdrawn": 100}


def test_the_entry_says_which_files_they_were(tmp_path):
    place = Place(tmp_path, more='device_from = "subfolder"')
    for device in ("máy 1", "máy 2"):
        (place.hot / device).mkdir()
        for number in range(30):
            (place.hot / device / f"{number}.pdf").touch()
    place.sweep()
    for path in place.hot.rglob("*.pdf"):
        path.unlink()
    place.sweep()
    [facts] = together(place)
    named = {
        number: (group["rule"], group["device"])
        for group in facts["groups"]
        for first, last in group["arrivals"]
        for number in range(first, last + 1)
    }
    assert len(named) == facts["count"] == 60 - entry_folding.SINGLE
    rows = {a.id: a for a in place.arrivals()}
    assert all(named[i] == ("withdrawn", rows[i].origin) for i in named)
    names = "".join(f"{i} {rows[i].name}\n" for i in sorted(named))
    assert facts["names_sha256"] == hashlib.sha256(names.encode()).hexdigest()
    agree(place)
    place.settle_up()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE arrival SET state = 'held' WHERE id = 50",
        "DELETE FROM ledger WHERE kind = 'arrivals-ignored'",
    ],
)
def test_a_book_that_was_changed_by_hand_is_noticed_as_of_single_entries(tmp_path, statement):
    place = Place(tmp_path)
    for number in range(100):
        (place.hot / f"{number}.pdf").touch()
    place.sweep()
    for path in place.hot.iterdir():
        path.unlink()
    place.sweep()
    agree(place)
    with sqlite3.connect(tmp_path / "state" / "catalog.db") as connection:
        unguard(connection)
        connection.execute(statement)
    assert [file for file in settled(place.catalog) if file.why]


def test_runs_of_numbers_are_ranges():
    assert ranges([]) == []
    assert ranges([5, 1, 2, 3, 9, 8]) == [[1, 3], [5, 5], [8, 9]]


def odd(place: Place, names) -> list:
    """Files of a type that the folder does not accept."""
    found = []
    for name in names:
        path = place.hot / name
        path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
        found.append(path)
    return found


@pytest.fixture
def picky(tmp_path):
    made = Place(tmp_path)
    made.configure(accept='["pdf"]', deadline="1 h")
    made.new_desk()
    yield made
    made.settle_up()


def test_five_hundred_bad_files_one_after_another_leave_a_handful_of_entries(
    picky: Place, monkeypatch
):
    """Each is held; else a client that never ends writes an entry for each, for ever."""
    monkeypatch.setattr(entry_folding, "PERIOD", 3600.0)
    picky.sweep()
    before = picky.catalog.ledger_head().sequence
    for turn in range(10):
        odd(picky, [f"{turn:02}-{number:03}.pdf.doc" for number in range(STORM // 40)])
        picky.sweep()
        report = picky.until(lambda report: not any(w.code == "changes" for w in report.waiting))
        agree(picky)
        assert picky.balance.seen == (turn + 1) * STORM // 40, "each is on record at once"
        assert picky.balance.held + report.arriving == picky.balance.seen
    assert picky.catalog.ledger_head().sequence - before <= entry_folding.SINGLE + 2
    assert {waiting.code for waiting in report.waiting} == {"hold"}
    monkeypatch.setattr(entry_folding, "PERIOD", 0.0)
    picky.sweep()
    agree(picky)
    told = kinds(picky)
    assert (told["arrival-held"], told["arrivals-held"]) == (entry_folding.SINGLE, 2)
    assert picky.balance.held == STORM // 4
    assert {a.code for a in picky.arrivals()} == {"type-not-accepted"}
    assert all(a.reason for a in picky.arrivals()), "the reason of each stands in the catalog"
    verify(picky.catalog.ledger_rows())


def test_bad_files_that_are_taken_away_by_thousands_are_folded_as_well(picky: Place, monkeypatch):
    monkeypatch.setattr(entry_folding, "PERIOD", 3600.0)
    files = odd(picky, [f"{number:03}.doc" for number in range(300)])
    picky.sweep()
    picky.until(lambda report: not report.arriving)
    assert picky.balance.held == 300, "what is found at once is on record at once"
    before = picky.catalog.ledger_head().sequence
    for path in files:
        path.unlink()
    picky.sweep()
    agree(picky)
    assert picky.balance.rules == {"withdrawn": 300}
    assert picky.catalog.ledger_head().sequence - before <= entry_folding.SINGLE + 1


def test_a_file_that_waits_to_be_held_and_becomes_whole_is_taken_in(picky: Place, monkeypatch):
    monkeypatch.setattr(entry_folding, "PERIOD", 3600.0)
    odd(picky, [f"{number:03}.doc" for number in range(100)])
    picky.sweep()
    picky.until(lambda report: not report.arriving)
    [late] = odd(picky, ["200.doc"])
    picky.sweep()
    picky.until(lambda report: [w.code for w in report.waiting] == ["hold"])
    late.write_bytes(paper("tám"))
    picky.dropped[digest(late).sha256] += 1
    picky.sweep()
    picky.until(lambda report: not report.arriving)
    [document] = picky.documents()
    assert picky.custody(document) == paper("tám")
    agree(picky)


def test_after_a_crash_in_a_storm_of_held_files_every_file_is_accounted_for(
    picky: Place, monkeypatch
):
    monkeypatch.setattr(entry_folding, "PERIOD", 3600.0)
    for turn in range(2):
        odd(picky, [f"{turn}-{number}.doc" for number in range(100)])
        picky.sweep()
        picky.until(lambda report: not any(w.code == "changes" for w in report.waiting))
    assert picky.balance.held == 100
    agree(picky)
    picky.new_desk()
    picky.recover()
    picky.sweep()
    picky.until(lambda report: not report.arriving)
    agree(picky)
    assert picky.balance.held == 200


def test_a_dossier_whose_hold_gets_another_reason_with_each_file_writes_few_entries(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(entry_folding, "PERIOD", 3600.0)
    place = Place(tmp_path, more="dossiers = true", deadline="40 ms")
    listed = {"format": 1, "dossier": "HS 1", "files": [{"path": "0.pdf"}]}
    place.drop("HS-1/ticket.json", json.dumps(listed).encode())
    for number in range(30):
        place.drop(f"HS-1/{number}.pdf")
    before = place.catalog.ledger_head().sequence
    for number in range(30, 60):
        place.drop(f"HS-1/{number}.pdf")
        place.sweep()
        place.until(lambda report: not any(w.code == "changes" for w in report.waiting))
    assert place.catalog.ledger_head().sequence - before <= entry_folding.SINGLE + 1
    agree(place)
    place.settle_up()


def test_the_entry_says_which_files_are_held_and_for_what(picky: Place):
    odd(picky, [f"{number}.doc" for number in range(60)])
    picky.sweep()
    picky.until(lambda report: not report.arriving)
    [facts] = together(picky, "arrivals-held")
    assert facts["count"] == 60 - entry_folding.SINGLE
    [group] = facts["groups"]
    assert (group["code"], group["device"]) == ("type-not-accepted", "scans")
    ids = [n for first, last in group["arrivals"] for n in range(first, last + 1)]
    rows = {a.id: a for a in picky.arrivals()}
    names = "".join(f"{i} {rows[i].name}\n" for i in ids)
    assert facts["names_sha256"] == hashlib.sha256(names.encode()).hexdigest()
    with sqlite3.connect(picky.root / "state" / "catalog.db") as connection:
        connection.execute(f"UPDATE arrival SET state = 'seen' WHERE id = {ids[0]}")
    assert [file.why for file in settled(picky.catalog) if file.why], "either book is compared"
    with sqlite3.connect(picky.root / "state" / "catalog.db") as connection:
        connection.execute(f"UPDATE arrival SET state = 'held' WHERE id = {ids[0]}")
