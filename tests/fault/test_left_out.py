"""A document's whole life under a power cut that loses names; each fsync of it is needed.

As `test_power_cut`, whose switch tears bytes; here names that were not fsynced are lost too, in
every legal mixture (`crash_states`). The short form takes a sample of the moments and of the
fsyncs; with ARCHIVED_LEFT_OUT=all (`./run fault --only left-out`) it takes them all.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.fault.document_life import drop, in_order, life
from tests.fault.hand_driven_archive import World
from tests.fault.storage.left_out import Scenario, losses, places

pytestmark = pytest.mark.fault

ALL = os.environ.get("ARCHIVED_LEFT_OUT") == "all"
SEED = int(os.environ.get("ARCHIVED_LEFT_OUT_SEED", "1"))
SHARDS = 4
_ROUNDS = 8
"""Steps that a document of three stages may take to its end."""


def lived(folder: Path, ended: bool) -> None:
    """The machine is back: start, take in, work. A document that never ends is no loop here."""
    world = World(folder)
    if ended:
        head = world.store.head.read()
        assert head is not None, "a seal has returned: how far the ledger went is in the store"
        assert [each.document for each in head.newest] == [d.id for d in world.catalog.documents()]
    world.restart()
    world.sweep()
    for _ in range(_ROUNDS):
        world.work_once()
    world.catalog.close()
    in_order(folder)


PUBLISHED = "atomic.publish_folder"
ONE_NAME = "a folder has one name: what makes its new one durable takes the old one away"
LEFTOVER = "only of use after a crash between the two calls of an earlier one; see `atomic`'s test"
CLEARED = "what comes back lies where a start clears"
HARMLESS = {
    f"spool.take_in: {PUBLISHED}(staged, self.folder(document)) > "
    "fsync_folder(staged.parent)": ONE_NAME,
    f"spool.keep: {PUBLISHED}(staged, final) > fsync_folder(staged.parent)": ONE_NAME,
    f"store.seal: {PUBLISHED}(body, final) > fsync_folder(staged.parent)": ONE_NAME,
    f"store.seal: {PUBLISHED}(body, final) > make_folder(final.parent) > "
    "fsync_folder(path.parent)": LEFTOVER,
    f"spool.keep: {PUBLISHED}(staged, final) > make_folder(final.parent) > "
    "fsync_folder(path.parent)": LEFTOVER,
    "spool.drop: atomic.fsync_folder(self.documents)": (
        "the folder of a sealed document that comes back is dropped at the next start"
    ),
    "uncleared.clear: atomic.remove_tree(tree, seconds=seconds) > "
    "fsync_folder(folder.parent)": CLEARED,
    "source_removal._remove: atomic.move_file(source.here, taken) > fsync_folder(path.parent)": (
        "the source comes back under its own name, and is found to be in custody already"
    ),
    "source_removal._judge: atomic.remove_file(taken.here) > fsync_folder(path.parent)": (
        "a source that comes back under either name is removed again"
    ),
    "store.seal: atomic.fsync_folder(self._staging)": (
        "the document is sealed again into the same folders; the store's own test needs it"
    ),
}
"""The fsyncs that a life could do without: where -> why nothing is lost by it."""

LIFE = Scenario(drop, life, lived, HARMLESS)


def test_no_mixture_of_names_that_a_power_cut_leaves_loses_a_document(tmp_path: Path) -> None:
    limit, tries = (64, 10_000) if ALL else (6, 40)
    assert list(losses(LIFE, tmp_path / "world", limit=limit, tries=tries, seed=SEED)) == []


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_fsync_of_a_documents_life_is_needed_or_known_to_be_harmless(
    tmp_path: Path, shard: int
) -> None:
    seen = places(LIFE, tmp_path / "world")
    assert set(LIFE.harmless) <= set(seen), "no line is stale"
    mine = seen[shard::SHARDS]
    if not ALL:  # what is harmless takes longest, for there is no end to looking
        mine = random.Random(SEED + shard).sample([p for p in mine if p not in LIFE.harmless], 2)
    limit, tries = (16, 60) if ALL else (6, 24)
    harmless = {
        place
        for place in mine
        if next(losses(LIFE, tmp_path / "world", place, limit=limit, tries=tries, seed=SEED), None)
        is None
    }
    assert sorted(harmless) == sorted(LIFE.harmless.keys() & set(mine))
