"""Where a document's received bytes are, before it is sealed and after."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from archived.engine.sealing import Sealer
from archived.model.ids import object_id
from archived.model.lifecycle import State
from archived.storage.rows import DocumentRow
from tests.fault.hand_driven_archive import CONTENT, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One document in custody, of which a stage has made a text."""
    world = World(tmp_path)
    (world.hot / "page.pdf").write_bytes(CONTENT)
    world.sweep()
    world.step(sealer(world), only(world))
    yield world
    world.catalog.close()


def sealer(world: World) -> Sealer:
    return Sealer(world.spool, world.store, world.catalog, "")


def only(world: World) -> DocumentRow:
    (row,) = world.catalog.documents()
    return row


def test_the_bytes_of_what_was_received_are_found_in_the_spool_and_then_in_the_store(
    world: World,
) -> None:
    identifier = only(world).id
    for folder in (world.spool.documents, world.store.ocfl):
        for became in (None, "original/0001.pdf"):
            found = world.find_bytes(identifier, became)
            assert found is not None
            assert found.is_relative_to(folder)
            assert found.read_bytes() == CONTENT
        if only(world).state is not State.SEALED:
            world.step(sealer(world), only(world))
    assert only(world).state is State.SEALED


@pytest.mark.parametrize("became", ["text/note.txt", "original/0002.pdf", "metadata/0001.pdf"])
def test_what_a_stage_made_and_what_never_came_are_not_to_be_had(world: World, became: str) -> None:
    assert "note.txt" in [a.name for a in world.catalog.artifacts(only(world).id)]
    assert world.find_bytes(only(world).id, became) is None


def test_bytes_that_are_gone_are_not_to_be_had_and_no_error(world: World) -> None:
    identifier = only(world).id
    kept = world.find_bytes(identifier)
    assert kept is not None
    kept.rename(world.root / "kept")
    assert world.find_bytes(identifier) is None
    (world.root / "kept").rename(kept)
    world.step(sealer(world), only(world))
    shutil.rmtree(world.store.read(object_id(identifier)).root)
    assert world.find_bytes(identifier) is None
    assert world.find_bytes("no document of ours") is None
