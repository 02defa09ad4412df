"""A durable write has happened, or it has not: there is nothing in between."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from pathlib import Path

import pytest

from archived.storage import atomic
from tests.fault.storage.power import cut

BIG = os.urandom(3 * 1024 * 1024 + 17)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def without_scratch(folder: Path) -> set[str]:
    return {name for name in names(folder) if not name.startswith(atomic.SCRATCH_PREFIX)}


def test_a_replaced_file_is_the_old_or_the_new_one_at_every_point(tmp_path):
    path = tmp_path / "file"
    seen = set()
    for calls in itertools.count():
        path.write_bytes(b"old")
        if not cut(lambda: atomic.write_file(path, [b"ne", b"w"]), calls):
            break
        seen.add(path.read_bytes())
    assert seen == {b"old", b"new"}
    assert path.read_bytes() == b"new"


def test_a_copied_file_has_its_name_only_when_it_is_whole(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(BIG)
    for calls in itertools.count():
        folder = tmp_path / str(calls)
        folder.mkdir()
        finished = not cut(lambda f=folder: atomic.copy_durably(source, f / "copy"), calls)
        if without_scratch(folder):
            assert (folder / "copy").read_bytes() == BIG
        if finished:
            break
    assert names(folder) == {"copy"}


def test_a_published_folder_is_whole_or_absent(tmp_path):
    for calls in itertools.count():
        root = tmp_path / str(calls)
        staged = root / "staged"
        (staged / "a/b").mkdir(parents=True)
        final = root / "x/y/final"

        def publish(staged=staged, final=final):
            atomic.copy_file(BIG, staged / "a/b/one")
            atomic.copy_file(b"two", staged / "two")
            atomic.publish_folder(staged, final)

        finished = not cut(publish, calls)
        if final.exists():
            assert (final / "a/b/one").read_bytes() == BIG
            assert (final / "two").read_bytes() == b"two"
            assert not staged.exists()
        if finished:
            break
    assert final.exists()


def test_a_moved_file_has_one_name_at_every_point(tmp_path):
    for calls in itertools.count():
        old, new = tmp_path / f"{calls}/old", tmp_path / f"{calls}/new"
        old.mkdir(parents=True)
        new.mkdir()
        (old / "f").write_bytes(b"x")
        finished = not cut(lambda o=old, n=new: atomic.move_file(o / "f", n / "g"), calls)
        assert sorted(names(old)) + sorted(names(new)) in (["f"], ["g"])
        if finished:
            break


def test_nothing_that_exists_is_replaced_unasked(tmp_path):
    there, other = tmp_path / "there", tmp_path / "other"
    there.write_bytes(b"old")
    other.write_bytes(b"new")
    for attempt in (
        lambda: atomic.write_file(there, b"new", replace=False),
        lambda: atomic.copy_durably(other, there),
        lambda: atomic.move_file(other, there),
        lambda: atomic.gather(other, there),
        lambda: atomic._rename_without_renameat2(other, there),
    ):
        with pytest.raises(FileExistsError):
            attempt()
        assert (there.read_bytes(), other.read_bytes()) == (b"old", b"new")
        assert without_scratch(tmp_path) == names(tmp_path), "scratch was left"
    staged, empty = tmp_path / "staged", tmp_path / "empty"
    for folder in (staged, empty):
        folder.mkdir()
    for attempt in (
        lambda: atomic.publish_folder(staged, empty),
        lambda: atomic._rename_without_renameat2(staged, empty),
    ):
        with pytest.raises(FileExistsError):
            attempt()
    assert staged.exists()


def test_old_file_systems_get_the_same_moves(tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    atomic._rename_without_renameat2(tmp_path / "f", tmp_path / "g")
    (tmp_path / "folder").mkdir()
    atomic._rename_without_renameat2(tmp_path / "folder", tmp_path / "moved")
    assert names(tmp_path) == {"g", "moved"}


def test_digests_are_of_what_was_written(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(BIG)
    copied = atomic.copy_durably(source, tmp_path / "copy")
    assert copied.size == len(BIG)
    assert copied.sha256 == hashlib.sha256(BIG).hexdigest()
    assert copied.sha512 == hashlib.sha512(BIG).hexdigest()
    assert copied == atomic.digest(tmp_path / "copy") == atomic.copy_file(BIG, tmp_path / "third")
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o444


def test_same_bytes_reads_all_of_both(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(BIG)
    other.write_bytes(BIG)
    assert atomic.same_bytes(one, other)
    other.write_bytes(BIG[:-1] + bytes([BIG[-1] ^ 1]))
    assert not atomic.same_bytes(one, other)
    other.write_bytes(BIG[:-1])
    assert not atomic.same_bytes(one, other)


def test_links_pipes_and_devices_are_not_read(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    for name, number in (("link", errno.ELOOP), ("pipe", errno.EINVAL)):
        with pytest.raises(OSError) as caught:
            atomic.copy_durably(tmp_path / name, tmp_path / "copy")
        assert caught.value.errno == number
        with pytest.raises(OSError):
            atomic.fsync_tree(tmp_path)
    assert names(tmp_path) == {"link", "pipe"}


def test_a_tree_is_removed_read_only_or_not_without_following_links(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"x")
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").write_bytes(b"x")
    (tree / "a/link").symlink_to(outside)
    for path in (tree / "a/b/file", tree / "a/b", tree / "a", tree):
        path.chmod(0o444 if path.is_file() else 0o555)
    atomic.remove_tree(tree)
    atomic.remove_tree(tree)
    assert not tree.exists()
    assert (outside / "kept").exists()


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    def content():
        yield b"half"
        raise OSError(errno.EIO, "the source broke")

    with pytest.raises(OSError, match="the source broke"):
        atomic.write_file(tmp_path / "file", content())
    assert names(tmp_path) == set()
