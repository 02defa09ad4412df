"""The only place where the stateful test touches the program: public entry points, thinly.

A `House` is `world.World` (hot folder, state and store on disk, no daemon) that can be crashed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy import event

from archived.engine import commit, decisions
from archived.engine.decisions import PersonDecision
from archived.engine.sealing import Sealer
from archived.errors import NotNow
from archived.ingest.hotfolder import HotFolderIngest, HotFolderSpec, Sweep
from archived.ingest.submission import Route
from archived.model.lifecycle import IllegalTransition, State
from archived.model.outcome import Ending, Made, Outcome
from archived.model.pipeline import SEAL
from archived.model.review import Region, Review
from archived.observe.reviews import of_document
from archived.storage import atomic
from archived.storage.atomic import digest
from archived.storage.ledger import verify
from archived.storage.recovery import Recovered, recover
from archived.storage.rows import Balance, DocumentRow, StepRow
from archived.testing.invariants import problems
from tests.fault.hand_driven_archive import DECK, LIMITS, STAGES, World
from tests.fault.storage.power import cut

__all__ = ["LIMITS", "STAGES", "Life", "asks", "crash"]

ENDINGS = {
    "finished": Outcome(Ending.FINISHED),
    "review": Outcome(
        Ending.FINISHED,
        reviews=(Review("unread-content", "look", regions=(Region(1, (0.0, 0.0, 1.0, 1.0)),)),),
    ),
    "refused": Outcome(Ending.REFUSED, "wrong-paper", "a person must look", "look"),
    "postponed": Outcome(Ending.POSTPONED, "server-away", "nobody answers", "wait"),
    "failed": Outcome(Ending.FAILED, "stage-error", "it raised", "report it"),
    "requeued": Outcome(Ending.REQUEUED, "shutdown"),
}


class Life(World):
    """Opened: the catalog is read and written. `close` it before a process is forked."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        route = Route("scans", "paper", STAGES, 1, "cpu")
        self._spec = HotFolderSpec("scans", self.hot, route, settle_time=0.0, deadline=3600.0)
        self._desk = HotFolderIngest(self._spec, self.catalog, self.spool, self)

        @event.listens_for(self.catalog._engine, "before_cursor_execute")
        def _commit(_connection, _cursor, statement, *_):
            if statement == "COMMIT":  # an instant at which the power may go, like any other
                atomic.step("commit", self.catalog.path)

    def close(self) -> None:
        self.catalog.close()

    # What the daemon does --------------------------------------------------------------------

    def recover(self) -> Recovered:
        return recover(self.spool, self.store, self.catalog, DECK.limits_of, self.now())

    def look(self) -> Sweep:
        """One sweep of a desk that remembers the one before."""
        return self._desk.sweep()

    def finish(self, step: StepRow, how: str) -> State:
        """End a started step: as `ENDINGS` has it, or by sealing."""
        if how == "finished" and step.stage == SEAL:
            row = self.catalog.document(step.document)
            sealed = Sealer(self.spool, self.store, self.catalog, "").seal(row, step)
            assert not isinstance(sealed, Outcome), sealed
            return commit.seal(self.context(), step, *sealed, head=self.store.head)
        sealed = self.catalog.document(step.document).object_key is not None
        if how == "review" and not asks(step.stage, sealed=sealed):
            return self.finish(step, "finished")
        outcome = ENDINGS[how]
        if how in {"finished", "review"} and step.stage == "note":
            folder = self.spool.start_work(step.id)
            (folder / "note.txt").write_text(f"a note of attempt {step.attempt}")
            made = (Made("note.txt", "note.txt", "text/plain", "text"),)
            outcome = replace(outcome, made=made, facts={"pages": 1})
        return self.end(step, outcome)

    # What a person does ----------------------------------------------------------------------

    def decide(self, document: str, what: str) -> bool:
        """`release` (looking first, where that is asked for), `release-unseen`, `retry` or
        `reject`; whether the program agreed.
        """
        try:
            if what == "reject":
                decisions.reject(self.catalog, document, PersonDecision("anna", "", self.now()))
                return True
            row = self.catalog.document(document)
            asked = of_document(self.catalog, row) if what == "release" else []
            shown = next((str(each["shown"]) for each in asked if each["holds"]), None)
            decisions.release(
                self.catalog,
                DECK,
                document,
                PersonDecision("anna", "", self.now(), shown=shown),
                skip=what != "retry",
            )
        except (NotNow, IllegalTransition):
            return False
        return True

    # What is so ------------------------------------------------------------------------------

    def documents(self) -> list[DocumentRow]:
        return self.catalog.documents(limit=100_000)[::-1]

    def original(self, document: str) -> bytes:
        """A document's received bytes, wherever they lie now."""
        path = self.find_bytes(document)
        assert path is not None, f"nobody knows where the bytes of {document} are"
        return path.read_bytes()

    def balance(self) -> Balance:
        return next(iter(self.catalog.balance()), Balance("scans"))

    def ledger(self) -> list[str]:
        """The hashes of the chain, after it was verified."""
        rows = list(self.catalog.ledger_rows())
        verify(iter(rows))
        return [row[3] for row in rows]

    def problems(self) -> list[str]:
        return problems(self.state, self.root / "store")

    def everywhere(self) -> set[str]:
        """SHA-256 of every file in the hot folder, in the spool and in the store."""
        roots = (self.hot, self.spool.documents, self.root / "store" / "ocfl")
        return {
            digest(path).sha256
            for root in roots
            for path in root.rglob("*")
            if path.is_file() and not path.is_symlink()
        }


def asks(stage: str, *, sealed: bool) -> bool:
    """Whether a stage may ask for a look: none does that behind the seal."""
    return stage != SEAL and not sealed


def crash(root: Path, action: Callable[[Life], object], calls: int) -> bool:
    """A daemon starts on what lies at `root`, does `action`, and dies before durable call `calls`.

    Whether it died; `False` when the action was over before that. Nobody else may have it open.
    """

    def life() -> None:
        life = Life(root)
        action(life)
        life.close()

    return cut(life, calls)
