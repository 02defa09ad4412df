"""A file that somebody has open is never taken away underneath: what he writes would be lost."""

from __future__ import annotations

import os
from typing import IO

import pytest

from archived.model.lifecycle import State
from archived.storage import atomic
from archived.storage.rows import ArrivalState
from tests.integration.ingest.hand_driven_folder import Place, paper


@pytest.mark.parametrize("end", [200, None])
def test_a_file_that_stays_open_is_held_where_it_is_and_goes_on_when_it_is_let_go(place, end):
    place.configure(deadline="50 ms")
    place.new_desk()
    whole = paper("a connection that was lost")
    with (place.hot / "open.pdf").open("wb") as writer:
        writer.write(whole[:end])
        writer.flush()
        place.until(lambda _: [a for a in place.arrivals() if a.state is ArrivalState.HELD])
        place.sweep()
        [arrival] = place.arrivals()
        assert arrival.code == "still-open"
        assert place.left() == ["open.pdf"]
        assert (place.balance.seen, place.balance.held) == (1, 1)
        writer.write(whole[end or len(whole) :])
    [document] = place.quiet()
    assert place.custody(document) == whole
    assert document.state is State.ADMITTED
    assert len(place.arrivals()) == 1


def test_an_unfinished_file_that_is_let_go_at_last_is_held_as_it_arrived(place: Place):
    place.configure(deadline="50 ms")
    place.new_desk()
    with (place.hot / "open.pdf").open("wb") as writer:
        writer.write(paper("x")[:40])
        writer.flush()
        place.until(lambda _: place.arrivals()[0].code == "still-open")
    [document] = place.quiet()
    assert (document.state, document.code) == (State.HELD, "arrived-incomplete")
    assert place.custody(document) == paper("x")[:40]


@pytest.mark.parametrize("moment", ["after its admission", "at its removal"])
def test_a_file_opened_again_while_it_is_in_work_keeps_its_name(place, monkeypatch, moment):
    """What is written then is a new arrival, however late it is written."""
    path = place.drop("scan.tif", paper("old"))
    writers: list[IO[bytes]] = []

    def open_it(operation: str, file: object) -> None:
        ready = place.documents() if moment == "after its admission" else operation == "rename"
        if ready and place.documents() and not writers:
            writers.append(path.open("r+b"))

    monkeypatch.setattr(atomic, "fuse", open_it)
    place.until(lambda report: writers)
    for _ in range(3):
        report = place.sweep()
        assert report.stuck == ["scan.tif"]
        assert place.left() == ["scan.tif"]
    assert len(place.documents()) == 1
    [writer] = writers
    writer.write(paper("new"))
    writer.close()
    place.dropped[atomic.digest(path).sha256] += 1
    first, second = place.quiet()
    assert (place.custody(first), place.custody(second)) == (paper("old"), paper("new"))
    assert place.left() == []


def test_a_file_let_go_unchanged_is_removed_and_taken_in_once(place: Place, monkeypatch):
    path = place.drop("scan.tif")
    writers: list[IO[bytes]] = []

    def open_it(operation: str, file: object) -> None:
        if place.documents() and not writers:
            writers.append(path.open("r+b"))

    monkeypatch.setattr(atomic, "fuse", open_it)
    place.until(lambda report: writers and report.stuck)
    writers.pop().close()
    monkeypatch.undo()
    place.quiet()
    assert place.left() == []
    assert len(place.arrivals()) == len(place.documents()) == 1


def test_a_removal_cut_short_is_not_finished_under_a_writers_hands(place: Place, monkeypatch):
    class Cut(BaseException):
        pass

    def cut(operation: str, _file: object) -> None:
        if operation == "unlink":
            raise Cut

    place.drop("a.pdf")
    monkeypatch.setattr(atomic, "fuse", cut)
    with pytest.raises(Cut):
        place.quiet()
    monkeypatch.undo()
    [name] = place.left()
    with (place.hot / name).open("ab"):
        place.new_desk()
        assert place.sweep().stuck == [name]
        assert place.left() == [name]
    place.quiet()
    assert place.left() == []
    assert len(place.arrivals()) == 1


def test_a_file_written_while_it_is_read_is_noticed_although_its_time_is_put_back(
    place, monkeypatch
):
    path = place.drop("sly.pdf", paper("one"))
    place.destroyed(path)
    written = []

    def rewrite(operation: str, _file: object) -> None:
        if operation == "write" and not written:
            written.append(path)
            before = path.stat()
            with path.open("r+b") as file:
                file.write(paper("two"))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            place.dropped[atomic.digest(path).sha256] += 1

    monkeypatch.setattr(atomic, "fuse", rewrite)
    place.until(lambda report: written)
    assert place.documents() == []
    [document] = place.quiet()
    assert place.custody(document) == paper("two")


def test_a_mount_that_numbers_its_files_afresh_brings_no_second_arrival(place, monkeypatch):
    """As sshfs does at every rename, and any share when it is mounted again."""
    from archived.ingest import scanner, source_removal
    from archived.ingest.source_removal import RemovalResult

    path = place.drop("a.tif", paper("a"))
    real, held = scanner._seen, []
    monkeypatch.setattr(
        source_removal, "remove_source", lambda *_: held.append(1) or RemovalResult.CHANGED
    )
    place.until(lambda report: held)
    numbers = iter(range(10**6, 10**7))

    def numbered(*found):
        return real(*found)._replace(inode=next(numbers), device=7)

    monkeypatch.setattr(scanner, "_seen", numbered)
    for _ in range(3):
        place.sweep()
    assert len(place.arrivals()) == 1
    before = path.stat()
    path.write_bytes(paper("b"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    place.dropped[atomic.digest(path).sha256] += 1
    place.sweep()
    assert len(place.arrivals()) == 2, "other bytes are another file, whatever its time says"
    monkeypatch.undo()
    first, second = place.quiet()
    assert (place.custody(first), place.custody(second)) == (paper("a"), paper("b"))
