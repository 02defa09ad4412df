"""Questions that only the figures ask of the catalog: each an index or a short table. Reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text

from archived.model.document import State
from archived.observe.learned import MOST, OTHER
from archived.storage import schema as t
from archived.storage.catalog import Catalog
from archived.storage.records import ArrivalState

_LAST_EVENTS = text(
    "SELECT name, coalesce(json_extract(facts, '$.stage'), ''), max(at) FROM outbox GROUP BY 1, 2"
)


@dataclass(frozen=True, slots=True)
class Received:
    """What was ever taken in from one hot folder; parts cut from a document are not counted."""

    documents: int
    size: int
    pages: int


def received(catalog: Catalog) -> Mapping[str, Received]:
    """Hot folder -> what was taken in."""
    d = t.document.c
    statement = (
        select(d.hotfolder, func.count(), func.sum(d.size), func.coalesce(func.sum(d.pages), 0))
        .where(d.master.is_(None))
        .group_by(d.hotfolder)
    )
    with catalog.reading() as connection:
        return {row[0]: Received(*map(int, row[1:])) for row in connection.execute(statement)}


def last_arrival(catalog: Catalog, hotfolder: str) -> datetime | None:
    """When the newest file came that was not ignored."""
    a = t.arrival.c
    came = (ArrivalState.SEEN, ArrivalState.ADMITTED, ArrivalState.HELD)
    newest = [  # each a look into the index `arrival_state`
        select(func.max(a.id)).where(a.state == state, a.hotfolder == hotfolder) for state in came
    ]
    with catalog.reading() as connection:
        ids = [connection.execute(each).scalar_one() for each in newest]
        last = max((each for each in ids if each is not None), default=None)
        return connection.execute(select(a.first_seen).where(a.id == last)).scalar()


def oldest_unclaimed(catalog: Catalog) -> Mapping[str, datetime]:
    """Hot folder -> when its oldest file that is still only seen was noticed."""
    a = t.arrival.c
    return _oldest(catalog, a.hotfolder, a.first_seen, a.state == ArrivalState.SEEN)


def oldest_in_work(catalog: Catalog) -> Mapping[str, datetime]:
    """Hot folder -> when its oldest document that is neither sealed nor held was received."""
    d = t.document.c
    in_work = d.state.in_([State.ADMITTED, State.WORKING, State.WAITING])
    return _oldest(catalog, d.hotfolder, d.received, in_work)


def _oldest(catalog: Catalog, hotfolder: Any, at: Any, where: Any) -> Mapping[str, datetime]:
    statement = select(hotfolder, func.min(at)).where(where).group_by(hotfolder)
    with catalog.reading() as connection:
        return {name: _instant(when) for name, when in connection.execute(statement)}


def held_by_code(catalog: Catalog) -> Mapping[str, int]:
    """Code -> documents that wait for a person, the most frequent codes; the rest are `other`."""
    counted = sorted(catalog.count_held().items(), key=lambda each: -each[1])
    few, rest = dict(counted[:MOST]), sum(n for _, n in counted[MOST:])
    return few | {OTHER: few.get(OTHER, 0) + rest} if rest else few


def last_events(catalog: Catalog) -> Mapping[tuple[str, str], datetime]:
    """(event, stage) -> when it last happened, as far as the outbox goes back."""
    with catalog.reading() as connection:
        found = connection.execute(_LAST_EVENTS).all()
    return {(name, stage): datetime.fromisoformat(at) for name, stage, at in found}


def paused(catalog: Catalog, hotfolder: str) -> str:
    """Why intake of a hot folder was last said to pause; empty if it was said to go on since."""
    o = t.outbox.c
    latest = (
        select(o.name, o.facts)
        .where(o.hotfolder == hotfolder, o.name.in_(("intake-paused", "intake-resumed")))
        .order_by(o.sequence.desc())
        .limit(1)
    )
    with catalog.reading() as connection:
        told = connection.execute(latest).first()
    return str(told.facts.get("why", "")) if told is not None else ""


def unread(catalog: Catalog, readers: Iterable[str]) -> Mapping[str, int]:
    """Reader of the outbox -> how many events it was not given yet."""
    o, r = t.outbox.c, t.reader.c
    with catalog.reading() as connection:
        rows = connection.execute(select(r.name, r.sequence))
        places: dict[str, int] = {row.name: row.sequence for row in rows}
        return {
            reader: connection.execute(
                select(func.count()).select_from(t.outbox).where(o.sequence > places.get(reader, 0))
            ).scalar_one()
            for reader in readers
        }


def spool_bytes(catalog: Catalog) -> int:
    """Bytes of the files of documents whose object does not exist yet, replaced ones too."""
    d = t.document.c
    unsealed = select(d.id).where(
        d.state.in_(
            [State.ADMITTED, State.WORKING, State.WAITING, State.DIVIDED, State.HELD, State.REFUSED]
        ),
        d.object_key.is_(None),
    )
    total = select(func.coalesce(func.sum(t.artifact.c.size), 0)).where(
        t.artifact.c.document.in_(unsealed)
    )
    with catalog.reading() as connection:
        return int(connection.execute(total).scalar_one())


def oldest_uncopied(catalog: Catalog) -> datetime | None:
    """When the oldest sealed document that still has steps to do was sealed."""
    d = t.document.c
    # Two looks, for each has an index: those that wait for their turn, those that run.
    looks = [
        select(func.min(d.sealed_at)).where(waits, d.state == State.SEALED)
        for waits in ((d.due.is_not(None)) & (d.running.is_(None)), d.running.is_not(None))
    ]
    with catalog.reading() as connection:
        found = [connection.execute(look).scalar_one() for look in looks]
    return min((_instant(at) for at in found if at is not None), default=None)


def ledger_time(catalog: Catalog) -> datetime | None:
    """When the last entry was made."""
    newest = select(t.ledger.c.at).order_by(t.ledger.c.sequence.desc()).limit(1)
    with catalog.reading() as connection:
        return connection.execute(newest).scalar()


def _instant(at: datetime | str) -> datetime:
    return datetime.fromisoformat(at) if isinstance(at, str) else at
