"""What an admission puts on record: arrivals, ledger entries and news, within one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from archived import AGENT
from archived.intake.item import Candidate, Item
from archived.model.document import Happened
from archived.model.identity import readable
from archived.storage.change import Change
from archived.storage.ledger import Entry
from archived.storage.records import ArrivalState, DocumentRow, Kept, received


def record_admission(
    change: Change, item: Item, row: DocumentRow, kept: Sequence[Kept], now: datetime
) -> None:
    files = [file for file, _ in item.everything()]
    artifacts = [
        received(row.id, each, file.media_type, main=number == 0)
        for number, (file, each) in enumerate(zip(files, kept, strict=True))
    ]
    change.admit(row, artifacts)
    for number, (file, each) in enumerate(zip(files, kept, strict=True)):
        _record_identity(change, file)
        change.arrival_ended(
            file.arrival, ArrivalState.ADMITTED, now, document=row.id, sha256=each.sha256,
            became=each.path,
        )  # fmt: skip
        # The first file's entry is the document's; each further file has one of its own.
        change.record(
            Entry(
                "arrival-joined" if number else "document-admitted", now, AGENT, document=row.id,
                digests={_without_suffix(each.path): each.sha512},
                facts={"hotfolder": row.hotfolder, "device": row.origin,
                       "name": readable(file.path), "size": each.size, "sha256": each.sha256,
                       "arrival": file.arrival,
                       **({"dossier": row.dossier} if row.dossier else {})},
            )
        )  # fmt: skip
    change.announce(
        "document-admitted", now, document=row.id, hotfolder=row.hotfolder,
        facts={"size": row.size, "sha256": kept[0].sha256,
               **({"files": len(kept)} if len(kept) > 1 else {})},
    )  # fmt: skip
    if item.held is not None:
        code, reason = item.held
        change.move(row, Happened.ADMITTED_HELD, now)
        facts = {"code": code, "reason": reason}
        change.record(Entry("document-held", now, AGENT, document=row.id, facts=facts))
        change.announce(
            "document-held", now, document=row.id, hotfolder=row.hotfolder, facts={"code": code}
        )


def record_again(
    change: Change, item: Item, older: DocumentRow, kept: Sequence[Kept], now: datetime
) -> None:
    names = [each.name for each in change.originals(older.id)]
    for number, (file, each) in enumerate(zip(item.files, kept, strict=True), start=1):
        _record_identity(change, file)
        change.arrival_ended(
            file.arrival, ArrivalState.ADMITTED, now, code="same-bytes", document=older.id,
            sha256=each.sha256, reason="the same bytes are in custody already",
            became=f"original/{names[number - 1]}",
        )  # fmt: skip
        facts = {
            "hotfolder": older.hotfolder, "device": file.origin or older.hotfolder,
            "name": readable(file.path), "size": each.size, "arrival": file.arrival,
        }  # fmt: skip
        change.record(
            Entry("arrival-repeated", now, AGENT, document=older.id,
                  digests={f"original/{number:04}": each.sha512}, facts=facts)
        )  # fmt: skip
        change.announce("arrival-repeated", now, document=older.id, facts={"size": each.size})


def _record_identity(change: Change, candidate: Candidate) -> None:
    """Which file exactly was taken in: until it is removed, only this one is not news."""
    change.arrival_changed(
        candidate.arrival, device=candidate.device, inode=candidate.inode, size=candidate.size,
        mtime_ns=candidate.mtime_ns,
    )  # fmt: skip


def _without_suffix(path: str) -> str:
    return path.rpartition(".")[0] or path
