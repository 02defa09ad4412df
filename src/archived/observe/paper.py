"""What is told of a safe document's paper, in the language that is spoken. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from archived.locale import _
from archived.model.paper import SIGNING, Mark, marks, may_go_back
from archived.storage.records import DocumentRow, LedgerRow, StepRow


def paper_of(document: DocumentRow, steps: Sequence[StepRow], entries: Sequence[LedgerRow]) -> str:
    """One sentence; why not, where it may not go back without asking."""
    sealed_at = document.sealed_at
    found = marks(
        media_type=document.media_type, pages=document.pages, stages=document.stages,
        signing=next(
            (s.facts or {} for s in reversed(steps)
             if s.stage == SIGNING and s.ending == "finished"), None,
        ),
        releases=[
            json.loads(entry.entry).get("facts", {})
            for entry in entries
            if entry.kind == "document-released" and (sealed_at is None or entry.at <= sealed_at)
        ],
    )  # fmt: skip
    said = {
        Mark.NO_PAGES: _("it has no pages"),
        Mark.RELEASED: _("it was released, and something was left out"),
        Mark.UNSIGNED: _("it is not signed"),
    }
    why = "; ".join(said[mark] for mark in found)
    if not may_go_back(found):
        return _("Keep the paper until the archivist says otherwise: {why}.").format(why=why)
    if found:
        return _("The paper may go back to its shelf; note: {why}.").format(why=why)
    return _("The paper may go back to its shelf.")
