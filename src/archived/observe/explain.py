"""What happened to a document, in plain words: step by step, why it is where it is, what next.

Pure: rows and the clock in, sentences out, in the language that is spoken (`archived.locale`).
For a person who knows paper, not programs; every sentence that depends on a code names it, so that
a programmer can find it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from archived.locale import _, day_text, ngettext, number, render
from archived.model.lifecycle import State
from archived.model.pipeline import SEAL, is_sealed
from archived.model.secrecy import OF_PARTS
from archived.observe.paper_return import paper_of
from archived.observe.receipts.reasons import reason_in_words
from archived.storage.rows import Arrival, DocumentRow, LedgerRow, Replica, StepRow


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One thing that happened."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Something a person may do now: the command to type, and what it means."""

    command: str
    means: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A document's life. `paper` says whether the paper may go back to its shelf."""

    story: Sequence[HistoryEntry]
    """What happened, in order of time."""
    now: str
    """Where it stands and why."""
    next: str
    """What to do."""
    choices: Sequence[Choice]
    paper: str


@dataclass(frozen=True, slots=True)
class DocumentRows:
    """All that is on record of one document."""

    document: DocumentRow
    arrivals: Sequence[Arrival] = ()
    steps: Sequence[StepRow] = ()
    replicas: Sequence[Replica] = ()
    entries: Sequence[LedgerRow] = ()
    parts: Sequence[DocumentRow] = ()


def explain(
    rows: DocumentRows, now: datetime, zone: tzinfo = UTC, *, verbose: bool = False
) -> Explanation:
    """Tell a document's life from its rows. Times inside sentences are on `zone`'s clock.

    `verbose`: also what stands in a step's record for whoever writes the stage.
    """
    told = [
        *_arrivals(rows.document, rows.arrivals),
        *_steps(rows.steps, verbose=verbose),
        *_entries(rows.entries, rows.steps),
    ]
    copied = _('A copy at "{target}" was written and read back: {files}.')
    told += [
        HistoryEntry(r.verified, copied.format(target=r.target, files=_files(r.files)))
        for r in rows.replicas
    ]
    told.sort(key=lambda each: each.at)
    place = _Standing(rows, now, zone)
    return Explanation(told, place.why(), place.following(), place.choices(), place.paper())


def _arrivals(document: DocumentRow, arrivals: Sequence[Arrival]) -> list[HistoryEntry]:
    told = []
    for arrival in arrivals:
        seen = _('The file "{name}" was seen in the hot folder {folder}.')
        seen = seen.format(name=arrival.name, folder=arrival.hotfolder)
        told.append(HistoryEntry(arrival.first_seen, seen))
        if arrival.ended is None:
            continue
        if arrival.code == "same-bytes":
            words = _(
                'The file "{name}" holds the very same bytes as this document, so it was counted '
                "and belongs here."
            ).format(name=arrival.name)
        else:
            words = (
                _('All {size} of "{name}" were taken into custody (its SHA-256 begins {digest}).')
                if arrival.sha256
                else _('All {size} of "{name}" were taken into custody.')
            ).format(
                size=_size(arrival.size), name=arrival.name, digest=(arrival.sha256 or "")[:12]
            )
        told.append(HistoryEntry(arrival.ended, words))
        if arrival.present:
            words = _("The scanner's file could not be removed from the folder yet.")
            told.append(HistoryEntry(arrival.ended, words))
    if not arrivals and document.master is not None:
        words = _("It was cut out of the document {master}.").format(master=document.master)
        told.append(HistoryEntry(document.received, words))
    elif not arrivals:
        words = _("It was found in the spool after a crash and admitted.")
        told.append(HistoryEntry(document.received, words))
    return told


def _steps(steps: Sequence[StepRow], *, verbose: bool) -> list[HistoryEntry]:
    told = []
    for step in steps:
        at = step.ended or step.started
        again = any(s.stage == SEAL and s.position < step.position for s in steps)
        told.append(HistoryEntry(at, _step(step, again=again)))
        if step.reviews:
            told.append(HistoryEntry(at, _asked(step)))
        if verbose and step.ending == "failed":
            told += [HistoryEntry(at, f"  {note}") for note in step.notes or ()]
        if step.ending == "finished":
            noted = _("{stage} notes: {note}")
            told += [
                HistoryEntry(at, noted.format(stage=step.stage, note=_sentence(render(note))))
                for note in step.notes or ()
            ]
    return told


def _asked(step: StepRow) -> str:
    """What a person is to look at, in one sentence for each review."""
    said = []
    for review in step.reviews or ():
        shape = (
            _("{stage} asks that a person looks, at {places}: {why} It was recorded and goes on.")
            if review.get("flagged")
            else _("{stage} asks that a person looks, at {places}: {why}")
        )
        why = f"{reason_in_words(review['message'], review['code'])} [{review['code']}]."
        said.append(shape.format(stage=step.stage, places=_places(review), why=why))
    return " ".join(said)


def _places(review: Mapping[str, Any]) -> str:
    count = len(review.get("regions", ()))
    if not count:
        return _("the whole document")
    return ngettext("{count} region", "{count} regions", count).format(count=count)


def _step(step: StepRow, *, again: bool) -> str:
    """`again`: the document was sealed before."""
    name = step.stage
    if step.attempt > 1:
        name = _("{stage} (try {attempt})").format(stage=step.stage, attempt=step.attempt)
    said = reason_in_words(step.message, step.code) if step.message else _("it did not say why")
    code = step.code or _("no code")
    why = f"{said} [{code}]."
    notes = "; ".join(map(render, step.notes or [_("no reason")]))
    if again and step.stage == SEAL and step.ending == "finished":
        return _("A new version of its object was sealed; it is durable in the store.")
    return _ended(step).format(stage=name, took=_took(step.wall), why=why, notes=_sentence(notes))


def _ended(step: StepRow) -> str:
    """How it ended, with places for `stage`, `took`, `why` and `notes`."""
    match step.ending:
        case None:
            return _("{stage} started and is running.")
        case "finished" if step.stage == SEAL:
            return _("It was sealed: its object is complete and durable in the store.")
        case "finished":
            return _("{stage} ended well{took}.")
        case "superseded":
            return _("{stage} ended well{took}; it was to be done again.")
        case "skipped":
            return _("{stage} was passed over: {notes}")
        case "postponed":
            return _("{stage} had to wait: {why}")
        case "refused":
            return _("{stage} cannot work on this document: {why}")
        case "requeued":
            return _("{stage} was stopped together with the daemon; it starts again.")
        case "lost":
            return _("The daemon or the machine died while {stage} ran.")
        case _other:
            return _("{stage} failed{took}: {why}")


def _entries(entries: Sequence[LedgerRow], steps: Sequence[StepRow]) -> list[HistoryEntry]:
    told = []
    for entry in entries:
        body = json.loads(entry.entry)
        facts = entry.facts
        stage = facts.get("stage")
        note = _(', and noted: "{note}"').format(note=facts["note"]) if facts.get("note") else ""
        passed = any(s.stage == stage and s.started <= entry.at for s in steps)
        words = _recorded(entry.kind, facts, past=passed and stage != SEAL)
        if words:
            said = words.format(
                agent=body["agent"],
                stage=stage or _("what comes next"),
                note=note,
                reason=_sentence(render(str(facts.get("reason", "")))),
            )
            told.append(HistoryEntry(entry.at, said))
    return told


def _recorded(kind: str, facts: Mapping[str, Any], *, past: bool) -> str:
    """What an entry says, with places for `agent`, `stage`, `note`, `reason`; else nothing."""
    match kind:
        case "document-divided":
            count = len(facts.get("parts", ()))
            return ngettext(
                "{stage} cut it into {count} document.",
                "{stage} cut it into {count} documents.",
                count,
            ).replace("{count}", str(count))
        case "document-released" if "reviews" in facts:
            return _("{agent} was shown what {stage} asks about and decided that it goes on{note}.")
        case "document-released" if past:
            return _("{agent} decided that it goes on without {stage}{note}.")
        case "document-released":
            return _("{agent} decided that it goes on as it is{note}.")
        case "document-retried":
            return _("{agent} asked for {stage} to be tried again{note}.")
        case "document-rejected":
            return _("{agent} decided that it is not archived{note}.")
        case "copies-asked":
            return _("{agent} asked for the copies that its pipeline makes now{note}.")
        case "document-held" if "step" not in facts:
            return _("It was held for a person: {reason}")
        case "recovered":
            return _("It was put on record again after a crash; its bytes were in the spool.")
        case "document-safe":
            return _("Enough copies were verified: it is safe.")
        case "source-removed":
            return _("The scanner's file was compared with ours and taken out of the hot folder.")
    return ""


def _fault(ending: str) -> str:
    """Whose fault an ending is."""
    match ending:
        case "refused":
            return _(
                "The document is at fault, so trying again helps only after something changed."
            )
        case "postponed":
            return _("Nothing is wrong with the document; something outside it is missing.")
        case "failed":
            return _("The stage failed; that need not be the document's fault.")
        case "lost":
            return _("The daemon or the machine died under this stage as often as it was tried.")
    return ""


@dataclass(frozen=True, slots=True)
class _Standing:
    """Why a document is where it is, and what follows from that."""

    rows: DocumentRows
    now: datetime
    zone: tzinfo

    @property
    def document(self) -> DocumentRow:
        return self.rows.document

    @property
    def stage(self) -> str | None:
        """The stage it stands at; `None` at the end of its pipeline."""
        document = self.document
        at_end = document.position >= len(document.stages)
        return None if at_end else document.stages[document.position]

    @property
    def reason(self) -> str:
        """`what went wrong [code].`, or nothing."""
        code = self.document.code
        return f"{reason_in_words(self.document.reason or '', code)} [{code}]." if code else ""

    def why(self) -> str:
        document, stage = self.document, self.stage
        match document.state:
            case State.HELD if self._asked_by():
                told = _(
                    "It is held until a person has looked: {reason} {asked} ended well, and what "
                    "it made is kept; {stage} is next."
                )
                return told.format(reason=self.reason, asked=self._asked_by(), stage=stage)
            case State.HELD:
                ending = self._last_ending()
                told = (
                    _("It is held for a person, at {stage}: {reason} {fault}")
                    if ending
                    else _("It is held for a person, before {stage}: {reason} {fault}")
                )
                return told.format(stage=stage, reason=self.reason, fault=_fault(ending)).strip()
            case State.DIVIDED:
                told = _(
                    "It was cut into parts, which are documents of their own. When all of them are "
                    "at rest it is sealed as it arrived."
                )
                return f"{told} {self._held_parts()}".strip()
            case State.REJECTED:
                return _(
                    "A person decided that it is not archived; its bytes are kept all the same."
                )
            case State.SAFE:
                copies = len(self.rows.replicas)
                told = ngettext(
                    "It is archived and safe: sealed in the store, with {count} verified copy.",
                    "It is archived and safe: sealed in the store, with {count} verified copies.",
                    copies,
                )
                return f"{told.format(count=copies)} {self._further()}".strip()
            case State.SEALED if stage is None:
                told = _("It is sealed in the store, but not safe yet: {reason}")
                return told.format(reason=self.reason)
        sealed = _("It is sealed in the store, but not safe yet.") if self._sealed() else ""
        return f"{sealed} {self._going()}".strip()

    def _further(self) -> str:
        """What is said of further copies of a safe document; empty when none are to be made."""
        if self.document.due is None and not self.document.running:
            return ""
        return _("A further copy is to be made: {going}").format(going=self._going())

    def _held_parts(self) -> str:
        """The parts about which a person must decide before anything is done with the whole."""
        held = [f"{p.id} [{p.code}]" for p in self.rows.parts if p.state is State.HELD]
        if not held:
            return ""
        told = _("Until a person has decided, nothing of it is sealed or copied: {parts}")
        return told.format(parts=_sentence(", ".join(held)))

    def _going(self) -> str:
        """What is done with it now, or will be."""
        document, stage = self.document, self.stage
        if document.running:
            return self._running().format(stage=stage)
        if document.code:
            told = _("{stage} is tried again {moment}: {reason}")
            return told.format(stage=stage, moment=self._when(), reason=self.reason)
        told = _("{stage} is next and starts as soon as a place in its lane is free.")
        return told.format(stage=stage)

    def following(self) -> str:
        document = self.document
        hint = _sentence(render(document.hint or ""))
        match document.state:
            case State.HELD:
                return hint or _("Look at the reason, then decide.")
            case State.SAFE:
                return _("Nothing.")
            case State.REJECTED:
                return _("Nothing, unless it should be archived after all.")
            case State.DIVIDED:
                return _("Nothing, unless a part is held: archivectl show names its parts.")
            case State.SEALED if self.stage is None:
                return hint or _("Look at the reason.")
            case _other if document.code:
                return " ".join(filter(None, (hint, _("It goes on by itself."))))
            case _other:
                return _("Nothing: it goes on by itself.")

    def choices(self) -> list[Choice]:
        document, stage = self.document, self.stage
        retry = f"archivectl retry {document.id}"
        code = f" --code {document.code}" if document.code else ""
        note = _("WHY")
        release = f"archivectl release {document.id}{code} --note {note}"
        if stage is None:
            means = _("make its copies, by the stages that its pipeline has now")
            copy = Choice(f"archivectl copy {document.id}", means)
            return [copy] if document.state is State.SEALED else []
        if document.state in {State.HELD, State.REJECTED} and self._asked_by():
            return self._after_a_look()
        if document.state is State.HELD and document.code in OF_PARTS:
            return self._about_its_parts(release)
        if document.state in {State.HELD, State.REJECTED}:
            if not self._last_ending() and stage != SEAL:
                means = _("take it as it is, and begin with {stage}").format(stage=stage)
                return [Choice(release, means)]
            means = _("try {stage} again, after the cause is gone").format(stage=stage)
            found = [Choice(retry, means)]
            if stage != SEAL:
                means = _("go on without {stage}; your note is kept for ever")
                found.append(Choice(release, means.format(stage=stage)))
            return found
        if document.code and not document.running and document.state is not State.SAFE:
            means = _("try {stage} now instead of waiting").format(stage=stage)
            return [Choice(retry, means)]
        return []

    def _about_its_parts(self, release: str) -> list[Choice]:
        document, note = self.document, _("WHY")
        reject = f"archivectl reject {document.id} --note {note}"
        on = _("let it go on to {stage} with these pages in it; your note is kept for ever")
        again = _("look at its parts again, after something was decided about them")
        return [
            Choice(f"archivectl show {document.id}", _("see its parts and where each stands")),
            Choice(reject, _("do not archive it; its bytes are kept all the same")),
            Choice(release, on.format(stage=self.stage)),
            Choice(f"archivectl retry {document.id}", again),
        ]

    def _after_a_look(self) -> list[Choice]:
        document, asked = self.document, self._asked_by()
        again = _("try {stage} again, after the cause is gone").format(stage=asked)
        if document.state is State.REJECTED:
            return [Choice(f"archivectl retry {document.id}", again)]
        folder, note = _("FOLDER"), _("WHY")
        look = f"archivectl review {document.id} -o {folder}"
        release = f"archivectl release --reviewed {folder} --note {note}"
        retry = f"archivectl retry {document.id}"
        reject = f"archivectl reject {document.id} --note {note}"
        on = _("go on with {stage}, when you have looked; your note is kept for ever")
        return [
            Choice(look, _("first see what a person must look at: pictures in a new folder")),
            Choice(release, on.format(stage=self.stage)),
            Choice(retry, again),
            Choice(reject, _("do not archive it; its bytes are kept all the same")),
        ]

    def paper(self) -> str:
        if self.document.master is not None and self.document.state is State.SAFE:
            return _(
                "Its paper was scanned together with others: it may go back when the document it "
                "was cut out of is safe."
            )
        if self.document.state is State.SAFE:
            return paper_of(self.document, self.rows.steps, self.rows.entries)
        if self._sealed():
            return _("Keep the paper at hand: not all copies are verified yet.")
        return _("Keep the paper: it is not archived yet.")

    def _sealed(self) -> bool:
        return is_sealed(self.document.stages, self.document.position)

    def _last_ending(self) -> str:
        return next(
            (s.ending or "" for s in reversed(self.rows.steps) if s.stage == self.stage), ""
        )

    def _asked_by(self) -> str:
        """The stage whose review holds it; empty when none does."""
        asked = (s.stage for s in self.rows.steps if s.id == self.document.review)
        return next(asked, "")

    def _running(self) -> str:
        """That it runs, with a place for `stage`."""
        running = next((s for s in self.rows.steps if s.id == self.document.running), None)
        if running is None:
            return _("{stage} is running.")
        told = _("{stage} is running, for {span} now.")
        return told.replace("{span}", _span(self.now - running.started))

    def _when(self) -> str:
        due = self.document.due
        if due is None or due <= self.now:
            return _("at once")
        local = due.astimezone(self.zone)
        today = local.date() == self.now.astimezone(self.zone).date()
        told = _("at {time} (in {span})") if today else _("on {day} at {time} (in {span})")
        return told.format(
            day=day_text(local.date()), time=f"{local:%H:%M}", span=_span(due - self.now)
        )


def _files(count: int) -> str:
    return ngettext("{count} file", "{count} files", count).format(count=count)


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[0].upper()}{text[1:].rstrip('. ')}." if text else ""


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 1:
        return _(" within a second")
    return _(" after {span}").format(span=_span(timedelta(seconds=seconds)))


def _span(length: timedelta) -> str:
    seconds = max(0, round(length.total_seconds()))
    if seconds >= 2 * 86400:
        return ngettext("{n} day", "{n} days", seconds // 86400).format(n=seconds // 86400)
    if seconds >= 2 * 3600:
        return ngettext("{n} hour", "{n} hours", seconds // 3600).format(n=seconds // 3600)
    if seconds >= 2 * 60:
        return ngettext("{n} minute", "{n} minutes", seconds // 60).format(n=seconds // 60)
    return ngettext("{n} second", "{n} seconds", seconds).format(n=seconds)


def _size(count: int) -> str:
    amount = float(count)
    for unit in (_("bytes"), "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == _("bytes") else f"{number(amount)} {unit}"
        amount /= 1024
    return f"{number(amount)} GiB"
