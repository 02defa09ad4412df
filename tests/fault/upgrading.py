"""A document whose stage reaches a low level before the seal, and the high one after it."""

from __future__ import annotations

import secrets
from dataclasses import replace

from archived.engine import commit
from archived.engine.upgrade_requests import ask_for_upgrade
from archived.model.outcome import Ending, Made, Outcome
from archived.model.pipeline import SEAL, is_upgrade
from archived.storage.rows import DocumentRow
from tests.fault.hand_driven_archive import DECK, World

LIFT = replace(DECK.stages["note"], name="lift", upgrades=True)
SPECS = replace(DECK, stages={**DECK.stages, "lift": LIFT})


class Upgrading(World):
    """No two results of an upgrade are alike: two of them would be seen in the store."""

    stages = ("lift", SEAL, "after")
    copies = 0
    flagging = SPECS

    def context(self) -> commit.CommitContext:
        return commit.CommitContext(self.spool, self.catalog, SPECS, self.now())

    def upgrade(self) -> None:
        """Ask for every document that is at rest and lacks something, and do what is due."""
        for row in self.catalog.documents():
            ask_for_upgrade(self.catalog, SPECS, row.id, self.now())
        self.work()

    def do_stage(self, row: DocumentRow, stage: str, step: str) -> Outcome:
        if stage != "lift":
            return Outcome(Ending.FINISHED)
        level = "high" if is_upgrade(row.stages, row.position) else "low"
        folder = self.spool.start_work(step)
        (folder / "mark.txt").write_text(f"{level} {secrets.token_hex(8)}")
        made = (Made("mark.txt", "mark.txt", "text/plain", "metadata"),)
        pending = None if level == "high" else "high"
        return Outcome(Ending.FINISHED, made=made, facts={"level": level, "pending": pending})
