"""What stages found out about a document, in the one shape the rest of the house reads.

A stage describes a document by putting `fields` into its facts: field name -> `{"value": ...}`
(`None` when it could not be established). Later stages win. `pages` is a number any stage may give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def fields(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Field name -> established value, from stage -> facts."""
    found: dict[str, str] = {}
    for of_stage in facts.values():
        described = of_stage.get("fields")
        if not isinstance(described, Mapping):
            continue
        for name, field in described.items():
            value = field.get("value") if isinstance(field, Mapping) else None
            if isinstance(value, str) and value:
                found[str(name)] = value
    return found


def claims(given: Mapping[str, Any]) -> str:
    """Every text a ticket gives about a document, in one line to find it by."""
    found = []
    for value in given.values():
        found.append(claims(value) if isinstance(value, Mapping) else str(value))
    return " ".join(found)


def findable(facts: Mapping[str, Mapping[str, Any]], dossier: str, given: Mapping[str, Any]) -> str:
    """What is known of a document beside its name and its text, in one line to find it by."""
    return " ".join((*fields(facts).values(), dossier, claims(given)))


def pages(facts: Mapping[str, Mapping[str, Any]]) -> int | None:
    """The number of pages, as the last stage that counted them said."""
    counted = [
        f["pages"]
        for f in facts.values()
        if isinstance(f.get("pages"), int) and not isinstance(f["pages"], bool)
    ]
    return counted[-1] if counted else None
