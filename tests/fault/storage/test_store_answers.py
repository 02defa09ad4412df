"""What the store answers, raises and leaves behind, call by call."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from archived.errors import StoreError
from archived.storage import atomic
from archived.storage.ocfl import layout
from archived.storage.ocfl.reader import Validity
from archived.storage.ocfl.store import Repaired, Store
from archived.storage.ocfl.writer import StoreFile
from tests.fault.storage.documents import (
    ID,
    PAGE,
    VERSION_INFO,
    correction,
    document,
    new_store,
    originals,
)
from tests.fault.storage.other_user import ordinary_user

OTHER = "urn:example:other"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One object of one version."""
    store = new_store(tmp_path / "store")
    store.seal(ID, document(tmp_path / "scans"), VERSION_INFO)
    return store


def code_of(caught: pytest.ExceptionInfo[StoreError]) -> str:
    return caught.value.code


def test_what_was_sealed_adopted_and_added_is_named_with_the_digest_of_its_inventory(
    store: Store, tmp_path: Path
) -> None:
    def digest() -> str:
        return hashlib.sha512((found.root / "inventory.json").read_bytes()).hexdigest()

    found = store.seal(OTHER, [StoreFile("a", b"x")], VERSION_INFO)
    assert (found.id, found.key, found.version) == (OTHER, layout.key_of(OTHER), 1)
    assert found.root == store.ocfl / found.key
    assert found.inventory_sha512 == digest()
    sha512 = hashlib.sha512(b"x").hexdigest()
    assert store.adopt(OTHER, {"a": sha512}) == found
    added = store.add_version(OTHER, [StoreFile("b", b"y")], VERSION_INFO)
    assert (added.version, added.root, added.key) == (2, found.root, found.key)
    assert added.inventory_sha512 == digest() != found.inventory_sha512
    assert store.add_version(OTHER, [StoreFile("b", b"y")], VERSION_INFO) == added, "no change"
    assert store.read(OTHER).head == 2
    assert not list((store.root / "staging").iterdir())


def test_an_object_without_a_file_is_a_mistake_of_the_caller(store: Store) -> None:
    with pytest.raises(ValueError, match="at least one"):
        store.seal(OTHER, [], VERSION_INFO)


def test_a_file_that_an_object_does_not_hold_cannot_leave_it(store: Store) -> None:
    with pytest.raises(KeyError):
        store.add_version(ID, correction(), VERSION_INFO, removes=["none"])
    assert store.read(ID).head == 1
    assert not list((store.root / "staging").iterdir())


def test_what_is_not_there_is_said_with_its_code(store: Store) -> None:
    for ask in (
        lambda: store.read(OTHER),
        lambda: store.verify(OTHER),
        lambda: store.path_of(OTHER, "a"),
        lambda: store.adopt(OTHER, {}),
        lambda: store.add_version(OTHER, [StoreFile("a", b"x")], VERSION_INFO),
    ):
        with pytest.raises(StoreError) as caught:
            ask()
        assert code_of(caught) == "no-such-object"
    with pytest.raises(StoreError) as caught:
        store.path_of(ID, "original/0003.tif")
    assert code_of(caught) == "no-such-file"
    content = store.path_of(ID, "original/0001.tif")
    content.unlink()
    with pytest.raises(StoreError) as caught:
        store.read(ID).files()
    assert code_of(caught) == "object-damaged"


def test_an_object_that_cannot_be_read_is_neither_adopted_nor_called_damaged(
    store: Store, tmp_path: Path
) -> None:
    expected = originals(document(tmp_path / "scans"))
    store.path_of(ID, "original/0001.tif").chmod(0)
    with ordinary_user(tmp_path), pytest.raises(StoreError) as caught:
        store.adopt(ID, expected)
    assert code_of(caught) == "object-unreadable"


def test_a_link_in_the_way_to_an_object_is_in_the_verdict(store: Store, tmp_path: Path) -> None:
    first = store.ocfl / layout.key_of(ID).split("/")[0]
    first.rename(tmp_path / "elsewhere")
    first.symlink_to(tmp_path / "elsewhere")
    verdict = store.verify(ID)
    assert verdict.answer is Validity.NO
    assert "link" in verdict.problems[0]


def test_a_store_is_made_once_and_finished_when_it_was_half_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(StoreError) as caught:
        store.open()
    assert code_of(caught) == "no-store"
    (store.root / "staging" / "ocfl" / "half").mkdir(parents=True)
    store.create()
    assert not (store.ocfl / "half").exists()
    assert sorted(path.name for path in store.root.iterdir()) == [
        "aside",
        "ocfl",
        "pending",
        "staging",
    ]
    before = {path: path.stat().st_ino for path in store.ocfl.rglob("*")}
    store.create()
    assert {path: path.stat().st_ino for path in store.ocfl.rglob("*")} == before
    assert {path.stat().st_mode & 0o777 for path in before if path.is_file()} == {0o444}
    assert store.uncleared.folder == store.root / "uncleared"


def test_a_link_in_place_of_the_storage_root_is_no_store(store: Store, tmp_path: Path) -> None:
    store.ocfl.rename(tmp_path / "elsewhere")
    store.ocfl.symlink_to(tmp_path / "elsewhere")
    for ask in (store.open, store.create):
        with pytest.raises(StoreError) as caught:
            ask()
        assert code_of(caught) == "no-store"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(
    ("name", "missing"),
    [("staging", []), ("pending", []), ("aside", []), ("staging", ["pending", "aside"])],
)
def test_a_store_whose_parts_lie_on_several_disks_is_refused(
    store: Store, name: str, missing: list[str]
) -> None:
    for each in missing:
        (store.root / each).rmdir()
    mounted = store.root / name
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "none", mounted], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this machine lets nothing be mounted")
    try:
        with pytest.raises(StoreError) as caught:
            store.open()
        assert code_of(caught) == "store-split"
    finally:
        subprocess.run(["umount", mounted], check=True)
    store.open()


def test_a_repair_names_what_it_cleared_and_passes_over_nothing(store: Store) -> None:
    scratch = store.root / "pending" / f"{atomic.SCRATCH_PREFIX}half"
    scratch.touch()
    (store.root / "staging" / "left").mkdir()
    [found] = store.repair()
    assert (found.key, found.mended) == ("", True)
    assert str(found) == found.what
    assert "left" in found.what
    assert str(Repaired("key", "what")) == "key: what"
    assert not scratch.exists(), "a marker that never got its name"
    assert store.repair() == []


def marked(store: Store) -> Path:
    """A version folder is there, and the power went before the inventory."""

    class PowerCut(BaseException):
        pass

    root = store.read(ID).root

    def fuse(operation: str, path: Path) -> None:
        if (operation, path) == ("rename", root / "inventory.json"):
            raise PowerCut

    atomic.fuse = fuse
    try:
        with pytest.raises(PowerCut):
            store.add_version(ID, correction(), VERSION_INFO)
    finally:
        atomic.fuse = None
    assert (root / "v2").is_dir()
    assert store.read(ID).head == 1
    return root


def test_a_version_that_was_half_added_is_there_before_the_next_is_added(store: Store) -> None:
    marked(store)
    assert store.add_version(ID, [StoreFile("a", b"x")], VERSION_INFO).version == 3
    assert store.verify(ID).answer is Validity.YES
    assert store.read(ID).files(2)["access/pages/0001.tif"].path.read_bytes() == PAGE
    assert not list((store.root / "pending").iterdir())


def test_a_repair_goes_forward_by_the_marker_and_says_of_which_object(store: Store) -> None:
    marked(store)
    found = [each for each in store.repair() if each.key]
    assert {each.key for each in found} == {layout.key_of(ID)}
    assert all(each.mended for each in found)
    assert store.read(ID).head == 2
    assert not list((store.root / "pending").iterdir())
    assert [each.key for each in store.repair_object(ID)] == []


def test_a_folder_in_the_way_of_a_version_is_damage_and_stays_for_a_person(store: Store) -> None:
    root = store.read(ID).root
    (root / "v2").mkdir()
    (root / "v2" / "odd").touch()
    with pytest.raises(StoreError) as caught:
        store.add_version(ID, correction(), VERSION_INFO)
    assert code_of(caught) == "object-damaged"
    assert (root / "v2" / "odd").exists()


def test_a_check_in_the_middle_of_an_addition_is_left_open(store: Store) -> None:
    root, answers = store.read(ID).root, {}

    def fuse(operation: str, path: Path) -> None:
        if operation == "rename" and path.parent == root:
            answers[path.name] = store.verify(ID).answer

    atomic.fuse = fuse
    try:
        store.add_version(ID, correction(), VERSION_INFO)
    finally:
        atomic.fuse = None
    assert answers == {
        "v2": Validity.YES,
        "inventory.json": Validity.NOT_ESTABLISHED,
        "inventory.json.sha512": Validity.NOT_ESTABLISHED,
    }
    (root / "stray").touch()
    assert store.verify(ID).answer is Validity.NO, "when nothing is being added"


def test_a_seal_that_fails_leaves_no_empty_folder_in_the_store(store: Store) -> None:
    def fuse(operation: str, path: Path) -> None:
        if operation == "rename" and path.parent.parent.parent.parent == store.ocfl:
            raise OSError("the disk fails")

    before = sorted(store.ocfl.rglob("*"))
    atomic.fuse = fuse
    try:
        with pytest.raises(OSError, match="the disk fails"):
            store.seal(OTHER, [StoreFile("a", b"x")], VERSION_INFO)
    finally:
        atomic.fuse = None
    assert sorted(store.ocfl.rglob("*")) == before
    assert not list((store.root / "staging").iterdir())


def test_the_walk_passes_over_nothing_but_the_stores_own_files(store: Store) -> None:
    key = layout.key_of(ID)
    deep = store.ocfl / "/".join("abcdefghijkl")
    deep.mkdir(parents=True)
    (store.ocfl / "empty").mkdir()
    (store.ocfl / "named" / "extensions").mkdir(parents=True)
    (store.ocfl / "named" / "extensions" / "file").touch()
    for name in (layout.OBJECT_DECLARATION, "inventory.json"):
        (store.ocfl / f"lost-{name}").mkdir()
        (store.ocfl / f"lost-{name}" / name).touch()
    assert list(store.objects()) == sorted(
        [
            key,
            "a/b/c/d/e/f/g/h/i",
            "empty",
            "named/extensions/file",
            f"lost-{layout.OBJECT_DECLARATION}",
            "lost-inventory.json",
        ]
    )
    assert (store.ocfl / "extensions").is_dir()
