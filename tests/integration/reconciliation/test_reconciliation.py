"""The balance sheet: where every file stands by the ledger, by the catalog, and by both at once."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archived.engine import decisions
from archived.engine.decisions import PersonDecision
from archived.errors import ArchivedError
from archived.ingest.batches import BatchRules
from archived.ingest.hotfolder import HotFolderIngest, HotFolderSpec
from archived.ingest.submission import Route
from archived.model.outcome import Ending, Outcome
from archived.observe.api import QueryApi
from archived.storage.reconcile_query import settled
from archived.testing.invariants import problems
from tests.fault.hand_driven_archive import CONTENT, DECK, STAGES, World
from tests.unguarded_ledger import unguard

REFUSED = Outcome(Ending.REFUSED, code="encrypted", message="It is locked.", hint="Unlock it.")


class Office(World):
    """Two scanners that write to sub-folders, and what became of their files."""

    batches = BatchRules()

    def drop(self, name: str, content: bytes) -> None:
        path = self.hot / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def sweep(self, deadline: float = 3600.0) -> None:
        route = Route("scans", "paper", STAGES, 1, "cpu")
        spec = HotFolderSpec(
            "scans",
            self.hot,
            route,
            settle_time=0.0,
            deadline=deadline,
            max_size=1 << 20,
            device="desk",
            device_per_subfolder=True,
            batches=self.batches,
        )
        ingest = HotFolderIngest(spec, self.catalog, self.spool, self)
        ingest.sweep()
        ingest.sweep()

    def account(self, **asked: str) -> Any:
        return QueryApi(self.catalog, self.root / "store").answer("account", asked)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Archived twice (one paper, two arrivals), held twice, ignored once, in work twice."""
    office = Office(tmp_path)
    office.drop("ricoh/a.pdf", CONTENT)
    office.sweep()
    office.work()
    office.drop("canon/again.pdf", CONTENT)
    office.drop("ricoh/locked.pdf", CONTENT + b"\n")
    office.sweep()
    locked = next(r for r in office.catalog.documents() if r.name.endswith("locked.pdf"))
    office.end(office.begin(locked), REFUSED)
    office.drop("canon/huge.pdf", bytes(2 << 20))
    office.drop("left.tmp", b"")
    office.drop("canon/in work.pdf", CONTENT + b"\n\n")
    office.sweep()
    office.drop("half.pdf", b"%PDF-1.7 not yet")
    office.sweep()
    yield office
    office.catalog.close()


def columns(sheet: dict[str, Any]) -> list[int]:
    names = ("seen", "archived", "held", "ignored", "in_work", "unaccounted")
    return [sheet[name] for name in names]


def test_every_file_is_in_exactly_one_column(office: Office) -> None:
    it = office.account()

    assert it["balanced"], it["differences"]
    assert columns(it["total"]) == [7, 2, 2, 1, 2, 0]
    assert it["folders"][0]["rules"] == {"temporary-name": 1}


def test_devices_are_told_from_the_sub_folders(office: Office) -> None:
    by = {each["device"]: columns(each) for each in office.account()["devices"]}

    assert by == {
        "ricoh": [2, 1, 1, 0, 0, 0],
        "canon": [3, 1, 1, 0, 1, 0],
        "desk": [2, 0, 0, 1, 1, 0],
    }


def test_pages_add_up_as_far_as_they_are_known(office: Office) -> None:
    total = office.account()["total"]

    assert total["pages"] == {
        "seen": 2,
        "archived": 2,
        "held": 0,
        "ignored": 0,
        "in_work": 0,
        "unaccounted": 0,
    }
    assert total["pages_unknown"] == 4


def test_pages_are_those_of_the_ledger(office: Office) -> None:
    tamper(office, "UPDATE document SET pages = 99 WHERE pages = 1")

    assert office.account()["total"]["pages"]["archived"] == 2


def test_pages_of_a_document_of_several_files_are_counted_once(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.batches = BatchRules(numbered=True, settle_time=0.0)
    for number in (1, 2, 3):
        office.drop(f"ricoh/s-{number}.pdf", CONTENT + bytes(number))
    office.sweep()
    office.work()

    total = office.account()["total"]
    assert columns(total) == [3, 3, 0, 0, 0, 0]
    assert (total["pages"]["seen"], total["pages_unknown"]) == (1, 0)
    assert problems(office.state, office.root / "store") == []


def test_a_selection_balances_by_itself(office: Office) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()

    assert columns(office.account(device="canon")["total"]) == [3, 1, 1, 0, 1, 0]
    assert columns(office.account(folder="late")["total"]) == [0] * 6
    assert columns(office.account(since=tomorrow)["total"]) == [0] * 6
    assert columns(office.account(until=tomorrow)["total"])[0] == 7


def test_days_are_the_archives_own(office: Office) -> None:
    tamper(office, "UPDATE arrival SET first_seen = '2026-03-01T18:30:00.000000+00:00'")

    assert [each["day"] for each in office.account(zone="UTC")["days"]] == ["2026-03-01"]
    hanoi = office.account(zone="Asia/Ho_Chi_Minh", since="2026-03-02", until="2026-03-02")
    assert [each["day"] for each in hanoi["days"]] == ["2026-03-02"]
    assert columns(office.account(zone="UTC", since="2026-03-02")["total"])[0] == 0


@pytest.mark.parametrize("words", ["yesterday", "2026-13-01", "2026-03-01T25:00"])
def test_an_instant_that_is_none_is_refused(office: Office, words: str) -> None:
    with pytest.raises(ArchivedError, match="neither a day nor an instant"):
        office.account(since=words)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DELETE FROM arrival WHERE name = 'left.tmp'", "the catalog does not"),
        (
            "UPDATE arrival SET state = 'ignored', code = 'hidden' WHERE name LIKE '%huge.pdf'",
            "the ledger says held, the catalog says ignored",
        ),
        (
            "UPDATE document SET state = 'held' WHERE state = 'sealed'",
            "the ledger says archived, the catalog says held",
        ),
        (
            "UPDATE document SET state = 'sealed' WHERE name LIKE '%in work.pdf'",
            "the ledger says in work, the catalog says archived",
        ),
        (
            "UPDATE arrival SET document = NULL WHERE name LIKE '%a.pdf'",
            "the catalog does not know its document",
        ),
        ("DELETE FROM ledger WHERE kind = 'arrival-ignored'", "the ledger does not know it"),
        (
            "UPDATE arrival SET state = 'seen' WHERE name = 'left.tmp'",
            "the ledger says ignored, the catalog says in work",
        ),
        ("UPDATE arrival SET hotfolder = 'late' WHERE name = 'left.tmp'", "it came to scans"),
        ("UPDATE arrival SET origin = 'other' WHERE name = 'left.tmp'", "it came from desk"),
    ],
)
def test_where_ledger_and_catalog_disagree_the_file_is_unaccounted_for(
    office: Office, sql: str, why: str
) -> None:
    tamper(office, sql)

    it = office.account()

    assert not it["balanced"]
    assert columns(it["total"])[0] == 7
    assert it["total"]["unaccounted"] >= 1
    assert all(why in each["why"] for each in it["differences"]), it["differences"]


def tamper(office: Office, sql: str) -> None:
    catalog = sqlite3.connect(office.catalog.path)
    unguard(catalog)
    assert catalog.execute(sql).rowcount
    catalog.commit()
    catalog.close()


def test_decisions_of_people_move_a_file_from_column_to_column(office: Office) -> None:
    locked = next(r for r in office.catalog.documents() if r.name.endswith("locked.pdf"))
    now = office.now()

    decisions.reject(office.catalog, locked.id, PersonDecision("lan", "a wrong sheet", now))
    assert columns(office.account()["total"]) == [7, 2, 2, 1, 2, 0]
    decisions.release(
        office.catalog, DECK, locked.id, PersonDecision("lan", "", office.now()), skip=False
    )
    assert columns(office.account()["total"]) == [7, 2, 1, 1, 3, 0]
    office.work()
    assert columns(office.account()["total"]) == [7, 4, 1, 1, 1, 0]


def test_a_document_found_in_the_spool_after_a_crash_is_accounted_for(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.drop("ricoh/a.pdf", CONTENT)
    office.drop("ricoh/half.pdf", b"%PDF-1.7 cut off")
    office.sweep()
    office.sweep(deadline=0.0)
    tamper(office, "DELETE FROM artifact")
    tamper(office, "UPDATE arrival SET document = NULL, state = 'seen'")
    tamper(office, "DELETE FROM document")
    tamper(office, "DELETE FROM ledger")

    office.restart()

    it = office.account()
    assert it["balanced"], it["differences"]
    assert {each["device"]: columns(each) for each in it["devices"]} == {
        "ricoh": [2, 0, 1, 0, 1, 0]
    }
    assert len(list(settled(office.catalog))) == 2
    office.catalog.close()
