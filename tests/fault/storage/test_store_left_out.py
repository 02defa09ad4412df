"""The store after a power cut that loses names: old or new, never a part, and no fsync too many."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from archived.storage.ocfl import layout
from archived.storage.ocfl.store import Store
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
from tests.fault.storage.left_out import Scenario, losses, places
from tests.fault.storage.test_store_power_cut import after_crash, head

pytestmark = pytest.mark.fault


def an_object(folder: Path) -> None:
    files = document(folder / "scans")
    new_store(folder / "store").seal(ID, files, VERSION_INFO)


def two_scans(folder: Path) -> None:
    document(folder / "scans")
    new_store(folder / "store")


def seal(folder: Path) -> None:
    Store(folder / "store").seal(ID, document_of(folder), VERSION_INFO)


def document_of(folder: Path) -> list[StoreFile]:
    """The files as they lie there; made without touching the disk."""
    sha512 = hashlib.sha512(PAGE).hexdigest()
    scans = [
        StoreFile(f"original/{n}", folder / "scans" / n, sha512) for n in ("0001.tif", "0002.tif")
    ]
    return [*scans, StoreFile("metadata/record.json", b'{"id": 1}\n')]


def made(folder: Path, ended: bool) -> None:
    if ended:
        Store(folder / "store").open()
        for name in ("staging", "pending", "aside"):
            assert (folder / "store" / name).is_dir(), "what is put in it later would go with it"
    new_store(folder / "store")
    after_crash(folder / "store")


def sealed(folder: Path, ended: bool) -> None:
    store = after_crash(folder / "store")
    assert head(store) in ({1} if ended else {0, 1})


def grown(folder: Path, ended: bool) -> None:
    store = after_crash(folder / "store")
    assert head(store) in ({2} if ended else {1, 2})


def adopted(folder: Path, ended: bool) -> None:
    if ended:
        assert head(after_crash(folder / "store")) == 1


def named_but_not_durably(folder: Path) -> None:
    """Somebody published an object and did not live to fsync it; then it is adopted."""
    store = Store(folder / "store")
    shutil.copytree(folder / "object", store.ocfl / layout.key_of(ID))
    store.adopt(ID, originals(document_of(folder)))


def an_object_elsewhere(folder: Path) -> None:
    two_scans(folder)
    seal(folder)
    shutil.move(folder / "store/ocfl" / layout.key_of(ID), folder / "object")
    shutil.rmtree(folder / "store")
    new_store(folder / "store")


ONE_NAME = "a folder has one name: what makes its new one durable takes the old one away"
LEFTOVER = "only of use after a crash between the two calls of an earlier one; see `test_atomic`"
CLEARED = "what comes back lies in staging/, which a start clears"
AGAIN = (
    "the same folder is fsynced again before the version is promised; until then a repair goes "
    "back, or forward by the marker"
)

SCENARIOS = {
    "making": Scenario(
        lambda folder: None,
        lambda f: new_store(f / "store"),
        made,
        {
            "store.create: atomic.make_folder(folder) > fsync_folder(path.parent)": LEFTOVER,
            "store.create: atomic.make_folder(folder) > fsync_folder(folder.parent)": (
                "the next folder's call and the publishing fsync the same two folders"
            ),
            "store.create: atomic.publish_folder(staged, self.ocfl) > "
            "fsync_folder(staged.parent)": ONE_NAME,
        },
    ),
    "sealing": Scenario(
        two_scans,
        seal,
        sealed,
        {
            "store.seal: atomic.publish_folder(body, final) > make_folder(final.parent) > "
            "fsync_folder(path.parent)": LEFTOVER,
            "store.seal: atomic.publish_folder(body, final) > "
            "fsync_folder(staged.parent)": ONE_NAME,
        },
    ),
    "adding": Scenario(
        an_object,
        lambda f: Store(f / "store").add_version(ID, correction(), VERSION_INFO),
        grown,
        {
            "store._add: atomic.publish_folder(body, root / body.name) > "
            "fsync_folder(final.parent)": AGAIN,
            "store._add: atomic.publish_folder(body, root / body.name) > "
            "fsync_folder(staged.parent)": ONE_NAME,
            "store._add: atomic.write_file(root / FILE_NAME, inventory, mode=0o444, "
            "scratch=body.parent) > fsync_folder(path.parent)": AGAIN,
            "store._add: atomic.remove_file(marker) > fsync_folder(path.parent)": (
                "a marker that comes back has the object looked at once more"
            ),
            "uncleared.clear: atomic.remove_tree(tree, seconds=seconds) > "
            "fsync_folder(folder.parent)": CLEARED,
        },
    ),
    "adopting": Scenario(an_object_elsewhere, named_but_not_durably, adopted, {}),
}
"""Name -> what is done, and the fsyncs that it could do without. `storage.atomic` promises them all
the same: `test_crash_states` holds it to that.
"""


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_mixture_of_names_and_bytes_that_a_power_cut_leaves_breaks_the_store(
    tmp_path: Path, name: str
) -> None:
    assert list(losses(SCENARIOS[name], tmp_path / "folder", tries=150)) == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_fsync_of_the_store_is_needed_or_known_to_be_harmless(
    tmp_path: Path, name: str
) -> None:
    scenario = SCENARIOS[name]
    seen = places(scenario, tmp_path / "folder")
    harmless = {
        place for place in seen if next(losses(scenario, tmp_path / "folder", place), None) is None
    }
    assert sorted(harmless) == sorted(scenario.harmless)
