"""The power goes at every durable call of a document's life; after the restart all is in order.

Real files, real SQLite, a child process that really dies (`power.cut`). The stage's work is done
by hand here, without a runner: what is tested is the order of durable writes.
"""

from __future__ import annotations

import itertools
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ocfl_judge import judge
from power import cut

from archived.engine import commit
from archived.engine.cards import Deck, StageCard
from archived.engine.custody import original_of
from archived.engine.sealing import Sealer
from archived.intake.admission import Route
from archived.intake.desk import Candidate, Desk, FolderCard
from archived.model.document import State
from archived.model.identity import document_id
from archived.model.outcome import Ending, Made, Outcome
from archived.model.plan import SEAL, next_step
from archived.model.policy import Limits, decide
from archived.storage.catalog import Catalog
from archived.storage.records import DocumentRow, StepRow
from archived.storage.recovery import recover
from archived.storage.spool import Spool
from archived.storage.store import Store
from archived.testing.invariants import problems

pytestmark = pytest.mark.fault

STAGES = ("note", SEAL, "after")
LIMITS = Limits(attempts=5, first_wait=timedelta(0), longest_wait=timedelta(0))
DECK = Deck(
    stages={
        name: StageCard(
            name=name, version="1", distribution="test", options={}, options_digest="",
            accepts=("*/*",), lane="cpu", timeout=timedelta(minutes=1), memory=1 << 30,
            network=False, targets=False, limits=LIMITS,
        )
        for name in ("note", "after")
    },
    limits=LIMITS,
)  # fmt: skip
CONTENT = b"%PDF-1.4\n" + b"one page of somebody's land " * 400 + b"\nstartxref\n0\n%%EOF\n"


class World:
    """A hot folder, a state folder and a store below one root, and what works on them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hot, self.state = root / "hot", root / "state"
        self.spool, self.store = Spool(self.state), Store(root / "store")
        self.hot.mkdir(parents=True, exist_ok=True)
        self.spool.create()
        self.store.create()
        self.catalog = Catalog.open(self.state / "catalog.db")

    # What a desk asks of the house.
    def now(self) -> datetime:
        return datetime.now(UTC)

    def new_id(self, now: datetime) -> str:
        return document_id(now, secrets.token_bytes(10))

    def route(self, card: FolderCard, candidate: Candidate) -> Route:
        return card.route

    def find_bytes(self, document: str) -> Path | None:
        return original_of(self.spool, self.store, self.catalog, document)

    def room_for(self, size: int) -> bool:
        return True

    def stopping(self) -> bool:
        return False

    def sweep(self) -> None:
        """Two looks with a quiet time of nothing: admit what is there, remove what is ours."""
        route = Route("scans", "paper", STAGES, 1, "cpu")
        card = FolderCard("scans", self.hot, route, quiet=0.0, deadline=3600.0)
        desk = Desk(card, self.catalog, self.spool, self)
        desk.sweep()
        desk.sweep()

    def work(self) -> None:
        """Bring every document to its end, as the scheduler would."""
        sealer = Sealer(self.spool, self.store, self.catalog, "")
        while rows := [
            r for r in self.catalog.documents(limit=100)
            if r.due is not None and r.running is None and r.state is not State.HELD
        ]:  # fmt: skip
            for row in rows:
                self.step(sealer, row)

    def step(self, sealer: Sealer, row: DocumentRow) -> None:
        stage = next_step(row.stages, row.position) or ""
        now = self.now()
        step = StepRow(
            id=uuid.uuid4().hex, document=row.id, position=row.position, stage=stage,
            attempt=row.attempts + 1, version="1", distribution="test", options_digest="",
            started=now,
        )  # fmt: skip
        commit.begin_step(self.catalog, row, step, now)
        if stage == SEAL:
            sealed = sealer.seal(row, step)
            assert not isinstance(sealed, Outcome), sealed
            commit.seal(self.spool, self.catalog, DECK, step, *sealed, self.now())
            return
        made = ()
        if stage == "note":
            folder = self.spool.start_work(step.id)
            (folder / "note.txt").write_text("a note")
            made = (Made("note.txt", "note.txt", "text/plain", "text"),)
        outcome = Outcome(Ending.FINISHED, made=made, facts={"pages": 1})
        decision = decide(outcome, step.attempt, 0, LIMITS, now)
        commit.commit_step(self.spool, self.catalog, DECK, step, outcome, decision, now)

    def restart(self) -> None:
        """What the daemon does first after whatever happened."""
        recover(self.spool, self.store, self.catalog, DECK.limits_of, self.now())


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


def at_every_call(
    tmp_path: Path,
    prepare: Callable[[Path], None],
    action: Callable[[Path], None],
    stride: int = 1,
) -> list[Path]:
    """Cut the power before call 0, 1, 2, ... of `action`; then live on; returns the roots."""
    roots = []
    for calls in itertools.count(step=stride):
        root = tmp_path / str(calls)
        root.mkdir(parents=True)
        prepare(root)
        went = cut(lambda root=root: action(root), calls)
        life(root)
        in_order(root)
        roots.append(root)
        if not went:
            break
    return roots


def test_the_power_may_go_at_any_call_of_a_documents_life(tmp_path: Path) -> None:
    roots = at_every_call(tmp_path, drop, life)

    assert len(roots) > 60  # admission, two steps and sealing are that many durable calls
    assert judge(*(root / "store" / "ocfl" for root in roots[::7])) == []


def test_the_power_may_go_again_at_any_call_of_the_recovery(tmp_path: Path) -> None:
    """A first cut in the middle of things, then one at every third call of the life after it."""
    for first in (12, 30, 55):

        def prepare(root: Path, first: int = first) -> None:
            drop(root)
            assert cut(lambda: life(root), first)

        at_every_call(tmp_path / f"first-{first}", prepare, life, stride=3)


def test_a_document_that_kills_the_machine_every_time_is_held(tmp_path: Path) -> None:
    drop(tmp_path)
    world = World(tmp_path)
    world.sweep()
    for _ in range(LIMITS.attempts):
        (row,) = world.catalog.documents()
        assert row.state is not State.HELD
        step = StepRow(
            id=uuid.uuid4().hex, document=row.id, position=0, stage="note",
            attempt=row.attempts + 1, version="1", distribution="test", options_digest="",
            started=world.now(),
        )  # fmt: skip
        commit.begin_step(world.catalog, row, step, world.now())  # and here the machine dies
        world.restart()

    (row,) = world.catalog.documents()
    assert (row.state, row.code) == (State.HELD, "interrupted")
    assert problems(world.state, world.root / "store") == []


def test_bytes_found_only_in_the_spool_become_a_document_again(tmp_path: Path) -> None:
    """The catalog was lost after the source had gone: the spool folder explains itself."""
    drop(tmp_path)
    world = World(tmp_path)
    world.sweep()
    world.catalog.close()
    for file in (tmp_path / "state").glob("catalog.db*"):
        file.unlink()

    life(tmp_path)

    in_order(tmp_path)


def test_a_spool_folder_that_explains_nothing_is_kept(tmp_path: Path) -> None:
    world = World(tmp_path)
    strange = world.spool.documents / "somebody"
    strange.mkdir()
    (strange / "page.tif").write_bytes(b"II*\0")

    found = recover(world.spool, world.store, world.catalog, DECK.limits_of, world.now())

    assert found.unexplained == ["somebody"]
    assert (strange / "page.tif").exists()
