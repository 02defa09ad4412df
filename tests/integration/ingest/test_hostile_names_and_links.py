"""What whoever may write to a share does with names, links, types and flags loses nothing."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from archived.model.ids import readable
from archived.storage.rows import ArrivalState
from tests.integration.ingest.hand_driven_folder import Place, paper

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root sets flags and mounts")
EXCHANGE = 2


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    subprocess.run(["chattr", "-R", "-ia", made.hot], capture_output=True, check=False)
    made.settle_up()


# Names ----------------------------------------------------------------------------------------

NAMES = {
    "a line feed": b"a\nb.pdf",
    "a line of the log": b'x\n{"action": "document-safe"}.pdf',
    "an escape sequence": b"\x1b[2J\x1b]0;x\x07.pdf",
    "turned round": "\u202efdp.exe".encode(),
    "no UTF-8": b"\xff\xfe\x80.pdf",
    "half a character": b"\xed\xa0\x80.pdf",
    "255 bytes": b"n" * 251 + b".pdf",
    "255 bytes of Vietnamese": ("ế" * 83).encode() + b".pdf",
    "blanks alone": b"   ",
    "a backslash": rb"x\..\..\y.pdf",
    "a percent": b"%2e%2e%2fx.pdf",
    "a formula": b"=HYPERLINK(1).pdf",
    "a marker of text": "\ufeff.pdf".encode(),
    "a quote": b"'; DROP TABLE document; --.pdf",
    "a delete": b"\x7f.pdf",
}


def test_names_of_any_bytes_are_kept_exactly_and_shown_without_controls(place: Place) -> None:
    for number, name in enumerate(NAMES.values()):
        place.drop(name, paper(f"số {number}"))
    documents = place.quiet()
    assert {document.path for document in documents} == set(NAMES.values())
    for document in documents:
        assert document.name.isprintable() or " " in document.name
        assert not set(document.name) & {"\n", "\x1b", "\u202e", "\x7f"}
        assert document.name == readable(document.path)
    assert place.left() == []


def test_two_names_that_look_the_same_are_two_files(place: Place) -> None:
    """Composed and decomposed accents, and a blank of another width."""
    names = ["hồ sơ.pdf", "ho\u0302\u0300 so\u031b.pdf", "hồ\u00a0sơ.pdf"]
    for number, name in enumerate(names):
        place.drop(name, paper(f"bản {number}"))
    assert len(place.quiet()) == 3
    assert place.balance.seen == 3


# Links ----------------------------------------------------------------------------------------


def test_a_file_of_many_names_is_one_document_and_each_name_is_accounted_for(place: Place) -> None:
    first = place.drop("0.pdf", paper("một"))
    for number in range(1, 12):
        os.link(first, place.hot / f"{number}.pdf")
    place.until(lambda _: not place.left())
    assert len(place.documents()) == 1
    assert place.balance.seen == 12


def test_a_name_kept_outside_changes_nothing_that_is_in_custody(place: Place) -> None:
    """A hard link outlives the removal of the file: its writer may go on writing into it."""
    scan = place.drop("a.pdf", paper("một"))
    os.link(scan, place.root / "kept")
    [document] = place.quiet()
    with (place.root / "kept").open("r+b") as file:
        file.write(b"CHANGED!")
    assert place.custody(document) == paper("một")


def test_a_link_to_a_file_of_the_archive_is_left_alone(place: Place) -> None:
    (place.hot / "catalog.pdf").symlink_to(place.root / "state" / "catalog.db")
    (place.hot / "loop").symlink_to("loop")
    (place.hot / "up").symlink_to("..")
    place.drop("a.pdf")
    assert len(place.quiet()) == 1
    assert place.balance.rules == {"symlink": 3}


# Movement -------------------------------------------------------------------------------------


def exchanging(one: Path, two: Path, stop: threading.Event) -> None:
    """Let two files change places, atomically, again and again."""
    libc = ctypes.CDLL(None, use_errno=True)
    while not stop.is_set():
        libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(two), EXCHANGE)


def test_files_that_change_places_while_they_are_taken_in_lose_no_byte(place: Place) -> None:
    (place.root / "outside").write_bytes(paper("từ bên ngoài"))
    stop = threading.Event()
    one, two = place.drop("1.pdf", paper("một")), place.drop("2.pdf", paper("hai"))
    swapper = threading.Thread(target=exchanging, args=(one, two, stop))
    swapper.start()
    try:
        for _ in range(60):
            place.sweep()
    finally:
        stop.set()
        swapper.join()
    place.until(lambda _: not place.left())
    kept = {place.custody(document) for document in place.documents()}
    assert kept == {paper("một"), paper("hai")}


def test_a_folder_that_changes_places_with_one_outside_lets_nothing_in(place: Place) -> None:
    outside = place.root / "outside"
    outside.mkdir()
    (outside / "a.pdf").write_bytes(paper("từ bên ngoài"))
    place.drop("máy/a.pdf", paper("một"))
    stop = threading.Event()
    swapper = threading.Thread(target=exchanging, args=(place.hot / "máy", outside, stop))
    swapper.start()
    try:
        for _ in range(60):
            place.sweep()
    finally:
        stop.set()
        swapper.join()
    # What was moved in whole is a folder of the hot folder like any other; no file is torn.
    for document in place.documents():
        assert place.custody(document) in {paper("một"), paper("từ bên ngoài")}
    here = [p for p in (outside, place.hot) for p in p.rglob("*.pdf")]
    kept = {place.custody(document) for document in place.documents()}
    assert kept | {p.read_bytes() for p in here} == {paper("một"), paper("từ bên ngoài")}
    place.dropped.clear()  # it may lie in the folder outside by now


# Flags and mounts -----------------------------------------------------------------------------


@AS_ROOT
@pytest.mark.parametrize("flag", ["+i", "+a"])
def test_a_file_that_cannot_be_removed_is_told_and_taken_in_once(place: Place, flag: str) -> None:
    scan = place.drop("a.pdf", paper("một"))
    if subprocess.run(["chattr", flag, scan], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no such flags")
    report = place.until(lambda report: report.stuck or place.documents())
    for _ in range(5):
        report = place.sweep()
    assert report.stuck == ["a.pdf"]
    assert len(place.documents()) == 1
    assert place.balance.seen == 1
    subprocess.run(["chattr", "-ia", scan], check=True)
    place.until(lambda report: not report.stuck)
    assert place.left() == []


@AS_ROOT
def test_a_folder_from_which_nothing_can_be_removed_holds_up_no_other(place: Place) -> None:
    for number in range(5):
        place.drop(f"đóng/{number}.pdf", paper(f"số {number}"))
    if subprocess.run(
        ["chattr", "+a", place.hot / "đóng"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this file system has no such flags")
    place.until(lambda _: len(place.documents()) == 5)
    place.drop("mở/a.pdf", paper("một"))
    place.until(lambda _: len(place.documents()) == 6)
    assert [name for name in place.left() if name.startswith("mở")] == []
    assert place.balance.seen == 6
    subprocess.run(["chattr", "-a", place.hot / "đóng"], check=True)
    place.until(lambda report: not report.stuck)


@AS_ROOT
def test_a_disk_that_comes_and_goes_below_a_hot_folder_withdraws_nothing_for_good(
    place: Place,
) -> None:
    """What was seen before it was mounted comes back with its bytes when it is gone."""
    under = place.hot / "đĩa"
    place.drop("đĩa/a.pdf", paper("dưới"))
    place.sweep()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "none", under], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        place.drop("đĩa/b.pdf", paper("trên"))
        place.until(lambda _: len(place.documents()) == 1)
    finally:
        subprocess.run(["umount", under], check=True)
    place.until(lambda _: len(place.documents()) == 2)
    kept = {place.custody(document) for document in place.documents()}
    assert kept == {paper("trên"), paper("dưới")}
    place.until(lambda _: not place.left())


# Types ----------------------------------------------------------------------------------------


def zipped(*names: str) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "x" * 100)
    return out.getvalue()


JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xda" + b"x" * 100 + b"\xff\xd9"
TIFF = b"II*\0\x08\0\0\0\0\0"
GIF = b"GIF89a\1\0\1\0\0\0\0;"

POLYGLOTS: dict[str, tuple[bytes, str]] = {
    "a ZIP behind a PDF": (paper("một") + zipped("x.docm") + b"\nstartxref\n9\n%%EOF\n", "pdf"),
    "a PDF behind a ZIP": (zipped("x.docm") + paper("một"), "zip"),
    "a PDF in a picture": (JPEG[:-2] + paper("một") + b"\xff\xd9", "jpg"),
    "a PDF behind a picture": (JPEG + paper("một"), "jpg"),
    "a PDF behind a GIF": (GIF + paper("một"), "gif"),
    "a program that is a PDF": (b"MZ" + b"\0" * 60 + paper("một"), "pdf"),
    "a page that is a PDF": (b"<html><script>x</script>" + paper("một"), "pdf"),
    "a script that is a PDF": (b"#!/bin/sh\nexit 0\n" + paper("một"), "pdf"),
    "a picture in a PDF's name": (TIFF + paper("một"), "tif"),
}


@pytest.mark.parametrize("what", POLYGLOTS)
@pytest.mark.parametrize("accept", ["pdf", "jpeg"])
def test_a_file_of_two_types_is_of_one_for_everybody(place: Place, what: str, accept: str) -> None:
    """What `accept` judged is what the document is called and stored as: no stage is given a type
    that the hot folder does not accept.
    """
    place.configure(accept=f'["{accept}"]', deadline="40 ms")
    place.new_desk()
    content, kind = POLYGLOTS[what]
    place.drop("scan.bin", content)
    place.until(lambda _: all(a.state is not ArrivalState.SEEN for a in place.arrivals()), 20)
    [arrival] = place.arrivals()
    word = {"jpg": "jpeg", "tif": "tiff"}.get(kind, kind)
    if word == accept:
        [document] = place.documents()
        [original] = place.catalog.originals(document.id)
        assert original.name.endswith(f".{kind}")
        assert original.media_type == document.media_type
        assert word in document.media_type
    else:
        assert (arrival.state, arrival.code) == (ArrivalState.HELD, "type-not-accepted")
        assert place.documents() == []


# Size -----------------------------------------------------------------------------------------


def test_a_file_that_says_it_is_larger_than_any_disk_is_held_and_not_read(place: Place) -> None:
    path = place.drop("a.pdf", b"%PDF-1.7\n")
    place.destroyed(path)
    os.truncate(path, 1 << 42)
    place.until(lambda _: place.balance.held == 1)
    [arrival] = place.arrivals()
    assert arrival.code == "too-large"
    path.unlink()
    place.quiet()
