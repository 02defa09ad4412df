"""The life of a document: every pair of state and event, one by one."""

import itertools

import pytest

from archived.model.lifecycle import (
    ARCHIVED,
    COLUMN,
    MOVING,
    NEXT,
    IllegalTransition,
    State,
    Transition,
    after,
    diagram,
)

EVERY_PAIR = list(itertools.product(State, Transition))


@pytest.mark.parametrize(("state", "happened"), EVERY_PAIR)
def test_every_pair_either_leads_to_the_tables_state_or_is_refused(
    state: State, happened: Transition
) -> None:
    if (state, happened) in NEXT:
        assert after(state, happened) is NEXT[state, happened]
    else:
        with pytest.raises(IllegalTransition, match=str(state)):
            after(state, happened)


def reachable_from(start: State) -> set[State]:
    found, new = {start}, {start}
    while new:
        new = {then for (state, _), then in NEXT.items() if state in new} - found
        found |= new
    return found


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_reached_from_admission(state: State) -> None:
    assert state in reachable_from(State.ADMITTED)


@pytest.mark.parametrize("state", [s for s in State if s is not State.REJECTED])
def test_no_state_but_a_persons_refusal_can_keep_a_document_from_becoming_safe(
    state: State,
) -> None:
    assert State.SAFE in reachable_from(state)


@pytest.mark.parametrize("state", sorted(ARCHIVED))
def test_an_archived_document_never_becomes_unsealed(state: State) -> None:
    assert reachable_from(state) - {
        State.HELD,
        State.WORKING,
        State.WAITING,
        State.REJECTED,
        State.DIVIDED,
    } <= {
        State.SEALED,
        State.SAFE,
    }
    direct = {then for (s, _), then in NEXT.items() if s is state}

    assert direct <= {State.SEALED, State.SAFE, State.HELD}


def test_a_safe_document_stays_so_unless_proof_is_missing_or_it_has_a_new_version() -> None:
    leaving = [pair for pair, then in NEXT.items() if pair[0] is State.SAFE and then != pair[0]]
    assert leaving == [
        (State.SAFE, Transition.FOUND_SEALED),
        (State.SAFE, Transition.UPGRADED),
    ]


@pytest.mark.parametrize("state", State)
def test_every_state_is_in_exactly_one_column_of_the_balance_sheet(state: State) -> None:
    assert COLUMN[state] in {"archived", "held", "in work"}
    assert (COLUMN[state] == "archived") == (state in ARCHIVED)


def test_steps_start_only_in_states_that_move() -> None:
    starting = {state for state, happened in NEXT if happened is Transition.STEP_STARTED}

    assert starting == MOVING


def test_the_diagram_shows_every_pair_of_the_table() -> None:
    lines = diagram().splitlines()

    for (state, happened), then in NEXT.items():
        (arrow,) = [line for line in lines if line.strip().startswith(f"{state} --> {then}:")]
        assert str(happened) in arrow


def test_the_words_for_states_stand_in_catalogs_and_never_change() -> None:
    assert {state.name: str(state) for state in State} == {
        state.name: state.name.lower() for state in State
    }


def test_a_life_begins_in_custody_and_ends_safe_in_the_diagram_too() -> None:
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> admitted"]
    assert lines[-1] == "    safe --> [*]"
