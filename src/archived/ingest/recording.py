"""What is put on record about arrivals: new, ignored, held, admitted, removed, changed later.

A folder may hold a hundred thousand files that nobody takes away. They are recorded once, some
hundreds in a transaction, so that others may write in between. A file that grew after it was taken
in is a new arrival; the document that holds the shorter bytes is held while it is not sealed, and
otherwise its arrival and its receipt say so.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol, TypeVar

from archived import AGENT
from archived.ingest.hold_reasons import HOLDS
from archived.ingest.ignore_rules import RULES
from archived.ingest.scanner import ScanEntry
from archived.ingest.submission import Candidate, Submission
from archived.model.ids import readable
from archived.model.lifecycle import SOURCE_GREW, State, Transition
from archived.model.reconciliation import ranges
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.rows import (
    Arrival,
    ArrivalState,
    BecameArtifact,
    DocumentRow,
    SpoolFile,
    received,
)
from archived.storage.transaction import Transaction


def record_admission(
    change: Transaction,
    item: Submission,
    row: DocumentRow,
    kept: Sequence[SpoolFile],
    now: datetime,
) -> None:
    files = [file for file, _ in item.everything()]
    artifacts = [
        received(row.id, each, file.media_type, main=number == 0)
        for number, (file, each) in enumerate(zip(files, kept, strict=True))
    ]
    change.admit(row, artifacts)
    for number, (file, each) in enumerate(zip(files, kept, strict=True)):
        _record_identity(change, file)
        became = BecameArtifact(row.id, each.sha256, each.path)
        change.arrival_admitted(file.arrival, now, became)
        # The first file's entry is the document's; each further file has one of its own.
        change.record(
            Entry(
                "arrival-joined" if number else "document-admitted",
                now,
                AGENT,
                document=row.id,
                digests={_without_suffix(each.path): each.sha512},
                facts={
                    "hotfolder": row.hotfolder,
                    "device": row.origin,
                    "name": readable(file.path),
                    "size": each.size,
                    "sha256": each.sha256,
                    "arrival": file.arrival,
                    **({"dossier": row.dossier} if row.dossier else {}),
                },
            )
        )
    change.announce(
        "document-admitted",
        now,
        document=row.id,
        hotfolder=row.hotfolder,
        facts={
            "size": row.size,
            "sha256": kept[0].sha256,
            **({"files": len(kept)} if len(kept) > 1 else {}),
        },
    )
    if item.held is not None:
        code, reason = item.held
        change.move(row, Transition.ADMITTED_HELD, now)
        facts = {"code": code, "reason": reason}
        change.record(Entry("document-held", now, AGENT, document=row.id, facts=facts))
        change.announce(
            "document-held", now, document=row.id, hotfolder=row.hotfolder, facts={"code": code}
        )


def record_again(
    change: Transaction,
    item: Submission,
    older: DocumentRow,
    kept: Sequence[SpoolFile],
    now: datetime,
) -> None:
    names = [each.name for each in change.originals(older.id)]
    for number, (file, each) in enumerate(zip(item.files, kept, strict=True), start=1):
        _record_identity(change, file)
        change.arrival_admitted(
            file.arrival,
            now,
            BecameArtifact(older.id, each.sha256, f"original/{names[number - 1]}"),
            code="same-bytes",
            reason="the same bytes are in custody already",
        )
        facts = {
            "hotfolder": older.hotfolder,
            "device": file.origin or older.hotfolder,
            "name": readable(file.path),
            "size": each.size,
            "arrival": file.arrival,
        }
        change.record(
            Entry(
                "arrival-repeated",
                now,
                AGENT,
                document=older.id,
                digests={f"original/{number:04}": each.sha512},
                facts=facts,
            )
        )
        change.announce("arrival-repeated", now, document=older.id, facts={"size": each.size})


def _record_identity(change: Transaction, candidate: Candidate) -> None:
    """Which file exactly was taken in: until it is removed, only this one is not news."""
    change.arrival_changed(
        candidate.arrival,
        device=candidate.device,
        inode=candidate.inode,
        size=candidate.size,
        mtime_ns=candidate.mtime_ns,
    )


def _without_suffix(path: str) -> str:
    return path.rpartition(".")[0] or path


ALONE = 20
"""Files that are left alone and found at once, each with an entry of its own; more have one."""
AT_ONCE = 250
"""Files in one transaction: it takes well below a second."""
REMOVALS = 200
"""How many files that could not be removed before are tried again in one sweep."""
T = TypeVar("T")


class NamedFolder(Protocol):
    """What is asked of a hot folder's card."""

    @property
    def name(self) -> str: ...
    def origin(self, path: bytes) -> str: ...


def batched(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, `AT_ONCE` at a time."""
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def record_new(
    change: Transaction,
    spec: NamedFolder,
    found: Sequence[tuple[ScanEntry, str | None]],
    now: datetime,
) -> list[Arrival]:
    """Files seen for the first time, each with the rule under which it is left alone, if any."""
    arrivals = change.arrivals_seen([_arrival(spec, seen, rule, now) for seen, rule in found])
    ignored = [a for a in arrivals if a.state is ArrivalState.IGNORED]
    if len(ignored) > ALONE:
        _enter_together(change, spec, ignored, now)
    else:
        _enter(change, ignored, now)
    return arrivals


def _enter(change: Transaction, ignored: Sequence[Arrival], now: datetime) -> None:
    """Files that are left alone, each in an entry of its own."""
    change.record(
        *(
            Entry(
                "arrival-ignored",
                now,
                AGENT,
                facts={
                    "arrival": a.id,
                    "hotfolder": a.hotfolder,
                    "device": a.origin,
                    "name": a.name,
                    "rule": a.code,
                },
            )
            for a in ignored
        )
    )
    for a in ignored:
        change.announce("arrival-ignored", now, hotfolder=a.hotfolder, facts={"rule": a.code})


def _enter_together(
    change: Transaction, spec: NamedFolder, ignored: Sequence[Arrival], now: datetime
) -> None:
    """Files that are left alone, in one entry."""
    why = [(a, a.code or "") for a in ignored]
    change.record(Entry("arrivals-ignored", now, AGENT, facts=_together(spec, why, "rule")))
    told = {"count": len(why), "rules": _counted(why)}
    change.announce("arrivals-ignored", now, hotfolder=spec.name, facts=told)


def _together(
    spec: NamedFolder, files: Sequence[tuple[Arrival, str]], why: str
) -> dict[str, object]:
    """What one entry says of many files: their numbers by rule or code (`why`) and device, and a
    digest of their names, which stand in the catalog.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    names = hashlib.sha256()
    for a, code in sorted(files, key=lambda file: file[0].id):
        groups.setdefault((code, a.origin or spec.name), []).append(a.id)
        names.update(f"{a.id} {a.name}\n".encode())
    return {
        "hotfolder": spec.name,
        "count": len(files),
        "names_sha256": names.hexdigest(),
        "groups": [
            {why: code, "device": device, "arrivals": ranges(ids)}
            for (code, device), ids in groups.items()
        ],
    }


def _counted(files: Sequence[tuple[Arrival, str]]) -> dict[str, int]:
    return dict(sorted(Counter(code for _, code in files).items()))


def _arrival(spec: NamedFolder, seen: ScanEntry, rule: str | None, now: datetime) -> Arrival:
    sighting = seen.sighting
    return Arrival(
        id=0,
        hotfolder=spec.name,
        path=seen.path,
        name=readable(seen.path),
        state=ArrivalState.SEEN if rule is None else ArrivalState.IGNORED,
        code=rule,
        reason=None if rule is None else RULES[rule],
        present=True,
        device=sighting.device,
        inode=sighting.inode,
        size=sighting.size,
        mtime_ns=sighting.mtime_ns,
        sha256=None,
        document=None,
        first_seen=now,
        ended=None if rule is None else now,
        origin=spec.origin(seen.path),
    )


def record_left_alone(
    change: Transaction, spec: NamedFolder, arrival: Arrival, rule: str, now: datetime
) -> None:
    """A file that was waiting is left alone from now on under a rule."""
    change.arrival_ended(arrival.id, ArrivalState.IGNORED, now, rule, RULES[rule])
    facts = {
        "arrival": arrival.id,
        "hotfolder": spec.name,
        "device": arrival.origin or spec.name,
        "name": arrival.name,
        "rule": rule,
    }
    change.record(Entry("arrival-ignored", now, AGENT, facts=facts))
    change.announce("arrival-ignored", now, hotfolder=spec.name, facts={"rule": rule})


def record_many_left_alone(
    change: Transaction, spec: NamedFolder, arrivals: Sequence[Arrival], rule: str, now: datetime
) -> None:
    """Many files that are gone are left alone under a rule, in one entry."""
    ended = [
        replace(a, state=ArrivalState.IGNORED, code=rule, reason=RULES[rule]) for a in arrivals
    ]
    for a in ended:
        change.arrival_changed(
            a.id, state=a.state, code=rule, reason=a.reason, ended=now, present=False
        )
    _enter_together(change, spec, ended, now)


def record_one(
    change: Transaction, spec: NamedFolder, path: bytes, held: tuple[str, str], now: datetime
) -> Arrival:
    """A file that cannot be recorded as it was seen: its name alone, held with (code, reason)."""
    seen = Arrival(
        id=0,
        hotfolder=spec.name,
        path=path,
        name=path.decode("ascii", "backslashreplace"),
        state=ArrivalState.SEEN,
        code=None,
        reason=None,
        present=True,
        device=0,
        inode=0,
        size=0,
        mtime_ns=0,
        sha256=None,
        document=None,
        first_seen=now,
        ended=None,
        origin=spec.name,
    )
    [arrival] = change.arrivals_seen([seen])
    code, reason = held
    record_held(change, spec, [(arrival, code, reason)], now)
    return replace(arrival, state=ArrivalState.HELD, code=code, reason=reason, ended=now)


def record_held(
    change: Transaction, spec: NamedFolder, held: Sequence[tuple[Arrival, str, str]], now: datetime
) -> None:
    """Files that cannot be taken in stay where they are, each with its code and reason; a person
    must act.
    """
    for arrival, code, reason in held:
        change.arrival_ended(arrival.id, ArrivalState.HELD, now, code, reason)
        change.announce("arrival-held", now, hotfolder=spec.name, facts={"code": code})
    change.record(
        *(
            Entry(
                "arrival-held",
                now,
                AGENT,
                facts={
                    "arrival": arrival.id,
                    "hotfolder": spec.name,
                    "device": arrival.origin or spec.name,
                    "name": arrival.name,
                    "code": code,
                    "reason": reason,
                },
            )
            for arrival, code, reason in held
        )
    )


def record_many_held(
    change: Transaction, spec: NamedFolder, held: Sequence[tuple[Arrival, str, str]], now: datetime
) -> None:
    """As `record_held`, in one entry."""
    for arrival, code, reason in held:
        change.arrival_ended(arrival.id, ArrivalState.HELD, now, code=code, reason=reason)
    why = [(arrival, code) for arrival, code, _ in held]
    change.record(Entry("arrivals-held", now, AGENT, facts=_together(spec, why, "code")))
    told = {"count": len(why), "codes": _counted(why)}
    change.announce("arrivals-held", now, hotfolder=spec.name, facts=told)


class RemovalRetries:
    """Which sources that could not be removed are tried again in this sweep: some, in turn."""

    def __init__(self) -> None:
        self._failed: dict[bytes, None] = {}
        self._now: set[bytes] = set()

    def begin(self) -> None:
        """A sweep begins: the ones that waited longest may be tried."""
        self._now = {path for path, _ in zip(self._failed, range(REMOVALS), strict=False)}

    def may_try(self, path: bytes) -> bool:
        """Whether this source may be tried now; one that never failed always may."""
        return path not in self._failed or path in self._now

    def failed(self, path: bytes) -> None:
        """It could not be removed: it goes to the end of the row."""
        self._failed.pop(path, None)
        self._failed[path] = None

    def forget(self, path: bytes) -> None:
        """It is gone."""
        self._failed.pop(path, None)


_HELD_BY: dict[State, Transition] = {
    State.ADMITTED: Transition.ADMITTED_HELD,
    State.WORKING: Transition.STEP_HELD,
    State.WAITING: Transition.STEP_HELD,
}
"""The states in which it is held; in all others somebody has decided, or it is sealed."""


def record_grown(catalog: Catalog, arrival: Arrival, now: datetime) -> bool:
    """Put on record that more came for this arrival; `False` while a step of its document runs.

    Done again it changes nothing. An arrival whose bytes belong to an older document says nothing
    about that one. Raises `CatalogError`.
    """
    if arrival.document is None or arrival.code == "same-bytes":
        return True
    with catalog.transaction() as change:
        document = change.document(arrival.document)
        if arrival.code != SOURCE_GREW:
            happened = _HELD_BY.get(document.state) if document.object_key is None else None
            if happened is not None and document.running is not None:
                return False
            _record(change, document, arrival, now, held=happened is not None)
            if happened is not None:
                _hold(change, document, happened, now)
    return True


def _record(
    change: Transaction, document: DocumentRow, arrival: Arrival, now: datetime, *, held: bool
) -> None:
    change.arrival_changed(arrival.id, code=SOURCE_GREW, reason=HOLDS[SOURCE_GREW].why)
    facts = {"arrival": arrival.id, "name": arrival.name, "size": arrival.size, "held": held}
    change.record(Entry("document-source-grew", now, AGENT, document=document.id, facts=facts))
    change.announce(
        "document-source-grew",
        now,
        document=document.id,
        hotfolder=document.hotfolder,
        facts={"arrival": arrival.id, "held": held},
    )


def _hold(change: Transaction, document: DocumentRow, happened: Transition, now: datetime) -> None:
    hold = HOLDS[SOURCE_GREW]
    change.move(
        document,
        happened,
        now,
        running=None,
        due=None,
        code=SOURCE_GREW,
        reason=hold.why,
        hint=hold.hint,
    )
    facts = {"code": SOURCE_GREW, "reason": hold.why}
    change.record(Entry("document-held", now, AGENT, document=document.id, facts=facts))
    change.announce(
        "document-held",
        now,
        document=document.id,
        hotfolder=document.hotfolder,
        facts={"code": SOURCE_GREW},
    )
