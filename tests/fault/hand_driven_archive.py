"""A small house without a daemon: hot folder, state and store on disk, worked by hand.

What is tested with it is the order of durable writes and the bookkeeping around it; the stages'
work is a line of Python here. `World` is also what a desk asks of the house.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from archived.engine import commit
from archived.engine.sealing import Sealer
from archived.engine.specs import Specs, StageSpec
from archived.ingest.hotfolder import Candidate, HotFolderIngest, HotFolderSpec
from archived.ingest.submission import Route
from archived.model.ids import document_id
from archived.model.lifecycle import State
from archived.model.outcome import Ending, Made, Outcome
from archived.model.pipeline import SEAL, next_step
from archived.model.retry import RetryLimits, decide
from archived.storage.artifacts import bytes_of
from archived.storage.catalog import Catalog
from archived.storage.ocfl.store import Store
from archived.storage.recovery import recover
from archived.storage.rows import DocumentRow, StepRow
from archived.storage.spool import Spool

STAGES = ("note", SEAL, "after")
LIMITS = RetryLimits(attempts=5, first_wait=timedelta(0), longest_wait=timedelta(0))
DECK = Specs(
    stages={
        name: StageSpec(
            name=name,
            version="1",
            distribution="test",
            options={},
            options_digest="",
            accepts=("*/*",),
            lane="cpu",
            timeout=timedelta(minutes=1),
            memory=1 << 30,
            network=False,
            targets=False,
            limits=LIMITS,
        )
        for name in ("note", "after")
    },
    limits=LIMITS,
)
CONTENT = b"%PDF-1.4\n" + b"one page of somebody's land " * 400 + b"\nstartxref\n0\n%%EOF\n"


class World:
    """A hot folder, a state folder and a store below one root, and what works on them."""

    copies = 1
    """Nobody here makes any: with 1 a document stays sealed, with 0 it is safe."""
    stages = STAGES
    """The pipeline of what arrives."""
    flagging = DECK
    """Says whose reviews hold nothing."""

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

    def route(self, spec: HotFolderSpec, candidate: Candidate) -> Route:
        return spec.route

    def find_bytes(self, document: str, became: str | None = None) -> Path | None:
        return bytes_of(self.spool, self.store, self.catalog, document, became)

    def room_for(self, size: int) -> bool:
        return True

    def stopping(self) -> bool:
        return False

    def sweep(self, deadline: float = 3600.0) -> None:
        """Two looks with a settle time of nothing: admit what is there, remove what is ours."""
        route = Route("scans", "paper", self.stages, self.copies, "cpu", owner="Văn phòng")
        spec = HotFolderSpec("scans", self.hot, route, settle_time=0.0, deadline=deadline)
        ingest = HotFolderIngest(spec, self.catalog, self.spool, self)
        ingest.sweep()
        ingest.sweep()

    def work(self) -> None:
        """Bring every document to its end, as the scheduler would."""
        sealer = Sealer(self.spool, self.store, self.catalog, "")
        while rows := [
            r
            for r in self.catalog.documents(limit=100)
            if r.due is not None and r.running is None and r.state is not State.HELD
        ]:
            for row in rows:
                self.step(sealer, row)

    def begin(self, row: DocumentRow, options: str = "") -> StepRow:
        """Start the next step of a document, and no more."""
        step = StepRow(
            id=uuid.uuid4().hex,
            document=row.id,
            position=row.position,
            stage=next_step(row.stages, row.position) or "",
            attempt=row.attempts + 1,
            version="1",
            distribution="test",
            options_digest=options,
            started=self.now(),
        )
        commit.begin_step(self.catalog, row, step, step.started)
        return step

    def end(self, step: StepRow, outcome: Outcome) -> State:
        """Let a started step end somehow."""
        row = self.catalog.document(step.document)
        outcome = self.flagging.marked(row.hotfolder, outcome)
        decision = decide(outcome, step.attempt, row.postponed, LIMITS, self.now())
        return commit.commit_step(self.context(), step, outcome, decision)

    def context(self) -> commit.CommitContext:
        """Where an end is written now."""
        return commit.CommitContext(self.spool, self.catalog, DECK, self.now())

    def work_once(self) -> None:
        """One step of every document that is due."""
        sealer = Sealer(self.spool, self.store, self.catalog, "")
        for row in self.catalog.documents():
            if row.due is not None:
                self.step(sealer, row)

    def step(self, sealer: Sealer, row: DocumentRow) -> None:
        """One step from start to a good end."""
        step = self.begin(row)
        stage = step.stage
        if stage == SEAL:
            sealed = sealer.seal(row, step)
            if isinstance(sealed, Outcome):
                self.end(step, sealed)
                return
            commit.seal(self.context(), step, *sealed, head=self.store.head)
            return
        self.end(step, self.do_stage(row, stage, step.id))

    def do_stage(self, row: DocumentRow, stage: str, step: str) -> Outcome:
        """What a stage would do."""
        made = ()
        if stage == "note":
            folder = self.spool.start_work(step)
            (folder / "note.txt").write_text("a note")
            made = (Made("note.txt", "note.txt", "text/plain", "text"),)
        return Outcome(Ending.FINISHED, made=made, facts={"pages": 1})

    def restart(self) -> None:
        """What the daemon does first after whatever happened."""
        recover(self.spool, self.store, self.catalog, DECK.limits_of, self.now())
