"""A house whose first stage cuts each received document into three parts."""

from __future__ import annotations

from collections.abc import Sequence

from archived.engine.sealing import Sealer
from archived.model.outcome import Ending, Made, Outcome, PartMade
from archived.storage.rows import DocumentRow
from tests.fault.hand_driven_archive import CONTENT, World

PARTS = 3


class Dividing(World):
    """As `World`; pipelines want no copies, so that what is sealed is safe."""

    copies = 0

    @staticmethod
    def piece(number: int) -> bytes:
        """The bytes of a part."""
        return CONTENT + f"part {number}\n%%EOF\n".encode()

    @staticmethod
    def as_parts(files: Sequence[Made]) -> list[PartMade]:
        """Parts of a dossier each."""
        return [
            PartMade(file, f"part {n}", f"HS-{n}", {"pages": [n]})
            for n, file in enumerate(files, start=1)
        ]

    def advance(self, row: DocumentRow) -> None:
        """Its next step."""
        self.step(Sealer(self.spool, self.store, self.catalog, ""), row)

    def to_its_end(self, row: DocumentRow) -> None:
        """Every step of one document."""
        while (row := self.catalog.document(row.id)).due is not None:
            self.advance(row)

    def do_stage(self, row: DocumentRow, stage: str, step: str) -> Outcome:
        if stage != "note" or row.master is not None:
            return super().do_stage(row, stage, step)
        folder = self.spool.start_work(step)
        files = []
        for number in range(1, PARTS + 1):
            name = f"part-{number}.pdf"
            (folder / name).write_bytes(self.piece(number))
            files.append(Made(name, name, "application/pdf", "original"))
        (folder / "plan.json").write_text("{}")
        plan = Made("plan.json", "plan.json", "application/json", "metadata")
        return Outcome(Ending.FINISHED, made=(plan,), parts=self.as_parts(files))
