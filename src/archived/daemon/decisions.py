"""A person's decision about one document, as the control socket brings it: carried out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from archived.engine.cards import Deck
from archived.engine.commit import refuse, release
from archived.engine.missing_copies import ask_for_copies
from archived.errors import ArchivedError
from archived.model.document import State
from archived.storage.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Asked:
    """What was decided about which document, and by whom; `held_for`, `shown`: see `release`."""

    what: str
    document: str
    operator: str
    note: str
    held_for: str | None = None
    shown: str | None = None


def carry_out(catalog: Catalog, deck: Deck, asked: Asked, now: datetime) -> State:
    """The document's state afterwards. Blocking; raises `ArchivedError` and `IllegalStep`."""
    about = (asked.document, asked.operator, asked.note, now)
    match asked.what:
        case "refuse":
            return refuse(catalog, *about)
        case "copy":
            return ask_for_copies(catalog, deck, *about)
        case "retry" | "release":
            return release(
                catalog, deck, *about, skip=asked.what == "release", held_for=asked.held_for,
                shown=asked.shown,
            )  # fmt: skip
    raise ArchivedError(f"{asked.what!r} is not a decision", code="bad-question")
