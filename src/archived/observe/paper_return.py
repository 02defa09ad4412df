"""What is told of a safe document's paper, in the language that is spoken. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from archived.locale import _
from archived.model.paper_return import PaperMark, marks, may_go_back, signing_stages
from archived.storage.rows import DocumentRow, LedgerRow, StepRow


def paper_of(document: DocumentRow, steps: Sequence[StepRow], entries: Sequence[LedgerRow]) -> str:
    """One sentence; why not, where it may not go back without asking."""
    sealed_at = document.sealed_at
    seal = next((e.facts for e in reversed(entries) if e.kind == "document-sealed"), {})
    found = marks(
        media_type=document.media_type,
        pages=document.pages,
        signing=signing_stages(seal, document.stages),
        facts={s.stage: s.facts or {} for s in steps if s.ending == "finished"},
        releases=[
            entry.facts
            for entry in entries
            if entry.kind == "document-released" and (sealed_at is None or entry.at <= sealed_at)
        ],
    )
    said = {
        PaperMark.NO_PAGES: _("it has no pages"),
        PaperMark.RELEASED: _("it was released, and something was left out"),
        PaperMark.UNSIGNED: _("it is not signed"),
    }
    why = "; ".join(said[mark] for mark in found)
    if not may_go_back(found):
        return _("Keep the paper until the archivist says otherwise: {why}.").format(why=why)
    if found:
        return _("The paper may go back to its shelf; note: {why}.").format(why=why)
    return _("The paper may go back to its shelf.")
