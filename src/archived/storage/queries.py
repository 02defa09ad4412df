"""What can be asked of the catalog: one typed method per question. Nothing here writes."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    Text,
    column,
    func,
    or_,
    select,
    text,
    tuple_,
    type_coerce,
)

from archived.api.events import Event
from archived.errors import CatalogError, NoSuchDocument
from archived.message import Message
from archived.model import former_names
from archived.model.lifecycle import COLUMN, MOVING, State
from archived.model.outcome import SUPERSEDED
from archived.model.scheduling import WaitingLine
from archived.storage import ledger as chain
from archived.storage import schema as t
from archived.storage.rows import (
    Arrival,
    ArrivalState,
    ArtifactRow,
    Balance,
    DocumentFilter,
    DocumentRow,
    LedgerRow,
    Replica,
    SearchHit,
    StepRow,
)
from archived.storage.search import printed, query
from archived.storage.transaction import artifact_row, document_row, originals, parts, step_row
from archived.storage.unreadable_rows import DAMAGE, UnreadableRows

_ALL = DocumentFilter()
_STATES = frozenset(map(str, State))
_UNREADABLE = datetime(1970, 1, 1, tzinfo=UTC)
"""Since when a document waits of which that cannot be read: those behind it go on."""
_SET_BACK = timedelta(minutes=1)
"""A document that was changed this far in the future tells that the clock was set back since."""
_WAITS = "FROM document WHERE lane = :lane AND due IS NOT NULL AND running IS NULL"
_WAITING = text("""
SELECT json_extract(stages, '$[' || position || ']'), code, count(*), max(reason) AS reason
FROM document WHERE due IS NOT NULL AND running IS NULL AND code IS NOT NULL GROUP BY 1, 2
""").columns(column("stage"), column("code"), column("documents"), column("reason", t.Sentence))
_LINES = text(f"""
WITH RECURSIVE line(id) AS (
  SELECT * FROM (SELECT id {_WAITS} ORDER BY origin, priority, position, due LIMIT 1)
  UNION ALL
  SELECT coalesce(
    (SELECT id {_WAITS} AND origin = d.origin AND priority = d.priority AND position > d.position
      ORDER BY position, due LIMIT 1),
    (SELECT id {_WAITS} AND origin = d.origin AND priority > d.priority
      ORDER BY priority, position, due LIMIT 1),
    (SELECT id {_WAITS} AND origin > d.origin ORDER BY origin, priority, position, due LIMIT 1))
  FROM line JOIN document AS d ON d.id = line.id)
SELECT d.origin, d.priority, d.position, d.due
FROM line JOIN document AS d ON d.id = line.id
WHERE d.due <= :now OR d.changed > :then
""")  # noqa: S608 - made of constants
"""Made for the index `document_line`: one step down its tree for each line."""


class Queries:
    """Read-only questions. A subclass says how to get a connection."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection with a consistent view of the catalog."""
        raise NotImplementedError

    unreadable: UnreadableRows

    def _rows(self, statement: Select[Any]) -> list[Any]:
        with self.reading() as connection:
            return list(connection.execute(statement))

    # Documents --------------------------------------------------------------------------------

    def document(self, document: str) -> DocumentRow:
        """One document. Raises `NoSuchDocument`, and `CatalogError` when its row is damaged."""
        try:
            rows = self._rows(select(t.document).where(t.document.c.id == document))
            found = document_row(rows[0]) if rows else None
        except DAMAGE as error:
            self.unreadable.note(document, error)
            raise CatalogError(
                f"the row of document {document} in the catalog cannot be read: {error}",
                hint="stop the daemon and compare the catalog with a backup; archived rebuild "
                "restores what the store holds (docs/operations.md)",
            ) from error
        self.unreadable.forget(document)
        if found is None:
            raise NoSuchDocument(
                Message("no document has the id {document}", document=document),
                hint=Message("archivectl documents lists them"),
            )
        return found

    def _documents(
        self, statement: Select[tuple[Any, ...]], limit: int | None = None
    ) -> list[DocumentRow]:
        """The documents of a statement on their table, but for those that cannot be read."""
        try:
            return [document_row(r) for r in self._rows(statement.limit(limit))]
        except DAMAGE:
            found: list[DocumentRow] = []
        for (document,) in self._rows(statement.with_only_columns(t.document.c.id)):
            try:
                found.append(self.document(document))
            except (CatalogError, NoSuchDocument):  # noted, or gone since
                continue
            if len(found) == limit:
                break
        return found

    def unreadable_documents(self) -> list[str]:
        """Ids of documents that were met and whose rows cannot be read now either."""
        for document in self.unreadable.documents:
            with suppress(CatalogError, NoSuchDocument):
                self.document(document)
        return self.unreadable.documents

    def documents_like(self, beginning: str) -> list[str]:
        """Ids that begin or end with some characters, at most ten: people type a part of an id."""
        like = t.document.c.id.startswith(beginning, autoescape=True)
        ends = t.document.c.id.endswith(beginning, autoescape=True)
        return [r.id for r in self._rows(select(t.document.c.id).where(like | ends).limit(10))]

    def documents(
        self,
        which: DocumentFilter = _ALL,
        *,
        limit: int = 100,
        before: str | None = None,
    ) -> list[DocumentRow]:
        """Documents, newest first; `before` continues a listing after that id."""
        statement = select(t.document).order_by(t.document.c.id.desc())
        if which.states:
            statement = statement.where(t.document.c.state.in_(which.states))
        if which.hotfolder is not None:
            statement = statement.where(t.document.c.hotfolder == which.hotfolder)
        if which.dossier is not None:
            statement = statement.where(t.document.c.dossier == which.dossier)
        if which.name is not None:
            part = unicodedata.normalize("NFC", which.name)
            joined = select(t.arrival.c.document).where(
                t.arrival.c.document.is_not(None), t.arrival.c.name.contains(part, autoescape=True)
            )
            holds = t.document.c.name.contains(part, autoescape=True)
            statement = statement.where(holds | t.document.c.id.in_(joined))
        if which.code is not None:
            statement = statement.where(t.document.c.code == which.code)
        if which.reviewed:
            statement = statement.where(t.document.c.review.is_not(None))
        if before is not None:
            statement = statement.where(t.document.c.id < before)
        return self._documents(statement, limit)

    def lines(self, lane: str, now: datetime) -> list[WaitingLine]:
        """What waits in a lane, by device, priority and position, each with its first's `due`.

        From line to line in the index: it takes as long as there are lines, however many documents
        stand in them. After the clock was set back nobody knows how long a wait still is, and none
        is waited for.
        """
        with self.reading() as connection:
            at = {"now": t.Instant.text(now), "then": t.Instant.text(now + _SET_BACK)}
            found = connection.execute(_LINES, {"lane": lane, **at})
            return [
                WaitingLine(device, priority, position, _instant(due) or _UNREADABLE)
                for device, priority, position, due in found
                if isinstance(priority, int) and isinstance(position, int)
            ]

    def first_in(
        self, lane: str, line: WaitingLine, now: datetime, limit: int
    ) -> list[DocumentRow]:
        """The first documents of a line, those that became due first in front."""
        d = t.document.c
        statement = (
            select(t.document)
            .where(
                d.lane == lane,
                d.origin == line.device,
                d.priority == line.priority,
                d.position == line.position,
                d.due.is_not(None),
                d.running.is_(None),
                or_(d.due <= now, d.changed > now + _SET_BACK),
                d.state.in_(MOVING),
            )
            .order_by(d.due)
        )
        return self._documents(statement, limit)

    def next_due(self, lanes: Iterable[str], after: datetime | None = None) -> datetime | None:
        """When the first waiting step of these lanes is due, or the first due after an instant.

        `None` when there is none.
        """
        d = t.document.c
        found: list[str] = []
        with self.reading() as connection:
            for lane in lanes:
                # Asked for by lane and not for all at once: each answer is one look at the index.
                waits = (d.lane == lane, d.due.is_not(None), d.running.is_(None))
                later = () if after is None else (d.due > after,)
                due = type_coerce(d.due, Text)
                first = select(due).where(*waits, *later).order_by(d.due).limit(1)
                found += connection.execute(first).scalars().all()
        return min((at for each in found if (at := _instant(each)) is not None), default=None)

    def count_due(self, now: datetime) -> Mapping[str, int]:
        """Lane -> steps that may start now and wait for their turn."""
        d = t.document.c
        statement = (
            select(d.lane, func.count())
            .where(d.due.is_not(None), d.due <= now, d.running.is_(None))
            .group_by(d.lane)
        )
        return {row[0]: row[1] for row in self._rows(statement)}

    def running(self) -> list[DocumentRow]:
        """Documents on which a step is on record as running."""
        return self._documents(select(t.document).where(t.document.c.running.is_not(None)))

    def moving(self) -> list[DocumentRow]:
        """Documents that are not at rest: admitted, working, waiting, or sealed with steps due."""
        statement = select(t.document).where(
            t.document.c.state.in_(MOVING), t.document.c.due.is_not(None)
        )
        return self._documents(statement)

    def count_documents(self) -> Mapping[tuple[str, State], int]:
        """(hot folder, state) -> number of documents."""
        statement = select(t.document.c.hotfolder, t.document.c.state, func.count()).group_by(
            t.document.c.hotfolder, t.document.c.state
        )
        return {
            (folder, State(state)): n
            for folder, state, n in self._rows(statement)
            if state in _STATES
        }

    def waiting(self) -> list[tuple[str, str, int, str]]:
        """Stage, code, number and one reason of the documents whose next step had to wait."""
        with self.reading() as connection:
            return [
                (stage or "", code, count, reason or "")
                for stage, code, count, reason in connection.execute(_WAITING)
            ]

    def count_never_safe(self) -> int:
        """Sealed documents with too few copies for which no step is due: they stay as they are."""
        d = t.document.c
        statement = select(func.count()).where(
            d.state == State.SEALED, d.due.is_(None), d.running.is_(None)
        )
        return int(self._rows(statement)[0][0])

    def count_further_copies(self) -> Mapping[bool, int]:
        """Safe documents that are to get a further copy: whether it failed -> how many."""
        d = t.document.c
        waits = (d.state == State.SAFE, d.due.is_not(None), d.running.is_(None))
        found = {False: 0, True: 0}
        for code, n in self._rows(select(d.code, func.count()).where(*waits).group_by(d.code)):
            found[code is not None] += n
        return found

    def count_held(self) -> Mapping[str, int]:
        """Code -> number of documents held for it."""
        statement = (
            select(t.document.c.code, func.count())
            .where(t.document.c.state == State.HELD)
            .group_by(t.document.c.code)
        )
        return {code or "": n for code, n in self._rows(statement)}

    def pages_archived(self) -> int:
        """Pages of all archived documents whose pages are known."""
        statement = select(func.coalesce(func.sum(t.document.c.pages), 0)).where(
            t.document.c.state.in_([State.SEALED, State.SAFE])
        )
        return int(self._rows(statement)[0][0])

    def oldest_waiting(self) -> datetime | None:
        """When the longest-waiting document that is still in work was received."""
        statement = select(func.min(t.document.c.received)).where(
            t.document.c.state.in_([State.ADMITTED, State.WORKING, State.WAITING])
        )
        value = self._rows(statement)[0][0]
        return datetime.fromisoformat(value) if isinstance(value, str) else value

    # A document's parts -----------------------------------------------------------------------

    def artifacts(self, document: str, *, current: bool = True) -> list[ArtifactRow]:
        """A document's artifacts in the order they came; superseded ones too if not `current`."""
        statement = (
            select(t.artifact).where(t.artifact.c.document == document).order_by(t.artifact.c.id)
        )
        if current:
            statement = statement.where(t.artifact.c.current)
        return [artifact_row(r) for r in self._rows(statement)]

    def made(self, document: str, step: str, role: str, name: str) -> ArtifactRow | None:
        """What a step made under this role and name, unless it was to be done again."""
        a, s = t.artifact.c, t.step.c
        statement = (
            select(t.artifact)
            .join(t.step, s.id == a.step)
            .where(a.document == document, a.step == step, a.role == role, a.name == name)
            .where(s.ending != SUPERSEDED)
        )
        return next((artifact_row(r) for r in self._rows(statement)), None)

    def reviews_of(self, step: str) -> Sequence[Mapping[str, Any]]:
        """What a step asked a person to look at, as `model.review.to_json` writes it."""
        rows = self._rows(select(t.step.c.reviews).where(t.step.c.id == step))
        return next((row.reviews or () for row in rows), ())

    def originals(self, document: str) -> list[ArtifactRow]:
        """A document's originals, in reading order."""
        with self.reading() as connection:
            return originals(connection, document)

    def parts(self, master: str) -> list[DocumentRow]:
        """The documents that one was cut into, in order."""
        with self.reading() as connection:
            return parts(connection, master)

    def steps(self, document: str) -> list[StepRow]:
        """Every attempt at every stage, in order."""
        statement = (
            select(t.step)
            .where(t.step.c.document == document)
            .order_by(t.step.c.started, t.step.c.id)
        )
        return [step_row(r) for r in self._rows(statement)]

    def sealed_steps(
        self, stage: str, *, hotfolder: str | None = None, before: str | None = None
    ) -> Iterator[StepRow]:
        """Of each sealed document its last good end of a stage; the newest document's first."""
        d, s = t.document.c, t.step.c
        other = t.step.alias()
        later = select(other.c.id).where(
            other.c.document == s.document,
            other.c.stage == stage,
            other.c.ending == "finished",
            tuple_(other.c.started, other.c.id) > tuple_(s.started, s.id),
        )
        statement = (
            select(t.step)
            .join(t.document, s.document == d.id)
            .where(d.state.in_([State.SEALED, State.SAFE]))
            .where(s.stage == stage, s.ending == "finished", ~later.exists())
            .order_by(d.id.desc())
        )
        if hotfolder is not None:
            statement = statement.where(d.hotfolder == hotfolder)
        if before is not None:
            statement = statement.where(d.id < before)
        with self.reading() as connection:
            for row in connection.execution_options(yield_per=100).execute(statement):
                yield step_row(row)

    def facts(self, document: str) -> dict[str, Mapping[str, Any]]:
        """Stage -> the facts of its last good end."""
        return {
            s.stage: s.facts or {}
            for s in self.steps(document)
            if s.ending == "finished" and s.facts is not None
        }

    def replicas(self, document: str) -> list[Replica]:
        """The document's verified copies."""
        statement = (
            select(t.replica).where(t.replica.c.document == document).order_by(t.replica.c.target)
        )
        return [Replica(**r._mapping) for r in self._rows(statement)]

    def with_sha256(self, sha256: str) -> list[str]:
        """Documents with an original of this digest, oldest first."""
        statement = (
            select(t.artifact.c.document)
            .where(t.artifact.c.sha256 == sha256, t.artifact.c.role == "original")
            .order_by(t.artifact.c.id)
        )
        return [r.document for r in self._rows(statement)]

    # Arrivals ---------------------------------------------------------------------------------

    def arrivals_present(self, hotfolder: str) -> dict[bytes, Arrival]:
        """Relative path -> the arrival whose file is believed to be in the folder."""
        statement = select(t.arrival).where(t.arrival.c.hotfolder == hotfolder, t.arrival.c.present)
        return {r.path: _arrival(r) for r in self._rows(statement)}

    def arrivals(
        self, *, document: str | None = None, states: Sequence[ArrivalState] = (), limit: int = 1000
    ) -> list[Arrival]:
        """Arrivals of one document, or in some states, oldest first."""
        statement = select(t.arrival).order_by(t.arrival.c.id).limit(limit)
        if document is not None:
            statement = statement.where(t.arrival.c.document == document)
        if states:
            statement = statement.where(t.arrival.c.state.in_(states))
        return [_arrival(r) for r in self._rows(statement)]

    def arrival(self, arrival: int) -> Arrival | None:
        """One arrival, or `None`."""
        rows = self._rows(select(t.arrival).where(t.arrival.c.id == arrival))
        return _arrival(rows[0]) if rows else None

    def oldest_unclaimed(self) -> datetime | None:
        """When the oldest file that is still only seen was noticed."""
        statement = select(func.min(t.arrival.c.first_seen)).where(
            t.arrival.c.state == ArrivalState.SEEN
        )
        value = self._rows(statement)[0][0]
        return datetime.fromisoformat(value) if isinstance(value, str) else value

    def balance(self) -> list[Balance]:
        """The balance sheet, one line per hot folder, read from arrivals and documents."""
        statement = (
            select(
                t.arrival.c.hotfolder,
                t.arrival.c.state,
                t.arrival.c.code,
                t.document.c.state,
                func.count(),
            )
            .select_from(t.arrival.outerjoin(t.document, t.arrival.c.document == t.document.c.id))
            .group_by(
                t.arrival.c.hotfolder, t.arrival.c.state, t.arrival.c.code, t.document.c.state
            )
        )
        sheets: dict[str, dict[str, Any]] = {}
        for folder, state, code, document_state, n in self._rows(statement):
            sheet = sheets.setdefault(folder, {"seen": 0, "rules": {}})
            sheet["seen"] += n
            column = column_of(state, document_state)
            if column is not None:
                sheet[column] = sheet.get(column, 0) + n
            if column == "ignored":
                sheet["rules"][code] = sheet["rules"].get(code, 0) + n
        return [Balance(hotfolder=folder, **sheets[folder]) for folder in sorted(sheets)]

    # Ledger, events, words --------------------------------------------------------------------

    def ledger_head(self) -> chain.Head:
        """The newest entry's sequence and hash."""
        rows = self._rows(
            select(t.ledger.c.sequence, t.ledger.c.hash)
            .order_by(t.ledger.c.sequence.desc())
            .limit(1)
        )
        return chain.Head(*rows[0]) if rows else chain.Head(0, chain.GENESIS)

    def ledger_of(self, document: str) -> list[LedgerRow]:
        """A document's entries, in order."""
        statement = (
            select(t.ledger).where(t.ledger.c.document == document).order_by(t.ledger.c.sequence)
        )
        return [_ledger_row(r) for r in self._rows(statement)]

    def ledger_rows(self) -> Iterator[chain.Row]:
        """The whole chain in order, streamed, as `ledger.verify` wants it."""
        statement = select(
            t.ledger.c.sequence,
            t.ledger.c.entry,
            t.ledger.c.hash,
            t.ledger.c.kind,
            t.ledger.c.document,
            type_coerce(t.ledger.c.at, Text),  # as it stands: whoever verifies trusts no column
        ).order_by(t.ledger.c.sequence)
        with self.reading() as connection:
            for row in connection.execution_options(yield_per=1000).execute(statement):
                yield (row[0], row[1], row[2], row[3], row[4], row[5])

    def events_for(self, reader: str, limit: int = 100) -> list[Event]:
        """Events `reader` has not been given yet, in order."""
        given = select(t.reader.c.sequence).where(t.reader.c.name == reader).scalar_subquery()
        statement = (
            select(t.outbox)
            .where(t.outbox.c.sequence > func.coalesce(given, 0))
            .order_by(t.outbox.c.sequence)
            .limit(limit)
        )
        return [event_row(r) for r in self._rows(statement)]

    def search(self, words: str, limit: int = 20) -> list[SearchHit]:
        """Documents whose name, facts or text hold every word; newest first."""
        terms = query(words)
        if not terms:
            return []
        statement = text(
            "SELECT words.document, document.name, words.facts, "
            "snippet(words, 3, '[', ']', ' … ', 12) AS snippet FROM words "
            "JOIN document ON document.id = words.document WHERE words MATCH :q "
            "ORDER BY words.rowid DESC LIMIT :n"
        )
        with self.reading() as connection:
            rows = connection.execute(statement, {"q": terms, "n": limit})
            return [
                SearchHit(document, name, printed(facts), printed(snippet))
                for document, name, facts, snippet in rows
            ]


def column_of(state: str, document_state: str | None) -> str | None:
    """An arrival's column in the balance sheet; `None` when its document is gone, or either has a
    state that there is none of.
    """
    match state:
        case ArrivalState.IGNORED:
            return "ignored"
        case ArrivalState.HELD:
            return "held"
        case ArrivalState.SEEN:
            return "in_work"
        case ArrivalState.ADMITTED if document_state in _STATES:
            return COLUMN[State(document_state)].replace(" ", "_")
        case _:
            return None  # admitted, but the document is gone: exactly what must never be


def event_row(row: Row[Any]) -> Event:
    """A row of `schema.outbox` as readers are given it, under present names."""
    values = dict(row._mapping)
    name = str(values["name"])
    values["name"] = former_names.EVENTS.get(name, name)
    return Event(**values | {"facts": former_names.present(values["facts"])})


def _ledger_row(row: Row[Any]) -> LedgerRow:
    facts = json.loads(row.entry).get("facts") or {}
    kind = former_names.kind_of(row.kind, facts)
    return LedgerRow(**{**row._mapping, "kind": kind, "facts": former_names.present(facts)})


def _instant(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _arrival(row: Row[Any]) -> Arrival:
    values = dict(row._mapping)
    return Arrival(**(values | {"state": ArrivalState(values["state"])}))
