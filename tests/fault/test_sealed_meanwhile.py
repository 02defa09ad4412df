"""A document is sealed at the very moment when somebody asks for its bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from archived.model.lifecycle import State
from tests.fault.hand_driven_archive import CONTENT, World

pytestmark = pytest.mark.fault


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    (world.hot / "page.pdf").write_bytes(CONTENT)
    world.sweep()
    return world


def at_the_next_look(world: World, act: Callable[[], object]) -> None:
    """Do something between the two questions that a reader asks the catalog."""
    ask = world.catalog.artifacts

    def artifacts(document: str, **more: bool):
        world.catalog.artifacts = ask
        found = ask(document, **more)
        act()
        return found

    world.catalog.artifacts = artifacts


def test_its_bytes_are_found_where_they_went(world: World) -> None:
    [row] = world.catalog.documents()
    at_the_next_look(world, world.work)

    found = world.find_bytes(row.id)

    assert world.catalog.document(row.id).state is State.SEALED
    assert found is not None, "they are in the store by now"
    assert found.read_bytes() == CONTENT


def test_the_same_bytes_that_arrive_then_are_no_second_document(world: World) -> None:
    (world.hot / "again.pdf").write_bytes(CONTENT)
    at_the_next_look(world, world.work)
    world.sweep()
    world.sweep()

    [row] = world.catalog.documents()
    assert len(world.catalog.arrivals(document=row.id)) == 2
    assert list(world.hot.iterdir()) == []
