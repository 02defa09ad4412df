"""The whole life of one document, worked by hand, and what must be true when it is over."""

from __future__ import annotations

from pathlib import Path

from archived.model.lifecycle import State
from archived.storage.catalog import Catalog
from archived.testing.invariants import problems
from tests.fault.hand_driven_archive import CONTENT, World


def life(root: Path) -> None:
    """A daemon's whole life: start, take in, work, until nothing is left to do."""
    world = World(root)
    world.restart()
    world.sweep()
    world.work()
    world.catalog.close()


def drop(root: Path) -> None:
    World(root).catalog.close()
    (root / "hot" / "page.pdf").write_bytes(CONTENT)


def in_order(root: Path) -> None:
    """One document, sealed once, with the very bytes; the hot folder is empty."""
    assert problems(root / "state", root / "store") == []
    assert list((root / "hot").iterdir()) == []
    catalog = Catalog.open_to_read(root / "state" / "catalog.db")
    (row,) = catalog.documents()
    assert row.state is State.SEALED
    world = World(root)
    bytes_now = world.find_bytes(row.id)
    assert bytes_now is not None
    assert bytes_now.read_bytes() == CONTENT
    assert not list((root / "state" / "spool" / "incoming").iterdir())
    assert not list((root / "state" / "work").iterdir())
