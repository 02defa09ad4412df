"""Which files belong together and when they are whole: decisions, without a disk."""

from __future__ import annotations

import itertools

import pytest

from archived.ingest.batch_rules import decide
from archived.ingest.batches import (
    BatchClosed,
    BatchDecision,
    BatchFile,
    BatchHeld,
    BatchPassed,
    BatchRules,
    BatchWaits,
    sort,
)
from archived.ingest.tickets import read_ticket

DOSSIERS = BatchRules(dossiers=True, settle_time=60, deadline=600)
PAGES = BatchRules(numbered=True, settle_time=60, deadline=600)
SIDES = BatchRules(two_pass=True, settle_time=60, deadline=600, back_side_wait=1800)
_arrivals = itertools.count(1)


def lying(
    path: str,
    still: float = 5,
    *,
    ready: bool = True,
    device: str = "one",
    written: int = 0,
    seen: int = 1000,
) -> BatchFile:
    number = next(_arrivals)
    return BatchFile(path.encode(), number, 100, still, ready, device, written or number, seen)


def decided(
    rules: BatchRules, *files: BatchFile, ticket: bytes | None = None
) -> list[BatchDecision]:
    read = read_ticket(b"ticket.json", ticket) if ticket is not None else None
    return [
        decision
        for batch in sort(files, rules)
        for decision in decide(batch, rules, read if batch.tickets else None)
    ]


def units(decision: BatchDecision) -> list[list[str]]:
    assert isinstance(decision, BatchClosed), decision
    return [[path.decode() for path in unit.files] for unit in decision.units]


def test_a_dossier_waits_until_nothing_changed_in_it_for_its_quiet_time() -> None:
    assert decided(DOSSIERS, lying("HS-1/a.tif"), lying("HS-1/b.tif", 300)) == [BatchWaits()]
    [closed] = decided(DOSSIERS, lying("HS-1/b.tif", 61), lying("HS-1/a.tif", 300))
    assert units(closed) == [["HS-1/a.tif"], ["HS-1/b.tif"]], "documents in the order of names"
    assert closed.dossier == "HS-1"


@pytest.mark.parametrize("mark", [".done", "HS-1.done", "x/.DONE"])
def test_a_mark_closes_a_dossier_as_soon_as_its_files_are_ready(mark: str) -> None:
    files = [lying("HS-1/a.tif"), lying(f"HS-1/{mark}", 0)]
    [closed] = decided(DOSSIERS, *files)
    assert closed.companions == (f"HS-1/{mark}".encode(),)
    assert decided(DOSSIERS, lying("HS-1/b.tif", ready=False), *files) == [BatchWaits()]


def test_files_beside_dossiers_are_documents_of_their_own() -> None:
    one, dossier = decided(DOSSIERS, lying("alone.tif"), lying("HS-1/a.tif", 100))
    found = sorted([units(one), units(dossier)])
    assert found == [[["HS-1/a.tif"]], [["alone.tif"]]]


def test_a_dossier_that_only_a_ticket_may_close_is_held_when_none_comes() -> None:
    rules = BatchRules(dossiers=True, closed_by=frozenset({"ticket"}), settle_time=60, deadline=600)
    assert decided(rules, lying("HS-1/a.tif", 599)) == [BatchWaits()]
    [held] = decided(rules, lying("HS-1/a.tif", 601))
    assert isinstance(held, BatchHeld)
    assert held.code == "dossier-open"


def test_a_ticket_says_which_files_are_one_document_and_in_which_order() -> None:
    ticket = """{"dossier": "01/HS", "title": "Đất đai", "files": [
      {"path": "b.tif", "document": "bìa", "subject": "Quyết định"},
      {"path": "a.tif", "document": "bìa"}, {"path": "c.tif", "pages": 3}]}""".encode()
    [closed] = decided(
        DOSSIERS,
        lying("HS-1/a.tif"),
        lying("HS-1/b.tif"),
        lying("HS-1/c.tif"),
        lying("HS-1/ticket.json"),
        ticket=ticket,
    )
    assert units(closed) == [["HS-1/b.tif", "HS-1/a.tif"], ["HS-1/c.tif"]]
    assert closed.dossier == "01/HS"
    first, second = closed.units
    assert first.name == "HS-1/bìa".encode()
    assert first.given == {"subject": "Quyết định", "dossier": {"title": "Đất đai"}}
    assert second.given == {"pages": 3, "dossier": {"title": "Đất đai"}}


def test_files_that_a_ticket_lists_may_come_late_but_not_for_ever() -> None:
    ticket = b'{"files": [{"path": "a.tif"}, {"path": "b.tif"}]}'
    assert decided(
        DOSSIERS, lying("HS-1/a.tif", 599), lying("HS-1/ticket.json", 599), ticket=ticket
    ) == [BatchWaits()]
    [held] = decided(
        DOSSIERS, lying("HS-1/a.tif", 601), lying("HS-1/ticket.json", 601), ticket=ticket
    )
    assert isinstance(held, BatchHeld)
    assert held.code == "ticket-files-missing"
    assert "b.tif" in held.reason


@pytest.mark.parametrize(
    ("ticket", "code"),
    [
        (b'{"files": [{"path": "a.tif"}]}', "ticket-files-extra"),
        (b'{"count": 3, "files": [{"path": "a.tif"}, {"path": "b.tif"}]}', "ticket-count"),
        (b'{"files": [{"path": "a.tif", "size": 7}, {"path": "b.tif"}]}', "ticket-size"),
        ('{"secrecy": "mật"}'.encode(), "ticket-secrecy"),
    ],
)
def test_a_ticket_that_does_not_agree_holds_the_whole_dossier(ticket: bytes, code: str) -> None:
    [held] = decided(
        DOSSIERS,
        lying("HS-1/a.tif", 700),
        lying("HS-1/b.tif", 700),
        lying("HS-1/ticket.json", 700),
        ticket=ticket,
    )
    assert isinstance(held, BatchHeld)
    assert held.code == code


def test_two_tickets_are_one_too_many() -> None:
    [held] = decided(
        DOSSIERS, lying("HS-1/a.tif"), lying("HS-1/ticket.json"), lying("HS-1/ticket.csv")
    )
    assert isinstance(held, BatchHeld)
    assert held.code == "ticket-several"


def test_a_mark_with_nothing_to_close_is_passed_over_after_the_quiet_time() -> None:
    assert decided(DOSSIERS, lying("HS-1/.done", 5)) == [BatchWaits()]
    assert decided(DOSSIERS, lying("HS-1/.done", 61)) == [BatchPassed()]
    assert decided(PAGES, lying("scan.done", 61)) == [BatchPassed()]


def test_numbered_pages_become_one_document_when_no_more_come() -> None:
    pages = [lying(f"scan-{n:03}.tif", 61) for n in (2, 1, 10)] + [
        lying(f"scan-{n:03}.tif", 61) for n in range(3, 10)
    ]
    [closed] = decided(PAGES, *pages)
    assert units(closed) == [[f"scan-{n:03}.tif" for n in range(1, 11)]]
    assert closed.units[0].name == b"scan"
    assert decided(PAGES, *pages[:-1], lying("scan-009.tif", 59)) == [BatchWaits()]


def test_a_name_without_a_number_waits_for_nobody() -> None:
    assert units(decided(PAGES, lying("thư.pdf", 0))[0]) == [["thư.pdf"]]


def test_a_page_left_out_is_waited_for_and_then_a_person_decides() -> None:
    assert decided(PAGES, lying("s-1.tif", 599), lying("s-3.tif", 700)) == [BatchWaits()]
    [closed] = decided(PAGES, lying("s-1.tif", 601), lying("s-3.tif", 700))
    assert units(closed) == [["s-1.tif", "s-3.tif"]], "what there is comes into custody"
    assert closed.units[0].held is not None
    assert closed.units[0].held[0] == "pages-missing"


def test_a_mark_for_the_pages_closes_them_at_once() -> None:
    [closed] = decided(PAGES, lying("s-1.tif", 1), lying("s-2.tif", 1), lying("s.done", 0))
    assert units(closed) == [["s-1.tif", "s-2.tif"]]
    assert closed.companions == (b"s.done",)


def test_a_mark_for_the_folder_closes_all_pages_in_it_together() -> None:
    [closed] = decided(PAGES, lying("s-1.tif", 1), lying("t-1.tif", 1), lying(".done", 0))
    assert units(closed) == [["s-1.tif"], ["t-1.tif"]]


def test_fronts_and_backs_of_single_files_are_read_in_two_passes() -> None:
    [closed] = decided(SIDES, lying("first.pdf"), lying("second.pdf"))
    assert units(closed) == [["first.pdf", "second.pdf"]]
    assert closed.units[0].collation == "two-pass"


def test_a_mark_that_still_arrives_goes_with_no_pair() -> None:
    [closed] = decided(
        SIDES, lying("f.pdf"), lying("b.pdf"), lying(".done", 0, ready=False), lying("x.done", 9)
    )
    assert isinstance(closed, BatchClosed)
    assert closed.companions == (b"x.done",)


def test_each_device_has_its_own_fronts_and_backs() -> None:
    files = [
        lying("a1.pdf", device="a"),
        lying("b1.pdf", device="b"),
        lying("a2.pdf", device="a"),
        lying("b2.pdf", device="b"),
    ]
    found = sorted(units(each)[0] for each in decided(SIDES, *files))
    assert found == [["a1.pdf", "a2.pdf"], ["b1.pdf", "b2.pdf"]]


def test_pages_of_two_passes_are_interleaved_when_there_are_as_many() -> None:
    both = BatchRules(two_pass=True, numbered=True, settle_time=60, deadline=600)
    fronts = [lying(f"f-{n}.tif", 70) for n in (1, 2, 3)]
    backs = [lying(f"g-{n}.tif", 70) for n in (1, 2, 3)]
    [closed] = decided(both, *fronts, *backs)
    assert units(closed) == [["f-1.tif", "g-3.tif", "f-2.tif", "g-2.tif", "f-3.tif", "g-1.tif"]]
    [uneven] = decided(both, *fronts, *backs[:2])
    assert isinstance(uneven, BatchClosed)
    assert uneven.units[0].held is not None
    assert uneven.units[0].held[0] == "sides-differ"


def test_fronts_wait_for_their_backs_and_then_a_person_decides() -> None:
    assert decided(SIDES, lying("first.pdf", 1799)) == [BatchWaits()]
    [alone] = decided(SIDES, lying("first.pdf", 1801))
    assert isinstance(alone, BatchClosed)
    assert alone.units[0].held is not None
    assert alone.units[0].held[0] == "back-sides-missing"


def test_fronts_are_what_was_written_first_whenever_it_was_seen() -> None:
    [closed] = decided(SIDES, lying("b.pdf", written=20), lying("f.pdf", written=10))
    assert units(closed) == [["f.pdf", "b.pdf"]]


def test_passes_that_were_written_at_one_time_are_held_for_a_person() -> None:
    [closed] = decided(SIDES, lying("a.pdf", written=10), lying("b.pdf", written=10))
    assert isinstance(closed, BatchClosed)
    assert closed.units[0].held is not None
    assert closed.units[0].held[0] == "page-order-ambiguous"


@pytest.mark.parametrize(
    ("fronts", "backs"),
    [
        ({"written": 30, "seen": 11}, {"written": 20, "seen": 21}),
        ({"written": 10, "seen": 11}, {"written": 5, "seen": 6}),
    ],
    ids=["the fronts were scanned anew", "the clock was set back"],
)
def test_passes_whose_times_tell_another_order_than_they_came_in_are_held(
    fronts: dict[str, int], backs: dict[str, int]
) -> None:
    [closed] = decided(SIDES, lying("f.pdf", **fronts), lying("g.pdf", **backs))
    assert isinstance(closed, BatchClosed)
    assert closed.units[0].held is not None
    assert closed.units[0].held[0] == "page-order-ambiguous"


def test_backs_that_still_arrive_are_not_passed_by() -> None:
    found = decided(
        SIDES, lying("1f.pdf"), lying("1b.pdf", ready=False), lying("2f.pdf"), lying("2b.pdf")
    )
    assert found == [BatchWaits()]
