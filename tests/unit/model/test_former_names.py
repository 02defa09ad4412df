"""What was called otherwise is read under the name of now, and nothing else is changed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from archived.api import EVENTS
from archived.model import former_names
from archived.model.former_names import kind_of, present, spellings
from archived.model.lifecycle import State
from archived.model.outcome import CORE_CODES, RUNNER_CODES, Ending
from archived.storage.ledger import KINDS

TABLES: list[tuple[Mapping[str, str], set[str]]] = [
    (former_names.STATES, {str(state) for state in State}),
    (former_names.ENDINGS, {str(ending) for ending in Ending}),
    (former_names.EVENTS, set(EVENTS)),
]


@pytest.mark.parametrize(("table", "now"), TABLES)
def test_a_name_leads_to_one_of_now_and_is_none_itself(
    table: Mapping[str, str], now: set[str]
) -> None:
    assert set(table.values()) <= now
    assert not set(table) & now


def test_the_pairs_that_nothing_else_holds() -> None:
    assert former_names.STATES == {"refused": "rejected"}
    assert former_names.CODES["other-side-missing"] == "back-sides-missing"


def test_a_kind_leads_to_one_of_now() -> None:
    assert set(former_names.KINDS.values()) <= set(KINDS)
    assert not set(former_names.KINDS) & set(KINDS)


def test_a_stage_gives_neither_a_code_of_the_core_nor_what_it_was_called() -> None:
    assert set(former_names.CODES) >= former_names.CODES_OF_THE_CORE
    for former in former_names.CODES_OF_THE_CORE:
        assert {former, former_names.CODES[former]} <= RUNNER_CODES
        assert former_names.CODES[former] in CORE_CODES


@pytest.mark.parametrize(
    ("kind", "facts", "now"),
    [
        ("step-broke", {"ending": "broke"}, "step-failed"),
        ("step-broke", {"ending": "refused"}, "step-refused"),
        ("step-broke", {}, "step-failed"),
        ("step-put-back", {"ending": "put-back"}, "step-requeued"),
        ("document-refused", {}, "document-rejected"),
        ("step-refused", {"ending": "refused"}, "step-refused"),
        ("document-held", {"ending": "refused"}, "document-held"),
    ],
)
def test_the_kind_of_an_entry(kind: str, facts: Mapping[str, str], now: str) -> None:
    assert kind_of(kind, facts) == now


def test_what_is_asked_for_is_found_under_every_name_it_had() -> None:
    assert set(spellings(["step-refused"])) == {"step-refused", "step-broke"}
    assert set(spellings(["step-failed"])) == {"step-failed", "step-broke"}
    assert set(spellings(["document-rejected", "document-held"])) == {
        "document-rejected",
        "document-refused",
        "document-held",
    }
    both = spellings(["step-refused", "step-failed"])
    assert sorted(both) == ["step-broke", "step-failed", "step-refused"], "each once"


def test_facts_are_told_under_names_of_now_and_the_others_are_left() -> None:
    facts = {
        "code": "bomb",
        "was": "sides-unclear",
        "ending": "put-back",
        "rule": "system-litter",
        "rules": {"system-litter": 2, "hidden": 1},
        "groups": [{"rule": "system-litter", "arrivals": [[1, 2]]}],
        "note": "bomb",
        "count": 3,
    }
    before = repr(facts)
    assert present(facts) == {
        "code": "decompression-bomb",
        "was": "page-order-ambiguous",
        "ending": "requeued",
        "rule": "system-file",
        "rules": {"system-file": 2, "hidden": 1},
        "groups": [{"rule": "system-file", "arrivals": [[1, 2]]}],
        "note": "bomb",
        "count": 3,
    }
    assert repr(facts) == before


def test_facts_that_say_nothing_of_that_are_the_same() -> None:
    facts = {"code": None, "was": 3, "rules": [], "groups": None, "stage": "ocr", "ending": "lost"}
    assert present(facts) == facts
