"""Carries out what `closing` decides: reads tickets, and brings closed batches to admission whole.

A ticket is read in the daemon: bounded, and by parsers of the standard library that expand and
fetch nothing (`tickets`).
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from archived.ingest.admission import Custody, admit
from archived.ingest.batch_rules import decide
from archived.ingest.batches import (
    Batch,
    BatchClosed,
    BatchDecision,
    BatchFile,
    BatchHeld,
    BatchRules,
    BatchWaits,
    sort,
    ticket_format,
)
from archived.ingest.file_errors import hold_code, sentence
from archived.ingest.hold_reasons import BatchProblem
from archived.ingest.hotfolder_spec import HotFolderSpec, IngestServices
from archived.ingest.source_file import open_source
from archived.ingest.submission import Candidate, Submission
from archived.ingest.tickets import MOST_BYTES, Ticket, TicketProblem, digest_problem, read_ticket
from archived.message import Message, sequence
from archived.model.ids import nth_document_id
from archived.storage.catalog import Catalog
from archived.storage.rows import SpoolFile
from archived.storage.spool import Spool

_MEDIA_TYPES = {"json": "application/json", "csv": "text/csv", "xml": "application/xml"}


READ_AT_ONCE = 1 << 20
"""Bytes of tickets that one sweep reads: more wait for the next one, in turn."""
REMEMBERED = 4 << 20
"""Bytes of tickets whose content is kept from sweep to sweep. Parsed, they take thirteen times as
much; without a limit a client's folders full of tickets filled the memory."""


class DigestsDiffer(Exception):
    """The bytes are not those that the ticket lists; nothing was kept. Carries the decision."""

    def __init__(self, problems: Sequence[BatchProblem]) -> None:
        self.decision = BatchHeld(
            "ticket-digest", sequence([each.sentence for each in problems], "; ")
        )
        super().__init__(self.decision.reason)


class BatchIngest:
    """One hot folder's batches."""

    def __init__(
        self, spec: HotFolderSpec, catalog: Catalog, spool: Spool, services: IngestServices
    ) -> None:
        self._spec = spec
        self._catalog = catalog
        self._spool = spool
        self._services = services
        self._tickets: dict[bytes, tuple[BatchFile, Ticket | TicketProblem]] = {}
        """What was read of a ticket, as long as it does not change."""
        self._next: bytes | None = None
        """The ticket at which the last sweep had read enough."""
        self._read = 0
        self._differing: dict[bytes, tuple[Mapping[bytes, Candidate], list[BatchProblem]]] = {}
        """By ticket, the files whose bytes are not those it lists: they are not read again."""

    @property
    def rules(self) -> BatchRules:
        """How this hot folder's files belong together."""
        return self._spec.batches

    def decisions(self, files: Iterable[BatchFile]) -> Iterator[tuple[Batch, BatchDecision]]:
        """What to do with every file that is there."""
        batches = self._in_turn(sort(files, self.rules))
        self._read = 0
        # What has changed is not ready in the sweep that notices it: it is forgotten then.
        ready = {each.path for batch in batches for each in batch.tickets if each.ready}
        self._tickets = {path: known for path, known in self._tickets.items() if path in ready}
        self._differing = {path: read for path, read in self._differing.items() if path in ready}
        for batch in batches:
            try:
                if self._has_read_enough(batch):
                    yield batch, BatchWaits()
                    continue
                ticket = self._ticket(batch)
            except FileNotFoundError:  # gone since the scan: the next sweep will tell
                yield batch, BatchWaits()
                continue
            except OSError as error:
                yield Batch((), batch.folder, batch.tickets), _held_for(error)
                yield replace(batch, tickets=()), BatchWaits()
                continue
            if isinstance(ticket, TicketProblem):
                yield _ready(batch), BatchHeld(ticket.code, ticket.problem.sentence)
                continue
            try:
                decisions = decide(batch, self.rules, ticket)
            except Exception as error:  # noqa: BLE001 - one batch's error must not stop the others
                decisions = [_held_for(error)]
            for decision in decisions:
                yield (_ready(batch) if isinstance(decision, BatchHeld) else batch), decision

    def _in_turn(self, batches: list[Batch]) -> list[Batch]:
        """The batch first whose ticket the last sweep did not come to."""
        if self._next is None:
            return batches
        tickets = [batch.tickets[0].path if batch.tickets else None for batch in batches]
        first = tickets.index(self._next) if self._next in tickets else 0
        self._next = None
        return batches[first:] + batches[:first]

    def _has_read_enough(self, batch: Batch) -> bool:
        """Whether this batch's ticket must be read, and this sweep has read enough of others."""
        lying = _only_ticket(batch)
        if lying is None or self._known(lying) is not None or self._read < READ_AT_ONCE:
            return False
        if self._next is None:
            self._next = lying.path
        return True

    def _known(self, lying: BatchFile) -> Ticket | TicketProblem | None:
        known = self._tickets.get(lying.path)
        return known[1] if known is not None and _same(known[0], lying) else None

    def _ticket(self, batch: Batch) -> Ticket | TicketProblem | None:
        lying = _only_ticket(batch)
        if lying is None:
            return None
        if (known := self._known(lying)) is not None:
            return known
        found: Ticket | TicketProblem
        try:
            found = read_ticket(lying.path, self._bytes(lying))
        except TicketProblem as problem:
            found = problem
        self._remember(lying, found)
        return found

    def _remember(self, lying: BatchFile, found: Ticket | TicketProblem) -> None:
        """As long as there is room: what does not fit is read again, in turn."""
        self._tickets.pop(lying.path, None)
        taken = sum(_cost(each) for each, _ in self._tickets.values())
        if taken + _cost(lying) <= REMEMBERED:
            self._tickets[lying.path] = lying, found

    def _bytes(self, lying: BatchFile) -> bytes:
        self._read += _cost(lying)
        with open_source(self._spec.path, lying.path) as it:
            if it.status().st_size != lying.size:
                raise FileNotFoundError(errno.ENOENT, Message("it has changed since it was seen"))
            return it.open_file.file.read(MOST_BYTES + 1)

    def admit(self, closed: BatchClosed, candidates: Mapping[bytes, Candidate]) -> list[Custody]:
        """Take a closed batch into custody, whole. Raises as `admission.admit`, and
        `DigestsDiffer`.
        """
        ticket = next(iter(closed.companions), b"")
        if (known := self._differing.get(ticket)) is not None and known[0] == candidates:
            raise DigestsDiffer(known[1])
        now = self._services.now()
        items = []
        for number, unit in enumerate(closed.units):
            files = tuple(candidates[path] for path in unit.files)
            companions = closed.companions if number == 0 else ()
            items.append(
                Submission(
                    nth_document_id(now, number, secrets.token_bytes(8)),
                    files,
                    self._services.route(self._spec, files[0]),
                    path=unit.name,
                    held=unit.held,
                    dossier=closed.dossier,
                    given=unit.given,
                    collation=unit.collation,
                    companions=tuple(_companions([candidates[path] for path in companions])),
                )
            )

        def examine(taken: Sequence[tuple[Submission, Sequence[SpoolFile]]]) -> None:
            problems = [
                problem
                for unit, (_, kept) in zip(closed.units, taken, strict=True)
                for listed, each in zip(unit.listed, kept, strict=False)
                if (problem := digest_problem(listed, each.sha256, each.sha512)) is not None
            ]
            if problems:
                self._differing[ticket] = candidates, problems
                raise DigestsDiffer(problems)

        return admit(self._spool, self._catalog, items, self._services.find_bytes, now, examine)


def _held_for(error: Exception) -> BatchHeld:
    code = hold_code(error)
    return BatchHeld(code, BatchProblem(code, sentence(error)).sentence)


def _ready(batch: Batch) -> Batch:
    """What may be held for the batch: the rest still arrives, or is held for a reason of its own,
    and two reasons would take turns on record in every sweep.
    """
    files, tickets, marks = (
        tuple(each for each in some if each.ready)
        for some in (batch.files, batch.tickets, batch.marks)
    )
    return Batch(files, batch.folder, tickets, marks)


def _only_ticket(batch: Batch) -> BatchFile | None:
    """The ticket that can be read now."""
    if len(batch.tickets) != 1 or not batch.tickets[0].ready:
        return None
    return batch.tickets[0]


def _cost(ticket: BatchFile) -> int:
    """A ticket that is too large is not read to its end."""
    return min(ticket.size, MOST_BYTES)


def _same(before: BatchFile, now: BatchFile) -> bool:
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
