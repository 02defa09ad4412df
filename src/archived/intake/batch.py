"""Which files in a hot folder belong together, and whether they are all there. Pure.

Files and how long they have stayed the same in, decisions out: nothing is opened here. A batch is
taken in whole, held whole, or waited for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from archived.intake.groups import Group, SidesDiffer, group_pages, interleave
from archived.intake.problems import Problem
from archived.intake.tickets import (
    FORMATS,
    Listed,
    Ticket,
    compare,
    received_names,
    secrecy_problem,
)
from archived.model.identity import readable

Closing = Literal["ticket", "mark", "quiet"]
MARK = b".done"
"""A file of this name closes its folder; one that ends with it, the pages called like it."""
TICKET = b"ticket"
"""A ticket's name, before the ending that says its format."""
TWO_PASS = "two-pass"  # noqa: S105 - a way of scanning
_MAY_YET_COME = frozenset({"ticket-files-missing", "ticket-count"})


@dataclass(frozen=True, slots=True)
class Rules:
    """How a hot folder's files belong together. Times in seconds."""

    dossiers: bool = False
    """Each folder at `depth` is one dossier."""
    closed_by: frozenset[Closing] = frozenset({"ticket", "mark", "quiet"})
    numbered: bool = False
    """Files that differ in their last number only are the pages of one document."""
    two_pass: bool = False
    """A document of fronts is followed, from the same device, by one of backs."""
    quiet: float = 120.0
    """A batch that nothing was added to for so long is closed."""
    deadline: float = 900.0
    """What is still missing after so long will not come."""
    other_side: float = 1800.0
    """How long fronts wait for their backs."""
    depth: int = 1
    secrecy: str = ""

    def __bool__(self) -> bool:
        return self.dossiers or self.numbered or self.two_pass


@dataclass(frozen=True, slots=True)
class Lying:
    """A file that is there and not taken in. `still`: seconds for which it has not changed."""

    path: bytes
    arrival: int
    size: int
    still: float
    ready: bool
    """It could be taken in by itself now."""
    device: str = ""
    written: int = 0
    """When it was last written, by its own time (nanoseconds): orders what was seen at once."""
    held: tuple[str, str] | None = None
    """(code, reason) with which it would be taken in."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One document to be, by its files' paths; `listed` is what a ticket says of each."""

    files: tuple[bytes, ...]
    name: bytes
    held: tuple[str, str] | None = None
    collation: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    listed: tuple[Listed, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that are decided on together. `folder`: of a dossier."""

    files: tuple[Lying, ...]
    folder: bytes | None = None
    tickets: tuple[Lying, ...] = ()
    marks: tuple[Lying, ...] = ()

    @property
    def everything(self) -> tuple[Lying, ...]:
        """Files, tickets and marks."""
        return (*self.files, *self.tickets, *self.marks)

    @property
    def still(self) -> float:
        """Seconds for which none of them has changed."""
        return min((each.still for each in self.everything), default=0.0)


@dataclass(frozen=True, slots=True)
class Waits:
    """Not all of it is there, or some of it is still arriving."""


@dataclass(frozen=True, slots=True)
class Holds:
    """It cannot be taken in as it is; every file of it stays where it is."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Passes:
    """Marks, and nothing that they could close."""


@dataclass(frozen=True, slots=True)
class Closes:
    """It is whole: these documents are taken in together. `companions` go with the first."""

    units: tuple[Unit, ...]
    dossier: str = ""
    companions: tuple[bytes, ...] = ()


Decision = Waits | Holds | Passes | Closes


def is_companion(path: bytes, rules: Rules) -> bool:
    """Whether a file says something about others: a ticket or a mark, where such are looked for."""
    return _is_mark(path, rules) or _is_ticket(path, rules)


def ticket_format(path: bytes) -> str:
    """`json`, `csv` or `xml`, by a ticket's name."""
    return os.fsdecode(path.rpartition(b".")[2].lower())


def sort(files: Iterable[Lying], rules: Rules) -> list[Batch]:
    """Put every file into a batch, those that came first in front."""
    dossiers: dict[bytes, list[Lying]] = {}
    loose: list[Lying] = []
    for file in sorted(files, key=lambda each: each.arrival):
        folder = _dossier(file.path, rules)
        (loose if folder is None else dossiers.setdefault(folder, [])).append(file)
    batches = [_batch(found, rules, folder) for folder, found in dossiers.items()]
    return batches + list(_loose(loose, rules))


def decide(batch: Batch, rules: Rules, ticket: Ticket | None = None) -> list[Decision]:
    """What to do with a batch now; several decisions where it makes several documents.

    `ticket`: what the batch's own says, when it has one.
    """
    if batch.folder is not None:
        return [_dossier_decision(batch, rules, ticket)]
    if not batch.files:
        return [Passes() if batch.still >= rules.quiet else Waits()]
    return _two_passes(batch, rules) if rules.two_pass else [_pages_decision(batch, rules)]


# Sorting -----------------------------------------------------------------------------------------


def _is_mark(path: bytes, rules: Rules) -> bool:
    return "mark" in rules.closed_by and bool(rules) and path.lower().endswith(MARK)


def _is_ticket(path: bytes, rules: Rules) -> bool:
    folder, _, name = path.rpartition(b"/")
    stem, dot, _ = name.lower().rpartition(b".")
    return (
        "ticket" in rules.closed_by and stem + dot == TICKET + b"."
        and ticket_format(path) in FORMATS and folder == _dossier(path, rules)
    )  # fmt: skip


def _dossier(path: bytes, rules: Rules) -> bytes | None:
    parts = path.split(b"/")
    if not rules.dossiers or len(parts) <= rules.depth:
        return None
    return b"/".join(parts[: rules.depth])


def _batch(files: Sequence[Lying], rules: Rules, folder: bytes | None = None) -> Batch:
    tickets = [f for f in files if _is_ticket(f.path, rules)]
    marks = [f for f in files if _is_mark(f.path, rules)]
    rest = [f for f in files if f not in tickets and f not in marks]
    return Batch(tuple(rest), folder, tuple(tickets), tuple(marks))


def _loose(files: Sequence[Lying], rules: Rules) -> Iterator[Batch]:
    """Files outside of dossiers: by device where sides are collated, else by what they are of."""
    if rules.two_pass:
        by_device: dict[str, list[Lying]] = {}
        for file in files:
            by_device.setdefault(file.device, []).append(file)
        yield from (_batch(found, rules) for found in by_device.values())
        return
    by_folder: dict[bytes, list[Lying]] = {}
    for file in files:
        by_folder.setdefault(file.path.rpartition(b"/")[0], []).append(file)
    for found in by_folder.values():
        batch = _batch(found, rules)
        general = [m for m in batch.marks if m.path.rpartition(b"/")[2].lower() == MARK]
        if general:
            yield batch  # it closes whatever is in its folder
        else:
            yield from _by_stem(batch, rules)


def _by_stem(batch: Batch, rules: Rules) -> Iterator[Batch]:
    marks = {_bare(mark.path[: -len(MARK)]): mark for mark in batch.marks}
    for group in _groups(batch.files, rules):
        mark = marks.pop(_bare(group.stem), None)
        yield Batch(tuple(_of(batch.files, group.members)), marks=(mark,) if mark else ())
    for mark in marks.values():
        yield Batch((), marks=(mark,))


def _groups(files: Sequence[Lying], rules: Rules) -> list[Group]:
    paths = [file.path for file in files]
    return group_pages(paths) if rules.numbered else [Group(path, (path,)) for path in paths]


def _of(files: Sequence[Lying], paths: Iterable[bytes]) -> Iterator[Lying]:
    by_path = {file.path: file for file in files}
    return (by_path[path] for path in paths)


def _bare(stem: bytes) -> bytes:
    """A stem without what only leads up to a number; never empty."""
    folder, slash, name = stem.rpartition(b"/")
    return (folder + slash + name.rstrip(b" -_.(#")) or stem


# Deciding ----------------------------------------------------------------------------------------


def _dossier_decision(batch: Batch, rules: Rules, ticket: Ticket | None) -> Decision:
    if not batch.files and not batch.tickets:
        return Passes() if batch.still >= rules.quiet else Waits()
    if len(batch.tickets) > 1:
        names = ", ".join(readable(each.path) for each in batch.tickets)
        return _holds([Problem("ticket-several", names)])
    if any(not each.ready for each in batch.everything):
        return Waits()
    if ticket is not None:
        return _by_ticket(batch, rules, ticket)
    if batch.marks or ("quiet" in rules.closed_by and batch.still >= rules.quiet):
        units = tuple(_unit(batch.files, group) for group in _groups(_by_path(batch), rules))
        return _closes(batch, units, _code(batch))
    if "quiet" not in rules.closed_by and batch.still >= rules.deadline:
        how = " or ".join(sorted(rules.closed_by))
        return _holds([Problem("dossier-open", f"{_code(batch)} wants a {how}")])
    return Waits()


def _by_ticket(batch: Batch, rules: Rules, ticket: Ticket) -> Decision:
    present = {_inside(batch, file.path): file.size for file in batch.files}
    problems = compare(ticket, present)
    if (above := secrecy_problem(ticket, rules.secrecy)) is not None:
        problems.append(above)
    if not problems and not batch.files:
        problems = [Problem("ticket-count", "there is no file beside the ticket")]
    codes = {problem.code for problem in problems}
    if problems and codes <= _MAY_YET_COME and batch.still < rules.deadline:
        return Waits()
    if problems:
        return _holds(problems)
    code = ticket.dossier or _code(batch)
    dossier = dict(ticket.given) | ({"title": ticket.title} if ticket.title else {})
    given = {"dossier": dossier} if dossier else {}
    if not ticket.files:
        groups = _groups(_by_path(batch), rules)
        units = tuple(replace(_unit(batch.files, group), given=given) for group in groups)
        return _closes(batch, units, code)
    received = received_names(ticket, present)
    units = tuple(
        _listed_unit(batch, listed, received, given) for listed in ticket.documents
    )  # fmt: skip
    return _closes(batch, units, code)


def _listed_unit(
    batch: Batch, listed: Sequence[Listed], received: Mapping[str, str], given: Mapping[str, Any]
) -> Unit:
    prefix = (batch.folder or b"") + b"/"
    paths = tuple(prefix + os.fsencode(received[each.path]) for each in listed)
    said = {key: value for each in reversed(listed) for key, value in each.given.items()}
    pages = [each.pages for each in listed]
    known = {"pages": sum(p for p in pages if p is not None)} if None not in pages else {}
    name = prefix + os.fsencode(listed[0].document) if listed[0].document else paths[0]
    return Unit(
        paths, name, _first_held(_of(batch.files, paths)), given={**said, **known, **given},
        listed=tuple(listed),
    )  # fmt: skip


def _pages_decision(batch: Batch, rules: Rules) -> Decision:
    if any(not each.ready for each in batch.everything):
        return Waits()
    groups = _groups(batch.files, rules)
    wait = max(_wait_for(group, rules) for group in groups)
    if not batch.marks and batch.still < wait:
        return Waits()
    return _closes(batch, tuple(_unit(batch.files, group) for group in groups))


def _wait_for(group: Group, rules: Rules) -> float:
    if group.first < 0:
        return 0.0  # nothing can follow a file whose name has no number
    return rules.deadline if group.problems else rules.quiet


def _two_passes(batch: Batch, rules: Rules) -> list[Decision]:
    """Fronts and backs of one device, in the order in which they were written; pair by pair.

    Not in the order in which they were seen: what came while nobody looked was seen at once.
    """
    left = list(batch.marks)
    found: list[Decision] = []
    passes = [
        (group, list(_of(batch.files, group.members))) for group in _groups(batch.files, rules)
    ]
    passes.sort(key=lambda each: min((file.written, file.arrival) for file in each[1]))
    while passes:
        (fronts, files), *rest = passes
        if not _is_whole(fronts, files, rules):
            return [*found, Waits()]
        if not rest:
            still = min(file.still for file in files)
            if still < rules.other_side:
                return [*found, Waits()]
            unit = _with_problem(_unit(files, fronts), Problem("other-side-missing", _name(fronts)))
            return [*found, _closes(Batch(tuple(files), marks=tuple(left)), (unit,))]
        backs, more = rest[0]
        if not _is_whole(backs, more, rules):
            return [*found, Waits()]
        both = Batch((*files, *more), marks=tuple(left))
        unit = _collated(both.files, fronts, backs)
        if max(file.written for file in files) >= min(file.written for file in more):
            names = f"{_name(fronts)} and {_name(backs)}"
            unit = _with_problem(unit, Problem("sides-unclear", names))
        found.append(_closes(both, (unit,)))
        left, passes = [], rest[1:]
    return found or [Passes()]


def _is_whole(group: Group, files: Sequence[Lying], rules: Rules) -> bool:
    still = min(file.still for file in files)
    return all(file.ready for file in files) and still >= _wait_for(group, rules)


def _collated(files: Sequence[Lying], fronts: Group, backs: Group) -> Unit:
    first, second = _unit(files, fronts), _unit(files, backs)
    held = first.held or second.held
    if len(first.files) == len(second.files) == 1:
        return replace(first, files=first.files + second.files, held=held, collation=TWO_PASS)
    try:
        return replace(first, files=interleave(first.files, second.files), held=held)
    except SidesDiffer as differ:
        both = replace(first, files=first.files + second.files, held=held)
        return _with_problem(both, differ.problem)


def _unit(files: Sequence[Lying], group: Group) -> Unit:
    unit = Unit(group.members, _name_of(group), _first_held(_of(files, group.members)))
    return _with_problem(unit, *group.problems)


def _with_problem(unit: Unit, *problems: Problem) -> Unit:
    if not problems or unit.held is not None:
        return unit
    return replace(
        unit, held=(problems[0].code, "; ".join(problem.sentence for problem in problems))
    )


def _name_of(group: Group) -> bytes:
    return group.members[0] if len(group.members) == 1 else _bare(group.stem)


def _name(group: Group) -> str:
    return readable(_name_of(group))


def _first_held(files: Iterable[Lying]) -> tuple[str, str] | None:
    return next((file.held for file in files if file.held is not None), None)


def _closes(batch: Batch, units: tuple[Unit, ...], dossier: str = "") -> Closes:
    companions = tuple(each.path for each in (*batch.tickets, *batch.marks))
    return Closes(units, dossier, companions)


def _holds(problems: Sequence[Problem]) -> Holds:
    return Holds(problems[0].code, "; ".join(problem.sentence for problem in problems))


def _by_path(batch: Batch) -> list[Lying]:
    return sorted(batch.files, key=lambda each: each.path)


def _code(batch: Batch) -> str:
    return readable((batch.folder or b"").rpartition(b"/")[2])


def _inside(batch: Batch, path: bytes) -> str:
    return os.fsdecode(path[len(batch.folder or b"") + 1 :])
