"""Whether a batch is all there, and what is done with it. Pure: nothing is opened here.

A batch is taken in whole, held whole, or waited for. What is wrong with one document's pages does
not hold the batch: that document is taken into custody as held.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from archived.ingest.batches import (
    Batch,
    BatchClosed,
    BatchDecision,
    BatchFile,
    BatchHeld,
    BatchPassed,
    BatchRules,
    BatchWaits,
    PageGroup,
    PlannedDocument,
    SidesDiffer,
    bare,
    by_path,
    groups_of,
    interleave,
)
from archived.ingest.hold_reasons import BatchProblem, named
from archived.ingest.tickets import ListedFile, Ticket, compare, received_names, secrecy_problem
from archived.message import Message, sequence
from archived.model.ids import readable

TWO_PASS = "two-pass"  # noqa: S105 - a way of scanning
_MAY_YET_COME = frozenset({"ticket-files-missing", "ticket-count"})


def decide(batch: Batch, rules: BatchRules, ticket: Ticket | None = None) -> list[BatchDecision]:
    """What to do with a batch now; several decisions where it makes several documents.

    `ticket`: what the batch's own says, when it has one.
    """
    if batch.folder is not None:
        return [_dossier_decision(batch, rules, ticket)]
    if not batch.files:
        return [BatchPassed() if batch.still >= rules.settle_time else BatchWaits()]
    return _two_passes(batch, rules) if rules.two_pass else [_pages_decision(batch, rules)]


def _dossier_decision(batch: Batch, rules: BatchRules, ticket: Ticket | None) -> BatchDecision:
    if not batch.files and not batch.tickets:
        return BatchPassed() if batch.still >= rules.settle_time else BatchWaits()
    if len(batch.tickets) > 1:
        names = ", ".join(readable(each.path) for each in batch.tickets)
        return _holds([BatchProblem("ticket-several", names)])
    if any(not each.ready for each in batch.everything):
        return BatchWaits()
    if ticket is not None:
        return _by_ticket(batch, rules, ticket)
    if batch.marks or ("settled" in rules.closed_by and batch.still >= rules.settle_time):
        units = _units(batch, groups_of(_by_path(batch), rules))
        return _closes(batch, units, _code(batch))
    if "settled" not in rules.closed_by and batch.still >= rules.deadline:
        how = " or ".join(sorted(rules.closed_by))
        return _holds(
            [
                BatchProblem(
                    "dossier-open", Message("{code} wants a {how}", code=_code(batch), how=how)
                )
            ]
        )
    return BatchWaits()


def _by_ticket(batch: Batch, rules: BatchRules, ticket: Ticket) -> BatchDecision:
    paths, twice = _inside_paths(batch)
    present = {inside: of.size for inside, of in paths.items()}
    problems = compare(ticket, present)
    if twice:
        told = Message(
            "two spellings of the dossier's folder hold the same name: {named}",
            named=named(twice),
        )
        problems.append(BatchProblem("ticket-duplicate", told))
    if (above := secrecy_problem(ticket, rules.secrecy)) is not None:
        problems.append(above)
    if not problems and not batch.files:
        problems = [BatchProblem("ticket-count", Message("there is no file beside the ticket"))]
    codes = {problem.code for problem in problems}
    if problems and codes <= _MAY_YET_COME and batch.still < rules.deadline:
        return BatchWaits()
    if problems:
        return _holds(problems)
    code = ticket.dossier or _code(batch)
    dossier = dict(ticket.given) | ({"title": ticket.title} if ticket.title else {})
    given = {"dossier": dossier} if dossier else {}
    if not ticket.files:
        groups = groups_of(_by_path(batch), rules)
        units = tuple(replace(unit, given=given) for unit in _units(batch, groups))
        return _closes(batch, units, code)
    received = received_names(ticket, present)
    of = {path: paths[inside] for path, inside in received.items()}
    units = tuple(_listed_unit(batch, of, listed, given) for listed in ticket.documents)
    return _closes(batch, units, code)


def _listed_unit(
    batch: Batch,
    of: Mapping[str, BatchFile],
    listed: Sequence[ListedFile],
    given: Mapping[str, Any],
) -> PlannedDocument:
    """`of`: path in the ticket -> the file."""
    prefix = (batch.folder or b"") + b"/"
    paths = tuple(of[each.path].path for each in listed)
    said = {key: value for each in reversed(listed) for key, value in each.given.items()}
    pages = [each.pages for each in listed]
    known = {"pages": sum(p for p in pages if p is not None)} if None not in pages else {}
    name = prefix + os.fsencode(listed[0].document) if listed[0].document else paths[0]
    return PlannedDocument(
        paths,
        name,
        _first_held(of[each.path] for each in listed),
        given={**said, **known, **given},
        listed=tuple(listed),
    )


def _pages_decision(batch: Batch, rules: BatchRules) -> BatchDecision:
    if any(not each.ready for each in batch.everything):
        return BatchWaits()
    groups = groups_of(batch.files, rules)
    wait = max(_wait_for(group, rules) for group in groups)
    if not batch.marks and batch.still < wait:
        return BatchWaits()
    return _closes(batch, _units(batch, groups))


def _wait_for(group: PageGroup, rules: BatchRules) -> float:
    if group.first < 0:
        return 0.0  # nothing can follow a file whose name has no number
    return rules.deadline if group.problems else rules.settle_time


def _two_passes(batch: Batch, rules: BatchRules) -> list[BatchDecision]:
    """Fronts and backs of one device, in the order in which they were written; pair by pair.

    Not in the order in which they were seen: what came while nobody looked was seen at once.
    """
    left = [mark for mark in batch.marks if mark.ready]
    found: list[BatchDecision] = []
    of = by_path(batch.files)
    passes = [
        (group, [of[path] for path in group.members]) for group in groups_of(batch.files, rules)
    ]
    passes.sort(key=lambda each: min((file.written, file.arrival) for file in each[1]))
    while passes:
        (fronts, files), *rest = passes
        if not _is_whole(fronts, files, rules):
            return [*found, BatchWaits()]
        if not rest:
            still = min(file.still for file in files)
            if still < rules.back_side_wait:
                return [*found, BatchWaits()]
            unit = _with_problem(
                _unit(of, fronts), BatchProblem("back-sides-missing", _name(fronts))
            )
            return [*found, _closes(Batch(tuple(files), marks=tuple(left)), (unit,))]
        backs, more = rest[0]
        if not _is_whole(backs, more, rules):
            return [*found, BatchWaits()]
        both = Batch((*files, *more), marks=tuple(left))
        unit = _collated(both.files, fronts, backs)
        if _is_order_unclear(files, more):
            names = f"{_name(fronts)} and {_name(backs)}"
            unit = _with_problem(unit, BatchProblem("page-order-ambiguous", names))
        found.append(_closes(both, (unit,)))
        left, passes = [], rest[1:]
    return found


def _is_order_unclear(first: Sequence[BatchFile], then: Sequence[BatchFile]) -> bool:
    """Whether their times do not tell which of two passes came first."""
    if max(file.written for file in first) >= min(file.written for file in then):
        return True
    came = min(first, key=lambda each: each.arrival)
    # What came earlier was written after the other had come: written anew, or the clock was set.
    earlier = min(each.arrival for each in then) < came.arrival
    return earlier and max(file.written for file in then) > came.seen


def _is_whole(group: PageGroup, files: Sequence[BatchFile], rules: BatchRules) -> bool:
    still = min(file.still for file in files)
    return all(file.ready for file in files) and still >= _wait_for(group, rules)


def _collated(files: Sequence[BatchFile], fronts: PageGroup, backs: PageGroup) -> PlannedDocument:
    of = by_path(files)
    first, second = _unit(of, fronts), _unit(of, backs)
    held = first.held or second.held
    if len(first.files) == len(second.files) == 1:
        return replace(first, files=first.files + second.files, held=held, collation=TWO_PASS)
    try:
        return replace(first, files=interleave(first.files, second.files), held=held)
    except SidesDiffer as differ:
        both = replace(first, files=first.files + second.files, held=held)
        return _with_problem(both, differ.problem)


def _units(batch: Batch, groups: Iterable[PageGroup]) -> tuple[PlannedDocument, ...]:
    of = by_path(batch.files)
    return tuple(_unit(of, group) for group in groups)


def _unit(of: Mapping[bytes, BatchFile], group: PageGroup) -> PlannedDocument:
    held = _first_held(of[path] for path in group.members)
    unit = PlannedDocument(group.members, _name_of(group), held)
    return _with_problem(unit, *group.problems)


def _with_problem(unit: PlannedDocument, *problems: BatchProblem) -> PlannedDocument:
    if not problems or unit.held is not None:
        return unit
    return replace(
        unit, held=(problems[0].code, sequence([problem.sentence for problem in problems], "; "))
    )


def _name_of(group: PageGroup) -> bytes:
    return group.members[0] if len(group.members) == 1 else bare(group.stem)


def _name(group: PageGroup) -> str:
    return readable(_name_of(group))


def _first_held(files: Iterable[BatchFile]) -> tuple[str, str] | None:
    return next((file.held for file in files if file.held is not None), None)


def _closes(batch: Batch, units: tuple[PlannedDocument, ...], dossier: str = "") -> BatchClosed:
    companions = tuple(each.path for each in (*batch.tickets, *batch.marks))
    return BatchClosed(units, dossier, companions)


def _holds(problems: Sequence[BatchProblem]) -> BatchHeld:
    return BatchHeld(problems[0].code, sequence([problem.sentence for problem in problems], "; "))


def _by_path(batch: Batch) -> list[BatchFile]:
    return sorted(batch.files, key=lambda each: each.path)


def _code(batch: Batch) -> str:
    return readable((batch.folder or b"").rpartition(b"/")[2])


def _inside_paths(batch: Batch) -> tuple[dict[str, BatchFile], list[str]]:
    """Path inside the dossier's folder -> the file; and the paths that two files have, each in a
    folder whose accents are typed in another way.
    """
    depth = (batch.folder or b"").count(b"/") + 1
    found: dict[str, BatchFile] = {}
    twice: list[str] = []
    for file in batch.files:
        inside = os.fsdecode(b"/".join(file.path.split(b"/")[depth:]))
        if inside in found:
            twice.append(readable(os.fsencode(inside)))
        found[inside] = file
    return found, twice
