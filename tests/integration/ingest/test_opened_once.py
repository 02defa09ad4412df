"""A file is opened once: nobody who changes names on the share leads intake to other bytes."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archived.ingest.source_file import open_source
from archived.storage import atomic, libc
from archived.storage.rows import ArrivalState
from tests.integration.ingest.hand_driven_folder import Place, paper

SECRET = "TOP SECRET"
_C = ctypes.CDLL(None, use_errno=True)


def exchange(one: Path, other: Path) -> None:
    """Both names, at one instant."""
    assert _C.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0


@pytest.fixture(params=["openat2", "by hand"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the call, and on a kernel that has not got it: a number that no kernel knows."""
    if request.param == "by hand":
        monkeypatch.setattr(libc, "_OPENAT2", 100_000)
    return str(request.param)


def outside(place: Place, *names: str) -> Path:
    """A folder that is none of the hot folder's, with files of the same names and sizes."""
    folder = place.root / "private"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(paper(SECRET))
    return folder


def stolen(place: Place) -> list[Path]:
    """Files in custody with bytes from outside."""
    files = [p for p in (place.root / "state").rglob("*") if p.is_file()]
    return [p for p in files if SECRET.encode() in p.read_bytes() and "catalog" not in p.name]


@contextmanager
def when(place: Place, moment: str, act: Callable[[], None]) -> Iterator[list[int]]:
    """`act` once: at the first `moment`, which is asking for room or a durable operation."""
    done: list[int] = []

    def once() -> None:
        if not done:
            done.append(1)
            act()

    with pytest.MonkeyPatch.context() as patch:
        if moment == "room":
            real = place.services.room_for
            patch.setattr(place.services, "room_for", lambda size: once() or real(size))  # type: ignore[func-returns-value]
        else:

            def fuse(operation: str, path: Path) -> None:
                ours = str(path).startswith(str(place.root))
                if operation == moment and (ours or operation in {"rename", "unlink"}):
                    once()

            patch.setattr(atomic, "fuse", fuse)
        yield done


@pytest.mark.parametrize("moment", ["room", "write", "rename", "unlink"])
def test_a_folder_that_becomes_a_link_while_its_files_are_taken_in_leads_nowhere(
    place: Place, moment: str
) -> None:
    source = place.drop("sub/a.pdf")
    folder, link = outside(place, "a.pdf"), place.root / "link"
    link.symlink_to(folder)
    with when(place, moment, lambda: exchange(source.parent, link)) as done:
        place.until(lambda _: done)
    place.sweep()
    if source.parent.is_symlink():
        exchange(source.parent, link)
    [document] = place.quiet()
    assert stolen(place) == []
    assert (folder / "a.pdf").read_bytes() == paper(SECRET)
    assert SECRET.encode() not in place.custody(document)


@pytest.mark.parametrize("moment", ["room", "write"])
def test_a_link_that_is_there_only_while_the_bytes_are_read_is_not_read(
    place: Place, moment: str
) -> None:
    """Changed and changed back: who looks before and after by the path sees no difference."""
    source = place.drop("sub/a.pdf", paper("d" * 10))
    folder, link = outside(place, "a.pdf"), place.root / "link"
    link.symlink_to(folder)
    real = place.spool.take_in

    def take_in(document, files, note, check):  # type: ignore[no-untyped-def]
        def back() -> None:
            if source.parent.is_symlink():
                exchange(source.parent, link)
            check()

        return real(document, files, note, back)

    place.spool.take_in = take_in  # type: ignore[method-assign]
    with when(place, moment, lambda: exchange(source.parent, link)) as done:
        place.until(lambda _: done)
    [document] = place.quiet()
    assert stolen(place) == []
    assert place.custody(document) == paper("d" * 10)


@pytest.mark.parametrize("other", ["link", "pipe", "file", "folder"])
def test_a_file_that_is_replaced_before_it_is_read_is_not_read(place: Place, other: str) -> None:
    source = place.drop("a.pdf", paper("x" * 10))
    folder = outside(place, "a.pdf")
    odd = place.root / "odd"
    match other:
        case "link":
            odd.symlink_to(folder / "a.pdf")
        case "pipe":
            os.mkfifo(odd)
        case "file":
            odd.write_bytes(paper("y" * 10))
            before = source.stat()
            os.utime(odd, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "folder":
            odd.mkdir()
    place.sweep()
    real = place.ingest._settled

    replaced: list[int] = []

    def settled(watched, report):  # type: ignore[no-untyped-def]
        if not replaced:
            replaced.append(1)
            exchange(odd, source)
        return real(watched, report)

    place.ingest._settled = settled  # type: ignore[method-assign]
    place.until(lambda _: replaced)
    place.sweep()
    assert stolen(place) == []
    assert place.documents() == []
    if other == "file":
        place.dropped[atomic.digest(source).sha256] += 1
        assert place.custody(place.quiet()[0]) == paper("y" * 10)
        odd.rename(source)
    else:
        exchange(odd, source)
    place.quiet()


def test_a_ticket_is_not_read_through_a_link(tmp_path: Path, kernel: str) -> None:
    place = Place(tmp_path, deadline="1 h", more='dossiers = true\nclosed_by = ["ticket"]')
    ticket = place.drop("HS/ticket.json", json.dumps({"files": [{"path": "a.pdf"}]}).encode())
    page = place.drop("HS/a.pdf")
    folder, link = outside(place), place.root / "link"
    (folder / "ticket.json").write_bytes(
        ticket.read_bytes().replace(b'"files"', f'"title": "{SECRET}", "files"'.encode())
    )
    link.symlink_to(folder)
    gathering = place.ingest._gathering
    assert gathering is not None
    real, swapped = gathering._bytes, []

    def read(lying):  # type: ignore[no-untyped-def]
        if not swapped:
            swapped.append(1)
            exchange(page.parent, link)
        return real(lying)

    gathering._bytes = read  # type: ignore[method-assign]
    place.until(lambda _: swapped)
    exchange(page.parent, link)
    [document] = place.quiet()
    assert SECRET not in json.dumps(document.given)
    place.settle_up()


def test_a_client_that_never_stops_changing_a_folder_into_a_link_gets_nothing_in(
    place: Place,
) -> None:
    """The race itself, in time: what was 13 of 150."""
    names = [f"page{number:03}.pdf" for number in range(60)]
    for name in names:
        place.drop(f"sub/{name}", paper("decoy" + name))
    folder, link = outside(place, *names), place.root / "link"
    link.symlink_to(folder)
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            exchange(place.hot / "sub", link)
            exchange(place.hot / "sub", link)

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        for _ in range(40):
            place.sweep()
    finally:
        stop.set()
        thread.join()
    if (place.hot / "sub").is_symlink():
        exchange(place.hot / "sub", link)
    assert len(place.quiet()) == len(names)
    assert stolen(place) == []
    assert len(list(folder.iterdir())) == len(names)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"link/a.pdf", {errno.ELOOP, errno.ENOTDIR}),
        (b"a-link.pdf", {errno.ELOOP}),
        (b"up/a.pdf", {errno.ELOOP, errno.ENOTDIR}),
        (b"none/a.pdf", {errno.ENOENT}),
        (b"../private/a.pdf", {errno.EXDEV}),
        (b"pipe", {errno.ENXIO}),
        (b"sub/deeper/link/a.pdf", {errno.ELOOP, errno.ENOTDIR}),
    ],
)
def test_no_link_and_no_way_up_is_followed(place: Place, path: bytes, number: set[int]) -> None:
    folder = outside(place, "a.pdf")
    (place.hot / "link").symlink_to(folder)
    (place.hot / "up").symlink_to("../private")
    (place.hot / "a-link.pdf").symlink_to(folder / "a.pdf")
    (place.hot / "sub/deeper").mkdir(parents=True)
    (place.hot / "sub/deeper/link").symlink_to(f"/proc/{os.getpid()}/cwd")
    os.mkfifo(place.hot / "pipe")
    with pytest.raises(OSError) as caught, open_source(place.hot, path):
        pass
    assert caught.value.errno in number
    assert os.fsencode(caught.value.filename).endswith(path)


def test_a_hot_folder_that_is_itself_reached_through_a_link_works(place: Place) -> None:
    place.hot.rename(place.root / "real")
    place.hot.symlink_to(place.root / "real")
    place.drop("sub/a.pdf")
    assert len(place.quiet()) == 1
    assert place.left() == []


def test_bytes_are_read_anew_each_time(place: Place) -> None:
    path = place.drop("a.pdf", b"one")
    place.destroyed(path)
    with open_source(place.hot, b"a.pdf") as it:
        assert atomic.copy_file(it.open_file, place.root / "copy").size == 3
        path.write_bytes(b"two")
        assert not atomic.same_bytes(it.open_file, place.root / "copy")
    path.unlink()
    (place.root / "copy").unlink()


def test_descriptors_are_given_back(place: Place) -> None:
    for number in range(5):
        place.drop(f"a/b/c/{number}.pdf", paper(str(number)))
    (place.hot / "link.pdf").symlink_to("a/b/c/0.pdf")
    place.sweep()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - of this process
    place.quiet()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208 - as above
    assert {a.state for a in place.arrivals()} == {ArrivalState.ADMITTED, ArrivalState.IGNORED}


def test_a_link_to_a_copy_is_not_taken_for_the_source_after_a_crash(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the scan will not find must not be dropped from the spool as if it would."""

    class Cut(BaseException):
        pass

    source = place.drop("sub/a.pdf")

    def cut(operation: str, _path: Path) -> None:
        if operation == "commit" and list(place.spool.documents.iterdir()):
            raise Cut

    monkeypatch.setattr(atomic, "fuse", cut)
    with pytest.raises(Cut):
        place.until(lambda _: False)
    monkeypatch.setattr(atomic, "fuse", None)
    elsewhere = place.root / "elsewhere"
    source.parent.rename(elsewhere)
    source.parent.symlink_to(elsewhere)
    found = place.recover()
    assert (len(found.adopted), found.dropped) == (1, [])
    place.new_desk()
    place.quiet()
    assert [place.custody(each) for each in place.documents()] == [paper("sub/a.pdf")]
    assert (elsewhere / "a.pdf").exists()
