"""Carries out what `closing` decides: reads tickets, and brings closed batches to admission whole.

A ticket is read in the daemon: bounded, and by parsers of the standard library that expand and
fetch nothing (`tickets`).
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from archived.intake.admission import Custody, admit
from archived.intake.batch import (
    Batch,
    Closes,
    Decision,
    Holds,
    Lying,
    Rules,
    Waits,
    sort,
    ticket_format,
)
from archived.intake.card import FolderCard, House
from archived.intake.closing import decide
from archived.intake.file_errors import hold_code, sentence
from archived.intake.item import Candidate, Item
from archived.intake.opened import opened
from archived.intake.problems import Problem
from archived.intake.tickets import (
    MOST_BYTES,
    Ticket,
    TicketProblem,
    digest_problem,
    read_ticket,
)
from archived.model.identity import nth_document_id
from archived.storage.catalog import Catalog
from archived.storage.records import Kept
from archived.storage.spool import Spool

_MEDIA_TYPES = {"json": "application/json", "csv": "text/csv", "xml": "application/xml"}


class DigestsDiffer(Exception):
    """The bytes are not those that the ticket lists; nothing was kept. Carries the decision."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.decision = Holds("ticket-digest", "; ".join(each.sentence for each in problems))
        super().__init__(self.decision.reason)


class Gathering:
    """One hot folder's batches."""

    def __init__(self, card: FolderCard, catalog: Catalog, spool: Spool, house: House) -> None:
        self._card = card
        self._catalog = catalog
        self._spool = spool
        self._house = house
        self._tickets: dict[bytes, tuple[Lying, Ticket | TicketProblem]] = {}
        """What was read of a ticket, as long as it does not change."""
        self._differing: dict[bytes, tuple[Mapping[bytes, Candidate], list[Problem]]] = {}
        """By ticket, the files whose bytes are not those it lists: they are not read again."""

    @property
    def rules(self) -> Rules:
        """How this hot folder's files belong together."""
        return self._card.batches

    def decisions(self, files: Iterable[Lying]) -> Iterator[tuple[Batch, Decision]]:
        """What to do with every file that is there."""
        batches = sort(files, self.rules)
        # What has changed is not ready in the sweep that notices it: it is forgotten then.
        ready = {each.path for batch in batches for each in batch.tickets if each.ready}
        self._tickets = {path: known for path, known in self._tickets.items() if path in ready}
        self._differing = {path: read for path, read in self._differing.items() if path in ready}
        for batch in batches:
            try:
                ticket = self._ticket(batch)
            except FileNotFoundError:  # gone since the scan: the next sweep will tell
                yield batch, Waits()
                continue
            except OSError as error:
                yield Batch((), batch.folder, batch.tickets), _held_for(error)
                yield replace(batch, tickets=()), Waits()
                continue
            if isinstance(ticket, TicketProblem):
                yield _ready(batch), Holds(ticket.code, ticket.problem.sentence)
                continue
            try:
                decisions = decide(batch, self.rules, ticket)
            except Exception as error:  # noqa: BLE001 - one batch's error must not stop the others
                decisions = [_held_for(error)]
            for decision in decisions:
                yield (_ready(batch) if isinstance(decision, Holds) else batch), decision

    def _ticket(self, batch: Batch) -> Ticket | TicketProblem | None:
        if len(batch.tickets) != 1 or not batch.tickets[0].ready:
            return None
        (lying,) = batch.tickets
        known = self._tickets.get(lying.path)
        if known is not None and _same(known[0], lying):
            return known[1]
        found: Ticket | TicketProblem
        try:
            found = read_ticket(lying.path, self._read(lying))
        except TicketProblem as problem:
            found = problem
        self._tickets[lying.path] = lying, found
        return found

    def _read(self, lying: Lying) -> bytes:
        with opened(self._card.path, lying.path) as it:
            if it.status().st_size != lying.size:
                raise FileNotFoundError(errno.ENOENT, "it has changed since it was seen")
            return it.open_file.file.read(MOST_BYTES + 1)

    def admit(self, closed: Closes, candidates: Mapping[bytes, Candidate]) -> list[Custody]:
        """Take a closed batch into custody, whole. Raises as `admission.admit`, and
        `DigestsDiffer`.
        """
        ticket = next(iter(closed.companions), b"")
        if (known := self._differing.get(ticket)) is not None and known[0] == candidates:
            raise DigestsDiffer(known[1])
        now = self._house.now()
        items = []
        for number, unit in enumerate(closed.units):
            files = tuple(candidates[path] for path in unit.files)
            companions = closed.companions if number == 0 else ()
            items.append(
                Item(
                    nth_document_id(now, number, secrets.token_bytes(8)), files,
                    self._house.route(self._card, files[0]),
                    path=unit.name, held=unit.held, dossier=closed.dossier, given=unit.given,
                    collation=unit.collation,
                    companions=tuple(_companions([candidates[path] for path in companions])),
                )
            )  # fmt: skip

        def examine(taken: Sequence[tuple[Item, Sequence[Kept]]]) -> None:
            problems = [
                problem
                for unit, (_, kept) in zip(closed.units, taken, strict=True)
                for listed, each in zip(unit.listed, kept, strict=False)
                if (problem := digest_problem(listed, each.sha256, each.sha512)) is not None
            ]
            if problems:
                self._differing[ticket] = candidates, problems
                raise DigestsDiffer(problems)

        return admit(self._spool, self._catalog, items, self._house.find_bytes, now, examine)


def _held_for(error: Exception) -> Holds:
    code = hold_code(error)
    return Holds(code, Problem(code, sentence(error)).sentence)


def _ready(batch: Batch) -> Batch:
    """What may be held for the batch: the rest still arrives, or is held for a reason of its own,
    and two reasons would take turns on record in every sweep.
    """
    files, tickets, marks = (
        tuple(each for each in some if each.ready)
        for some in (batch.files, batch.tickets, batch.marks)
    )
    return Batch(files, batch.folder, tickets, marks)


def _same(before: Lying, now: Lying) -> bool:
    return before.arrival == now.arrival and before.size == now.size and now.still > before.still


def _companions(files: Sequence[Candidate]) -> Iterator[Candidate]:
    """Each with the name and type it is kept under."""
    marks = 0
    for file in files:
        kind = ticket_format(file.path)
        if kind in _MEDIA_TYPES:
            yield replace(file, becomes=f"metadata/ticket.{kind}", media_type=_MEDIA_TYPES[kind])
            continue
        marks += 1
        name = "mark" if marks == 1 else f"mark-{marks}"
        yield replace(file, becomes=f"metadata/{name}.txt", media_type="text/plain")
