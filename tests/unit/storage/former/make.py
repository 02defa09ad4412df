"""Makes `archive.tar.xz`: a small archive with documents in every state, by the code of its time.

It was run once with the code that still had the former names, and what it made is kept:

    PYTHONPATH=OLD/src:OLD/tests/fault python make.py archive.tar.xz

Catalog, spool, store and hot folders lie in it as that code left them, closed in order; a step
was running when the machine went away, and no event had been given to anybody.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from dividing import Dividing
from world import CONTENT, DECK

from archived.engine import decisions
from archived.engine.decisions import PersonDecision
from archived.engine.sealing import Sealer
from archived.ingest.batches import BatchRules
from archived.ingest.hotfolder import HotFolderIngest, HotFolderSpec
from archived.ingest.submission import Route
from archived.model.outcome import Ending, Outcome
from archived.model.review import Region, Review
from archived.observe.reviews import of_document
from archived.storage.rows import DocumentRow

BROKE = Outcome(Ending("broke"), "step-failed", "KeyError: 'x'", "report it")
PUT_BACK = Outcome(Ending("put-back"), "shutdown", "the daemon stopped")
BOMB = Outcome(Ending("refused"), "bomb", "It unpacks to 9 TiB.", "Ask for a clean copy.")
LOOK = Outcome(
    Ending("finished"),
    reviews=(Review("unread-content", "look", regions=(Region(1, (0.0, 0.0, 1.0, 1.0)),)),),
)
QUICK: dict[str, Any] = {"quiet": 0.0, "other_side": 0.0, "two_pass": True}


class Old(Dividing):
    """One document at a time, led to where it is to stand."""

    def arrive(self, name: str) -> DocumentRow:
        """A file that becomes a document."""
        (self.hot / name).write_bytes(CONTENT + name.encode() + b"\n%%EOF\n")
        self.sweep()
        return next(d for d in self.catalog.documents() if d.name == name)

    def to(self, row: DocumentRow, *outcomes: Outcome) -> None:
        """Its next steps end so."""
        for outcome in outcomes:
            self.end(self.begin(self.catalog.document(row.id)), outcome)

    def whole(self, row: DocumentRow) -> None:
        """Every step ends well, and nothing is cut."""
        while (now := self.catalog.document(row.id)).due is not None:
            self.step(Sealer(self.spool, self.store, self.catalog, ""), now)

    def do_stage(self, row: DocumentRow, stage: str, step: str) -> Outcome:
        if row.name == "divided.pdf" or row.master is not None:
            return super().do_stage(row, stage, step)
        return super(Dividing, self).do_stage(row, stage, step)

    def refuse(self, row: DocumentRow) -> None:
        """A person decides that it is not archived."""
        decisions.refuse(self.catalog, row.id, "lan", "not ours", self.now())  # type: ignore[attr-defined] # of its time

    def go_on(self, row: DocumentRow, *, skip: bool, note: str) -> None:
        """A person decides that it goes on."""
        row = self.catalog.document(row.id)
        shown = next((str(r["shown"]) for r in of_document(self.catalog, row)), None)
        decisions.release(
            self.catalog,
            DECK,
            row.id,
            PersonDecision("lan", note, self.now(), shown=shown),
            skip=skip,
        )

    def duplex(self, folder: str, *names: str, wait: float) -> None:
        """A hot folder whose scanner sees one side of the paper."""
        hot = self.root / folder
        hot.mkdir()
        for name in names:
            (hot / name).write_bytes(CONTENT + name.encode() + b"\n%%EOF\n")
            os.utime(hot / name, ns=(10**18, 10**18))
        rules: dict[str, Any] = QUICK | {"other_side": wait}
        spec: dict[str, Any] = {"quiet": 0.0, "deadline": 3600.0}
        route = Route(folder, "paper", self.stages, self.copies, "cpu")
        ingest = HotFolderIngest(
            HotFolderSpec(folder, hot, route, batches=BatchRules(**rules), **spec),
            self.catalog,
            self.spool,
            self,
        )
        for _ in range(4):
            ingest.sweep()
            time.sleep(0.02)


def make(root: Path) -> None:
    """Documents in every state."""
    world = Old(root)
    world.arrive("admitted.pdf")
    sealed = world.arrive("safe.pdf")
    world.to(sealed, BROKE, PUT_BACK, BOMB)
    world.go_on(sealed, skip=False, note="it is a map")
    world.whole(sealed)
    world.copies = 1
    world.whole(world.arrive("sealed.pdf"))
    world.copies = 0
    world.to(world.arrive("held-bomb.pdf"), BOMB)
    world.to(world.arrive("held-broke.pdf"), *([BROKE] * 5))
    world.to(world.arrive("held-review.pdf"), LOOK)
    world.to(world.arrive("waiting.pdf"), BROKE)
    world.to(world.arrive("put-back.pdf"), PUT_BACK)
    retried = world.arrive("retried.pdf")
    world.to(retried, BOMB)
    world.go_on(retried, skip=False, note="it is a map")
    released = world.arrive("released.pdf")
    world.to(released, BOMB)
    world.go_on(released, skip=True, note="a known file")
    refused = world.arrive("refused.pdf")
    world.to(refused, BOMB)
    world.refuse(refused)
    divided = world.arrive("divided.pdf")
    world.step(Sealer(world.spool, world.store, world.catalog, ""), divided)
    first, second, _third = world.catalog.parts(divided.id)
    world.whole(first)
    world.to(second, replace(BOMB, code="secrecy-above-declared"))
    world.refuse(second)
    world.duplex("fronts", "fronts.pdf", wait=0.0)
    world.duplex("unclear", "one.pdf", "two.pdf", wait=3600.0)
    (world.hot / "safe-again.pdf").write_bytes(CONTENT + b"safe.pdf\n%%EOF\n")
    (world.hot / "Thumbs.db").write_bytes(b"x")
    world.sweep()
    world.begin(world.arrive("working.pdf"))
    with world.catalog.transaction() as change:
        change.outbox_read("mqtt", 3)
    print({(d.name, str(d.state), d.code) for d in world.catalog.documents()})
    print([(a.name, str(a.state), a.code) for a in world.catalog.arrivals()])
    print({e[3] for e in world.catalog.ledger_rows()})
    world.catalog.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        with tarfile.open(sys.argv[1], "w:xz") as tar:
            for each in sorted(Path(folder).iterdir()):
                tar.add(each, each.name)
