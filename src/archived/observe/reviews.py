"""What waits until a person has looked: which documents, and what is to be seen of each.

Reads the catalog only. Of a document's content nothing is told but where to look; the pictures
are files, which the daemon returns as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archived.model import review
from archived.model.lifecycle import State
from archived.model.outcome import SUPERSEDED
from archived.storage.catalog import Catalog
from archived.storage.rows import DocumentFilter, DocumentRow, StepRow


def waiting(catalog: Catalog, arguments: Mapping[str, str], limit: int) -> list[DocumentRow]:
    """Documents held for a review, the newest first; `before` goes on after that id."""
    which = DocumentFilter(
        states=[State.HELD],
        hotfolder=arguments.get("hotfolder"),
        dossier=arguments.get("dossier"),
        code=arguments.get("code"),
        reviewed=True,
    )
    return catalog.documents(which, limit=limit, before=arguments.get("before"))


def of_document(catalog: Catalog, row: DocumentRow) -> list[dict[str, Any]]:
    """Each step that asked for a look and was not done again since. `holds`: the document waits
    for that; `shown`: what a decision about it must name.
    """
    held = row.review if row.state is State.HELD else None
    return [
        {
            "step": step.id,
            "stage": step.stage,
            "version": step.version,
            "ended": step.ended,
            "holds": step.id == held,
            "shown": review.digest(step.id, reviews_of(step)),
            "reviews": list(step.reviews or ()),
        }
        for step in catalog.steps(row.id)
        if step.reviews and step.ending != SUPERSEDED
    ]


def reviews_of(step: StepRow) -> Sequence[review.Review]:
    """What a step asked somebody to look at."""
    return review.from_json(list(step.reviews or ()))
