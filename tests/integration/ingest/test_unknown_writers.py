"""Where nobody can tell whether somebody still writes to a file, that is not taken for a no."""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from archived import AGENT
from archived.engine.commit import CommitContext, begin_step, seal
from archived.engine.decisions import PersonDecision, reject, release
from archived.engine.rebuild import ConfiguredDefaults, Rebuild
from archived.engine.sealing import Sealer
from archived.engine.specs import Specs
from archived.model import record
from archived.model.ids import object_id
from archived.model.lifecycle import State, Transition
from archived.model.outcome import Outcome
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.rows import ArrivalState, DocumentRow, StepRow
from tests.integration.ingest.hand_driven_folder import Place, paper


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for another user's file, or on a mount that knows no leases."""
    real = fcntl.fcntl

    def refuse(handle: int, command: int, *rest: int) -> object:
        if command == fcntl.F_SETLEASE:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(handle, command, *rest)

    monkeypatch.setattr(fcntl, "fcntl", refuse)


@pytest.fixture
def slow(place: Place) -> Place:
    """A desk that watches for an hour."""
    configured(place, 3600.0)
    return place


def configured(place: Place, seconds: float) -> None:
    """Let sources be watched for so long, and files settle as fast as ever."""
    spec = place.ingest.spec
    kind = type(
        "Card", (type(spec),), {"long_settle_time": property(lambda _: seconds), "__slots__": ()}
    )
    object.__setattr__(
        place.ingest, "spec", kind(**{f.name: getattr(spec, f.name) for f in fields(spec)})
    )
    place.ingest._clearing._spec = place.ingest.spec


def taken(place: Place) -> Path:
    """The source that has lost its name."""
    [name] = [name for name in place.left() if ".archived-taken-" in name]
    return place.hot / name


def appended(writer: IO[bytes], place: Place, path: Path, more: bytes) -> None:
    place.destroyed(path)
    writer.write(more)
    writer.flush()
    place.dropped[atomic.digest(path).sha256] += 1


def test_a_source_is_watched_before_it_is_removed(slow: Place) -> None:
    slow.drop("a.pdf")
    slow.until(lambda report: report.admitted)
    for _ in range(5):
        report = slow.sweep()
        assert (report.arriving, report.stuck) == (0, [])
        assert 0 < report.settles <= 3600
    assert taken(slow).read_bytes() == paper("a.pdf")
    assert slow.balance.unaccounted == 0
    configured(slow, 0.0)
    slow.sweep()
    assert slow.left() == []
    kinds = [entry.kind for entry in slow.catalog.ledger_of(slow.documents()[0].id)]
    assert kinds.count("source-removed") == 1


def test_a_watch_begins_anew_after_a_restart_and_ends(slow: Place) -> None:
    slow.drop("a.pdf")
    slow.until(lambda report: report.admitted)
    slow.recover()
    slow.new_desk()
    configured(slow, 3600.0)
    slow.sweep()
    assert taken(slow).exists()
    slow.new_desk()
    slow.until(lambda _: slow.left() == [])
    assert len(slow.arrivals()) == 1


@pytest.mark.parametrize("where", ["a.pdf", "sub/hồ sơ/a.pdf"])
def test_bytes_that_come_after_the_take_in_are_a_new_arrival_and_the_shorter_is_held(
    slow: Place, where: str
) -> None:
    path = slow.drop(where, paper("one"))
    with path.open("ab") as writer:
        slow.until(lambda report: report.admitted)
        appended(writer, slow, taken(slow), paper("two"))
        slow.sweep()
        assert slow.left() == [where], "it has its name back"
        first = slow.documents()[0]
        assert (first.state, first.code) == (State.HELD, "source-grew")
        assert slow.arrivals()[0].code == "source-grew"
    slow.new_desk()
    first, second = slow.quiet()
    assert slow.custody(first) == paper("one")
    assert slow.custody(second) == paper("one") + paper("two")
    slow.until(lambda _: slow.left() == [])
    kinds = [entry.kind for entry in slow.catalog.ledger_of(first.id)]
    assert kinds.count("document-source-grew") == kinds.count("document-held") == 1


def test_the_sealed_record_says_that_more_came_and_a_rebuilt_catalog_knows_it(
    slow: Place,
) -> None:
    path = slow.drop("a.pdf", paper("one"))
    with path.open("ab") as writer:
        slow.until(lambda report: report.admitted)
        appended(writer, slow, taken(slow), paper("two"))
        slow.sweep()
    slow.new_desk()
    first, second = slow.quiet()
    now = datetime.now(UTC)
    release(
        slow.catalog,
        Specs(),
        first.id,
        PersonDecision("a person", "both are wanted", now),
        skip=True,
    )
    assert [sealed(slow, each) for each in (first, second)] == [[True], [False]]
    slow.catalog.close()
    for file in (slow.root / "state").glob("catalog.db*"):
        file.unlink()
    slow.catalog = Catalog.open(slow.root / "state" / "catalog.db", busy=0.3)
    Rebuild(slow.spool, slow.store, slow.catalog, Specs(), ConfiguredDefaults(), now).run()
    codes = {each.document: each.code for each in slow.arrivals()}
    assert codes == {first.id: "source-grew", second.id: None}
    slow.services._catalog = slow.catalog


def sealed(place: Place, document: DocumentRow) -> list[bool]:
    """Seal a document: of each file that arrived, whether its record says that it grew."""
    now = datetime.now(UTC)
    row = place.catalog.document(document.id)
    step = StepRow(f"seal-{row.id}", row.id, row.position, "seal", 1, "1", "archived", "", now)
    begin_step(place.catalog, row, step, now)
    done = Sealer(place.spool, place.store, place.catalog, "").seal(row, step)
    assert not isinstance(done, Outcome), done
    context = CommitContext(place.spool, place.catalog, Specs(), now)
    seal(context, step, *done, head=place.store.head)
    path = place.store.path_of(object_id(row.id), record.RECORD)
    return [each.grew for each in record.from_json(path.read_bytes()).arrived]


def test_the_clock_of_a_watch_starts_afresh_with_every_change(slow: Place) -> None:
    slow.drop("a.pdf")
    slow.until(lambda report: report.admitted)
    before = slow.sweep().settles
    os.utime(taken(slow))
    after = slow.sweep().settles
    assert after > before - 1
    assert taken(slow).exists()
    assert slow.documents()[0].state is State.ADMITTED, "its bytes are the same"


def test_bytes_that_come_again_and_again_are_never_lost(slow: Place) -> None:
    path = slow.drop("a.pdf", paper("0"))
    with path.open("ab") as writer:
        for number in range(1, 4):
            slow.until(lambda report: report.admitted)
            appended(writer, slow, taken(slow), paper(str(number)))
    slow.new_desk()
    documents = slow.quiet()
    assert [len(slow.custody(each)) for each in documents] == [
        len(paper("0")) * count for count in (1, 2, 3, 4)
    ]
    assert [each.code for each in documents] == ["source-grew"] * 3 + [None]


def test_a_document_whose_step_runs_is_held_when_it_has_ended(slow: Place) -> None:
    path = slow.drop("a.pdf", paper("one"))
    with path.open("ab") as writer:
        slow.until(lambda report: report.admitted)
        [row] = slow.documents()
        step = StepRow("s" * 32, row.id, 0, "ocr", 1, "1", "x", "", datetime.now(UTC))
        begin_step(slow.catalog, row, step, datetime.now(UTC))
        appended(writer, slow, taken(slow), paper("two"))
        for _ in range(3):
            report = slow.sweep()
            assert taken(slow).exists()
            assert report.settles < 1
        slow.recover()  # the step is lost
        slow.new_desk()
        slow.sweep()
    assert slow.documents()[0].code == "source-grew"
    assert len(slow.quiet()) == 2


def test_of_a_document_that_is_decided_the_arrival_says_that_more_came(slow: Place) -> None:
    path = slow.drop("a.pdf", paper("one"))
    with path.open("ab") as writer:
        slow.until(lambda report: report.admitted)
        [row] = slow.documents()
        now = datetime.now(UTC)
        with slow.catalog.transaction() as change:
            change.move(row, Transition.ADMITTED_HELD, now, due=None)
            change.record(Entry("document-held", now, AGENT, document=row.id))
            change.announce("document-held", now, document=row.id, hotfolder=row.hotfolder)
        reject(
            slow.catalog, row.id, PersonDecision("a person", "", now)
        )  # decided, as a sealed one is
        appended(writer, slow, taken(slow), paper("two"))
        slow.sweep()
    row = slow.documents()[0]
    assert (row.state, row.code) == (State.REJECTED, None)
    assert slow.arrivals()[0].code == "source-grew"
    slow.new_desk()
    assert len(slow.quiet()) == 2


def test_a_file_that_grows_between_its_admission_and_its_removal_is_told_as_well(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.drop("a.pdf", paper("one"))
    grown: list[int] = []

    def fuse(operation: str, file: Path) -> None:
        if place.documents() and not grown:
            grown.append(1)
            with path.open("ab") as writer:
                appended(writer, place, path, paper("two"))

    monkeypatch.setattr(atomic, "fuse", fuse)
    place.until(lambda _: grown)
    first, second = place.quiet()
    assert (first.code, second.code) == ("source-grew", None)
    assert place.custody(second) == paper("one") + paper("two")


def test_a_source_that_is_taken_away_while_it_is_watched_is_nobodys_loss(slow: Place) -> None:
    slow.drop("a.pdf")
    slow.until(lambda report: report.admitted)
    taken(slow).unlink()
    slow.sweep()
    assert (slow.left(), len(slow.documents())) == ([], 1)
    assert slow.balance.unaccounted == 0


def hollow(path: Path, *, how: str) -> None:
    """A file of full size whose middle was never written, whole by its structure."""
    with path.open("r+b") as file:
        if how == "truncated":
            os.ftruncate(file.fileno(), 1 << 20)
        else:
            os.posix_fallocate(file.fileno(), 0, 1 << 20)
        file.write(paper("head"))
        file.seek((1 << 20) - 4096)
        file.write(b"\0" * (4096 - len(paper("end"))) + paper("end"))
        os.fsync(file.fileno())


@pytest.mark.parametrize("how", ["truncated", "reserved"])
def test_a_file_with_holes_is_taken_in_after_a_longer_quiet_time(slow: Place, how: str) -> None:
    path = slow.hot / "a.pdf"
    path.touch()
    hollow(path, how=how)
    with path.open("rb") as file:
        if os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 1 << 20:
            pytest.skip("this file system does not tell about holes")
    for _ in range(5):
        report = slow.sweep()
        assert (report.arriving, slow.documents()) == (1, [])
    assert report.settles > 3000
    slow.dropped[atomic.digest(path).sha256] += 1
    slow.new_desk()
    [document] = slow.quiet()
    assert (document.size, document.code) == (1 << 20, None)
    assert slow.arrivals()[0].state is ArrivalState.ADMITTED


def test_a_file_without_holes_waits_for_nothing_more(slow: Place) -> None:
    slow.drop("a.pdf")
    slow.until(lambda report: report.admitted)
    assert len(slow.documents()) == 1
