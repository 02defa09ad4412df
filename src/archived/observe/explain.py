"""What happened to a document, in plain words: step by step, why it is where it is, what next.

Pure: rows and the clock in, sentences out. For a person who knows paper, not programs; every
sentence that depends on a code names it, so that a programmer can find it too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from archived.model.document import State
from archived.model.plan import SEAL, is_sealed
from archived.storage.records import Arrival, DocumentRow, LedgerRow, Replica, StepRow


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that happened."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Something a person may do now: the command to type, and what it means."""

    command: str
    means: str


@dataclass(frozen=True, slots=True)
class Story:
    """A document's life. `paper` says whether the paper may go back to its shelf."""

    story: Sequence[Told]
    """What happened, in order of time."""
    now: str
    """Where it stands and why."""
    next: str
    """What to do."""
    choices: Sequence[Choice]
    paper: str


def explain(
    document: DocumentRow, *, arrivals: Sequence[Arrival], steps: Sequence[StepRow],
    replicas: Sequence[Replica], entries: Sequence[LedgerRow], now: datetime, zone: tzinfo = UTC,
) -> Story:  # fmt: skip
    """Tell a document's life from its rows. Times inside sentences are on `zone`'s clock."""
    told = [*_arrivals(document, arrivals), *_steps(steps), *_entries(entries, steps)]
    told += [
        Told(
            r.verified,
            f'A copy at "{r.target}" was written and read back: {_many(r.files, "file")}.',
        )
        for r in replicas
    ]
    told.sort(key=lambda each: each.at)
    place = _Standing(document, steps, replicas, now, zone)
    return Story(told, place.why(), place.following(), place.choices(), place.paper())


def _arrivals(document: DocumentRow, arrivals: Sequence[Arrival]) -> list[Told]:
    told = []
    for arrival in arrivals:
        told.append(
            Told(
                arrival.first_seen,
                f'The file "{arrival.name}" was seen in the hot folder {arrival.hotfolder}.',
            )
        )
        if arrival.ended is None:
            continue
        if arrival.code == "same-bytes":
            words = (
                f'The file "{arrival.name}" holds the very same bytes as this document, so it was '
                "counted and belongs here."
            )
        else:
            digest = f" (its SHA-256 begins {arrival.sha256[:12]})" if arrival.sha256 else ""
            words = (
                f'All {_size(arrival.size)} of "{arrival.name}" were taken into custody{digest}.'
            )
        told.append(Told(arrival.ended, words))
        if arrival.present:
            told.append(
                Told(arrival.ended, "The scanner's file could not be removed from the folder yet.")
            )
    if not arrivals:
        told.append(
            Told(document.received, "It was found in the spool after a crash and admitted.")
        )
    return told


def _steps(steps: Sequence[StepRow]) -> list[Told]:
    told = []
    for step in steps:
        at = step.ended or step.started
        told.append(Told(at, _step(step)))
        if step.ending == "finished":
            told += [Told(at, f"{step.stage} notes: {_sentence(n)}") for n in step.notes or ()]
    return told


def _step(step: StepRow) -> str:
    name = f"{step.stage} (try {step.attempt})" if step.attempt > 1 else step.stage
    why = f"{(step.message or 'it did not say why').rstrip('. ')} [{step.code or 'no code'}]."
    match step.ending:
        case None:
            return f"{name} started and is running."
        case "finished" if step.stage == SEAL:
            return "It was sealed: its object is complete and durable in the store."
        case "finished":
            return f"{name} ended well{_took(step.wall)}."
        case "skipped":
            return f"{name} was passed over: {_sentence('; '.join(step.notes or ['no reason']))}"
        case "postponed":
            return f"{name} had to wait: {why}"
        case "refused":
            return f"{name} cannot work on this document: {why}"
        case "put-back":
            return f"{name} was stopped together with the daemon; it starts again."
        case "lost":
            return f"The daemon or the machine died while {name} ran."
        case _:
            return f"{name} failed{_took(step.wall)}: {why}"


def _entries(entries: Sequence[LedgerRow], steps: Sequence[StepRow]) -> list[Told]:
    told = []
    for entry in entries:
        body = json.loads(entry.entry)
        facts, agent = body.get("facts", {}), body["agent"]
        stage = facts.get("stage") or "what comes next"
        note = f', and noted: "{facts["note"]}"' if facts.get("note") else ""
        match entry.kind:
            case "document-released":
                passed = any(s.stage == stage and s.started <= entry.at for s in steps)
                way = f"without {stage}" if passed and stage != SEAL else "as it is"
                words = f"{agent} decided that it goes on {way}{note}."
            case "document-retried":
                words = f"{agent} asked for {stage} to be tried again{note}."
            case "document-refused":
                words = f"{agent} decided that it is not archived{note}."
            case "document-held" if "step" not in facts:
                words = f"It was held for a person: {_sentence(str(facts.get('reason', '')))}"
            case "recovered":
                words = "It was put on record again after a crash; its bytes were in the spool."
            case "document-safe":
                words = "Enough copies were verified: it is safe."
            case "source-removed":
                words = "The scanner's file was compared with ours and taken out of the hot folder."
            case _:
                continue
        told.append(Told(entry.at, words))
    return told


_FAULT = {
    "refused": "The document is at fault, so trying again helps only after something changed.",
    "postponed": "Nothing is wrong with the document; something outside it is missing.",
    "broke": "The stage failed; that need not be the document's fault.",
    "lost": "The daemon or the machine died under this stage as often as it was tried.",
}


@dataclass(frozen=True, slots=True)
class _Standing:
    """Why a document is where it is, and what follows from that."""

    document: DocumentRow
    steps: Sequence[StepRow]
    replicas: Sequence[Replica]
    now: datetime
    zone: tzinfo

    @property
    def stage(self) -> str | None:
        """The stage it stands at; `None` at the end of its pipeline."""
        document = self.document
        at_end = document.position >= len(document.stages)
        return None if at_end else document.stages[document.position]

    @property
    def reason(self) -> str:
        """`what went wrong [code].`, or nothing."""
        document = self.document
        return f"{(document.reason or '').rstrip('. ')} [{document.code}]." if document.code else ""

    def why(self) -> str:
        document, stage = self.document, self.stage
        match document.state:
            case State.HELD:
                ending = self._last_ending()
                where = f"at {stage}" if ending else f"before {stage}"
                fault = _FAULT.get(ending, "")
                return f"It is held for a person, {where}: {self.reason} {fault}".strip()
            case State.REFUSED:
                return "A person decided that it is not archived; its bytes are kept all the same."
            case State.SAFE:
                return (
                    "It is archived and safe: sealed in the store, with "
                    f"{_many(len(self.replicas), 'verified copy', 'verified copies')}."
                )
            case State.SEALED if stage is None:
                return f"It is sealed in the store, but not safe yet: {self.reason}"
        sealed = "It is sealed in the store, but not safe yet. " if self._sealed() else ""
        if document.running:
            return f"{sealed}{stage} is running{self._since()}."
        if document.code:
            return f"{sealed}{stage} is tried again {self._when()}: {self.reason}"
        return f"{sealed}{stage} is next and starts as soon as a place in its lane is free."

    def following(self) -> str:
        document = self.document
        match document.state:
            case State.HELD:
                return _sentence(document.hint or "") or "Look at the reason, then decide."
            case State.SAFE:
                return "Nothing."
            case State.REFUSED:
                return "Nothing, unless it should be archived after all."
            case State.SEALED if self.stage is None:
                return _sentence(document.hint or "Look at the reason.")
            case _ if document.code:
                return f"{_sentence(document.hint or '')} It goes on by itself.".strip()
            case _:
                return "Nothing: it goes on by itself."

    def choices(self) -> list[Choice]:
        document, stage = self.document, self.stage
        retry = f"archivectl retry {document.id}"
        release = f"archivectl release {document.id} --note WHY"
        if stage is None:
            after_seal = document.state is State.SEALED and document.stages[-1] != SEAL
            means = "do what comes after the seal once more, to make the copies"
            return [Choice(retry, means)] if after_seal else []
        if document.state in {State.HELD, State.REFUSED}:
            if not self._last_ending() and stage != SEAL:
                return [Choice(release, f"take it as it is, and begin with {stage}")]
            found = [Choice(retry, f"try {stage} again, after the cause is gone")]
            if stage != SEAL:
                found.append(Choice(release, f"go on without {stage}; your note is kept for ever"))
            return found
        if document.code and not document.running:
            return [Choice(retry, f"try {stage} now instead of waiting")]
        return []

    def paper(self) -> str:
        if self.document.state is State.SAFE:
            return "The paper may go back to its shelf."
        if self._sealed():
            return "Keep the paper at hand: not all copies are verified yet."
        return "Keep the paper: it is not archived yet."

    def _sealed(self) -> bool:
        return is_sealed(self.document.stages, self.document.position)

    def _last_ending(self) -> str:
        return next((s.ending or "" for s in reversed(self.steps) if s.stage == self.stage), "")

    def _since(self) -> str:
        running = next((s for s in self.steps if s.id == self.document.running), None)
        return f", for {_span(self.now - running.started)} now" if running else ""

    def _when(self) -> str:
        due = self.document.due
        if due is None or due <= self.now:
            return "at once"
        local = due.astimezone(self.zone)
        today = local.date() == self.now.astimezone(self.zone).date()
        day = "" if today else f"on {local:%d %B} "
        return f"{day}at {local:%H:%M} (in {_span(due - self.now)})"


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[0].upper()}{text[1:].rstrip('. ')}." if text else ""


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f" after {_span(timedelta(seconds=seconds))}" if seconds >= 1 else " within a second"


def _span(length: timedelta) -> str:
    seconds = max(0, round(length.total_seconds()))
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return _many(seconds // size, unit)
    return _many(seconds, "second")


def _size(count: int) -> str:
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
