"""Names that were public once, and what each is called now: read, never written.

What is on record keeps the name it was written with: ledger entries, sealed `record.json`, queued
events. A reader asks here. `keys` and `words` are what people and plug-ins may still write; they
are told the present name. A name stays in these tables for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

STATES: Mapping[str, str] = {"refused": "rejected"}
"""A document's state, and the word of the decision that led there."""

ENDINGS: Mapping[str, str] = {"broke": "failed", "put-back": "requeued"}
"""How an attempt ended."""

CODES: Mapping[str, str] = {
    "bomb": "decompression-bomb",
    "other-side-missing": "back-sides-missing",
    "sides-unclear": "page-order-ambiguous",
    "step-failed": "core-error",
}
"""Failure codes."""

RULES: Mapping[str, str] = {"system-litter": "system-file"}
"""Rules under which a file is left alone."""

CODES_OF_THE_CORE = frozenset({"step-failed"})
"""Those of `CODES` that no stage could ever give."""

EVENTS: Mapping[str, str] = {"step-broke": "step-failed", "document-refused": "document-rejected"}
"""Events."""

KINDS: Mapping[str, str] = {**EVENTS, "step-put-back": "step-requeued"}
"""Kinds of ledger entries. `step-broke` was also the kind of a refusal: `kind_of` tells."""

KEYS: Mapping[str, Mapping[str, str]] = {
    "intake": {"quiet": "settle_time"},
    "hotfolder": {
        "quiet": "settle_time",
        "batch_quiet": "batch_settle_time",
        "other_side": "back_side_wait",
        "answers": "receipts",
        "answers_folder": "receipts_folder",
        "answers_keep": "receipts_keep",
    },
    "stage": {"space": "disk_factor"},
}
"""Configuration: first word of a table's name -> its former keys. Those of a stage are the core's:
an option of a stage's own may be called so."""

VALUES: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("hotfolder", "closed_by"): {"quiet": "settled"}
}
"""Configuration: first word of a table's name and key -> its former values."""

COMMANDS: Mapping[str, str] = {"refuse": "reject"}
"""Commands of archivectl."""


_IN_FACTS = (("code", CODES), ("was", CODES), ("ending", ENDINGS), ("rule", RULES))


def kind_of(kind: str, facts: Mapping[str, Any]) -> str:
    """The present kind of a ledger entry; `facts` are the entry's."""
    if kind == "step-broke" and facts.get("ending") == "refused":
        return "step-refused"
    return KINDS.get(kind, kind)


def spellings(kinds: Iterable[str]) -> tuple[str, ...]:
    """Kinds of entries, or names of events, as they may stand on record."""
    wanted = set(kinds)
    former = (old for old, new in KINDS.items() if new in wanted)
    refusal = ("step-broke",) if "step-refused" in wanted else ()
    return tuple(dict.fromkeys((*wanted, *former, *refusal)))


def present(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of a ledger entry or an event, with the present names of codes, endings and rules."""
    told = dict(facts)
    for name, table in _IN_FACTS:
        value = told.get(name)
        if isinstance(value, str) and value in table:
            told[name] = table[value]
    if isinstance(rules := told.get("rules"), Mapping):
        told["rules"] = {RULES.get(rule, rule): count for rule, count in rules.items()}
    if isinstance(groups := told.get("groups"), list):  # of an entry for many files
        told["groups"] = [present(group) for group in groups]
    return told
