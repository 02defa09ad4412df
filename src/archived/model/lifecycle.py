"""The life of one document, as a table.

Everything that decides a document's next state is in `NEXT`; nothing here knows about disks,
clocks or databases. An illegal step raises and changes nothing. The diagram in DESIGN.md is drawn
from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

SOURCE_GREW = "source-grew"
"""The code of a document whose file was written to after it was taken in."""


class State(StrEnum):
    """Where a document stands."""

    ADMITTED = "admitted"
    """In custody: durable in the spool and on record; no stage has started yet."""
    WORKING = "working"
    """A step is running, or the next one is due."""
    WAITING = "waiting"
    """A step could not end well; it is tried again at a known time."""
    DIVIDED = "divided"
    """It was cut into parts, documents of their own; it waits until every one of them is at rest,
    and is then sealed as it arrived."""
    HELD = "held"
    """A person must decide."""
    REJECTED = "rejected"
    """A person decided that it is not archived; its bytes are kept all the same."""
    SEALED = "sealed"
    """Its OCFL object is durable in the store; copies may still be missing."""
    SAFE = "safe"
    """The wanted number of copies was written and read back."""


class Transition(StrEnum):
    """What can happen to a document."""

    STEP_STARTED = "step-started"
    STEP_FINISHED = "step-finished"
    """A stage ended well, or was passed over, or gave its place back."""
    STEP_POSTPONED = "step-postponed"
    """The world is at fault, or the stage with tries left: wait."""
    STEP_HELD = "step-held"
    """The document is at fault, or the stage has no tries left."""
    ADMITTED_HELD = "admitted-held"
    """Taken into custody, but a person must look first (it arrived incomplete, say)."""
    DIVIDED = "divided"
    """A stage cut it into parts."""
    PARTS_AT_REST = "parts-at-rest"
    """Every part is safe, or was rejected by a person."""
    SEALED = "sealed"
    FOUND_SEALED = "found-sealed"
    """The store holds its object, and the catalog had not heard of it, or called it safe without
    proof of its copies."""
    COPIES_VERIFIED = "copies-verified"
    RELEASED = "released"
    """A person says: go on. Before the seal."""
    RELEASED_SEALED = "released-sealed"
    """A person says: go on. After the seal."""
    COPIES_ASKED = "copies-asked"
    """A person asks for the copies that its pipeline makes now."""
    UPGRADE_ASKED = "upgrade-asked"
    """A stage can improve what it made of the sealed document."""
    UPGRADED = "upgraded"
    """Its object has a new version, of which no copy exists yet."""
    OPERATOR_REJECTED = "operator-rejected"


_S, _H = State, Transition

NEXT: Mapping[tuple[State, Transition], State] = MappingProxyType(
    {
        (_S.ADMITTED, _H.STEP_STARTED): _S.WORKING,
        (_S.ADMITTED, _H.ADMITTED_HELD): _S.HELD,
        (_S.WORKING, _H.STEP_STARTED): _S.WORKING,
        (_S.WORKING, _H.STEP_FINISHED): _S.WORKING,
        (_S.WORKING, _H.STEP_POSTPONED): _S.WAITING,
        (_S.WORKING, _H.STEP_HELD): _S.HELD,
        (_S.WORKING, _H.DIVIDED): _S.DIVIDED,
        (_S.DIVIDED, _H.PARTS_AT_REST): _S.WORKING,
        (_S.WORKING, _H.SEALED): _S.SEALED,
        (_S.WAITING, _H.STEP_STARTED): _S.WORKING,
        (_S.WAITING, _H.STEP_HELD): _S.HELD,
        (_S.WAITING, _H.RELEASED): _S.WORKING,
        (_S.HELD, _H.RELEASED): _S.WORKING,
        (_S.HELD, _H.RELEASED_SEALED): _S.SEALED,
        (_S.HELD, _H.OPERATOR_REJECTED): _S.REJECTED,
        (_S.REJECTED, _H.RELEASED): _S.WORKING,
        **{
            (state, _H.FOUND_SEALED): _S.SEALED
            for state in (
                _S.ADMITTED,
                _S.WORKING,
                _S.WAITING,
                _S.DIVIDED,
                _S.HELD,
                _S.REJECTED,
                _S.SAFE,
            )
        },
        # After the seal the document is archived already; steps protect or announce it.
        (_S.SEALED, _H.STEP_STARTED): _S.SEALED,
        (_S.SEALED, _H.STEP_FINISHED): _S.SEALED,
        (_S.SEALED, _H.STEP_POSTPONED): _S.SEALED,
        (_S.SEALED, _H.STEP_HELD): _S.HELD,
        (_S.SEALED, _H.COPIES_VERIFIED): _S.SAFE,
        (_S.SEALED, _H.RELEASED_SEALED): _S.SEALED,
        (_S.SEALED, _H.COPIES_ASKED): _S.SEALED,
        (_S.SEALED, _H.UPGRADE_ASKED): _S.SEALED,
        (_S.SEALED, _H.UPGRADED): _S.SEALED,
        # Further copies of what has enough of them: nothing that happens to them makes it less.
        (_S.SAFE, _H.COPIES_ASKED): _S.SAFE,
        (_S.SAFE, _H.UPGRADE_ASKED): _S.SAFE,
        (_S.SAFE, _H.UPGRADED): _S.SEALED,
        (_S.SAFE, _H.STEP_STARTED): _S.SAFE,
        (_S.SAFE, _H.STEP_FINISHED): _S.SAFE,
        (_S.SAFE, _H.STEP_POSTPONED): _S.SAFE,
    }
)

ARCHIVED = frozenset({State.SEALED, State.SAFE})
"""States in which the document's object is in the store."""

MOVING = frozenset({State.ADMITTED, State.WORKING, State.WAITING, State.SEALED, State.SAFE})
"""States from which the scheduler may start a step; of safe documents only for further copies and
for upgrades."""

AT_REST = frozenset({State.SAFE, State.REJECTED})
"""States in which nothing more must be done with a document; further copies may be made."""

COLUMN: Mapping[State, str] = MappingProxyType(
    {
        State.ADMITTED: "in work",
        State.WORKING: "in work",
        State.WAITING: "in work",
        State.DIVIDED: "in work",
        State.HELD: "held",
        State.REJECTED: "held",
        State.SEALED: "archived",
        State.SAFE: "archived",
    }
)
"""The column of the balance sheet in which a document of this state is counted."""


class IllegalTransition(Exception):
    """This cannot happen to a document in this state; nothing was changed."""

    def __init__(self, happened: Transition, state: State) -> None:
        super().__init__(f"{happened} cannot happen to a document that is {state}")
        self.state = state


def after(state: State, happened: Transition) -> State:
    """The state after `happened`. Raises `IllegalStep` for a pair that is not in `NEXT`."""
    try:
        return NEXT[state, happened]
    except KeyError:
        raise IllegalTransition(happened, state) from None


def diagram() -> str:
    """The table as a Mermaid state diagram, for DESIGN.md."""
    lines = ["stateDiagram-v2", "    [*] --> admitted"]
    drawn: dict[tuple[State, State], list[str]] = {}
    for (state, happened), then in NEXT.items():
        drawn.setdefault((state, then), []).append(str(happened))
    lines += [f"    {a} --> {b}: {', '.join(names)}" for (a, b), names in drawn.items()]
    lines.append("    safe --> [*]")
    return "\n".join(lines)
