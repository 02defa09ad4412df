"""What happened to a document, in plain words: step by step, why it is where it is, what next.

Pure: rows in, sentences out. For a person who knows paper, not programs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from archived.model.document import State
from archived.storage.records import Arrival, DocumentRow, LedgerRow, Replica, StepRow


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that happened."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Story:
    """`story` in order of time; `now` is why it is where it is; `next` is what to do."""

    story: Sequence[Told]
    now: str
    next: str


def explain(
    document: DocumentRow, *, arrivals: Sequence[Arrival], steps: Sequence[StepRow],
    replicas: Sequence[Replica], entries: Sequence[LedgerRow],
) -> Story:  # fmt: skip
    """Tell a document's life from its rows."""
    told = [*_arrivals(document, arrivals), *_steps(steps), *_entries(entries)]
    told += [
        Told(r.verified, f'A copy at "{r.target}" was written and read back: {r.files} files.')
        for r in replicas
    ]
    told.sort(key=lambda each: each.at)
    now, following = _standing(document, len(replicas))
    return Story(told, now, following)


def _arrivals(document: DocumentRow, arrivals: Sequence[Arrival]) -> list[Told]:
    told = []
    for arrival in arrivals:
        told.append(
            Told(
                arrival.first_seen, f'"{arrival.name}" was seen in hot folder {arrival.hotfolder}.'
            )
        )
        if arrival.ended is None:
            continue
        if arrival.code == "same-bytes":
            words = "It holds the very same bytes as this document, so it was counted and put here."
        else:
            words = f"Its {arrival.size} bytes were taken into custody (SHA-256 {arrival.sha256})."
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
        name = f"{step.stage} (attempt {step.attempt})" if step.attempt > 1 else step.stage
        at = step.ended or step.started
        match step.ending:
            case None:
                words = f"{name} started and is running."
            case "finished":
                seconds = f" in {step.wall:.1f} s" if step.wall else ""
                words = f"{name} ended well{seconds}."
            case "skipped":
                words = f"{name} was passed over: {'; '.join(step.notes or ())}."
            case "postponed":
                words = f"{name} had to wait: {step.message} [{step.code}]"
            case "refused":
                words = f"{name} cannot work on this document: {step.message} [{step.code}]"
            case "put-back":
                words = f"{name} was stopped with the daemon; it starts again."
            case "lost":
                words = f"The daemon or the machine died while {name} ran."
            case _:
                words = f"{name} failed: {step.message} [{step.code}]"
        told.append(Told(at, words))
        if step.ending == "finished":
            told += [Told(at, f"{step.stage} notes: {note}") for note in step.notes or ()]
    return told


def _entries(entries: Sequence[LedgerRow]) -> list[Told]:
    told = []
    for entry in entries:
        body = json.loads(entry.entry)
        facts = body.get("facts", {})
        note = f': "{facts["note"]}"' if facts.get("note") else ""
        match entry.kind:
            case "document-released":
                words = f"{body['agent']} let it go on past {facts.get('stage')}{note}."
            case "document-retried":
                words = f"{body['agent']} asked for {facts.get('stage')} to be tried again{note}."
            case "document-refused":
                words = f"{body['agent']} decided that it is not archived{note}."
            case "recovered":
                words = "It was put on record again after a crash; its bytes were in the spool."
            case "document-safe":
                words = "Enough copies were verified: it is safe, the paper may go back."
            case "source-removed":
                words = "The scanner's file was compared with ours and taken out of the hot folder."
            case _:
                continue
        told.append(Told(entry.at, words))
    return told


def _standing(document: DocumentRow, copies: int) -> tuple[str, str]:
    stage = document.stages[document.position] if document.position < len(document.stages) else None
    retry, release = f"archivectl retry {document.id}", f"archivectl release {document.id}"
    why = f"{document.reason} [{document.code}]" if document.code else ""
    match document.state:
        case State.HELD:
            hint = f"{document.hint}. " if document.hint else ""
            skipped = f"going on without {stage}" if stage else "going on"
            return (
                f"It is held for a person to decide: {why}",
                f"{hint}Then either: {retry} (try {stage} again), or {release} ({skipped}).",
            )
        case State.REFUSED:
            return "A person decided that it is not archived; its bytes are kept.", retry
        case State.WAITING:
            return (
                f"It waits; {stage} is tried again at {document.due:%Y-%m-%d %H:%M:%S} UTC: {why}",
                document.hint or f"Nothing, it goes on by itself; or now: {retry}",
            )
        case State.ADMITTED | State.WORKING:
            doing = f"{stage} is running." if document.running else f"{stage} starts as soon as a "
            return doing + ("" if document.running else "place in its lane is free."), "Nothing."
        case State.SAFE:
            return (
                f"It is archived and safe: sealed in the store, with {copies} verified copies.",
                "Nothing. The paper may go back to its shelf.",
            )
        case _:
            if document.code:
                return f"It is sealed in the store, but not safe yet: {why}", document.hint or retry
            return f"It is sealed in the store; {stage} is next.", "Nothing."
