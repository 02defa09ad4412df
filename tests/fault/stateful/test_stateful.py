"""Whatever happens in whatever order, and wherever the power goes: nothing is lost or doubled.

Hypothesis writes the story (files appear, change, vanish; steps begin and end; people decide; the
machine dies before some durable call), a model of a few dictionaries follows it, and after every
event the program's books are compared with the model's. `ARCHIVED_STATEFUL=200` tells more stories.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from archived.model.lifecycle import State
from archived.storage import atomic
from archived.storage.rows import StepRow
from tests.fault.stateful.hand_driven import LIMITS, STAGES, Life, asks, crash

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""What was not fsynced is torn by the power switch itself: a real disk would only be slow."""
MORE = int(os.environ.get("ARCHIVED_STATEFUL", "0"))
NAMES = st.sampled_from(["a.pdf", "b.pdf", "sub/c.pdf", "thư.pdf", "~$open.pdf", ".part.pdf"])
PAPERS = st.integers(0, 3)
HOW = st.sampled_from(
    ["finished"] * 4 + ["review", "review", "refused", "postponed", "failed", "requeued"]
)
DECISIONS = st.sampled_from(["release", "release-unseen", "retry", "retry", "reject"])
MEANWHILE = st.sampled_from(["nothing", "vanish", "write"])
WHERE = st.integers(0, 45)
"""The durable call before which the power goes; past the last one nothing happens."""


def paper(number: int, *, whole: bool = True) -> bytes:
    """A PDF by its structure; not whole: its end has not arrived."""
    end = b"\nstartxref\n9\n%%EOF\n" if whole else b"\n"
    return b"%PDF-1.7\n" + b"page %d " % number * 60 + end


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Known:
    """What the model knows of one document."""

    content: str
    state: State
    position: int
    attempts: int
    running: bool = False
    reviewed: bool = False
    """A review holds it, or did when somebody rejected it."""


class Archive(RuleBasedStateMachine):
    """The story. `self.there` is what the scanners believe lies in the hot folder."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="archived-stateful-", dir=MEMORY))
        self.life = Life(self.root)
        self.there: dict[str, bytes] = {}
        self.dropped: Counter[str] = Counter()
        self.destroyed: Counter[str] = Counter()
        self.adopted: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.known: dict[str, Known] = {}
        self.running: dict[str, StepRow] = {}
        self.chain: list[str] = []

    @initialize()
    def first_start(self) -> None:
        self.life.recover()

    # Scanners and clerks ----------------------------------------------------------------------

    @rule(name=NAMES, number=PAPERS, whole=st.sampled_from([True, True, True, False]))
    def a_file_is_written(self, name: str, number: int, whole: bool) -> None:
        """Over whatever lies there, in place: as scanners do."""
        self._write(name, paper(number, whole=whole))

    @rule(name=NAMES)
    def a_file_vanishes(self, name: str) -> None:
        self._forget(name)
        (self.life.hot / name).unlink(missing_ok=True)

    @rule(old=NAMES, new=NAMES)
    def a_file_is_renamed(self, old: str, new: str) -> None:
        content = self._content(old)
        if content is None or old == new:
            return
        self._forget(new)
        self.there.pop(old, None)
        (self.life.hot / new).parent.mkdir(exist_ok=True)
        (self.life.hot / old).replace(self.life.hot / new)
        self.there[new] = content
        self.dropped[sha256(content)] += 1  # another arrival, of the same bytes
        self.destroyed[sha256(content)] += 1

    # Intake -------------------------------------------------------------------------------------

    @rule(times=st.integers(1, 3))
    def the_desk_looks(self, times: int) -> None:
        """Twice are needed to see that a file stays the same."""
        for _ in range(times):
            self.life.look()
        self._note()

    @rule(name=NAMES, number=PAPERS)
    def a_file_is_written_and_taken_in(self, name: str, number: int) -> None:
        self._write(name, paper(number))
        self.the_desk_looks(3)

    @rule(name=NAMES, number=PAPERS, calls=st.integers(0, 20))
    def a_file_is_written_while_the_desk_looks(self, name: str, number: int, calls: int) -> None:
        """At a durable call of the sweep; nobody dies."""
        left = [calls]

        def fuse(_operation: str, _path: Path) -> None:
            left[0] -= 1
            if left[0] == -1:
                self._write(name, paper(number))

        before, atomic.fuse = atomic.fuse, fuse
        try:
            self.life.look()
        finally:
            atomic.fuse = before
        self._note()

    # Work ---------------------------------------------------------------------------------------

    @precondition(lambda self: self._due())
    @rule(data=st.data())
    def a_step_begins(self, data: st.DataObject) -> None:
        document = data.draw(st.sampled_from(self._due()), label="document")
        self.running[document] = self.life.begin(self.life.catalog.document(document))
        was = self.known[document]
        state = State.WORKING if was.state is not State.SEALED else State.SEALED
        self._is(document, state=state, attempts=was.attempts + 1, running=True)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=HOW)
    def a_step_ends(self, data: st.DataObject, how: str) -> None:
        document = data.draw(st.sampled_from(sorted(self.running)), label="document")
        step = self.running.pop(document)
        self.life.finish(step, how)
        self.known[document] = after(self.known[document], how)

    @precondition(lambda self: self._due())
    @rule(data=st.data(), how=HOW)
    def a_step_begins_and_ends(self, data: st.DataObject, how: str) -> None:
        self.a_step_begins(data)
        self.a_step_ends(data, how)

    @precondition(lambda self: self._resting())
    @rule(data=st.data(), what=DECISIONS)
    def a_person_decides(self, data: st.DataObject, what: str) -> None:
        document = data.draw(st.sampled_from(self._resting()), label="document")
        was = self.known[document]
        if not self.life.decide(document, what):
            return
        assert what != "release-unseen" or not was.reviewed, "it went on and nobody had looked"
        assert (what, was.state) != ("release", State.REJECTED) or not was.reviewed
        row = self.life.catalog.document(document)
        if what == "reject":
            assert was.state is State.HELD
            self._is(document, state=State.REJECTED)
            self.rejected[was.content] += 1
            return
        assert was.state in {State.HELD, State.REJECTED, State.SEALED, State.WAITING}, was
        assert was.position <= row.position + 2, "nobody is sent back before its seal"
        assert row.position <= was.position + 1, "no more than one stage is passed over"
        skipped = STAGES[was.position : row.position]
        assert "seal" not in skipped, "the seal is never passed over"
        if was.reviewed:
            back = 1 if what == "retry" else 0
            assert row.position == was.position - back, "a look passes over nothing"
        self._is(document, state=row.state, position=row.position, attempts=0, reviewed=False)

    # Crashes ------------------------------------------------------------------------------------

    @rule(name=NAMES, number=PAPERS, calls=st.integers(0, 30), meanwhile=MEANWHILE)
    def the_power_goes_while_a_file_is_taken_in(
        self, name: str, number: int, calls: int, meanwhile: str
    ) -> None:
        """And before the machine is up again its scanner takes it away, or writes another."""
        self._write(name, paper(number))

        def live_on() -> None:
            if meanwhile == "vanish":
                self.a_file_vanishes(name)
            elif meanwhile == "write":
                self._write(name, paper(number + 1))

        self._crash(lambda life: [life.look() for _ in range(3)], calls, meanwhile=live_on)

    @precondition(lambda self: self._due())
    @rule(calls=WHERE, data=st.data(), how=st.sampled_from(["finished", "review"]))
    def the_power_goes_under_a_step(self, calls: int, data: st.DataObject, how: str) -> None:
        document = data.draw(st.sampled_from(self._due()), label="document")

        def work(life: Life) -> None:
            life.finish(life.begin(life.catalog.document(document)), how)

        was = self.known[document]
        self._crash(
            work,
            calls,
            moved=document,
            may_be={
                (was.position, was.attempts),
                (was.position, was.attempts + 1),
                (was.position + 1, 0),
            },
        )

    @precondition(lambda self: self._resting())
    @rule(calls=st.integers(0, 2), data=st.data(), what=DECISIONS)
    def the_power_goes_under_a_decision(self, calls: int, data: st.DataObject, what: str) -> None:
        document = data.draw(st.sampled_from(self._resting()), label="document")
        was = self.known[document]
        self._crash(
            lambda life: life.decide(document, what),
            calls,
            moved=document,
            may_be={
                (was.position, was.attempts),
                *((position, 0) for position in (was.position - 1, was.position, was.position + 1)),
            },
        )
        now = self.known[document]
        self.rejected[was.content] += (was.state, now.state) == (State.HELD, State.REJECTED)
        assert now.reviewed <= was.reviewed
        if what == "release-unseen" and was.reviewed:
            assert now == was

    @rule(calls=st.integers(0, 12), then=MEANWHILE, name=NAMES, number=PAPERS)
    def the_machine_dies_and_again_while_it_recovers(
        self, calls: int, then: str, name: str, number: int
    ) -> None:
        """Under every running step; and meanwhile the share lived on."""
        if then == "vanish":
            self.a_file_vanishes(name)
        elif then == "write":
            self._write(name, paper(number))
        self._crash(lambda life: life.recover(), calls)

    # What must be so -----------------------------------------------------------------------------

    @invariant()
    def the_balance_sums(self) -> None:
        sheet = self.life.balance()
        assert sheet.unaccounted == 0, sheet
        seen = sum(self.dropped.values()) + sum(self.adopted.values())
        assert sheet.seen <= seen, "a file was counted twice"

    @invariant()
    def the_ledger_only_grows(self) -> None:
        chain = self.life.ledger()
        assert chain[: len(self.chain)] == self.chain, "an entry was changed or is gone"
        self.chain = chain

    @invariant()
    def every_document_is_what_the_model_says(self) -> None:
        rows = {row.id: row for row in self.life.documents()}
        assert set(rows) == set(self.known), "a document vanished or came from nowhere"
        for document, was in self.known.items():
            row = rows[document]
            found = Known(
                was.content,
                row.state,
                row.position,
                row.attempts,
                row.running is not None,
                row.review is not None,
            )
            assert found == was, f"{document}: {found} instead of {was}"
            assert sha256(self.life.original(document)) == was.content

    @invariant()
    def nothing_is_lost(self) -> None:
        here = self.life.everywhere()
        for content, times in self.dropped.items():
            assert times <= self.destroyed[content] or content in here, "a file's bytes are gone"

    @invariant()
    def nothing_is_doubled(self) -> None:
        for content, documents in Counter(k.content for k in self.known.values()).items():
            # What a crash left in the spool alone is kept, though an older document is the same;
            # and what a person rejected may be scanned again.
            allowed = 1 + self.adopted[content] + self.rejected[content]
            assert documents <= allowed, "the same bytes are two documents"
            assert documents <= self.dropped[content]

    def teardown(self) -> None:
        """Everything comes to its end, and the program's own judge finds nothing to say."""
        try:
            self._start_again()
            for _ in range(3):
                self.life.look()
            self._note()
            for document, known in self.known.items():
                if known.state in {State.HELD, State.REJECTED}:
                    assert self.life.decide(document, "retry")
            self.life.work()
            found = self.life.problems()
            assert found == [], found
            assert not list(self.life.spool.incoming.iterdir())
            self._nothing_waits()
        finally:
            self.life.close()
            shutil.rmtree(self.root, ignore_errors=True)

    def _nothing_waits(self) -> None:
        for row in self.life.documents():
            assert row.state is State.SEALED, row
            assert sha256(self.life.original(row.id)) == self.known[row.id].content
        for path in self.life.hot.rglob("*"):
            ours = path.name.startswith((".", "~$"))
            whole = path.is_dir() or path.read_bytes().endswith(b"%%EOF\n")
            assert path.is_dir() or ours or not whole, f"{path.name} was never taken in"

    # The model's own doings ----------------------------------------------------------------------

    def _write(self, name: str, content: bytes) -> None:
        self._forget(name)
        path = self.life.hot / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        self.there[name] = content
        self.dropped[sha256(content)] += 1

    def _content(self, name: str) -> bytes | None:
        """What lies there now, if it is still the scanner's."""
        with contextlib.suppress(FileNotFoundError):
            return (self.life.hot / name).read_bytes()
        return None

    def _forget(self, name: str) -> None:
        content = self._content(name)
        if content is not None:
            self.destroyed[sha256(content)] += 1
        self.there.pop(name, None)

    def _is(self, document: str, **now: object) -> None:
        self.known[document] = replace(self.known[document], **now)

    def _due(self) -> list[str]:
        now = self.life.now()
        return [
            row.id
            for row in self.life.documents()
            if row.running is None and row.due is not None and row.due <= now
        ]

    def _resting(self) -> list[str]:
        return [
            d
            for d, k in self.known.items()
            if not k.running and k.state in {State.HELD, State.REJECTED, State.SEALED}
        ]

    def _note(self) -> None:
        """New documents: each must have the bytes of a file that was dropped."""
        for row in self.life.documents():
            if row.id not in self.known:
                content = sha256(self.life.original(row.id))
                assert self.dropped[content], "a document of bytes that nobody dropped"
                state = State.HELD if row.due is None else State.ADMITTED
                self.known[row.id] = Known(content, state, 0, 0)

    def _crash(
        self,
        action: object,
        calls: int,
        *,
        moved: str = "",
        may_be: object = frozenset(),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self.life.close()
        crash(self.root, action, calls)
        meanwhile()
        self._start_again(moved, may_be)

    def _start_again(self, moved: str = "", may_be: object = frozenset()) -> None:
        """A start after whatever happened: what ran is lost and counted, the rest is as it was."""
        self.life.close()
        self.life = Life(self.root)
        self.life.recover()
        for identifier in self._adopted():
            self.adopted[sha256(self.life.original(identifier))] += 1
        self._note()
        for document in self.running:
            was = self.known[document]
            last = was.attempts >= LIMITS.attempts
            waits = was.state if was.state is State.SEALED else State.WAITING
            self._is(document, state=State.HELD if last else waits, running=False)
        self.running.clear()
        if moved:
            row = self.life.catalog.document(moved)
            assert (row.position, row.attempts) in may_be, (row, may_be)
            self._is(
                moved,
                state=row.state,
                position=row.position,
                attempts=row.attempts,
                reviewed=row.review is not None,
            )

    def _adopted(self) -> list[str]:
        """Documents that a recovery found in the spool alone, now or when it was cut short."""
        return [
            row.id
            for row in self.life.documents()
            if row.id not in self.known
            and "recovered" in {entry.kind for entry in self.life.catalog.ledger_of(row.id)}
        ]


def after(was: Known, how: str) -> Known:
    """What a document is after its running step ended like that."""
    now = replace(was, running=False)
    if how == "review" and not asks(STAGES[was.position], sealed=was.state is State.SEALED):
        how = "finished"
    match how:
        case "review":
            return replace(
                now, state=State.HELD, position=was.position + 1, attempts=0, reviewed=True
            )
        case "finished":
            sealed = STAGES[was.position] == "seal" or was.state is State.SEALED
            state = State.SEALED if sealed else State.WORKING
            return replace(now, state=state, position=was.position + 1, attempts=0)
        case "refused":
            return replace(now, state=State.HELD)
        case "failed" if was.attempts >= LIMITS.attempts:
            return replace(now, state=State.HELD)
        case "failed":
            return replace(now, state=_waiting(was))
        case "postponed":
            return replace(now, state=_waiting(was), attempts=was.attempts - 1)
        case _:  # put back
            return replace(now, attempts=was.attempts - 1)


def _waiting(was: Known) -> State:
    return State.SEALED if was.state is State.SEALED else State.WAITING


def test_nothing_is_lost_or_doubled_whatever_happens() -> None:
    run_state_machine_as_test(
        Archive,
        settings=settings(
            max_examples=MORE or 10,
            stateful_step_count=25,
            deadline=None,
            database=None,
            derandomize=not MORE,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            # A story takes seconds: making it shorter would take longer than reading it.
            phases=(Phase.generate,),
            report_multiple_bugs=False,
        ),
    )
