"""Durable writes one by one: their calls in order, their modes, what they read and refuse."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archived.storage import atomic
from tests.fault.storage.other_user import ordinary_user

BIG = os.urandom(2 * 1024 * 1024 + 17)
Calls = list[tuple[str, str]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """What was announced, each with the path below the test's folder; scratch names are cut."""
    seen: Calls = []

    def fuse(operation: str, path: Path) -> None:
        if path.name.startswith(atomic.SCRATCH_PREFIX):
            path = path.with_name("SCRATCH")
        seen.append((operation, os.path.relpath(path, tmp_path)))

    monkeypatch.setattr(atomic, "fuse", fuse)
    return seen


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - of this process
    yield
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - of this process


def test_the_calls_of_a_written_file(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "folder").mkdir()
    atomic.write_file(tmp_path / "folder/file", [b"a", b"b"], scratch=tmp_path / "scratch")
    assert calls == [
        ("write", "scratch/SCRATCH"),
        ("write", "scratch/SCRATCH"),
        ("fsync", "scratch/SCRATCH"),
        ("rename", "folder/file"),
        ("fsync-folder", "folder"),
    ]
    assert (tmp_path / "folder/file").read_bytes() == b"ab"
    assert (tmp_path / "folder/file").stat().st_mode & 0o777 == 0o644
    calls.clear()
    atomic.write_file(tmp_path / "folder/file", b"", mode=0o440)
    assert calls[0] == ("write", "folder/SCRATCH"), "beside the file, where nothing else is said"
    assert (tmp_path / "folder/file").stat().st_mode & 0o777 == 0o440
    assert names(tmp_path / "scratch") == []


def test_the_calls_of_a_copied_and_a_moved_file(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a/file").write_bytes(b"bytes")
    atomic.copy_durably(tmp_path / "a/file", tmp_path / "b/copy")
    assert calls == [
        ("write", "b/SCRATCH"),
        ("fsync", "b/SCRATCH"),
        ("rename", "b/copy"),
        ("fsync-folder", "b"),
    ]
    calls.clear()
    atomic.move_file(tmp_path / "a/file", tmp_path / "b/moved")
    assert calls == [("rename", "b/moved"), ("fsync-folder", "b"), ("fsync-folder", "a")]
    calls.clear()
    atomic.move_file(tmp_path / "b/moved", tmp_path / "b/again")
    assert calls == [("rename", "b/again"), ("fsync-folder", "b")]
    calls.clear()
    atomic.gather(tmp_path / "b/again", tmp_path / "a/gathered")
    assert calls == [("rename", "a/gathered")], "the publishing makes it durable"


def test_the_calls_of_a_published_folder_go_from_the_files_up(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "staged/inner").mkdir(parents=True)
    for name in ("1", "inner/2"):
        (tmp_path / "staged" / name).touch()
    with no_descriptor_left():
        atomic.publish_folder(tmp_path / "staged", tmp_path / "x/y/final")
    assert calls == [
        ("fsync", "staged/1"),
        ("fsync", "staged/inner/2"),
        ("fsync-folder", "staged/inner"),
        ("fsync-folder", "staged"),
        ("fsync-folder", ".."),
        ("mkdir", "x"),
        ("fsync-folder", "."),
        ("mkdir", "x/y"),
        ("fsync-folder", "x"),
        ("rename", "x/y/final"),
        ("fsync-folder", "x/y"),
        ("fsync-folder", "."),
    ]
    assert names(tmp_path / "x/y/final") == ["1", "inner"]


def test_the_calls_of_a_removal(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "tree/a").mkdir(parents=True)
    atomic.remove_file(tmp_path / "file")
    atomic.remove_tree(tmp_path / "tree")
    assert calls == [
        ("unlink", "file"),
        ("fsync-folder", "."),
        ("remove-tree", "tree"),
        ("fsync-folder", "."),
    ]
    calls.clear()
    atomic.remove_tree(tmp_path / "tree")
    assert calls == [], "there is nothing to make durable"
    atomic.remove_file(tmp_path / "file", missing_ok=True)
    with pytest.raises(FileNotFoundError):
        atomic.remove_file(tmp_path / "file")
    assert names(tmp_path) == []


def test_folders_are_made_with_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        atomic.make_folder(tmp_path / "a/b")
        atomic.make_folder(tmp_path / "c", mode=0o700)
        atomic.make_folder(tmp_path / "a", mode=0o700)
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "c")]
    assert modes == [0o755, 0o755, 0o700], "one that is there already is left alone"


def test_a_folder_above_that_may_not_be_read_keeps_none_from_being_made(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "ours").mkdir(parents=True)
    (closed / "ours").chmod(0o777)
    closed.chmod(0o711)
    with ordinary_user(tmp_path):
        atomic.make_folder(closed / "ours/new")
    assert (closed / "ours/new").is_dir()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EXDEV])
def test_a_file_system_that_cannot_refuse_to_replace_is_asked_otherwise(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuses(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic, "rename_noreplace", refuses)
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    if number == errno.EXDEV:
        with pytest.raises(OSError) as caught:
            atomic.move_file(tmp_path / "file", tmp_path / "new")
        assert caught.value.errno == number
        assert names(tmp_path) == ["file", "folder"]
        return
    atomic.move_file(tmp_path / "file", tmp_path / "new")
    assert calls == [("rename", "new"), ("link", "new"), ("unlink", "file"), ("fsync-folder", ".")]
    (tmp_path / "to").symlink_to("new")
    atomic.gather(tmp_path / "to", tmp_path / "link")
    assert (tmp_path / "link").is_symlink(), "what lies there, and not what it leads to"
    atomic.gather(tmp_path / "folder", tmp_path / "moved")
    assert names(tmp_path) == ["link", "moved", "new"]


def test_a_file_is_opened_below_its_folder_by_no_link_and_nothing_else_is(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_bytes(b"inside")
    (root / "top").write_bytes(b"top")
    (tmp_path / "secret").write_bytes(b"outside")
    (root / "link").symlink_to("top")
    (root / "way").symlink_to("a")
    os.mkfifo(root / "pipe")
    with no_descriptor_left():
        for path, content in (("a/b/file", b"inside"), ("top", b"top"), ("./a/b/file", b"inside")):
            with atomic.open_beneath(root, path) as found:
                assert found.file.read() == content
                assert found.path == root / path
        for path, number in (
            ("", errno.EINVAL),
            ("..", errno.EINVAL),
            ("../secret", errno.EINVAL),
            ("a/../../secret", errno.EINVAL),
            (str(tmp_path / "secret"), errno.EINVAL),
            ("link", errno.ELOOP),
            ("way/b/file", errno.ENOTDIR),
            ("top/file", errno.ENOTDIR),
            ("pipe", errno.EINVAL),
            ("a/b", errno.EISDIR),
            ("a/none", errno.ENOENT),
            ("none/file", errno.ENOENT),
        ):
            with pytest.raises(OSError) as caught, atomic.open_beneath(root, path):
                pass
            assert caught.value.errno == number, path
            assert path in str(caught.value.filename), "the error says which"


def test_a_file_that_was_opened_once_is_read_as_it_is_whatever_its_name_leads_to(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_bytes(BIG)
    with atomic.open_beneath(tmp_path, "file") as source:
        (tmp_path / "other").write_bytes(b"other")
        (tmp_path / "other").rename(tmp_path / "file")
        one = atomic.copy_file(source, tmp_path / "one")
        other = atomic.copy_file(source, tmp_path / "two", mode=0o400)
        assert one == other == atomic.copy_file(BIG, tmp_path / "three")
        assert atomic.same_bytes(source, tmp_path / "one")
        assert not atomic.same_bytes(source, tmp_path / "file")
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "two").stat().st_mode & 0o777 == 0o400


def test_what_is_written_to_an_open_file_meanwhile_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with atomic.open_beneath(tmp_path, "file") as source:
        atomic.copy_file(source, tmp_path / "one")
        path.write_bytes(b"after!")
        atomic.copy_file(source, tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == b"after!"


@pytest.mark.parametrize(
    ("longer", "shorter", "begins"),
    [
        (b"abc", b"ab", True),
        (b"abc", b"abc", True),
        (b"abc", b"", True),
        (b"abc", b"abcd", False),
        (b"abc", b"abd", False),
        (b"", b"a", False),
        (BIG, BIG[:-1], True),
        (BIG, BIG[:-2] + b"??", False),
    ],
)
def test_whether_a_file_begins_with_another_is_found_by_reading(
    tmp_path: Path, longer: bytes, shorter: bytes, begins: bool
) -> None:
    (tmp_path / "longer").write_bytes(longer)
    (tmp_path / "shorter").write_bytes(shorter)
    assert atomic.begins_with(tmp_path / "longer", tmp_path / "shorter") is begins


@pytest.mark.parametrize(
    "read",
    [
        atomic.read_bytes,
        atomic.digest,
        atomic.fsync_file,
        lambda path: atomic.same_bytes(path, path),
        lambda path: atomic.begins_with(path, path),
        lambda path: atomic.copy_file(path, path.with_name("copy")),
    ],
)
def test_nothing_but_a_file_is_read_and_the_error_names_it(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with no_descriptor_left():
        for name, number in (
            ("link", errno.ELOOP),
            ("folder", errno.EISDIR),
            ("pipe", errno.EINVAL),
            ("none", errno.ENOENT),
        ):
            with pytest.raises(OSError) as caught:
                read(tmp_path / name)
            assert caught.value.errno == number
            assert str(caught.value.filename) == str(tmp_path / name)
    assert names(tmp_path) == ["file", "folder", "link", "pipe"]


def test_a_source_that_cannot_be_read_is_named_and_no_part_of_it_gets_a_name(
    tmp_path: Path,
) -> None:
    class Broken:
        """As a disk that fails in the middle of a file."""

        def __init__(self) -> None:
            self.pieces = [b"half"]

        def seek(self, *_: int) -> None:
            pass

        def read(self, _size: int) -> bytes:
            if self.pieces:
                return self.pieces.pop()
            raise OSError(errno.EIO, "it fails")

    source = atomic.OpenFile(Broken(), tmp_path / "source")  # type: ignore[arg-type]
    with pytest.raises(OSError) as caught:
        atomic.copy_file(source, tmp_path / "copy")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path / "source"))


def test_what_was_only_half_written_is_cleared_when_it_fails_and_left_when_the_power_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    for error, left in ((OSError, 0), (PowerCut, 1)):

        def fuse(operation: str, _path: Path, error: type[BaseException] = error) -> None:
            if operation == "fsync":
                raise error

        monkeypatch.setattr(atomic, "fuse", fuse)
        with pytest.raises(error):
            atomic.write_file(tmp_path / "file", b"x")
        assert len(names(tmp_path)) == left
    [name] = names(tmp_path)
    assert name.startswith(".archived-"), "an older or a newer archived knows it too"
    assert len(name) == len(".archived-") + 16
