"""What a desk puts on record about files that come and stay, many at a time.

A folder may hold a hundred thousand files that nobody takes away. They are put on record some
hundreds in a transaction, so that others may write in between, and once; later sweeps only look.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol, TypeVar

from archived import AGENT
from archived.intake.rules import RULES
from archived.intake.scan import Seen
from archived.model.account import ranges
from archived.model.identity import readable
from archived.storage.change import Change
from archived.storage.ledger import Entry
from archived.storage.records import Arrival, ArrivalState

ALONE = 20
"""Files that are left alone and found at once, each with an entry of its own; more have one."""
AT_ONCE = 250
"""Files in one transaction: it takes well below a second."""
REMOVALS = 200
"""How many files that could not be removed before are tried again in one sweep."""
T = TypeVar("T")


class Card(Protocol):
    """What is asked of a hot folder's card."""

    @property
    def name(self) -> str: ...
    def origin(self, path: bytes) -> str: ...


def batched(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, `AT_ONCE` at a time."""
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def record_new(
    change: Change, card: Card, found: Sequence[tuple[Seen, str | None]], now: datetime
) -> list[Arrival]:
    """Files seen for the first time, each with the rule under which it is left alone, if any."""
    arrivals = change.arrivals_seen([_arrival(card, seen, rule, now) for seen, rule in found])
    ignored = [a for a in arrivals if a.state is ArrivalState.IGNORED]
    if len(ignored) > ALONE:
        _enter_together(change, card, ignored, now)
    else:
        _enter(change, ignored, now)
    return arrivals


def _enter(change: Change, ignored: Sequence[Arrival], now: datetime) -> None:
    """Files that are left alone, each in an entry of its own."""
    change.record(
        *(
            Entry("arrival-ignored", now, AGENT,
                  facts={"arrival": a.id, "hotfolder": a.hotfolder, "device": a.origin,
                         "name": a.name, "rule": a.code})
            for a in ignored
        )
    )  # fmt: skip
    for a in ignored:
        change.announce("arrival-ignored", now, hotfolder=a.hotfolder, facts={"rule": a.code})


def _enter_together(
    change: Change, card: Card, ignored: Sequence[Arrival], now: datetime
) -> None:  # fmt: skip
    """Files that are left alone, in one entry: their numbers by rule and device, and a digest of
    their names, which stand in the catalog.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    rules: Counter[str] = Counter()
    names = hashlib.sha256()
    for a in sorted(ignored, key=lambda a: a.id):
        groups.setdefault((a.code or "", a.origin or card.name), []).append(a.id)
        rules[a.code or ""] += 1
        names.update(f"{a.id} {a.name}\n".encode())
    facts = {
        "hotfolder": card.name, "count": len(ignored), "names_sha256": names.hexdigest(),
        "groups": [
            {"rule": rule, "device": device, "arrivals": ranges(ids)}
            for (rule, device), ids in groups.items()
        ],
    }  # fmt: skip
    change.record(Entry("arrivals-ignored", now, AGENT, facts=facts))
    told = {"count": len(ignored), "rules": dict(sorted(rules.items()))}
    change.announce("arrivals-ignored", now, hotfolder=card.name, facts=told)


def _arrival(card: Card, seen: Seen, rule: str | None, now: datetime) -> Arrival:
    sighting = seen.sighting
    return Arrival(
        id=0, hotfolder=card.name, path=seen.path, name=readable(seen.path),
        state=ArrivalState.SEEN if rule is None else ArrivalState.IGNORED,
        code=rule, reason=None if rule is None else RULES[rule], present=True,
        device=sighting.device, inode=sighting.inode, size=sighting.size,
        mtime_ns=sighting.mtime_ns, sha256=None, document=None, first_seen=now,
        ended=None if rule is None else now, origin=card.origin(seen.path),
    )  # fmt: skip


def record_left_alone(
    change: Change, card: Card, arrival: Arrival, rule: str, now: datetime
) -> None:
    """A file that was waiting is left alone from now on under a rule."""
    change.arrival_ended(arrival.id, ArrivalState.IGNORED, now, code=rule, reason=RULES[rule])
    facts = {"arrival": arrival.id, "hotfolder": card.name, "device": arrival.origin or card.name,
             "name": arrival.name, "rule": rule}  # fmt: skip
    change.record(Entry("arrival-ignored", now, AGENT, facts=facts))
    change.announce("arrival-ignored", now, hotfolder=card.name, facts={"rule": rule})


def record_many_left_alone(
    change: Change, card: Card, arrivals: Sequence[Arrival], rule: str, now: datetime
) -> None:
    """Many files that are gone are left alone under a rule, in one entry."""
    ended = [
        replace(a, state=ArrivalState.IGNORED, code=rule, reason=RULES[rule]) for a in arrivals
    ]
    for a in ended:
        change.arrival_changed(
            a.id, state=a.state, code=rule, reason=a.reason, ended=now, present=False
        )
    _enter_together(change, card, ended, now)


def record_one(
    change: Change, card: Card, path: bytes, held: tuple[str, str], now: datetime
) -> Arrival:
    """A file that cannot be recorded as it was seen: its name alone, held with (code, reason)."""
    seen = Arrival(
        id=0, hotfolder=card.name, path=path, name=path.decode("ascii", "backslashreplace"),
        state=ArrivalState.SEEN, code=None, reason=None, present=True, device=0, inode=0, size=0,
        mtime_ns=0, sha256=None, document=None, first_seen=now, ended=None, origin=card.name,
    )  # fmt: skip
    [arrival] = change.arrivals_seen([seen])
    code, reason = held
    record_held(change, card, [(arrival, code, reason)], now)
    return replace(arrival, state=ArrivalState.HELD, code=code, reason=reason, ended=now)


def record_held(
    change: Change, card: Card, held: Sequence[tuple[Arrival, str, str]], now: datetime
) -> None:
    """Files that cannot be taken in stay where they are, each with its code and reason; a person
    must act.
    """
    for arrival, code, reason in held:
        change.arrival_ended(arrival.id, ArrivalState.HELD, now, code=code, reason=reason)
        change.announce("arrival-held", now, hotfolder=card.name, facts={"code": code})
    change.record(
        *(
            Entry("arrival-held", now, AGENT,
                  facts={"arrival": arrival.id, "hotfolder": card.name,
                         "device": arrival.origin or card.name, "name": arrival.name,
                         "code": code, "reason": reason})
            for arrival, code, reason in held
        )
    )  # fmt: skip


class Removals:
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
