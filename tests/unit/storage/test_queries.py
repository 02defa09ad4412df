"""What is asked of the catalog is answered from all of it, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from archived.errors import NoSuchDocument
from archived.model.lifecycle import State
from archived.model.outcome import SUPERSEDED
from archived.model.scheduling import WaitingLine
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.rows import ArrivalState, Balance, DocumentFilter, DocumentRow, Replica
from tests.unit.storage.catalog_rows import MINUTE, NOON, SECOND, arrival, artifact, have, step


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog.open(tmp_path / "catalog.db")
    yield catalog
    catalog.close()


def ids(rows: list[DocumentRow]) -> list[str]:
    return [row.id for row in rows]


def test_documents_are_listed_newest_first_by_what_is_asked(catalog: Catalog) -> None:
    have(
        catalog,
        d1={"state": State.HELD, "code": "encrypted"},
        d2={"hotfolder": "letters", "dossier": "12/QĐ"},
        d3={"state": State.SEALED, "due": None, "name": "Quyết định 100%.pdf"},
        d4={"state": State.HELD, "code": "review-required", "review": "step-1"},
    )
    assert ids(catalog.documents()) == ["d4", "d3", "d2", "d1"]
    assert ids(catalog.documents(limit=2)) == ["d4", "d3"]
    assert ids(catalog.documents(before="d3")) == ["d2", "d1"]
    assert ids(catalog.documents(DocumentFilter(states=[State.HELD]))) == ["d4", "d1"]
    assert ids(catalog.documents(DocumentFilter(states=[State.SEALED, State.ADMITTED]))) == [
        "d3",
        "d2",
    ]
    assert ids(catalog.documents(DocumentFilter(hotfolder="letters"))) == ["d2"]
    assert ids(catalog.documents(DocumentFilter(dossier="12/QĐ"))) == ["d2"]
    assert ids(catalog.documents(DocumentFilter(dossier=""))) == ["d4", "d3", "d1"]
    assert ids(catalog.documents(DocumentFilter(code="encrypted"))) == ["d1"]
    assert ids(catalog.documents(DocumentFilter(reviewed=True))) == ["d4"]
    assert ids(catalog.documents(DocumentFilter(name="định"))) == ["d3"]
    assert ids(catalog.documents(DocumentFilter(name="đi\u0323nh 100%"))) == ["d3"], (
        "however it was typed"
    )
    assert ids(catalog.documents(DocumentFilter(name="1%"))) == [], "no wildcard"


def test_a_document_is_found_by_the_name_of_each_of_its_files(catalog: Catalog) -> None:
    have(catalog, d1={}, d2={})
    with catalog.transaction() as change:
        change.arrivals_seen(
            [
                arrival("back.tif", document="d1", state=ArrivalState.ADMITTED),
                arrival("back 2.tif"),
            ]
        )
    assert ids(catalog.documents(DocumentFilter(name="back"))) == ["d1"]
    assert ids(catalog.documents(DocumentFilter(name="b%k"))) == [], "no wildcard"


def test_a_listing_has_a_hundred_documents_unless_more_are_asked_for(catalog: Catalog) -> None:
    have(catalog, **{f"d{number:03}": {} for number in range(101)})
    assert len(catalog.documents()) == 100
    assert len(catalog.documents(limit=1000)) == 101
    assert len(catalog.documents_like("d")) == 10


def test_an_id_is_found_by_its_beginning_or_its_end(catalog: Catalog) -> None:
    have(catalog, abc1={}, abd2={})
    assert catalog.documents_like("abc") == ["abc1"]
    assert catalog.documents_like("d2") == ["abd2"]
    assert catalog.documents_like("b") == catalog.documents_like("ab%") == []
    assert catalog.document("abc1").id == "abc1"
    with pytest.raises(NoSuchDocument):
        catalog.document("abc")


def test_the_first_in_a_line_are_those_that_were_due_first_and_may_start(catalog: Catalog) -> None:
    line = WaitingLine("scans", 0, 0, NOON)
    have(
        catalog,
        late={"due": NOON},
        early={"due": NOON - MINUTE},
        tomorrow={"due": NOON + SECOND},
        running={"running": "step"},
        held={"state": State.HELD},
        urgent={"priority": 1},
        further={"position": 1},
        elsewhere={"origin": "other"},
        night={"lane": "night"},
        never={"due": None},
    )
    assert ids(catalog.first_in("cpu", line, NOON, 10)) == ["early", "late"]
    assert ids(catalog.first_in("cpu", line, NOON, 1)) == ["early"]


def test_after_the_clock_was_set_back_nobody_waits_for_what_it_was(catalog: Catalog) -> None:
    line = WaitingLine("scans", 0, 0, NOON + 60 * MINUTE)
    have(catalog, d1={"due": NOON + 60 * MINUTE, "changed": NOON + MINUTE + SECOND})
    assert ids(catalog.first_in("cpu", line, NOON, 10)) == ["d1"]
    assert catalog.lines("cpu", NOON) == [line]
    for now in (NOON + SECOND, NOON + 2 * SECOND):
        assert catalog.first_in("cpu", line, now, 10) == [], "a minute is nothing"
        assert catalog.lines("cpu", now) == []


def test_what_runs_moves_waits_and_is_held_is_counted_apart(catalog: Catalog) -> None:
    have(
        catalog,
        d1={"running": "step-1", "state": State.WORKING},
        d2={"due": NOON + SECOND, "code": "no-space", "reason": "full", "received": NOON - MINUTE},
        d3={"state": State.HELD, "due": None, "code": "encrypted", "received": NOON - 2 * MINUTE},
        d4={"state": State.HELD, "due": None},
        d5={"state": State.WAITING, "code": "no-space", "reason": "full", "position": 1},
        d6={"hotfolder": "letters"},
    )
    assert ids(catalog.running()) == ["d1"]
    assert sorted(ids(catalog.moving())) == ["d1", "d2", "d5", "d6"]
    assert catalog.count_due(NOON) == {"cpu": 2}
    assert catalog.count_held() == {"encrypted": 1, "": 1}
    assert sorted(catalog.waiting()) == [
        ("ocr", "no-space", 1, "full"),
        ("seal", "no-space", 1, "full"),
    ]
    assert catalog.oldest_waiting() == NOON - MINUTE
    assert catalog.count_documents() == {
        ("scans", State.WORKING): 1,
        ("scans", State.ADMITTED): 1,
        ("scans", State.HELD): 2,
        ("scans", State.WAITING): 1,
        ("letters", State.ADMITTED): 1,
    }


def test_what_is_archived_is_counted_by_pages_and_by_what_its_copies_lack(
    catalog: Catalog,
) -> None:
    assert (catalog.pages_archived(), catalog.oldest_waiting()) == (0, None)
    have(
        catalog,
        d1={"state": State.SEALED, "due": None, "pages": 3},
        d2={"state": State.SEALED, "pages": 4},
        d3={"state": State.SEALED, "due": None, "running": "step"},
        d4={"state": State.SAFE, "pages": 5, "due": None},
        d5={"state": State.SAFE},
        d6={"state": State.SAFE, "code": "server-down"},
        d6b={"state": State.SAFE, "code": "no-space"},
        d7={"state": State.SAFE, "code": "server-down", "running": "step"},
        d8={"state": State.HELD, "pages": 7, "due": None},
    )
    assert catalog.pages_archived() == 12
    assert catalog.count_never_safe() == 1
    assert catalog.count_further_copies() == {False: 1, True: 2}
    assert catalog.oldest_waiting() is None


def test_a_documents_artifacts_come_in_their_order_the_superseded_ones_when_asked(
    catalog: Catalog,
) -> None:
    have(catalog, d1={}, d2={})
    with catalog.transaction() as change:
        change.step_started(step("s1", "d1"))
        change.step_started(step("s2", "d1", stage="ocr"))
        change.add_artifacts(
            [
                artifact("d1", "0002.pdf"),
                artifact("d1", "0001.pdf", main=True),
                artifact("d1", "a", role="text", step="s1"),
                artifact("d1", "a", role="text", step="s2"),
                artifact("d2"),
            ]
        )
        change.step_ended("s1", NOON, ending="finished", facts={"pages": 1}, reviews=[{"x": 1}])
    found = catalog.artifacts("d1")
    assert [(a.name, a.step) for a in found] == [
        ("0002.pdf", None),
        ("0001.pdf", None),
        ("a", "s2"),
    ]
    assert [a.step for a in catalog.artifacts("d1", current=False)] == [None, None, "s1", "s2"]
    assert [a.name for a in catalog.originals("d1")] == ["0002.pdf", "0001.pdf"], "as they are read"
    assert catalog.with_sha256("b" * 64) == ["d1", "d1", "d2"]
    assert catalog.with_sha256("c" * 64) == []
    made = catalog.made("d1", "s1", "text", "a")
    assert made is not None
    assert (made.step, made.current) == ("s1", False)
    for wrong in (("d2", "s1", "text", "a"), ("d1", "s1", "text", "b"), ("d1", "s1", "x", "a")):
        assert catalog.made(*wrong) is None
    assert catalog.reviews_of("s1") == [{"x": 1}]
    assert catalog.reviews_of("s2") == catalog.reviews_of("nobody") == ()
    with catalog.transaction() as change:
        change.step_ended("s1", NOON, ending=SUPERSEDED)
    assert catalog.made("d1", "s1", "text", "a") is None, "it was to be done again"


def test_the_attempts_of_a_document_come_in_their_order_and_its_facts_are_the_last_ones(
    catalog: Catalog,
) -> None:
    have(catalog, d1={}, d2={})
    with catalog.transaction() as change:
        for number, (ending, facts) in enumerate(
            [
                ("finished", {"pages": 1}),
                ("finished", {"pages": 2}),
                ("failed", {"pages": 3}),
                ("finished", None),
            ]
        ):
            change.step_started(step(f"s{9 - number}", "d1", started=NOON + number * SECOND))
            change.step_ended(f"s{9 - number}", NOON, ending=ending, facts=facts)
        change.step_started(step("s", "d2"))
    assert [s.id for s in catalog.steps("d1")] == ["s9", "s8", "s7", "s6"]
    assert catalog.facts("d1") == {"ocr": {"pages": 2}}


def test_of_each_sealed_document_the_last_good_end_of_a_stage_is_told(catalog: Catalog) -> None:
    have(
        catalog,
        d1={"state": State.SEALED, "due": None},
        d2={"state": State.SAFE, "due": None, "hotfolder": "letters"},
        d3={"state": State.WORKING},
    )
    with catalog.transaction() as change:
        for number, (document, stage, ending) in enumerate(
            [
                ("d1", "ocr", "finished"),
                ("d1", "ocr", "finished"),
                ("d1", "ocr", "failed"),
                ("d1", "sign", "finished"),
                ("d2", "ocr", "finished"),
                ("d3", "ocr", "finished"),
            ]
        ):
            change.step_started(
                step(f"s{number}", document, stage=stage, started=NOON + number * SECOND)
            )
            change.step_ended(f"s{number}", NOON, ending=ending)
    assert [s.id for s in catalog.sealed_steps("ocr")] == ["s4", "s1"]
    assert [s.id for s in catalog.sealed_steps("ocr", hotfolder="scans")] == ["s1"]
    assert [s.id for s in catalog.sealed_steps("ocr", before="d2")] == ["s1"]
    assert [s.id for s in catalog.sealed_steps("sign")] == ["s3"]


def test_parts_and_copies_come_in_their_order(catalog: Catalog) -> None:
    have(catalog, m={}, p2={"master": "m"}, p1={"master": "m"}, other={"master": "n"})
    assert ids(catalog.parts("m")) == ["p1", "p2"]
    with catalog.transaction() as change:
        for target in ("vault", "attic"):
            change.copy_verified(Replica("m", target, "k", "a" * 128, 1, 2, NOON))
        change.copy_verified(Replica("m", "vault", "k", "c" * 128, 3, 4, NOON + SECOND))
        change.copy_verified(Replica("p1", "vault", "k", "a" * 128, 1, 2, NOON))
    attic, vault = catalog.replicas("m")
    assert (attic.target, vault.target) == ("attic", "vault")
    assert (vault.inventory_sha512, vault.files, vault.size) == ("c" * 128, 3, 4)
    assert vault.verified == NOON + SECOND


def test_arrivals_are_found_by_folder_document_state_and_number(catalog: Catalog) -> None:
    have(catalog, d1={})
    with catalog.transaction() as change:
        change.arrivals_seen(
            [
                arrival("gone", present=False, first_seen=NOON - MINUTE),
                arrival("here", first_seen=NOON + MINUTE),
                arrival("elsewhere", hotfolder="letters"),
                arrival("ours", document="d1", state=ArrivalState.ADMITTED, present=False),
                arrival("held", state=ArrivalState.HELD, code="odd", first_seen=NOON - 9 * MINUTE),
            ]
        )
    assert set(catalog.arrivals_present("scans")) == {b"here", b"held"}
    assert catalog.arrivals_present("scans")[b"held"].state is ArrivalState.HELD
    assert [a.name for a in catalog.arrivals()] == ["gone", "here", "elsewhere", "ours", "held"]
    assert [a.name for a in catalog.arrivals(limit=2)] == ["gone", "here"]
    assert [a.name for a in catalog.arrivals(document="d1")] == ["ours"]
    assert [a.name for a in catalog.arrivals(states=[ArrivalState.HELD])] == ["held"]
    assert catalog.oldest_unclaimed() == NOON - MINUTE
    first = catalog.arrival(1)
    assert first is not None
    assert first.name == "gone"
    assert catalog.arrival(99) is None


def test_the_balance_of_a_folder_has_a_column_for_every_arrival(catalog: Catalog) -> None:
    assert catalog.balance() == []
    assert catalog.oldest_unclaimed() is None
    ended = {"state": ArrivalState.ADMITTED, "present": False}
    ignored = {"state": ArrivalState.IGNORED}
    have(
        catalog,
        work={},
        held={"state": State.HELD},
        sealed={"state": State.SEALED},
        safe={"state": State.SAFE},
        rejected={"state": State.REJECTED},
    )
    with catalog.transaction() as change:
        change.arrivals_seen(
            [
                *[arrival(name, document=name, **ended) for name in ("work", "held", "sealed")],
                *[arrival(name, document=name, **ended) for name in ("safe", "rejected")],
                arrival("twice", document="safe", **ended),
                arrival("seen"),
                arrival("stuck", state=ArrivalState.HELD, code="odd"),
                arrival("a.tmp", code="temporary", **ignored),
                arrival("b.tmp", code="temporary", **ignored),
                arrival("Thumbs.db", code="system", **ignored),
                arrival("lost", **ended),
                arrival("letter", hotfolder="letters"),
            ]
        )
    letters, scans = catalog.balance()
    assert letters == Balance("letters", seen=1, in_work=1)
    assert scans == Balance(
        "scans",
        seen=12,
        archived=3,
        held=3,
        ignored=3,
        in_work=2,
        rules={"temporary": 2, "system": 1},
    )
    assert (letters.unaccounted, scans.unaccounted) == (0, 1), "what is lost is not hidden"


def test_the_ledger_of_a_document_and_all_of_it_come_in_order(catalog: Catalog) -> None:
    assert catalog.ledger_head().sequence == 0
    with catalog.transaction() as change:
        for document in ("d1", "d2", "d1"):
            change.record(Entry("recovered", NOON, "archived 0", document=document))
    assert [e.sequence for e in catalog.ledger_of("d1")] == [1, 3]
    rows = list(catalog.ledger_rows())
    assert [(row[0], row[3], row[4]) for row in rows] == [
        (1, "recovered", "d1"),
        (2, "recovered", "d2"),
        (3, "recovered", "d1"),
    ]
    assert (catalog.ledger_head().sequence, catalog.ledger_head().hash) == (3, rows[2][2])


def test_events_are_given_in_order_a_hundred_at_once(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        for number in range(103):
            change.announce("document-admitted", NOON, document=f"d{number}")
    events = catalog.events_for("mqtt")
    assert [e.document for e in events] == [f"d{number}" for number in range(100)]
    assert len(catalog.events_for("mqtt", limit=1000)) == 103
    with catalog.transaction() as change:
        change.outbox_read("mqtt", events[-1].sequence)
    assert [e.document for e in catalog.events_for("mqtt")] == ["d100", "d101", "d102"]


def test_what_is_searched_for_is_shown_newest_first_with_the_words_in_brackets(
    catalog: Catalog,
) -> None:
    have(catalog, d1={"name": "một"}, d2={"name": "hai"}, d3={"name": "ba"})
    with catalog.transaction() as change:
        for document in ("d1", "d2", "d3"):
            change.index_words(document, document, "số 12", f"quyết định về đất của {document}")
        change.index_words("d3", "d3", "", "nothing of the kind")  # anew
    found = catalog.search("dat dai") + catalog.search("đất")
    assert [(hit.document, hit.name, hit.facts) for hit in found] == [
        ("d2", "hai", "số 12"),
        ("d1", "một", "số 12"),
    ]
    assert found[0].snippet == "quyết định về [đất] của d2"
    assert [hit.document for hit in catalog.search("đất", limit=1)] == ["d2"]
    assert catalog.search("...") == []
    with catalog.transaction() as change:
        for number in range(25):
            change.index_words(f"n{number}", "", "", "")
    have(catalog, **{f"n{number}": {} for number in range(25)})
    with catalog.transaction() as change:
        for number in range(25):
            change.index_words(f"n{number}", "", "", "nhiều")
    assert len(catalog.search("nhiều")) == 20
