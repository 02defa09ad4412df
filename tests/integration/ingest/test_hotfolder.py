"""Every file that appears in a hot folder is taken in once, whole, or stands on record."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archived.errors import CatalogBusy, CatalogError
from archived.ingest.admission import StillArriving
from archived.ingest.hotfolder_spec import seconds_before
from archived.ingest.scanner import FolderOffline
from archived.model.lifecycle import State
from archived.storage import atomic
from archived.storage.rows import ArrivalState
from tests.integration.ingest.hand_driven_folder import Place, paper

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount or change users")


def states(place: Place) -> dict[str, tuple[str, str | None]]:
    return {a.name: (str(a.state), a.code) for a in place.arrivals()}


def kinds(place: Place, document: str) -> list[str]:
    return [entry.kind for entry in place.catalog.ledger_of(document)]


def test_a_file_is_taken_in_bit_exact_and_its_source_leaves(place: Place):
    content = place.drop("Tờ trình.pdf").read_bytes()
    [document] = place.quiet()
    assert (document.state, document.name) == (State.ADMITTED, "Tờ trình.pdf")
    assert place.custody(document) == content
    assert place.left() == []
    assert kinds(place, document.id) == ["document-admitted", "source-removed"]
    assert (place.balance.seen, place.balance.in_work) == (1, 1)


def test_a_file_is_on_record_from_the_first_sweep_that_sees_it(place: Place):
    place.drop("one.pdf")
    place.sweep()
    assert states(place) == {"one.pdf": ("seen", None)}


def test_a_growing_file_is_left_alone_until_it_is_whole(place: Place):
    whole = paper("growing")
    path = place.hot / "growing.pdf"
    for end in range(1, len(whole), len(whole) // 6):
        path.write_bytes(whole[:end])
        place.sweep()
        report = place.sweep()
        assert report.arriving == 1, f"{end} bytes of {len(whole)}"
        assert report.admitted == []
    place.drop("growing.pdf", whole)
    [document] = place.quiet()
    assert place.custody(document) == whole
    assert len(place.arrivals()) == 1


def test_a_file_somebody_still_has_open_is_left_alone_although_it_looks_whole(place: Place):
    with (place.hot / "open.pdf").open("wb") as writer:
        writer.write(paper("open"))
        writer.flush()
        for _ in range(3):
            assert place.sweep().admitted == []
    place.drop("open.pdf", paper("open"))
    assert len(place.quiet()) == 1


def test_a_file_replaced_while_it_settles_is_taken_in_as_what_it_is_in_the_end(place: Place):
    place.destroyed(place.drop("a.pdf", paper("first")))
    place.sweep()
    new = place.drop("new.tmp", paper("second"))
    new.replace(place.hot / "a.pdf")
    [document] = place.quiet()
    assert place.custody(document) == paper("second")
    assert [a.state for a in place.arrivals()] == [ArrivalState.ADMITTED]


def test_a_file_that_changes_while_it_is_read_is_not_kept_half(place: Place, monkeypatch):
    path = place.drop("busy.pdf", paper("before"))
    place.destroyed(path)
    written = []

    def change(operation: str, file: Path) -> None:
        if operation == "write" and not written:
            written.append(file)
            path.write_bytes(paper("afterwards, and longer"))

    monkeypatch.setattr(atomic, "fuse", change)
    place.until(lambda report: written)
    assert place.documents() == []
    assert list(place.spool.documents.iterdir()) == []
    place.dropped[atomic.digest(path).sha256] += 1
    [document] = place.quiet()
    assert place.custody(document) == paper("afterwards, and longer")


def test_a_file_that_vanishes_while_it_is_read_leaves_nothing_behind(place: Place, monkeypatch):
    path = place.drop("gone.pdf")
    place.destroyed(path)

    def remove(operation: str, _file: Path) -> None:
        if operation == "write":
            path.unlink(missing_ok=True)

    monkeypatch.setattr(atomic, "fuse", remove)
    assert place.quiet() == []
    assert list(place.spool.documents.iterdir()) == []
    assert states(place) == {"gone.pdf": ("ignored", "withdrawn")}


def test_the_same_name_with_new_content_is_a_new_document(place: Place):
    place.drop("scan0001.pdf", paper("Monday"))
    place.quiet()
    place.drop("scan0001.pdf", paper("Tuesday"))
    first, second = place.quiet()
    assert (place.custody(first), place.custody(second)) == (paper("Monday"), paper("Tuesday"))
    assert place.balance.seen == 2


def test_a_file_dropped_under_the_name_of_one_just_taken_in_is_not_removed(place, monkeypatch):
    path = place.drop("scan.pdf", paper("old"))

    def replace(operation: str, _file: Path) -> None:
        if operation == "rename" and place.documents() and path.exists():
            monkeypatch.setattr(atomic, "fuse", None)
            path.unlink()
            place.drop("scan.pdf", paper("new"))

    monkeypatch.setattr(atomic, "fuse", replace)
    first, second = place.quiet()
    assert (place.custody(first), place.custody(second)) == (paper("old"), paper("new"))


def test_the_same_bytes_twice_are_one_document_with_two_arrivals(place: Place):
    place.drop("a.pdf", paper("same"))
    [first] = place.quiet()
    place.drop("b.pdf", paper("same"))
    [document] = place.quiet()
    assert document.id == first.id
    one, two = place.catalog.arrivals(document=document.id)
    assert (one.code, two.code) == (None, "same-bytes")
    assert "arrival-repeated" in kinds(place, document.id)
    assert place.left() == []
    assert place.balance.seen == 2


def test_nothing_is_deleted_on_the_word_of_a_digest(place: Place):
    """The custody copy rots: the digest on record still matches, the bytes do not."""
    place.drop("a.pdf", paper("same"))
    [first] = place.quiet()
    ours = place.services.find_bytes(first.id)
    good = ours.read_bytes()
    ours.chmod(0o600)
    ours.write_bytes(bytes(len(good)))
    ours.chmod(0o440)
    place.drop("b.pdf", paper("same"))
    documents = place.quiet()
    assert len(documents) == 2, "bytes that cannot be shown to be equal are kept"
    assert place.custody(documents[1]) == paper("same")
    ours.chmod(0o600)
    ours.write_bytes(good)
    ours.chmod(0o440)


def test_a_source_that_differs_from_custody_is_taken_in_again_not_deleted(place, monkeypatch):
    """Rewritten between admission and removal, with size and times put back."""
    path = place.drop("sly.pdf", paper("one"))

    def rewrite(operation: str, _file: Path) -> None:
        if operation == "rename" and place.documents():
            monkeypatch.setattr(atomic, "fuse", None)
            before = path.stat()
            with path.open("r+b") as file:
                file.write(paper("two"))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            place.dropped[atomic.digest(path).sha256] += 1

    monkeypatch.setattr(atomic, "fuse", rewrite)
    first, second = place.quiet()
    assert (place.custody(first), place.custody(second)) == (paper("one"), paper("two"))
    assert place.left() == []


def test_equal_names_in_two_folders_are_two_documents(place: Place):
    place.drop("kho-a/scan0001.pdf", paper("a"))
    place.drop("kho-b/scan0001.pdf", paper("b"))
    documents = place.quiet()
    assert {d.path: place.custody(d) for d in documents} == {
        b"kho-a/scan0001.pdf": paper("a"),
        b"kho-b/scan0001.pdf": paper("b"),
    }


NAMES = {
    "NFD": unicodedata.normalize("NFD", "Quyết định số 12 - Tỉnh ủy.pdf").encode(),
    "invalid UTF-8": b"T\xea-n b\x97ng TCVN3 \xff.pdf",
    "255 bytes": "Quyết định ".encode() * 15 + b"x" * 11 + b".pdf",
    "newline": b"hai\nd\xc3\xb2ng.pdf",
    "leading dash": b"--force.pdf",
    "blank": b" .pdf ",
    "format characters": "a\u202egpj.\u200b.pdf".encode(),
    "quote and percent": b"%s'; DROP TABLE arrival; --\\.pdf",
}


def test_any_name_a_file_system_allows_is_taken_in_as_its_very_bytes(place: Place):
    assert len(NAMES["255 bytes"]) == 255
    for name in NAMES.values():
        place.drop(name, paper(name.hex()))
    documents = place.quiet()
    assert {d.path: place.custody(d) for d in documents} == {
        name: paper(name.hex()) for name in NAMES.values()
    }
    assert place.left() == []
    for document in documents:
        assert document.name.isprintable()
        assert document.name == unicodedata.normalize("NFC", document.name)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.pdf", b"", "arrived-empty"),
        ("half.pdf", paper("half")[:200], "arrived-incomplete"),
        ("reserved.tif", bytes(5000), "arrived-incomplete"),
    ],
)
def test_what_never_becomes_whole_is_held_with_its_bytes(place, name, content, code):
    place.configure(deadline="50 ms")
    place.new_desk()
    place.drop(name, content)
    assert place.sweep().arriving == 1, "not before the deadline"
    [document] = place.quiet()
    assert (document.state, document.code) == (State.HELD, code)
    assert document.reason
    assert document.hint
    assert place.custody(document) == content
    assert place.balance.held == 1
    assert "document-held" in kinds(place, document.id)


def test_the_deadline_counts_on_through_restarts(place: Place):
    place.configure(deadline="2 s")
    place.new_desk()
    place.drop("half.pdf", paper("half")[:-7])
    ends = time.monotonic() + 30
    while not place.documents():
        assert time.monotonic() < ends, "each start began to count anew"
        place.new_desk()
        place.until(lambda swept: [w.code for w in swept.waiting] != ["changes"])
    [document] = place.documents()
    assert (document.state, document.code) == (State.HELD, "arrived-incomplete")


def test_what_changed_since_it_was_seen_first_gets_the_whole_deadline():
    now = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
    minutes = [now - timedelta(minutes=n) for n in range(30)]

    def waited(seen: int, changed: int) -> float:
        return seconds_before(minutes[seen], int(minutes[changed].timestamp() * 1e9), now)

    assert waited(seen=20, changed=25) == 20 * 60
    assert waited(seen=20, changed=1) == 60
    assert seconds_before(now + timedelta(hours=1), 0, now) == 0, "the clock was set back"


def test_a_waiting_file_is_named_with_its_reason(place: Place):
    place.drop("half.pdf", paper("half")[:-7])
    report = place.until(lambda swept: [w for w in swept.waiting if w.code != "changes"])
    [waiting] = report.waiting
    assert (waiting.name, waiting.code) == ("half.pdf", "unfinished")
    assert waiting.since == place.arrivals()[0].first_seen
    assert waiting.why.startswith("its end has not come: ")


def test_a_file_too_large_is_held_where_it_is_and_once(place: Place):
    place.drop("huge.pdf", bytes([37]) * (1 << 20) + b"!")
    place.quiet()
    entries = place.catalog.ledger_head().sequence
    place.quiet()
    assert states(place) == {"huge.pdf": ("held", "too-large")}
    assert place.catalog.ledger_head().sequence == entries, "said once"
    [arrival] = place.arrivals()
    assert "max_file_size" in (arrival.reason or "")
    assert place.left() == ["huge.pdf"]


@pytest.mark.parametrize(
    ("name", "content", "state"),
    [
        ("notes.docx", b"hello\n", ("held", "type-not-accepted")),
        ("odd", b"\x01\x02\x03" * 50, ("held", "type-not-accepted")),
        ("born.docx", paper("its name does not matter"), ("admitted", None)),
        ("scan.pdf", b"text in place of a scan\n", ("admitted", None)),
    ],
)
def test_what_a_file_is_decides_whether_it_comes_in_and_not_its_name(
    place: Place, name, content, state
):
    place.configure(deadline="1 h", accept='["pdf"]')
    place.new_desk()
    place.drop(name, content)
    place.quiet()
    assert states(place) == {name: state}
    assert (place.left() == [name]) == (state[0] == "held")
    codes = [row.code for row in place.documents()]
    # A damaged scan is taken into custody, where a person finds it.
    assert codes == {"scan.pdf": ["content-unrecognised"], "born.docx": [None]}.get(name, [])


def test_a_file_of_another_type_goes_on_once_its_folder_accepts_it(place: Place):
    place.configure(deadline="1 h", accept='["pdf"]')
    place.new_desk()
    place.drop("notes.docx", b"hello\n")
    place.quiet()
    [arrival] = place.arrivals()
    assert "text/plain" in (arrival.reason or "")
    place.configure(deadline="1 h", accept='["pdf", "text"]')
    place.new_desk()
    [document] = place.quiet()
    assert document.name == "notes.docx"


def test_a_held_file_that_is_made_whole_goes_on(place: Place):
    path = place.drop("huge.pdf", bytes([37]) * (1 << 20) + b"!")
    place.quiet()
    place.destroyed(path)
    place.drop("huge.pdf", paper("small now"))
    [document] = place.quiet()
    assert document.state is State.ADMITTED
    assert [a.state for a in place.arrivals()] == [ArrivalState.ADMITTED]


def test_what_is_left_alone_is_on_record_once_with_its_rule(place: Place):
    place.drop("real.pdf")
    for name in (
        ".hidden.pdf",
        "a.pdf.part",
        "Thumbs.db",
        "job.xml",
        "_archived/held.txt",
        ".git/config",
        unicodedata.normalize("NFD", "nháp-1.pdf"),
    ):
        place.drop(name)
    (place.hot / "link.pdf").symlink_to("/etc/hostname")
    (place.hot / "loop").symlink_to(place.hot)
    os.mkfifo(place.hot / "pipe.pdf")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(place.hot)
        server.bind("socket.pdf")
        os.chdir(here)
    for _ in range(3):
        place.quiet()
        place.new_desk()
    assert len(place.documents()) == 1
    assert place.balance.rules == {
        "hidden": 2,
        "temporary-name": 1,
        "system-file": 1,
        "pattern": 2,
        "symlink": 2,
        "not-a-file": 2,
    }
    assert place.balance.seen == 11
    entries = Counter(kind for _, _, _, kind, *_ in place.catalog.ledger_rows())
    assert entries["arrival-ignored"] == 10


def test_a_name_that_becomes_a_link_and_a_file_again_is_judged_anew_each_time(place: Place):
    path = place.drop("scan.pdf", paper("first"))
    place.sweep()
    place.destroyed(path)
    path.unlink()
    path.symlink_to("/etc/hostname")
    place.sweep()
    assert place.balance.rules == {"withdrawn": 1, "symlink": 1}
    path.unlink()
    place.drop("scan.pdf", paper("second"))
    [document] = place.quiet()
    assert place.custody(document) == paper("second")
    assert place.balance.seen == 3


def test_a_temporary_name_given_up_becomes_the_document(place: Place):
    part = place.drop("scan.pdf.part", paper("x"))
    place.quiet()
    part.rename(place.hot / "scan.pdf")
    [document] = place.quiet()
    assert document.name == "scan.pdf"
    assert states(place)["scan.pdf.part"] == ("ignored", "temporary-name")


def test_a_file_taken_away_before_it_was_taken_in_is_withdrawn(place: Place):
    path = place.drop("oops.pdf")
    place.sweep()
    place.destroyed(path)
    path.unlink()
    place.sweep()
    assert states(place) == {"oops.pdf": ("ignored", "withdrawn")}
    place.drop("oops.pdf", paper("again"))
    assert len(place.quiet()) == 1
    assert place.balance.seen == 2


def test_a_new_desk_at_any_moment_keeps_one_arrival_per_file(place: Place):
    for number in range(4):
        place.drop(f"{number}.pdf", paper(str(number)))
        place.drop(f".{number}")
        place.sweep()
        place.new_desk()
    place.drop("huge.pdf", bytes([37]) * (1 << 20) + b"!")
    place.quiet()
    place.new_desk()
    place.quiet()
    assert Counter(a.name for a in place.arrivals()).most_common(1)[0][1] == 1
    assert len(place.documents()) == 4


def test_an_offline_folder_withdraws_nothing(place: Place):
    place.drop("a.pdf")
    place.sweep()
    away = place.hot.rename(place.root / "away")
    for _ in range(3):
        with pytest.raises(FolderOffline):
            place.sweep()
    place.new_desk()
    with pytest.raises(FolderOffline):
        place.sweep()
    away.rename(place.hot)
    assert states(place) == {"a.pdf": ("seen", None)}
    assert len(place.quiet()) == 1


@ROOT_ONLY
def test_an_unmounted_share_is_offline_not_empty(place: Place):
    mount("-t", "tmpfs", "none", place.hot)
    try:
        place.drop("a.pdf", paper("on the share")[:100])
        place.drop("b.pdf", paper("on the share")[:200])
        place.sweep()
        keep = {name: (place.hot / name).read_bytes() for name in place.left()}
    finally:
        umount(place.hot)
    for _ in range(2):
        with pytest.raises(FolderOffline, match="mounted"):
            place.sweep()
        place.new_desk()
    assert {state for state, _ in states(place).values()} == {"seen"}
    for name, content in keep.items():
        (place.hot / name).write_bytes(content)
    place.sweep()
    assert {state for state, _ in states(place).values()} == {"seen"}


@ROOT_ONLY
def test_a_read_only_folder_leaves_sources_stuck_and_imports_them_once(place: Place):
    content = place.drop("stuck.pdf").read_bytes()
    mount("--bind", place.hot, place.hot)
    mount("-o", "remount,ro,bind", place.hot)
    try:
        place.until(lambda report: report.stuck == ["stuck.pdf"])
        told = 0
        for _ in range(4):
            report = place.sweep()
            told += len(report.errors)
            assert report.stuck == ["stuck.pdf"]
            assert report.admitted == []
        assert told == 0, "the same trouble is told once"
        place.new_desk()
        assert place.sweep().stuck == ["stuck.pdf"]
    finally:
        umount(place.hot)
    [document] = place.quiet()
    assert place.custody(document) == content
    assert len(place.arrivals()) == 1
    assert place.left() == []


ROOT = Path(__file__).resolve().parents[3]
AS_NOBODY = """
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
from pathlib import Path
from tests.integration.ingest.hand_driven_folder import Place
place = Place(Path(sys.argv[1]), deadline="50 ms")
place.quiet()
place.new_desk()
report = place.until(lambda report: not report.arriving)
for _ in range(3):
    report = place.sweep()
print(*sorted(f"{a.name}:{a.state}:{a.code}" for a in place.arrivals()), sep=",")
print(*sorted(report.stuck), sep=",")
print(len(place.documents()))
assert all(b.unaccounted == 0 for b in place.catalog.balance())
place.catalog.close()
"""


@ROOT_ONLY
def test_without_rights_files_are_held_or_stuck_never_lost_or_taken_in_twice():
    here = Path(__file__).resolve()
    if not all(folder.stat().st_mode & 0o001 for folder in here.parents):
        pytest.skip(f"another user cannot read this checkout: {here.parent}")
    # Not below pytest's folders: each pytest that starts on this machine closes them to others.
    with tempfile.TemporaryDirectory(prefix="archived-rights-") as base:
        Path(base).chmod(0o711)
        _without_rights(Path(base) / "root")


def _without_rights(root: Path) -> None:
    (root / "hot" / "locked").mkdir(parents=True)
    (root / "hot" / "closed").mkdir()
    os.chown(root, 65534, 65534)
    (root / "hot" / "secret.pdf").write_bytes(paper("secret"))
    (root / "hot" / "secret.pdf").chmod(0)
    (root / "hot" / "locked" / "stuck.pdf").write_bytes(paper("stuck"))
    (root / "hot" / "closed" / "inside.pdf").write_bytes(paper("inside"))
    (root / "hot" / "closed").chmod(0)
    os.chown(root / "hot", 65534, 65534)
    argv = [sys.executable, "-c", AS_NOBODY, str(root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    arrivals, stuck, documents = done.stdout.splitlines()
    assert arrivals.split(",") == [
        "closed:held:folder-closed",
        "locked/stuck.pdf:admitted:None",
        "secret.pdf:held:unreadable",
    ]
    assert stuck == "locked/stuck.pdf"
    assert documents == "1"
    assert (root / "hot" / "secret.pdf").read_bytes() == paper("secret")


def test_a_sub_folder_that_cannot_be_entered_withdraws_nothing(place: Place, monkeypatch):
    """Too deep is closed as well, and root can make that."""
    place.drop("sub/a.pdf")
    place.sweep()
    monkeypatch.setattr("archived.ingest.scanner.DEEPEST", 0)
    place.sweep()
    assert states(place) == {"sub/a.pdf": ("seen", None), "sub": ("held", "folder-closed")}
    monkeypatch.undo()
    place.sweep()
    place.quiet()
    assert states(place) == {"sub/a.pdf": ("admitted", None), "sub": ("ignored", "withdrawn")}
    assert len(place.arrivals()) == 2


def test_without_room_nothing_is_kept_half_and_all_is_taken_in_later(place: Place):
    place.configure(deadline="1 h", keep_free="9000 TiB")
    place.drop("a.pdf")
    place.until(lambda report: report.no_room)
    assert place.documents() == []
    assert list(place.spool.documents.iterdir()) == []
    assert states(place) == {"a.pdf": ("seen", None)}
    place.configure(deadline="1 h")
    assert len(place.quiet()) == 1


@ROOT_ONLY
def test_a_disk_that_fills_up_while_a_file_is_read_keeps_nothing_half(place: Place):
    place.drop("big.pdf", paper("x" * 4000))
    place.drop("small.pdf", paper("y"))
    spool = place.root / "state" / "spool"
    mount("-t", "tmpfs", "-o", "size=64k", "none", spool)
    try:
        place.spool.create()
        report = place.until(lambda report: report.no_room)
        assert report.errors or place.sweep().no_room
        assert list(place.spool.incoming.iterdir()) == []
        assert [d.name for d in place.documents()] in ([], ["small.pdf"])
        mount("-o", "remount,size=10m", spool)
        names = {d.name for d in place.quiet()}
        assert names == {"big.pdf", "small.pdf"}
        place.settle_up()
    finally:
        umount(spool)
    place.settle_up = lambda: None  # type: ignore[method-assign]  # judged while it was mounted


def test_a_locked_catalog_leaves_nothing_in_the_spool_that_nobody_names(place: Place):
    """What the next try takes in must not come back as a second document after a restart."""
    import sqlite3

    place.drop("a.pdf")
    place.sweep()
    with sqlite3.connect(place.catalog.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogBusy):
            place.until(lambda report: report.admitted)
        other.execute("ROLLBACK")
    assert list(place.spool.documents.iterdir()) == []
    place.quiet()
    place.recover()
    [document] = place.documents()
    assert document.name == "a.pdf"


def test_a_catalog_locked_at_any_moment_costs_no_file_and_makes_no_second_arrival(place: Place):
    import sqlite3

    def lock(operation: str, _file: Path) -> None:
        if not other.in_transaction:
            other.execute("BEGIN IMMEDIATE")

    for number in range(3):
        place.drop(f"{number}.pdf", paper(str(number)))
    with sqlite3.connect(place.catalog.path, isolation_level=None) as other:
        for step in range(6):
            place.sweep() if step == 0 else None
            atomic.fuse = lock
            try:
                place.sweep()
            except CatalogBusy:
                pass
            finally:
                atomic.fuse = None
            if other.in_transaction:
                other.execute("ROLLBACK")
    assert len(place.quiet()) == 3
    assert Counter(a.name for a in place.arrivals()) == {f"{n}.pdf": 1 for n in range(3)}
    assert place.recover().adopted == []


def test_an_interrupted_removal_is_finished_by_the_next_sweep(place: Place, monkeypatch):
    place.drop("a.pdf")

    class Cut(BaseException):
        pass

    def cut(operation: str, _file: Path) -> None:
        if operation == "unlink":
            raise Cut

    monkeypatch.setattr(atomic, "fuse", cut)
    with pytest.raises(Cut):
        place.quiet()
    monkeypatch.undo()
    assert [name.startswith(".archived-taken-") for name in place.left()] == [True]
    place.new_desk()
    place.quiet()
    assert place.left() == []
    assert len(place.arrivals()) == 1


def test_a_new_file_caught_in_an_interrupted_removal_gets_its_name_back(place: Place):
    place.drop("sub/a.pdf", paper("old"))
    [document] = place.quiet()
    [arrival] = place.arrivals()
    place.drop(f"sub/.archived-taken-{document.id}.{arrival.id}", paper("new"))
    place.sweep()
    assert place.left() == ["sub/a.pdf"]
    _, second = place.quiet()
    assert place.custody(second) == paper("new")


def test_a_file_that_only_looks_like_an_interrupted_removal_is_on_record(place: Place):
    place.drop(".archived-taken-nobody")
    place.drop(".archived-taken-0192c7b4-1111-7000-8000-000000000001")
    place.quiet()
    assert set(states(place).values()) == {("ignored", "hidden")}
    assert len(place.left()) == 2


def test_a_file_given_back_under_a_name_in_use_gets_one_beside_it(tmp_path: Path):
    from archived.ingest.source_removal import give_back

    name = "x" * 251 + ".pdf"
    for number in range(3):
        taken = tmp_path / "taken"
        taken.write_text(str(number))
        give_back(taken, tmp_path / name)
    found = sorted(tmp_path.iterdir(), key=lambda p: p.read_text())
    assert [p.name[:2] for p in found] == ["xx", "1-", "2-"]
    assert all(p.suffix == ".pdf" for p in found)


def test_still_arriving_is_no_error_of_the_file(place: Place):
    assert not issubclass(StillArriving, OSError)


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def umount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True)


def test_a_catalog_that_fails_right_after_a_commit_makes_no_second_arrival(place: Place):
    """The desk is behind the catalog then: it reads it again rather than record the file twice."""
    import sqlite3

    from sqlalchemy import event

    failed = []

    @event.listens_for(place.catalog._engine, "before_cursor_execute")
    def _fail_once(_connection, _cursor, statement, *_):
        if not failed and "arrival.id = ?" in statement and statement.startswith("SELECT"):
            failed.append(statement)
            raise sqlite3.OperationalError("disk I/O error")

    place.drop("a.pdf")
    with pytest.raises(CatalogError, match="I/O error"):
        place.until(lambda _: False)
    assert failed
    assert len(place.quiet()) == 1
    assert len(place.arrivals()) == 1
