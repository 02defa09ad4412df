"""Whether a document that was cut into parts may leave the spool: it holds all of their pages.

Asked before it is sealed and before anything is done with its object. It goes on when every part
is allowed, or when a person decided about the document itself after having been told which are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol

from archived.errors import NotNow
from archived.model.outcome import Ending, Outcome
from archived.model.plan import SEAL
from archived.model.secrecy import OF_PARTS, PART_ABOVE, PART_UNKNOWN, Known, of_part
from archived.storage.records import DocumentRow, LedgerRow

PARTS_IN_WORK = "parts-in-work"
_NAMED = 20
"""Parts that a sentence names; `archivectl show` names all of them."""


class Parts(Protocol):
    """Who knows the parts of a document: the catalog, or a transaction of it."""

    def parts(self, master: str) -> Sequence[DocumentRow]: ...


class Decisions(Parts, Protocol):
    """Who knows what was decided as well."""

    def ledger_of(self, document: str) -> Sequence[LedgerRow]: ...


def stops(catalog: Decisions, row: DocumentRow) -> Outcome | None:
    """The ending of a step at or behind the seal that must not be done; `None`: it may.

    A decision covers a part as it was then: one that was taken up since is not covered.
    """
    found = _stopping(catalog, row)
    if not found:
        return None
    decided = _decided(catalog.ledger_of(row.id))
    return _outcome([(part, known) for part, known in found if _as_decided(part) not in decided])


def check_told(change: Parts, row: DocumentRow) -> list[dict[str, Any]]:
    """For the ledger: the parts a person decided about who lets the held document go on.

    Raises `NotNow` when its parts are not what the person was told: what holds it names them.
    """
    if row.code not in OF_PARTS:
        return []
    found = _stopping(change, row)
    now = _outcome(found)
    if now is not None and (now.code, now.message) != (row.code, row.reason):
        raise NotNow(
            f"its parts are not any more what document {row.id} is held for",
            hint=f"archivectl retry {row.id} looks at them again",
        )
    return [_as_json(part) for part, _ in found]


def _stopping(catalog: Parts, row: DocumentRow) -> list[tuple[DocumentRow, Known]]:
    """The parts that are not allowed, in order, with those of parts that were cut themselves."""
    found: list[tuple[DocumentRow, Known]] = []
    for part in catalog.parts(row.id):
        known = of_part(
            part.state, part.code, sealed=part.object_key is not None,
            passed=part.position >= part.stages.index(SEAL) and part.review is None,
        )  # fmt: skip
        if known is not Known.ALLOWED:
            found.append((part, known))
        elif part.object_key is None:
            found += _stopping(catalog, part)
    return found


def _outcome(found: Sequence[tuple[DocumentRow, Known]]) -> Outcome | None:
    def those(known: Known) -> list[DocumentRow]:
        return [part for part, is_known in found if is_known is known]

    if in_work := those(Known.IN_WORK):
        return Outcome(
            Ending.POSTPONED, PARTS_IN_WORK, f"parts of it are not at rest: {_named(in_work)}",
            "decide about the parts; it goes on by itself", after=timedelta(minutes=5),
        )  # fmt: skip
    for known, code, why in (
        (Known.ABOVE, PART_ABOVE, "a part was refused for a mark above the declared level"),
        (Known.NOT_ESTABLISHED, PART_UNKNOWN,
         "a part was refused before it was known to carry no mark above the declared level"),
    ):  # fmt: skip
        if those(known):
            return Outcome(
                Ending.REFUSED, code, f"{why}: {_named(part for part, _ in found)}",
                "this scan holds the same pages. Refuse it as well: its bytes are kept, and the "
                "other parts are archived. Or, when it may be archived in this place, release it",
            )  # fmt: skip
    return None


def _named(parts: Iterable[DocumentRow]) -> str:
    named = [f"{part.id} [{part.code}]" if part.code else part.id for part in parts]
    more = f", {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more


def _as_json(part: DocumentRow) -> dict[str, Any]:
    return {"part": part.id, "code": part.code, "since": part.changed.isoformat()}


def _as_decided(part: DocumentRow) -> tuple[str, str]:
    return part.id, part.changed.isoformat()


def _decided(entries: Iterable[LedgerRow]) -> set[tuple[str, str]]:
    told = (
        json.loads(entry.entry).get("facts", {})
        for entry in entries
        if entry.kind == "document-released"
    )
    return {(each["part"], each["since"]) for facts in told for each in facts.get("parts", ())}
