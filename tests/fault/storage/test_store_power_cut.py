"""After a power cut at any durable operation the store holds the old state or the new one."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from archived.errors import StoreError
from archived.storage.ocfl.reader import Validity
from archived.storage.ocfl.store import Store
from tests.fault.storage.documents import (
    ID,
    VERSION_INFO,
    correction,
    document,
    new_store,
    originals,
)
from tests.fault.storage.ocfl_judge import judge
from tests.fault.storage.power import cut

pytestmark = pytest.mark.fault


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where that can be: these tests are about the order of fsyncs, not their patience,
    and the power switch tears what was not fsynced on any file system.
    """
    memory = Path("/dev/shm")
    usable = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 64 << 20
    with TemporaryDirectory(dir=memory if usable else None) as folder:
        yield Path(folder)


def after_crash(root: Path) -> Store:
    """The machine comes back."""
    store = Store(root)
    store.open()
    store.repair()
    assert store.repair() == [], "a second repair found something left"
    assert list((root / "staging").iterdir()) == list((root / "pending").iterdir()) == []
    return store


def head(store: Store) -> int:
    """0 when there is no object; every object there is must be valid."""
    keys = list(store.objects())
    if not keys:
        with pytest.raises(StoreError, match="no object"):
            store.read(ID)
        return 0
    verdict = store.verify(ID)
    assert verdict.answer is Validity.YES, verdict
    return store.read(ID).head


def on_disk(root: Path) -> dict[str, bytes]:
    """What a repair finds to go by; an fsync changes nothing in it, nor do unfinished files."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("ocfl", "pending")
        for path in (root / folder).rglob("[!.]*")
        if path.is_file()
    }


def test_power_may_fail_at_any_point_of_making_a_store(tmp_path):
    for calls in itertools.count():
        root = tmp_path / str(calls)
        if not cut(lambda root=root: new_store(root), calls):
            break
        new_store(root)
        after_crash(root)
    assert calls > 10
    assert judge(*(tmp_path / str(done) / "ocfl" for done in range(calls))) == []


def test_power_may_fail_at_any_point_of_sealing(tmp_path):
    files = document(tmp_path / "scans")
    heads = []
    for calls in itertools.count():
        store = new_store(tmp_path / str(calls))
        if not cut(lambda store=store: store.seal(ID, files, VERSION_INFO), calls):
            break
        heads.append(head(after_crash(store.root)))
    # Up to the rename there is nothing, from then on everything.
    assert heads == sorted(heads)
    assert set(heads) == {0, 1}
    roots = [tmp_path / str(done) for done in range(len(heads))]
    assert judge(*(root / "ocfl" for root in roots)) == []

    for root, found in zip(roots, heads, strict=True):
        store = Store(root)
        expected = originals(files)
        sealed = store.adopt(ID, expected) if found else store.seal(ID, files, VERSION_INFO)
        assert sealed.version == head(store) == 1
    assert judge(*(root / "ocfl" for root in roots)) == []


def test_power_may_fail_at_any_point_of_adding_a_version_and_again_in_its_repair(tmp_path):
    plain = new_store(tmp_path / "plain")
    plain.seal(ID, document(tmp_path / "scans"), VERSION_INFO)
    heads, judged, repairs_cut, before = [], [], 0, on_disk(plain.root)

    def add(store: Store) -> None:
        store.add_version(ID, correction(), VERSION_INFO, removes=["original/0002.tif"])

    for calls in itertools.count():
        root = tmp_path / f"add-{calls}"
        shutil.copytree(plain.root, root)
        if not cut(lambda root=root: add(Store(root)), calls):
            break
        if (now := on_disk(root)) != before:
            before = now
            for more in itertools.count():
                again = tmp_path / f"add-{calls}-repair-{more}"
                shutil.copytree(root, again)
                if not cut(lambda again=again: Store(again).repair(), more):
                    break
                repairs_cut += 1
                assert head(after_crash(again)) in {1, 2}
                judged.append(again)
        heads.append(head(after_crash(root)))
        judged.append(root)
    assert heads == sorted(heads)
    assert set(heads) == {1, 2}
    assert repairs_cut > 10, repairs_cut
    assert judge(*(root / "ocfl" for root in judged)) == []

    for root in judged:
        add_once_more = Store(root)
        found = add_once_more.read(ID)
        if found.head == 1:
            add(add_once_more)
        else:
            # Doing it again changes nothing.
            add_once_more.add_version(ID, correction(), VERSION_INFO)
        state = add_once_more.read(ID)
        assert state.head == 2
        assert set(state.files()) == {
            "access/document.pdf",
            "access/pages/0001.tif",
            "metadata/record.json",
            "original/0001.tif",
        }


def test_a_writer_that_lives_on_after_a_failure_mends_the_object_itself(tmp_path):
    store = new_store(tmp_path / "store")
    store.seal(ID, document(tmp_path / "scans"), VERSION_INFO)
    renames = 0
    for calls in itertools.count():
        root = tmp_path / f"failed-{calls}"
        shutil.copytree(store.root, root)
        if not cut(
            lambda root=root: Store(root).add_version(ID, correction(), VERSION_INFO), calls
        ):
            break
        if not list((root / "pending").glob("[!.]*")):
            continue
        renames += 1
        sealed = Store(root).add_version(ID, correction(), VERSION_INFO)
        assert sealed.version == 2
        assert Store(root).verify(ID).answer is Validity.YES
        assert list((root / "pending").iterdir()) == []
    assert renames > 5
