"""Trees that a hostile process leaves are walked and removed, whatever their shape."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archived.storage import atomic, tree
from archived.storage.uncleared import Uncleared

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(autouse=True)
def cleared(tmp_path: Path) -> Iterator[None]:
    """Nothing is left that pytest's own cleaning breaks on."""
    yield
    for left in tmp_path.iterdir():
        subprocess.run(["rm", "-rf", "--", left], check=True)


def deep(root: Path, depth: int, name: str, *, mode: int = 0o755) -> None:
    """Folders in each other, with a file in each; made as no path could name them."""
    root.mkdir()
    handle = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        os.mkdir(name, dir_fd=handle)
        above, handle = handle, os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(above)
        if mode != 0o755:
            os.fchmod(handle, 0o700)
    os.close(handle)


@contextmanager
def few_descriptors() -> Iterator[None]:
    """At most 48 more than are open now."""
    now = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - of this process
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 48, now[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, now)


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - of this process


@pytest.mark.parametrize(("depth", "name"), [(3000, "d"), (60, "n" * 255), (200, "ữ" * 85)])
def test_a_deep_tree_is_removed_with_few_descriptors(tmp_path: Path, depth: int, name: str) -> None:
    deep(tmp_path / "tree", depth, name)
    before = handles()
    with few_descriptors():
        atomic.remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert handles() == before


def test_a_deep_tree_is_walked_with_few_descriptors_and_made_durable(tmp_path: Path) -> None:
    deep(tmp_path / "tree", 1500, "d" * 20)
    deep(tmp_path / "long", 40, "n" * 255)
    with few_descriptors():
        found = [(each.kind, len(each.above)) for each in tree.walk(tmp_path / "tree")]
        atomic.fsync_tree(tmp_path / "long")
    assert len(found) == 3000
    assert found[0] == (tree.EntryKind.FOLDER, 1499), "each folder comes after what it holds"
    assert found[-2:] == [(tree.EntryKind.FOLDER, 0), (tree.EntryKind.FILE, 0)]


def test_a_folder_that_is_moved_while_it_is_walked_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "tree/a/b").mkdir(parents=True)
    (tmp_path / "tree/a/b/file").touch()
    (tmp_path / "elsewhere").mkdir()
    walk = tree.walk(tmp_path / "tree")
    assert next(walk).name == "file"
    (tmp_path / "tree/a/b").rename(tmp_path / "elsewhere/b")
    with pytest.raises(OSError) as caught:
        list(walk)
    assert caught.value.errno == errno.ESTALE


def test_every_kind_of_entry_and_every_name_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "folder/kept").touch()
    for name in (b"\xff\xfe\n\x1b[2J", b" ", b"-rf", b"*", b"n" * 255, "é".encode(), b"\xc3"):
        (root / os.fsdecode(name)).mkdir()
        os.close(os.open(os.fsencode(root) + b"/" + name + b"/\x80"[:2], os.O_CREAT))
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket"))
    (root / "link").symlink_to(outside / "folder")
    (root / "loop").symlink_to(".")
    (root / "dangling").symlink_to("nowhere")
    os.link(outside / "folder/kept", root / "hardlink")
    if os.geteuid() == 0:
        os.mknod(root / "device", 0o20666, os.makedev(1, 5))
    atomic.remove_tree(root)
    assert not root.exists()
    assert (outside / "folder/kept").exists()


def test_folders_of_any_mode_are_removed_by_their_owner(tmp_path: Path) -> None:
    """As an ordinary user: root needs no mode."""
    script = """
import os, sys
from pathlib import Path
root = Path(sys.argv[1]) / "tree"
(root / "a/b/c").mkdir(parents=True)
for depth in ("a/b/c", "a/b", "a", "."):
    (root / depth / "file").touch()
    (root / depth / "full").mkdir()
    (root / depth / "full/file").touch()
    (root / depth / "full").chmod(0)
    (root / depth / "file").chmod(0)
deep = [root / "deep"]
while len(deep) < 24:  # deeper than folders are kept open: they are moved up
    deep.append(deep[-1] / "d")
deep[-1].mkdir(parents=True)
for folder in reversed(deep):
    (folder / "file").touch()
    folder.chmod(0o500)
for depth, mode in (("a/b/c", 0), ("a/b", 0o100), ("a", 0o400), (".", 0o500)):
    (root / depth).chmod(mode)
from archived.storage import atomic
atomic.remove_tree(root)
assert not root.exists()
"""
    tmp_path.chmod(0o777)
    for above in tmp_path.parents:
        if os.geteuid() == 0 and above.stat().st_uid == 0 and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o011)
    user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, **user)  # type: ignore[call-overload]


def test_a_folder_of_many_entries_needs_no_memory_for_them(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(4_000):
        (root / f"folder-with-a-long-name-{number:0100}").mkdir()
    for number in range(0, 4_000, 3):
        (root / f"folder-with-a-long-name-{number:0100}/file").touch()
    tracemalloc.start()
    try:
        tree.remove(root)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not root.exists()
    assert most < 400_000, "the names alone are 500,000 bytes"


@AS_ROOT
def test_what_is_mounted_in_a_tree_is_not_emptied(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "kept").touch()
    mounted = tmp_path / "tree/a/b"
    mounted.mkdir(parents=True)
    (tmp_path / "tree/a/file").touch()
    done = subprocess.run(["mount", "--bind", precious, mounted], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this machine lets nothing be mounted")
    try:
        for root in (tmp_path / "tree", mounted):
            with pytest.raises(OSError) as caught:
                tree.remove(root)
            assert caught.value.errno == errno.EBUSY
    finally:
        subprocess.run(["umount", mounted], check=True)
    assert (precious / "kept").exists()
    assert not (tmp_path / "tree/a/file").exists(), "all else is gone"


def test_a_tree_is_given_up_when_its_time_is_over_and_set_aside(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    place = Uncleared(tmp_path / "uncleared", lambda name, why: told.append((name, why)))
    deep(tmp_path / "tree", 50, "d")
    assert not place.clear(tmp_path / "tree", seconds=0.0)
    assert not (tmp_path / "tree").exists(), "its name is free"
    assert [name.partition(".")[0] for name in place.names()] == ["tree"]
    [(name, why)] = told
    assert name == "tree"
    assert "Errno" not in why, "it is for people"
    assert len(place.try_again()) == 1
    assert place.names() == []


@AS_ROOT
def test_what_cannot_be_removed_is_set_aside_and_tried_again(tmp_path: Path) -> None:
    tree_ = tmp_path / "work/step"
    (tree_ / "a").mkdir(parents=True)
    (tree_ / "a/immutable").touch()
    (tree_ / "other").touch()
    if subprocess.run(
        ["chattr", "+i", tree_ / "a/immutable"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this file system knows no immutable files")
    place = Uncleared(tmp_path / "uncleared")
    try:
        assert not place.clear(tree_)
        [name] = place.names()
        assert not tree_.exists()
        assert [p.name for p in (tmp_path / "uncleared" / name).iterdir()] == ["a"]
        assert place.try_again() == []
    finally:
        for file in tmp_path.glob("*/*/a/immutable"):
            subprocess.run(["chattr", "-i", file], check=True)
    assert place.try_again() == [name]


@AS_ROOT
def test_what_cannot_even_be_renamed_is_known_and_stops_nothing(tmp_path: Path) -> None:
    tree_ = tmp_path / "work/step"
    tree_.mkdir(parents=True)
    (tree_ / "file").touch()
    if subprocess.run(["chattr", "+i", tree_], capture_output=True, check=False).returncode:
        pytest.skip("this file system knows no immutable files")
    place = Uncleared(tmp_path / "uncleared")
    try:
        assert not place.clear(tree_)
        assert place.names() == ["step"]
    finally:
        subprocess.run(["chattr", "-i", tree_], check=True)
    assert place.try_again() == ["step"]
    assert place.names() == []


@AS_ROOT
def test_more_folders_than_are_remembered_that_cannot_be_removed_are_given_up_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_AT_ONCE", 3)
    root = tmp_path / "tree"
    stays = [root / f"{name}/immutable" for name in "abcde"]
    for file in stays:
        file.parent.mkdir(parents=True)
        file.touch()
    for number in range(8):
        (root / f"empty {number}").mkdir()
    if subprocess.run(["chattr", "+i", *stays], capture_output=True, check=False).returncode:
        pytest.skip("this file system knows no immutable files")
    try:
        with pytest.raises(OSError) as caught:
            tree.remove(root, seconds=60)
        assert caught.value.errno == errno.EPERM, "why something is left, and not what is"
        assert all(file.exists() for file in stays)
    finally:
        subprocess.run(["chattr", "-i", *stays], check=True)
    tree.remove(root)
    assert not root.exists()


def test_a_temporary_folder_is_gone_afterwards_whatever_happened_in_it(tmp_path: Path) -> None:
    with tree.temporary("look-", tmp_path) as made:
        (made / "a/b").mkdir(parents=True)
        (made / "a/b").chmod(0)
        assert (made.parent, made.name.startswith("look-")) == (tmp_path, True)
    with pytest.raises(ZeroDivisionError), tree.temporary("look-", tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_is_removed_itself_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/kept").touch()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        tree.remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder/kept").exists()
    with pytest.raises(FileNotFoundError):
        tree.remove(tmp_path / "file")


def test_a_walk_keeps_nothing_open_when_it_ends_nor_when_it_is_given_up(tmp_path: Path) -> None:
    deep(tmp_path / "tree", 5, "d")
    before = handles()
    list(tree.walk(tmp_path / "tree"))
    walk = tree.walk(tmp_path / "tree")
    next(walk)
    walk.close()  # type: ignore[attr-defined]
    assert handles() == before


def test_a_link_is_neither_a_file_nor_a_folder_whatever_it_leads_to(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "folder").mkdir(parents=True)
    (root / "file").touch()
    (root / "to a folder").symlink_to("folder")
    (root / "to a file").symlink_to("file")
    os.mkfifo(root / "pipe")
    kinds = {entry.name: entry.kind for entry in tree.walk(root)}
    assert kinds.pop("folder") is tree.EntryKind.FOLDER
    assert kinds.pop("file") is tree.EntryKind.FILE
    assert set(kinds.values()) == {tree.EntryKind.OTHER}
    assert len(kinds) == 3
