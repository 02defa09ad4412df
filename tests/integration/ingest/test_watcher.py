"""Settling, rules, the scan and the watcher: the small parts a desk is made of."""

from __future__ import annotations

import itertools
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from archived.ingest import scanner as scanning
from archived.ingest.ignore_rules import RULES, rule_for
from archived.ingest.mounts import mount_of
from archived.ingest.scanner import FolderOffline, StatSample, has_settled, scan, unchanged_since
from archived.ingest.watcher import Watcher, choose_mode, has_writer, wants_polling
from archived.storage import tree

FILE = stat.S_IFREG | 0o644

# Settling -----------------------------------------------------------------------------------------


def sighting(at: float, **changed: int) -> StatSample:
    facts = {"device": 1, "inode": 2, "size": 3, "mtime_ns": 4, "ctime_ns": 5, **changed}
    return StatSample(at=at, **facts)


def test_a_file_settles_after_looking_the_same_for_the_quiet_time():
    first = unchanged_since(None, sighting(10.0))
    assert not has_settled(first, sighting(14.9), 5)
    assert has_settled(first, sighting(15.0), 5)


@pytest.mark.parametrize("what", ["device", "inode", "size", "mtime_ns", "ctime_ns"])
def test_any_change_starts_the_quiet_time_afresh(what):
    first = unchanged_since(None, sighting(10.0))
    changed = sighting(14.0, **{what: 99})
    assert unchanged_since(first, changed) is changed
    assert not has_settled(first, sighting(20.0, **{what: 99}), 5)


def test_a_time_in_the_past_or_a_clock_set_back_is_no_matter():
    old = sighting(10.0, mtime_ns=-1)
    assert has_settled(old, sighting(15.0, mtime_ns=-1), 5)


# Rules --------------------------------------------------------------------------------------------

TABLE = [
    ("scan.pdf", FILE, None),
    ("a/b/c/scan.pdf", FILE, None),
    ("no suffix", FILE, None),
    (".hidden", FILE, "hidden"),
    (".in.scan.pdf.", FILE, "hidden"),
    (".davfs.tmp123456", FILE, "hidden"),
    (".hidden/scan.pdf", FILE, "hidden"),
    ("scan.pdf.part", FILE, "temporary-name"),
    ("scan.PDF.TMP", FILE, "temporary-name"),
    ("scan.temp", FILE, "temporary-name"),
    ("scan.partial", FILE, "temporary-name"),
    ("scan.filepart", FILE, "temporary-name"),
    ("scan.crdownload", FILE, "temporary-name"),
    ("scan.download", FILE, "temporary-name"),
    ("scan.swp", FILE, "temporary-name"),
    ("scan.swx", FILE, "temporary-name"),
    ("scan.pdf.writing", FILE, "temporary-name"),
    ("report~", FILE, "temporary-name"),
    ("~$report.docx", FILE, "temporary-name"),
    ("~WRL0001.tmp", FILE, "temporary-name"),
    ("two\nlines.part", FILE, "temporary-name"),
    ("tmp", FILE, None),
    ("party.pdf", FILE, None),
    ("~note.pdf", FILE, None),
    ("folder.tmp/scan.pdf", FILE, None),
    ("Thumbs.db", FILE, "system-file"),
    ("a/THUMBS.DB", FILE, "system-file"),
    ("desktop.ini", FILE, "system-file"),
    ("._scan.pdf", FILE, "system-file"),
    ("@eaDir/scan.pdf/thumb.jpg", FILE, "system-file"),
    ("#recycle/scan.pdf", FILE, "system-file"),
    ("$RECYCLE.BIN/x", FILE, "system-file"),
    ("System Volume Information/x", FILE, "system-file"),
    ("lost+found/x", FILE, "system-file"),
    ("__MACOSX/scan.pdf", FILE, "system-file"),
    ("Icon\r", FILE, "system-file"),
    ("_archived/held.txt", FILE, "own-folder"),
    ("_archived", FILE, "own-folder"),
    ("sub/_archived/scan.pdf", FILE, None),
    ("link.pdf", stat.S_IFLNK | 0o777, "symlink"),
    ("pipe.pdf", stat.S_IFIFO | 0o644, "not-a-file"),
    ("socket.pdf", stat.S_IFSOCK | 0o644, "not-a-file"),
    ("disk", stat.S_IFBLK | 0o600, "not-a-file"),
    ("tty", stat.S_IFCHR | 0o600, "not-a-file"),
    ("job.xml", FILE, "pattern"),
    ("in/job.xml", FILE, "pattern"),
    ("test/a.pdf", FILE, "pattern"),
    ("nha\u0301p-1.pdf", FILE, "pattern"),
    ("JOB.XML", FILE, None),
]


@pytest.mark.parametrize(("path", "mode", "rule"), TABLE)
def test_the_rules(path, mode, rule):
    found = rule_for(path.encode(), mode, ("*.xml", "test/*", "nháp-*"))
    assert found == rule
    assert found is None or found in RULES


def test_the_table_above_knows_every_rule_a_name_can_have():
    assert {rule for _, _, rule in TABLE} == {None, *RULES} - {"withdrawn", "mark-alone"}


@pytest.mark.parametrize(
    ("ignore", "left", "taken"),
    [
        (["*.xml", "!job.xml"], ["a.xml", "in/b.xml"], ["job.xml", "in/job.xml", "a.pdf"]),
        (["*", "!*.pdf"], ["a.txt", "in/b"], ["a.pdf", "in/deep/b.pdf"]),
        (["/top.pdf"], ["top.pdf"], ["in/top.pdf"]),
        (["nh\u00e1p/"], ["nha\u0301p/a.pdf", "in/nh\u00e1p/b.pdf"], ["nh\u00e1p"]),
        (["in/**/draft-?.pdf"], ["in/a/b/draft-1.pdf", "in/draft-2.pdf"], ["draft-1.pdf"]),
        (["drafts/", "!drafts/keep.pdf"], ["drafts/a.pdf"], ["drafts/keep.pdf"]),
        (["page[0-9].tif"], ["page7.tif"], ["page.tif", "page77.tif"]),
    ],
)
def test_patterns_speak_the_language_of_gitignore(ignore, left, taken):
    assert [rule_for(name.encode(), FILE, ignore) for name in left] == ["pattern"] * len(left)
    assert [rule_for(name.encode(), FILE, ignore) for name in taken] == [None] * len(taken)


def test_bytes_that_are_no_text_are_compared_as_they_are():
    assert rule_for(b"\xff\xfe.xml", FILE, ("*.xml",)) == "pattern"
    assert rule_for(b"\xff\xfe.pdf", FILE, ("*.xml",)) is None


# The scan -----------------------------------------------------------------------------------------


def names(root: Path, *, recursive: bool = True) -> list[bytes]:
    return [seen.path for seen in scan(root, recursive=recursive)]


def test_the_scan_gives_names_as_bytes_sorted_and_no_folders(tmp_path: Path):
    root = os.fsencode(tmp_path)
    for name in (b"b", b"\xff\xfe", b"a\nb", b"sub/x", b"sub/sub/y"):
        path = Path(os.fsdecode(root + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert names(tmp_path) == [b"a\nb", b"b", b"sub/sub/y", b"sub/x", b"\xff\xfe"]
    assert names(tmp_path, recursive=False) == [b"a\nb", b"b", b"\xff\xfe"]


def test_the_scan_follows_no_link_and_opens_no_pipe(tmp_path: Path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "nowhere").symlink_to("/nowhere")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        found = {seen.path: stat.S_IFMT(seen.mode) for seen in scan(tmp_path)}
    assert found == {
        b"sub/loop": stat.S_IFLNK,
        b"nowhere": stat.S_IFLNK,
        b"pipe": stat.S_IFIFO,
        b"socket": stat.S_IFSOCK,
    }


def test_folders_beyond_the_deepest_are_reported_and_not_entered(tmp_path: Path):
    deep = tmp_path.joinpath(*(["d"] * (scanning.DEEPEST + 3)))
    deep.mkdir(parents=True)
    (deep / "lost.pdf").touch()
    (deep.parents[2] / "found.pdf").touch()
    [closed, found] = scan(tmp_path)
    assert found.path.endswith(b"/found.pdf")
    assert not found.closed
    assert closed.path == b"/".join([b"d"] * (scanning.DEEPEST + 1))
    assert "deep" in closed.closed


def test_a_path_longer_than_the_kernel_takes_is_closed_not_offline(tmp_path: Path):
    here = os.open(tmp_path, os.O_RDONLY)
    opened = [here]
    try:
        for _ in range(20):
            os.mkdir("n" * 250, dir_fd=here)
            here = os.open("n" * 250, os.O_RDONLY, dir_fd=here)
            opened.append(here)
        (tmp_path / "z.pdf").touch()
        closed, file = scan(tmp_path)
        assert "too long" in closed.closed
        assert file.path == b"z.pdf"
    finally:
        for fd in opened:
            os.close(fd)
        subprocess.run(["rm", "-rf", str(tmp_path / ("n" * 250))], check=True)


def test_a_sub_folder_that_vanishes_while_we_walk_is_passed_over(tmp_path: Path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scan.pdf").touch()
    walk = scan(tmp_path)
    assert next(walk).path == b"a/scan.pdf"
    (tmp_path / "b" / "scan.pdf").unlink()
    (tmp_path / "b").rmdir()
    assert [seen.path for seen in walk] == [b"c/scan.pdf"]


def test_a_link_in_place_of_a_folder_leads_nobody_elsewhere_while_we_walk(tmp_path: Path):
    hot, elsewhere = tmp_path / "hot", tmp_path / "elsewhere"
    for name in ("hot/sub/a", "hot/sub/inner/b", "elsewhere/inner/key"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = []
    for seen in scan(hot):
        found.append(seen.path)
        if seen.path == b"sub/a":
            (hot / "sub").rename(hot / "was")
            (hot / "sub").symlink_to(elsewhere)
    assert found == [b"sub/a", b"sub/inner/b"]


def test_a_folder_that_is_not_there_or_none_is_offline(tmp_path: Path):
    with pytest.raises(FolderOffline, match="No such file"):
        list(scan(tmp_path / "nothing"))
    (tmp_path / "file").touch()
    with pytest.raises(FolderOffline, match="Not a directory"):
        list(scan(tmp_path / "file"))


# The watcher --------------------------------------------------------------------------------------

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
23 22 0:21 / /proc rw,nosuid shared:12 - proc proc rw
40 22 0:35 / /srv rw - tmpfs tmpfs rw
41 40 0:36 / /srv/scans rw,relatime - cifs //nas/scans rw,vers=3.1.1
42 40 0:37 / /srv/with\040blank rw - nfs4 nas:/x rw
43 40 0:38 / /srv/quét rw shared:3 master:1 - fuse.sshfs a@b:/ rw
44 41 254:1 / /srv/scans/local rw - xfs /dev/vdb1 rw
45 41 254:1 / /srv/scans/local rw - btrfs /dev/vdc1 rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind", "polling"),
    [
        ("/home/x", "ext4", False),
        ("/srv/other", "tmpfs", False),
        ("/srv/scans", "cifs", True),
        ("/srv/scans/a/b", "cifs", True),
        ("/srv/scans2", "tmpfs", False),
        ("/srv/with blank/a", "nfs4", True),
        ("/srv/quét/phòng", "fuse.sshfs", True),
        ("/srv/scans/local/a", "btrfs", False),
    ],
)
def test_the_mount_decides_whether_events_can_be_trusted(path, kind, polling):
    assert mount_of(Path(path), MOUNTS).kind == kind
    assert wants_polling(kind) is polling


def test_this_machines_own_mounts_are_understood(tmp_path: Path):
    assert mount_of(Path("/proc/self")).kind == "proc"
    assert mount_of(tmp_path).kind != "unknown"
    assert choose_mode(tmp_path, "polling") == "polling"
    assert choose_mode(tmp_path, "events") == "events"
    assert choose_mode(Path("/proc"), "auto") == "events"


def test_a_change_anywhere_below_gives_a_hint(tmp_path: Path):
    hinted = threading.Event()
    watcher = Watcher(tmp_path, hinted.set)
    watcher.start()
    try:
        changes = [
            lambda: (tmp_path / "a.pdf").write_bytes(b"1"),
            lambda: (tmp_path / "a.pdf").rename(tmp_path / "b.pdf"),
            (tmp_path / "sub").mkdir,
            lambda: (tmp_path / "sub" / "c.pdf").write_bytes(b"1"),
            (tmp_path / "b.pdf").unlink,
        ]
        for number, change in enumerate(changes):
            hinted.clear()
            change()
            assert hinted.wait(60), f"change {number} gave no hint"
        assert watcher.alive()
    finally:
        watcher.stop()
    assert not watcher.alive()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_tree_deeper_than_python_recurses_takes_no_folder_its_events(tmp_path: Path, when: str):
    """Whoever may make folders in one hot folder could else end the events of all of them."""
    folders = [tmp_path / name for name in ("deep", "beside")]
    for folder in folders:
        folder.mkdir()
    here = os.open(folders[0], os.O_RDONLY | os.O_DIRECTORY)

    def deepen(above: int) -> None:
        for _ in range(1800):
            os.mkdir("d", dir_fd=above)
            inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=above)
            os.close(above)
            above = inner
        os.close(above)

    hinted = [threading.Event() for _ in folders]
    watchers = [Watcher(f, h.set) for f, h in zip(folders, hinted, strict=True)]
    try:
        if when == "before":
            deepen(here)
        [watcher.start() for watcher in watchers]
        if when == "after":
            (folders[0] / "new").mkdir()
            os.close(here)
            deepen(os.open(folders[0] / "new", os.O_RDONLY | os.O_DIRECTORY))
        for number in range(3):
            for folder, hint in zip(folders, hinted, strict=True):
                hint.clear()
                (folder / f"{number}.pdf").touch()
                assert hint.wait(60), f"{folder.name}, file {number}"
        assert [watcher.alive() for watcher in watchers] == [True, True]
    finally:
        for watcher in watchers:
            watcher.stop()
        tree.remove(folders[0], seconds=60)


def test_a_watcher_that_cannot_start_says_so_and_can_be_stopped(tmp_path: Path):
    watcher = Watcher(tmp_path / "nothing", lambda: None)
    with pytest.raises(OSError, match="No such file"):
        watcher.start()
    watcher.stop()


WRITER = """
import sys
with open(sys.argv[1], "ab") as file:
    print("open", flush=True)
    sys.stdin.readline()
print("closed", flush=True)
sys.stdin.readline()
"""


def test_a_writer_in_another_process_is_noticed_until_it_lets_go(tmp_path: Path):
    path = tmp_path / "scan.pdf"
    path.touch()
    assert has_writer(path) is False
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        for said, expected in (("open", True), ("closed", False)):
            assert writer.stdout.readline().strip() == said
            assert has_writer(path) is expected
            writer.stdin.write("\n")
            writer.stdin.flush()
    with path.open("rb"):
        assert has_writer(path) is False, "a reader is no writer"


def test_where_the_kernel_cannot_tell_nothing_is_claimed(tmp_path: Path):
    assert has_writer(tmp_path / "nothing") is None
    os.mkfifo(tmp_path / "pipe")
    assert has_writer(tmp_path / "pipe") is None
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    assert has_writer(tmp_path / "link") is None


def test_every_pair_of_sightings_that_differs_in_one_fact_is_told_apart():
    base = sighting(0.0)
    for a, b in itertools.product(("device", "inode", "size", "mtime_ns", "ctime_ns"), (0, 7)):
        assert base.same_as(sighting(9.0, **{a: b})) is False


def test_a_folder_that_is_away_for_long_uses_up_no_inotify_instance(tmp_path):
    def held() -> int:
        handles = list(Path("/proc/self/fd").iterdir())
        return sum("inotify" in str(h.readlink()) for h in handles if os.path.lexists(h))

    first = Watcher(tmp_path, lambda: None)  # one is for all of this process
    first.start()
    first.stop()
    before = held()
    for _ in range(5):
        with pytest.raises(OSError):
            Watcher(tmp_path / "away", lambda: None).start()

    assert held() == before
    watcher = Watcher(tmp_path, lambda: None)
    watcher.start()
    assert watcher.alive()
    watcher.stop()
    assert held() == before
