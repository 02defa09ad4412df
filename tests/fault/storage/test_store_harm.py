"""Harm to an object is found, told apart from what could not be looked at, and mended."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from archived.errors import StoreError
from archived.storage.ocfl import layout
from archived.storage.ocfl.inventory import sidecar_of
from archived.storage.ocfl.reader import Validity
from archived.storage.ocfl.store import Store
from archived.storage.ocfl.writer import StoreFile
from tests.fault.storage.documents import ID, VERSION_INFO
from tests.fault.storage.harm import damage, lose, rewrite, stray
from tests.fault.storage.ocfl_judge import judge
from tests.fault.storage.other_user import ordinary_user


@pytest.mark.parametrize(
    ("harm", "where"),
    [
        (damage, "v1/content/original/0001.tif"),
        (lose, "v1/content/original/0001.tif"),
        (damage, "v2/content/access/document.pdf"),
        (damage, "inventory.json"),
        (lose, "inventory.json"),
        (damage, "inventory.json.sha512"),
        (lose, "inventory.json.sha512"),
        (damage, "v1/inventory.json"),
        (damage, "v2/inventory.json"),
        (lose, "v2/inventory.json.sha512"),
        (lose, "v1"),
        (lose, "v2"),
        (damage, "0=ocfl_object_1.1"),
        (lose, "0=ocfl_object_1.1"),
        (stray, "stray"),
        (stray, "v1/stray"),
        (stray, "v1/content/stray"),
        (stray, "v1/content/original/0003.tif"),
        (os.mkdir, "v3"),
        (os.mkdir, "v1/content/empty"),
        (os.mkfifo, "v1/content/pipe"),
    ],
)
def test_harm_is_found_and_not_passed_over_by_the_walk(harm, where, store):
    found = store.read(ID)
    harm(found.root / where)
    verdict = store.verify(ID)
    assert verdict.answer is Validity.NO
    assert verdict.problems
    assert found.key in set(store.objects())


def test_a_harmed_inventory_is_mended_from_its_twin(template, tmp_path):
    stores = []
    for harm, where in (
        (damage, "inventory.json"),
        (lose, "inventory.json"),
        (damage, "inventory.json.sha512"),
        (lose, "inventory.json.sha512"),
        (damage, "v2/inventory.json"),
        (lose, "v2/inventory.json.sha512"),
        (os.mkdir, "v3"),
    ):
        store = Store(tmp_path / str(len(stores)))
        stores.append(store)
        shutil.copytree(template, store.root)
        harm(store.read(ID).root / where)
        assert store.repair_object(ID), where
        assert {p.stat().st_mode & 0o777 for p in store.read(ID).root.rglob("inv*")} == {0o444}
        assert store.verify(ID).answer is Validity.YES, where
        assert store.read(ID).head == 2
        assert store.repair_object(ID) == []
    assert judge(*(store.ocfl for store in stores)) == []


def test_an_object_without_any_sound_inventory_is_left_untouched(store):
    root = store.read(ID).root
    for where in ("inventory.json", "v2/inventory.json"):
        damage(root / where)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(StoreError) as caught:
        store.repair_object(ID)
    assert caught.value.code == "object-damaged"
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_repair_names_what_a_person_must_look_at(store):
    root = store.read(ID).root
    for where in ("inventory.json", "v2/inventory.json"):
        damage(root / where)
    (store.root / "pending" / layout.id_hash(ID)).write_text(layout.key_of(ID))
    (store.root / "pending/odd").write_text("odd")
    for _ in range(2):
        found = store.repair()
        assert [each.mended for each in found] == [False, False]
        assert layout.key_of(ID) in " ".join(str(each) for each in found)


def test_a_newer_version_that_is_not_whole_is_set_aside_not_deleted(store):
    root = store.read(ID).root
    shutil.copytree(root / "v2", root / "v3")
    store.repair_object(ID)
    assert store.verify(ID).answer is Validity.YES
    kept = list((store.root / "aside").rglob("document.pdf"))
    assert [path.read_bytes() for path in kept] == [b"%PDF-1.7 read me better\n"]


def half_added(store: Store) -> Path:
    """A third version of which the object's own inventory does not know yet."""
    root = store.read(ID).root
    before = {path: path.read_bytes() for path in root.glob("inventory.json*")}
    store.add_version(ID, [StoreFile("access/new.txt", b"new")], VERSION_INFO)
    for path, content in before.items():
        rewrite(path, content)
    return root


def another_history(root: Path) -> None:
    """The third version tells of the first what the object does not."""
    path = root / "v3/inventory.json"
    told = json.loads(path.read_bytes())
    told["versions"]["v1"]["message"] = "another"
    content = json.dumps(told).encode()
    rewrite(path, content)
    rewrite(root / "v3/inventory.json.sha512", sidecar_of(content))


@pytest.mark.parametrize(
    ("harm", "head"),
    [
        (lambda root: None, 3),
        (lambda root: damage(root / "v3/content/access/new.txt"), 2),
        (lambda root: lose(root / "v3/content/access/new.txt"), 2),
        (lambda root: damage(root / "v3/inventory.json"), 2),
        (another_history, 2),
    ],
)
def test_a_half_added_version_counts_when_it_is_whole_and_continues_the_object(harm, head, store):
    harm(half_added(store))
    assert store.repair_object(ID)
    assert store.read(ID).head == head
    assert store.verify(ID).answer is Validity.YES
    assert len(list((store.root / "aside").iterdir())) == 3 - head, "kept for a person"
    assert store.repair_object(ID) == []


def test_what_is_set_aside_twice_is_kept_twice(store):
    for _ in range(3):
        damage(half_added(store) / "v3/content/access/new.txt")
        store.repair_object(ID)
    assert len(list((store.root / "aside").rglob("new.txt"))) == 3


def test_what_cannot_be_read_is_neither_good_nor_bad(store, tmp_path):
    store.read(ID).root.chmod(0)
    with ordinary_user(tmp_path):
        verdict = store.verify(ID)
    assert verdict.answer is Validity.NOT_ESTABLISHED
    assert "could not read" in verdict.problems[0]


def test_a_file_that_cannot_be_read_leaves_the_verdict_open(store, tmp_path):
    store.path_of(ID, "original/0001.tif").chmod(0)
    with ordinary_user(tmp_path):
        verdict = store.verify(ID)
    assert verdict.answer is Validity.NOT_ESTABLISHED
    assert "0001.tif" in verdict.problems[0]
    assert verdict.files == len(store.read(ID).inventory.manifest) - 1, "the others were read"


def test_an_inventory_that_does_not_go_with_its_sidecar_is_damaged_and_nothing_was_checked(
    template, tmp_path
):
    for harm, where in (
        (damage, "inventory.json"),
        (damage, "inventory.json.sha512"),
        (lose, "inventory.json.sha512"),
    ):
        store = Store(tmp_path / f"{harm.__name__} {where}")
        shutil.copytree(template, store.root)
        harm(store.read(ID).root / where)
        with pytest.raises(StoreError) as caught:
            store.read(ID)
        assert caught.value.code == "inventory-damaged"
        verdict = store.verify(ID)
        assert (verdict.answer, verdict.files, verdict.size) == (Validity.NO, 0, 0)


def test_a_second_digest_that_differs_is_harm_too(store):
    root = store.read(ID).root
    content = (root / "inventory.json").read_bytes()
    sha256 = next(iter(json.loads(content)["fixity"]["sha256"]))
    changed = content.replace(sha256.encode(), b"0" * 64)
    for folder in (root, root / "v2"):
        rewrite(folder / "inventory.json", changed)
        rewrite(folder / "inventory.json.sha512", sidecar_of(changed))
    verdict = store.verify(ID)
    assert verdict.answer is Validity.NO
    assert any("SHA-256" in problem for problem in verdict.problems)
