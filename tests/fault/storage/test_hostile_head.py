"""A head file that a person wrote, or a disk damaged, is refused with its code; never a crash."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archived.errors import StoreError
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.ledger_head import NAME, HeadFile

OBJECT = {"document": "d", "key": "k", "version": 1, "inventory_sha512": "0" * 128}
HEAD = {
    "format": 1,
    "sequence": 1,
    "hash": "0" * 64,
    "at": "2026-01-01T00:00:00+00:00",
    "newest": [OBJECT],
    "missing": [],
}


def newest(**changed: object) -> dict[str, object]:
    return {"newest": [OBJECT | changed]}


HOSTILE = {
    "a version without end": newest(version=float("inf")),
    "a version that is no number": newest(version="1"),
    "a version of a thousand digits": newest(version=10**1000),
    "a version before the first": newest(version=-1),
    "half a character for a document": newest(document="\ud800"),
    "half a character for a key": newest(key="\udfff"),
    "a NUL in a document": newest(document="a\0b"),
    "a list for a document": newest(document=["d"]),
    "half a character among the missing": {"missing": ["\ud800"]},
    "a number among the missing": {"missing": [5]},
    "a truth for a number": {"sequence": True},
    "a number beyond every table": {"sequence": 1 << 70},
    "a time without a zone": {"at": "2026-01-01T00:00:00"},
    "objects in a table": {"newest": {"0": OBJECT}},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_it_is_refused_with_what_to_do(tmp_path: Path, what: str) -> None:
    (tmp_path / NAME).write_text(json.dumps(HEAD | HOSTILE[what]))
    with pytest.raises(StoreError) as refused:
        HeadFile(tmp_path).read()
    assert refused.value.code == "head-file-damaged"
    assert "archived rebuild" in (refused.value.hint or "")


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "large"])
def test_what_is_no_small_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / NAME
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to("/dev/zero")
        case _:
            path.touch()
            os.truncate(path, 1 << 40)
    with pytest.raises(StoreError) as refused:
        HeadFile(tmp_path).read()
    assert refused.value.code == "head-file-damaged"


def test_the_true_one_is_read(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps(HEAD))
    found = HeadFile(tmp_path).read()
    assert found is not None
    assert [each.document for each in found.newest] == ["d"]


def test_a_store_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """Its disk was unmounted: what is written below the mount would lie hidden when it is back."""
    store, catalog = tmp_path / "store", Catalog.open(tmp_path / "catalog.db")
    with catalog.transaction() as change:
        change.record(Entry("ledger-opened", datetime.now(UTC), "archived"))
    with pytest.raises(FileNotFoundError):
        HeadFile(store).replace(catalog, datetime.now(UTC))
    assert not store.exists()
    store.mkdir()
    HeadFile(store).replace(catalog, datetime.now(UTC))
    assert HeadFile(store).read() is not None
    catalog.close()
