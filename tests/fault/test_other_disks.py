"""A disk that is not mounted, or was not asked whether it is done: nothing is hidden or lost."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from archived.engine.sealing import Sealer
from archived.errors import StoreError
from archived.model.outcome import Outcome
from archived.storage import atomic
from tests.fault.hand_driven_archive import CONTENT, World

pytestmark = pytest.mark.fault
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    (made.hot / "page.pdf").write_bytes(CONTENT)
    yield made
    made.catalog.close()


def test_a_store_without_anything_of_what_was_sealed_is_refused_at_the_start(
    world: World, tmp_path: Path
) -> None:
    world.sweep()
    world.work()
    world.catalog.close()
    (tmp_path / "store").rename(tmp_path / "not mounted")
    again = World(tmp_path)

    with pytest.raises(StoreError, match="holds nothing of what was sealed") as refused:
        again.restart()

    assert refused.value.code == "no-store"
    again.catalog.close()


@ROOT_ONLY
def test_nothing_is_taken_into_what_lies_below_the_state_folders_disk(tmp_path: Path) -> None:
    World(tmp_path).catalog.close()  # as it was before the disk came
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "state"], check=True)
    world = World(tmp_path)
    world.sweep()
    (world.hot / "page.pdf").write_bytes(CONTENT)
    subprocess.run(["umount", "-l", tmp_path / "state"], check=True)

    world.sweep()

    assert (world.hot / "page.pdf").read_bytes() == CONTENT
    assert list(world.spool.documents.iterdir()) == []
    assert [a.state for a in world.catalog.arrivals()] == ["seen"]
    world.catalog.close()


def test_an_object_found_in_the_store_is_made_durable_before_the_spool_lets_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between its rename and the last fsync: the machine did not stop."""
    world.sweep()
    sealer = Sealer(world.spool, world.store, world.catalog, "")
    (row,) = world.catalog.documents()
    world.step(sealer, row)
    (row,) = world.catalog.documents()
    step = world.begin(row)
    named: list[Path] = []
    unsynced: list[Path] = []

    def fuse(operation: str, path: Path) -> None:
        if operation == "rename":
            named.append(path)
        elif operation == "fsync-folder" and named and not unsynced:
            unsynced.append(path)
            raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(atomic, "fuse", fuse)
    assert isinstance(sealer.seal(row, step), Outcome)
    synced: list[Path] = []
    monkeypatch.setattr(atomic, "fuse", lambda _, path: synced.append(path))
    assert not isinstance(sealer.seal(row, step), Outcome)
    assert unsynced == [named[0].parent]
    assert {*unsynced, named[0], world.store.ocfl} <= set(synced)
