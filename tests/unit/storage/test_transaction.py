"""What is changed in the catalog is changed for what was named, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from archived.errors import NoSuchDocument, NotNow
from archived.model.lifecycle import IllegalTransition, State, Transition
from archived.model.outcome import SUPERSEDED
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry, verify
from archived.storage.rows import ArrivalState, BecameArtifact, Replica, SeenFile
from tests.unit.storage.catalog_rows import NOON, PLAIN, SECOND, arrival, artifact, have, step


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog.open(tmp_path / "catalog.db")
    yield catalog
    catalog.close()


PLAIN_FILE = SeenFile(hotfolder="scans", path=b"", name="", device=1, inode=2, size=3, mtime_ns=4)


def a_file(path: str, origin: str = "") -> SeenFile:
    return replace(PLAIN_FILE, path=path.encode(), name=path, origin=origin)


def test_an_arrival_has_a_number_higher_than_all_before_it_and_those_it_must_pass(
    catalog: Catalog,
) -> None:
    with catalog.transaction() as change:
        first = change.arrival_seen(a_file("a"), NOON)
        second = change.arrival_seen(a_file("b", "máy 1"), NOON, present=False)
        above = change.arrival_seen(a_file("c"), NOON, above=70)
        more = change.arrivals_seen([arrival("d"), arrival("e", state=ArrivalState.HELD)])
        assert change.arrivals_seen([]) == []
    assert second > first
    assert above > 70
    assert [each.id for each in more] == [above + 1, above + 2]
    found = catalog.arrivals()
    assert [a.id for a in found] == [first, second, above, above + 1, above + 2]
    assert [a.state for a in found[-2:]] == [ArrivalState.SEEN, ArrivalState.HELD]
    assert (found[0].origin, found[0].present) == ("scans", True), "the folder stands for a device"
    assert (found[1].origin, found[1].present) == ("máy 1", False)
    assert (found[0].device, found[0].inode, found[0].size, found[0].mtime_ns) == (1, 2, 3, 4)
    assert (found[0].state, found[0].first_seen) == (ArrivalState.SEEN, NOON)


def test_how_an_arrival_ended_is_on_its_row_alone(catalog: Catalog) -> None:
    have(catalog, d1={})
    with catalog.transaction() as change:
        one, two, other = (change.arrival_seen(a_file(name), NOON) for name in "abc")
        change.arrival_admitted(one, NOON, BecameArtifact("d1", "f" * 64, "original/1"))
        change.arrival_ended(two, ArrivalState.HELD, NOON, "odd", "It is odd.")
        change.arrival_changed(two, size=9)
    admitted, held, untouched = (catalog.arrival(each) for each in (one, two, other))
    assert admitted is not None
    assert held is not None
    assert untouched is not None
    assert (admitted.state, admitted.document, admitted.sha256) == (
        ArrivalState.ADMITTED,
        "d1",
        "f" * 64,
    )
    assert (admitted.became, admitted.ended, admitted.code) == ("original/1", NOON, None)
    assert (held.state, held.code, held.reason) == (ArrivalState.HELD, "odd", "It is odd.")
    assert (held.document, held.size) == (None, 9)
    assert (untouched.state, untouched.ended, untouched.size) == (ArrivalState.SEEN, None, 3)


def test_a_document_moves_as_the_table_says_and_only_as_it_was_last_seen(catalog: Catalog) -> None:
    have(catalog, d1={}, d2={})
    before = catalog.document("d1")
    with catalog.transaction() as change:
        assert change.document("d1") == before
        state = change.move(before, Transition.ADMITTED_HELD, NOON + SECOND, code="odd", due=None)
        inside = change.document("d1")
    assert state is inside.state is State.HELD
    assert (inside.code, inside.due, inside.changed) == ("odd", None, NOON + SECOND)
    assert catalog.document("d2") == replace(PLAIN, id="d2"), "nothing else"
    with pytest.raises(NotNow), catalog.transaction() as change:
        change.move(before, Transition.ADMITTED_HELD, NOON + SECOND)
    with pytest.raises(IllegalTransition), catalog.transaction() as change:
        change.move(inside, Transition.ADMITTED_HELD, NOON + SECOND)
    with pytest.raises(NoSuchDocument), catalog.transaction() as change:
        change.document("d")
    assert catalog.document("d1") == inside


@pytest.mark.parametrize("back", [timedelta(0), timedelta(hours=1)])
def test_two_states_of_a_document_are_told_apart_also_when_the_clock_was_set_back(
    catalog: Catalog, back: timedelta
) -> None:
    have(catalog, d1={})
    before = catalog.document("d1")
    with catalog.transaction() as change:
        change.move(before, Transition.ADMITTED_HELD, before.changed - back, due=None)
    assert catalog.document("d1").changed == before.changed + timedelta(microseconds=1)


def test_columns_are_set_of_one_document_and_one_step(catalog: Catalog) -> None:
    have(catalog, d1={}, d2={})
    with catalog.transaction() as change:
        for number, document in enumerate(("d1", "d1", "d2")):
            change.step_started(step(f"s{number}", document, position=number))
        change.set_columns("d1", pages=4)
        change.step_ended("s1", NOON + SECOND, ending="finished", wall=0.1 + 0.2, cpu=1 / 3)
        assert (change.step("s1").wall, change.step("s1").cpu) == (0.3, 0.333)
        change.step_started(step("again", "d1", position=0, attempt=2))
        assert [change.was_tried("d1", n) for n in (0, 1, 2)] == [True, True, False]
        with pytest.raises(NotNow):
            change.step("s")
    assert (catalog.document("d1").pages, catalog.document("d2").pages) == (4, None)
    first, ended = (s for s in catalog.steps("d1") if s.id != "again")
    assert (ended.ended, ended.ending) == (NOON + SECOND, "finished")
    assert (first.ended, first.ending, first.wall, first.cpu) == (None, None, None, None)


def test_an_artifact_supersedes_that_of_its_role_and_name_and_one_is_main(
    catalog: Catalog,
) -> None:
    have(catalog, d1={}, d2={})

    def now(document: str) -> list[tuple[str, str, str | None, bool]]:
        return [(a.role, a.name, a.step, a.main) for a in catalog.artifacts(document)]

    with catalog.transaction() as change:
        for document in ("d1", "d2"):
            change.add_artifacts([artifact(document, main=True), artifact(document, "0002.pdf")])
            assert change.main_of(document) == "original/0001.pdf"
        change.add_artifacts([artifact("d1", "0001.pdf", role="access", step="s1", main=True)])
        change.add_artifacts([artifact("d1", "0001.pdf", role="text", step="s1")])
        assert change.main_of("d1") == "access/0001.pdf"
    assert now("d1") == [
        ("original", "0001.pdf", None, False),
        ("original", "0002.pdf", None, False),
        ("access", "0001.pdf", "s1", True),
        ("text", "0001.pdf", "s1", False),
    ]
    with catalog.transaction() as change:
        change.add_artifacts([artifact("d1", "0001.pdf", role="access", step="s2")])
        assert change.main_of("d1") == "access/0001.pdf"
        assert [a.name for a in change.originals("d1")] == ["0001.pdf", "0002.pdf"]
    assert now("d1")[-1] == ("access", "0001.pdf", "s2", True), "main in the other's place"
    assert [a.step for a in catalog.artifacts("d1", current=False)].count("s1") == 2
    assert now("d2") == [
        ("original", "0001.pdf", None, True),
        ("original", "0002.pdf", None, False),
    ]


def test_a_step_that_is_to_be_done_again_leaves_what_was_there_before_it(catalog: Catalog) -> None:
    have(catalog, d1={}, d2={})
    with catalog.transaction() as change:
        for document in ("d1", "d2"):
            change.add_artifacts([artifact(document, main=True)])
            for number in (1, 2):
                name = f"{document}-{number}"
                worked_on = "original/0001.pdf" if number == 1 else "access/p.pdf"
                change.step_started(step(name, document, position=number, worked_on=worked_on))
                made = artifact(document, "p.pdf", role="access", step=name, main=True)
                change.add_artifacts([made])
                change.step_ended(name, NOON, ending="finished")
        change.add_artifacts([artifact("d1", "t.txt", role="text", step="d1-2")])
        change.supersede_step(change.step("d1-2"))
        assert change.main_of("d1") == "access/p.pdf"
    current = [(a.role, a.step, a.main) for a in catalog.artifacts("d1")]
    assert current == [("original", None, False), ("access", "d1-1", True)]
    assert [s.ending for s in catalog.steps("d1")] == ["finished", SUPERSEDED]
    with catalog.transaction() as change:
        change.supersede_step(change.step("d1-1"))
        assert change.main_of("d1") == "original/0001.pdf"
    assert [(a.role, a.step, a.main) for a in catalog.artifacts("d1")] == [("original", None, True)]
    assert [s.ending for s in catalog.steps("d2")] == ["finished", "finished"]
    assert [(a.role, a.step) for a in catalog.artifacts("d2")] == [
        ("original", None),
        ("access", "d2-2"),
    ]


def test_all_that_was_made_of_one_document_is_replaced(catalog: Catalog) -> None:
    have(catalog, d1={}, d2={})
    with catalog.transaction() as change:
        for document in ("d1", "d2"):
            change.add_artifacts([artifact(document, main=True)])
            change.step_started(step(f"old-{document}", document))
        change.replace_work(
            "d1", [artifact("d1", "new.pdf", main=True)], [step("new", "d1", cpu=1)]
        )
    assert [a.name for a in catalog.artifacts("d1", current=False)] == ["new.pdf"]
    assert [(s.id, s.cpu) for s in catalog.steps("d1")] == [("new", 1.0)]
    assert [s.id for s in catalog.steps("d2")] == ["old-d2"]
    with catalog.transaction() as change:
        change.replace_work("d1", [], [])
    assert catalog.artifacts("d1") == catalog.steps("d1") == []
    assert len(catalog.artifacts("d2")) == 1


def test_copies_count_of_the_version_that_was_read_back(catalog: Catalog) -> None:
    have(catalog, d1={}, d2={})
    with catalog.transaction() as change:
        for document, target, digest in (("d1", "a", "x"), ("d1", "b", "y"), ("d2", "a", "x")):
            change.copy_verified(Replica(document, target, "k", digest, 1, 1, NOON))
        assert change.verified_copies("d1", "x") == 1
        change.copy_verified(Replica("d1", "b", "k", "x", 1, 1, NOON))
        assert (change.verified_copies("d1", "x"), change.verified_copies("d1", "y")) == (2, 0)


def test_documents_with_an_object_come_in_order_behind_one(catalog: Catalog) -> None:
    have(catalog, d1={"object_key": "a"}, d2={}, d4={"object_key": "c"}, d3={"object_key": "b"})
    with catalog.transaction() as change:
        assert [d.id for d in change.with_object("", 10)] == ["d1", "d3", "d4"]
        assert [d.id for d in change.with_object("d1", 10)] == ["d3", "d4"]
        assert [d.id for d in change.with_object("", 1)] == ["d1"]


def test_what_ended_well_is_told_with_the_options_of_then(catalog: Catalog) -> None:
    have(catalog, d1={}, d2={}, d3={})
    ends = [
        ("d1", "ocr", "A", "finished"),
        ("d1", "ocr", "B", "finished"),
        ("d1", "sign", "C", "failed"),
        ("d2", "ocr", "A", "failed"),
        ("d3", "ocr", "A", "finished"),
    ]
    with catalog.transaction() as change:
        for number, (document, stage, digest, ending) in enumerate(ends):
            change.step_started(step(f"s{number}", document, stage=stage, options_digest=digest))
            change.step_ended(f"s{number}", NOON, ending=ending)
        assert change.finished_with(["d1", "d2"]) == {"d1": {("ocr", "A"), ("ocr", "B")}}


def test_entries_of_the_ledger_continue_each_other_in_one_call_and_in_many(
    catalog: Catalog,
) -> None:
    entries = [Entry("recovered", NOON, "archived 0", document=f"d{n}") for n in range(4)]
    with catalog.transaction() as change:
        assert change.record().sequence == 0, "nothing is no entry"
        assert change.record(*entries[:2]).sequence == 2
    with catalog.transaction() as change:
        head = change.record(*entries[2:])
        assert change.ledger_head() == head
    assert verify(catalog.ledger_rows()) == head == catalog.ledger_head()
    assert [row[4] for row in catalog.ledger_rows()] == ["d0", "d1", "d2", "d3"]
    (row,) = catalog.ledger_of("d3")
    assert (row.at, row.kind) == (NOON, "recovered")


def test_an_event_carries_what_it_is_about(catalog: Catalog) -> None:
    facts = {"stage": "ocr"}
    with catalog.transaction() as change:
        change.announce("step-finished", NOON, document="d1", hotfolder="scans", facts=facts)
        change.announce("document-admitted", NOON)
    event, other = catalog.events_for("mqtt")
    assert (event.name, event.document, event.hotfolder) == ("step-finished", "d1", "scans")
    assert (event.at, event.facts) == (NOON, facts)
    assert (other.document, other.hotfolder, other.facts) == (None, None, {})


def test_events_stay_until_all_have_had_them_and_the_newest_stay_anyway(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        assert change.outbox_trim(["mqtt"], keep=0) == 0, "nobody has read, nothing is there"
        for _ in range(6):
            change.announce("document-admitted", NOON)
        assert change.outbox_trim(["mqtt"], keep=0) == 0, "nobody has read"
        change.outbox_read("mqtt", 2)
        change.outbox_read("mqtt", 5)
        change.outbox_read("observers", 6)
        change.outbox_read("somebody else", 1)
        assert change.outbox_trim(["mqtt", "observers"], keep=2) == 4
        assert change.outbox_trim(["mqtt", "observers"], keep=0) == 1
    assert [e.sequence for e in catalog.events_for("nobody")] == [6]


def test_an_instant_without_a_zone_is_never_on_record(catalog: Catalog) -> None:
    with pytest.raises(Exception, match="zone"), catalog.transaction() as change:
        change.arrival_seen(a_file("a"), NOON)
        change.arrival_ended(1, ArrivalState.HELD, NOON.replace(tzinfo=None), "odd", "It is odd.")
    assert catalog.arrivals() == []
