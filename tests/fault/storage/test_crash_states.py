"""What a power cut leaves of names and bytes that were not fsynced; each single fsync is needed.

Every operation of `storage.atomic` leaves the old state or the new one in every legal mixture, and
has nothing left to lose when it returns. Left out one at a time, each of its fsyncs breaks that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from archived.storage import atomic
from tests.fault.storage.crash_states import History, Image, record, restore

pytestmark = pytest.mark.fault


@dataclass(frozen=True)
class Operation:
    """One function of `atomic`: what it starts from, its call, and which trees are its promise."""

    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    holds: Callable[[dict[str, bytes]], bool]


def files(image: Image) -> dict[str, bytes]:
    """The files that somebody looks at: scratch is of no account."""
    return {
        path: content
        for path, mode, _, content in image
        if mode & 0o170000 == 0o100000 and atomic.SCRATCH_PREFIX not in path
    }


def old(folder: Path) -> None:
    (folder / "file").write_bytes(b"old")


def two_folders(folder: Path) -> None:
    for name in ("one", "other"):
        (folder / name).mkdir()
    (folder / "one" / "file").write_bytes(b"bytes")


def staged(folder: Path) -> None:
    (folder / "staging").mkdir()


def publish(folder: Path) -> None:
    (folder / "staging/new/inner").mkdir(parents=True)
    atomic.copy_file(b"first", folder / "staging/new/1")
    atomic.copy_file(b"second", folder / "staging/new/inner/2")
    (folder / "a").mkdir()  # the leftover of a crash: its name is not durable yet
    atomic.publish_folder(folder / "staging/new", folder / "a/b/final")


def make_after_a_crash(folder: Path) -> None:
    (folder / "a").mkdir()
    atomic.make_folder(folder / "a/b/c")


def fsync_new(folder: Path) -> None:
    (folder / "new").write_bytes(b"new")
    (folder / "one/new").write_bytes(b"new")
    atomic.fsync_tree(folder)


def whole_if_any(wanted: dict[str, bytes]) -> Callable[[dict[str, bytes]], bool]:
    return lambda found: not found.keys() & wanted.keys() or wanted.items() <= found.items()


OPERATIONS = {
    "write_file": Operation(
        old,
        lambda f: atomic.write_file(f / "file", [b"ne", b"w"]),
        lambda found: found in ({"file": b"old"}, {"file": b"new"}),
    ),
    "write_file elsewhere": Operation(
        two_folders,
        lambda f: atomic.write_file(f / "one/new", b"new", scratch=f / "other", replace=False),
        whole_if_any({"one/new": b"new"}),
    ),
    "copy_durably": Operation(
        two_folders,
        lambda f: atomic.copy_durably(f / "one/file", f / "other/copy"),
        whole_if_any({"other/copy": b"bytes"}),
    ),
    "move_file": Operation(
        two_folders,
        lambda f: atomic.move_file(f / "one/file", f / "other/file"),
        lambda found: bool(found) and set(found.values()) == {b"bytes"},
    ),
    "publish_folder": Operation(
        staged,
        publish,
        whole_if_any({"a/b/final/1": b"first", "a/b/final/inner/2": b"second"}),
    ),
    "make_folder": Operation(lambda f: None, make_after_a_crash, lambda found: found == {}),
    "remove_file": Operation(
        old, lambda f: atomic.remove_file(f / "file"), whole_if_any({"file": b"old"})
    ),
    "remove_tree": Operation(
        two_folders, lambda f: atomic.remove_tree(f / "one"), whole_if_any({"one/file": b"bytes"})
    ),
    "fsync_tree": Operation(two_folders, fsync_new, whole_if_any({"one/file": b"bytes"})),
}


def seen(operation: Operation, folder: Path, ignored: str = "") -> History:
    folder.mkdir(parents=True)
    operation.prepare(folder)
    return record(lambda: operation.act(folder), folder, ignored=ignored)


def lost(operation: Operation, history: History) -> list[str]:
    """What breaks the operation's promise."""
    found = [f"{each} is not durable" for each in history.unsynced]
    return found + [
        f"before {moment}: {files(image)}"
        for moment, image in history.images()
        if not operation.holds(files(image))
    ]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_leaves_old_or_new_in_every_legal_mixture_and_is_durable_when_it_returns(
    tmp_path: Path, name: str
) -> None:
    history = seen(OPERATIONS[name], tmp_path / "folder")

    assert lost(OPERATIONS[name], history) == []
    assert len(history.places) >= 1
    assert len(list(history.images())) >= 2, "the switch sees both sides of it"


@pytest.mark.parametrize("name", OPERATIONS)
def test_none_of_its_fsyncs_can_be_left_out(tmp_path: Path, name: str) -> None:
    operation = OPERATIONS[name]
    harmless = [
        place
        for number, place in enumerate(seen(operation, tmp_path / "all").places)
        if not lost(operation, seen(operation, tmp_path / str(number), ignored=place))
    ]
    assert harmless == []


def test_what_a_restored_machine_comes_back_with_is_what_was_derived(tmp_path: Path) -> None:
    """The switch itself: an fsynced file without its folder is nameless, one with it is there."""
    folder = tmp_path / "folder"
    folder.mkdir()

    def act() -> None:
        (folder / "file").write_bytes(b"whole")
        atomic.fsync_file(folder / "file")

    trees = [files(image) for _, image in record(act, folder).images()]
    assert {} in trees
    assert {"file": b"whole"} in trees
    history = record(lambda: (act(), atomic.fsync_folder(folder)), folder)  # it is there already
    assert {tuple(files(image).items()) for _, image in history.images()} == {(("file", b"whole"),)}
    for _, image in history.images():
        restore(image, folder)
        assert (folder / "file").read_bytes() == b"whole"
