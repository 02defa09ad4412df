"""What can be changed in the catalog, inside one transaction.

A document's state changes only through `move`, which asks the table in `model.lifecycle`. Nothing
here commits: `Catalog.transaction` does, all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, text, update
from sqlalchemy.dialects.sqlite import insert as upsert

from archived.api.events import EVENTS
from archived.errors import NoSuchDocument, NotNow
from archived.message import Message, with_parts
from archived.model.lifecycle import State, Transition, after
from archived.model.outcome import SUPERSEDED
from archived.storage import ledger as chain
from archived.storage import schema as t
from archived.storage.rows import (
    Arrival,
    ArrivalState,
    ArtifactRow,
    BecameArtifact,
    DocumentRow,
    Replica,
    SeenFile,
    StepRow,
)
from archived.storage.search import fold

_ARRIVAL = tuple(column.name for column in fields(Arrival))


class Transaction:
    """One open transaction. Methods are small facts; their order within it does not matter."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Arrivals ---------------------------------------------------------------------------------

    def arrival_seen(
        self, file: SeenFile, now: datetime, *, above: int = 0, present: bool = True
    ) -> int:
        """A file was noticed for the first time; returns the arrival's id, higher than `above`."""
        last = self._connection.execute(select(func.max(t.arrival.c.id))).scalar() or 0
        done = self._connection.execute(
            insert(t.arrival).values(
                **asdict(file) | {"origin": file.origin or file.hotfolder},
                id=max(last, above) + 1,
                state=ArrivalState.SEEN,
                present=present,
                first_seen=now,
            )
        )
        (key,) = done.inserted_primary_key or (0,)
        return int(key)

    def arrivals_seen(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Many files at once, in whatever state they are; returns them with their ids."""
        # The lock is ours, so nobody else gives out ids meanwhile.
        last = self._connection.execute(select(func.max(t.arrival.c.id))).scalar() or 0
        new = [replace(each, id=last + n) for n, each in enumerate(arrivals, start=1)]
        if new:
            self._connection.execute(
                insert(t.arrival),
                [{name: getattr(each, name) for name in _ARRIVAL} for each in new],
            )
        return new

    def arrival_changed(self, arrival: int, **columns: Any) -> None:
        """Set columns of an arrival: its sighting, or that its file is gone."""
        this = update(t.arrival).where(t.arrival.c.id == bindparam("this"))
        self._connection.execute(this, {"this": arrival, **columns})

    def arrival_admitted(
        self,
        arrival: int,
        now: datetime,
        became: BecameArtifact,
        *,
        code: str | None = None,
        reason: str | None = None,
    ) -> None:
        """An arrival's bytes are an artifact of a document, which may have had them already."""
        self.arrival_changed(
            arrival,
            state=ArrivalState.ADMITTED,
            code=code,
            reason=reason,
            ended=now,
            document=became.document,
            sha256=became.sha256,
            became=became.path,
        )

    def arrival_ended(
        self, arrival: int, state: ArrivalState, now: datetime, code: str, reason: str
    ) -> None:
        """An arrival was held or is ignored."""
        self.arrival_changed(arrival, state=state, code=code, reason=reason, ended=now)

    # Documents --------------------------------------------------------------------------------

    def admit(self, document: DocumentRow, originals: Sequence[ArtifactRow]) -> None:
        """A new document with its originals."""
        self._connection.execute(insert(t.document).values(**asdict(document)))
        self.add_artifacts(originals)

    def document(self, document: str) -> DocumentRow:
        """The document as it stands inside this transaction. Raises `NoSuchDocument`."""
        row = self._connection.execute(
            select(t.document).where(t.document.c.id == document)
        ).one_or_none()
        if row is None:
            raise NoSuchDocument(Message("no document has the id {document}", document=document))
        return document_row(row)

    def originals(self, document: str) -> list[ArtifactRow]:
        """A document's originals, in reading order."""
        return originals(self._connection, document)

    def parts(self, master: str) -> list[DocumentRow]:
        """The documents that one was cut into, in order."""
        return parts(self._connection, master)

    def move(
        self, document: DocumentRow, happened: Transition, now: datetime, **columns: Any
    ) -> State:
        """Let something happen to a document; returns its new state.

        Raises `IllegalStep` when the table does not know the pair, and `NotNow` when the document
        was changed by somebody else since it was read.
        """
        state = after(document.state, happened)
        done = self._connection.execute(
            update(t.document)
            .where(t.document.c.id == document.id, t.document.c.changed == document.changed)
            .values(state=state, changed=_later(now, document.changed), **columns)
        )
        if done.rowcount != 1:
            raise NotNow(
                Message("document {id} was changed in the meantime; try again", id=document.id)
            )
        return state

    def set_columns(self, document: str, **columns: Any) -> None:
        """Set columns that are no part of the document's state (pages, lane)."""
        self._connection.execute(
            update(t.document).where(t.document.c.id == document).values(**columns)
        )

    # Steps and artifacts ----------------------------------------------------------------------

    def step_started(self, step: StepRow) -> None:
        """An attempt begins; it is counted from now on."""
        self._connection.execute(insert(t.step).values(**_plain(step)))

    def step_ended(self, step: str, now: datetime, **columns: Any) -> None:
        """An attempt ended, one way or another."""
        self._connection.execute(
            update(t.step).where(t.step.c.id == step).values(ended=now, **_text_floats(columns))
        )

    def step(self, step: str) -> StepRow:
        """One attempt. Raises `NotNow` when there is none of this id."""
        row = self._connection.execute(select(t.step).where(t.step.c.id == step)).one_or_none()
        if row is None:
            raise NotNow(Message("no step has the id {step}", step=step))
        return step_row(row)

    def main_of(self, document: str) -> str:
        """Role and name, with a slash between them, of what a document's pipeline works on."""
        a = t.artifact.c
        found = self._connection.execute(
            select(a.role, a.name).where(a.document == document, a.main)
        ).one()
        return f"{found.role}/{found.name}"

    def supersede_step(self, step: StepRow) -> None:
        """A finished step is to be done again: its document is what it was before, on record.

        What it made is not current any more; what that had superseded is; `worked_on` is main.
        """
        self._connection.execute(
            update(t.step).where(t.step.c.id == step.id).values(ending=SUPERSEDED)
        )
        a, of_document = t.artifact.c, t.artifact.c.document == step.document
        undone = select(t.step.c.id).where(
            t.step.c.document == step.document, t.step.c.ending == SUPERSEDED
        )
        rows = self._connection.execute(
            select(a.id, a.role, a.name)
            .where(of_document, a.step.is_(None) | a.step.not_in(undone))
            .order_by(a.id)
        ).all()
        current = {f"{row.role}/{row.name}": row.id for row in rows}  # the last of each name
        this = update(t.artifact).where(of_document)
        self._connection.execute(this.values(current=False, main=False))
        self._connection.execute(this.where(a.id.in_(current.values())).values(current=True))
        main = current[step.worked_on or ""]
        self._connection.execute(this.where(a.id == main).values(main=True))

    def was_tried(self, document: str, position: int) -> bool:
        """Whether the stage at this place of the document's pipeline was ever started."""
        found = select(t.step.c.id).where(
            t.step.c.document == document, t.step.c.position == position
        )
        return self._connection.execute(found.limit(1)).one_or_none() is not None

    def add_artifacts(self, artifacts: Sequence[ArtifactRow]) -> None:
        """New artifacts; each supersedes the current one with its role and name, and main. What
        supersedes the main artifact is main in its place: every document has one.
        """
        for artifact in artifacts:
            same = (t.artifact.c.role == artifact.role) & (t.artifact.c.name == artifact.name)
            of_document = t.artifact.c.document == artifact.document
            was_main = select(t.artifact.c.id).where(of_document, same, t.artifact.c.main)
            main = artifact.main or self._connection.execute(was_main).first() is not None
            self._connection.execute(
                update(t.artifact).where(of_document, same).values(current=False)
            )
            if main:
                self._connection.execute(update(t.artifact).where(of_document).values(main=False))
            self._connection.execute(insert(t.artifact).values(**asdict(artifact) | {"main": main}))

    def replace_work(
        self, document: str, artifacts: Sequence[ArtifactRow], steps: Sequence[StepRow]
    ) -> None:
        """All of a document's artifacts and attempts, in place of what was on record."""
        rows = {t.artifact: [asdict(a) for a in artifacts], t.step: [_plain(s) for s in steps]}
        for table, values in rows.items():
            self._connection.execute(table.delete().where(table.c.document == document))
            if values:
                self._connection.execute(insert(table), values)

    def copy_verified(self, replica: Replica) -> None:
        """A copy was written and read back (again)."""
        values = asdict(replica)
        statement = upsert(t.replica).values(**values)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=["document", "target"],
                set_={k: v for k, v in values.items() if k not in {"document", "target"}},
            )
        )

    def with_object(self, after: str, limit: int) -> list[DocumentRow]:
        """Documents that have an object, in the order of their ids, behind one."""
        d = t.document.c
        rows = self._connection.execute(
            select(t.document)
            .where(d.id > after, d.object_key.is_not(None))
            .order_by(d.id)
            .limit(limit)
        )
        return [document_row(row) for row in rows]

    def finished_with(self, documents: Sequence[str]) -> dict[str, set[tuple[str, str]]]:
        """Document -> stages that ended well on it, each with the digest of its options then."""
        s = t.step.c
        rows = self._connection.execute(
            select(s.document, s.stage, s.options_digest).where(
                s.document.in_(documents), s.ending == "finished"
            )
        )
        found: dict[str, set[tuple[str, str]]] = {}
        for document, stage, digest in rows:
            found.setdefault(document, set()).add((stage, digest))
        return found

    def verified_copies(self, document: str, inventory_sha512: str) -> int:
        """How many copies of this very version were read back."""
        return int(
            self._connection.execute(
                select(func.count()).where(
                    t.replica.c.document == document,
                    t.replica.c.inventory_sha512 == inventory_sha512,
                )
            ).scalar_one()
        )

    def index_words(self, document: str, name: str, facts: str, body: str) -> None:
        """Make a document findable by its name, its facts and its text."""
        self._connection.execute(text("DELETE FROM words WHERE document = :d"), {"d": document})
        self._connection.execute(
            text("INSERT INTO words (document, name, facts, body) VALUES (:d, :n, :f, :b)"),
            {"d": document, "n": fold(name), "f": fold(facts), "b": fold(body)},
        )

    # Ledger and news --------------------------------------------------------------------------

    def record(self, *entries: chain.Entry) -> chain.Head:
        """Append to the ledger; returns the new head."""
        head = self.ledger_head()
        rows = []
        for entry in entries:
            sequence = head.sequence + 1
            line = chain.canonical(entry, sequence, head.hash)
            head = chain.Head(sequence, chain.digest(line))
            rows.append(
                {
                    "sequence": sequence,
                    "entry": line,
                    "hash": head.hash,
                    "kind": entry.kind,
                    "document": entry.document,
                    "at": entry.at,
                }
            )
        if rows:
            self._connection.execute(insert(t.ledger), rows)
        return head

    def ledger_head(self) -> chain.Head:
        """The newest entry's sequence and hash."""
        row = self._connection.execute(
            select(t.ledger.c.sequence, t.ledger.c.hash)
            .order_by(t.ledger.c.sequence.desc())
            .limit(1)
        ).one_or_none()
        return chain.Head(row.sequence, row.hash) if row else chain.Head(0, chain.GENESIS)

    def announce(
        self,
        name: str,
        now: datetime,
        *,
        document: str | None = None,
        hotfolder: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Queue an event; it is published only if this transaction is committed."""
        if name not in EVENTS:
            raise ValueError(f"{name!r} is not an event")
        # As parameters: with its values in it the statement is built anew for each event.
        self._connection.execute(
            insert(t.outbox),
            {
                "name": name,
                "document": document,
                "hotfolder": hotfolder,
                "at": now,
                "facts": with_parts(facts or {}),
            },
        )

    def outbox_read(self, reader: str, sequence: int) -> None:
        """`reader` has been given every event up to `sequence`."""
        self._connection.execute(
            upsert(t.reader)
            .values(name=reader, sequence=sequence)
            .on_conflict_do_update(index_elements=["name"], set_={"sequence": sequence})
        )

    def outbox_trim(self, readers: Sequence[str], keep: int) -> int:
        """Drop events every one of `readers` has been given, but for the newest `keep`."""
        read = select(func.min(t.reader.c.sequence)).where(
            t.reader.c.name.in_(bindparam("readers", expanding=True))
        )
        lowest = self._connection.execute(read, {"readers": list(readers)}).scalar()
        newest = self._connection.execute(select(func.max(t.outbox.c.sequence))).scalar() or 0
        done = self._connection.execute(
            t.outbox.delete().where(t.outbox.c.sequence <= min(lowest or 0, newest - keep))
        )
        return int(done.rowcount)


def _later(now: datetime, before: datetime) -> datetime:
    # `changed` tells two versions of a row apart, also when the clock was set back.
    return now if now > before else before + timedelta(microseconds=1)


def document_row(row: Any) -> DocumentRow:
    """A row of `schema.document` as the rest of the program sees it."""
    values = dict(row._mapping)
    values["state"] = State(values["state"])
    values["stages"] = tuple(values["stages"])
    if not all(isinstance(stage, str) for stage in values["stages"]):
        raise ValueError("a stage in its list is no name")
    for column in ("position", "attempts", "postponed", "priority"):
        if not isinstance(values[column], int) or (values[column] < 0 and column == "position"):
            raise ValueError(f"its {column} is {values[column]!r}")
    return DocumentRow(**values)


def originals(connection: Connection, document: str) -> list[ArtifactRow]:
    """A document's originals, in reading order."""
    a = t.artifact.c
    rows = connection.execute(
        select(t.artifact).where(a.document == document, a.role == "original").order_by(a.id)
    )
    return [artifact_row(row) for row in rows]


def step_row(row: Any) -> StepRow:
    """A row of `schema.step` as the rest of the program sees it."""
    values = dict(row._mapping)
    for column in ("wall", "cpu"):
        values[column] = None if values[column] is None else float(values[column])
    return StepRow(**values)


def parts(connection: Connection, master: str) -> list[DocumentRow]:
    """The documents that one was cut into, in order."""
    d = t.document.c
    rows = connection.execute(select(t.document).where(d.master == master).order_by(d.id))
    return [document_row(row) for row in rows]


def artifact_row(row: Any) -> ArtifactRow:
    """A row of `schema.artifact` as the rest of the program sees it."""
    return ArtifactRow(**{k: v for k, v in row._mapping.items() if k != "id"})


def _plain(step: StepRow) -> dict[str, Any]:
    return _text_floats(asdict(step))


def _text_floats(columns: dict[str, Any]) -> dict[str, Any]:
    # Seconds are kept as text: SQLite's REAL would show 0.30000000000000004 to a reader.
    return {
        k: f"{v:.3f}" if k in {"wall", "cpu"} and v is not None else v for k, v in columns.items()
    }
