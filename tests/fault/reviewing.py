"""A house whose first stage makes a new main file and asks that a person looks, with a picture."""

from __future__ import annotations

from archived.engine import decisions
from archived.engine.decisions import PersonDecision
from archived.model import review
from archived.model.lifecycle import State
from archived.model.outcome import Ending, Made, Outcome
from archived.model.review import Region, Review
from archived.observe.reviews import of_document
from archived.storage.rows import DocumentFilter, DocumentRow
from tests.fault.hand_driven_archive import DECK, World

PICTURE = b"\x89PNG\r\n\x1a\n a stamp that nobody read"
MADE = (
    Made("page.pdf", "page.pdf", "application/pdf", "access"),
    Made("page.txt", "page.txt", "text/plain", "text"),
    Made("mark.png", "mark.png", "image/png", "metadata"),
)
ASKED = Review(
    "unread-content",
    "Marks were not read.",
    "Look for a stamp.",
    (
        Region(1, (0.5, 0.1, 0.9, 0.2), "unread-marks", 0.25, "mark.png"),
        Region(2, (0.0, 0.0, 1.0, 1.0), "picture"),
    ),
)


class Reviewing(World):
    """As `World`; pipelines want no copies, so that what is sealed is safe."""

    copies = 0
    asks = True
    """Whether the stage finds something to look at."""

    def do_stage(self, row: DocumentRow, stage: str, step: str) -> Outcome:
        if stage != "note":
            return super().do_stage(row, stage, step)
        folder = self.spool.start_work(step)
        (folder / "page.pdf").write_bytes(b"%PDF-1.7\n" + step.encode() + b"\n%%EOF\n")
        (folder / "page.txt").write_text("bí mật của ai đó")
        (folder / "mark.png").write_bytes(PICTURE)
        return Outcome(
            Ending.FINISHED,
            made=MADE,
            main=0,
            facts={"pages": 2},
            reviews=(ASKED,) if self.asks else (),
        )

    def shown(self, document: str) -> str:
        """What a decision about the document must name."""
        row = self.catalog.document(document)
        (it,) = (step for step in of_document(self.catalog, row) if step["holds"])
        return str(it["shown"])

    def look_and_release(self) -> None:
        """A person looks at everything that waits for that, and lets it go on."""
        for row in self.catalog.documents(DocumentFilter(states=[State.HELD], reviewed=True)):
            decisions.release(
                self.catalog,
                DECK,
                row.id,
                PersonDecision("lan", "no secret", self.now(), shown=self.shown(row.id)),
                skip=True,
            )

    def retry_once(self) -> None:
        """A person has the stage run again, if nobody did before."""
        for row in self.catalog.documents(DocumentFilter(states=[State.HELD], reviewed=True)):
            kinds = {entry.kind for entry in self.catalog.ledger_of(row.id)}
            if "document-retried" not in kinds:
                decisions.release(
                    self.catalog,
                    DECK,
                    row.id,
                    PersonDecision("lan", "again", self.now()),
                    skip=False,
                )


def digest(step: str, asked: Review, sha512: str) -> str:
    """What was shown, worked out by hand."""
    return review.digest(step, review.with_digests([asked], {"mark.png": sha512}))
