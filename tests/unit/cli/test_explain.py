"""What a clerk is told of a document, for every way one can stand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from archived.model.lifecycle import State
from archived.observe.explain import DocumentRows, Explanation, explain
from archived.storage.ledger import Entry, canonical
from archived.storage.rows import Arrival, ArrivalState, DocumentRow, LedgerRow, StepRow

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
ID = "01a20185-3925-74c7-8638-1c35d891ab18"


def document(**changed: Any) -> DocumentRow:
    """A document in work, at `ocr`."""
    return DocumentRow(
        **{
            "id": ID,
            "state": State.WORKING,
            "hotfolder": "scans",
            "name": "a.tif",
            "path": b"a.tif",
            "media_type": "image/tiff",
            "size": 2048,
            "secrecy": "",
            "priority": 0,
            "pipeline": "paper",
            "stages": ("ocr", "seal", "replicate"),
            "copies": 1,
            "position": 0,
            "running": None,
            "lane": "cpu",
            "attempts": 0,
            "postponed": 0,
            "due": NOW,
            "code": None,
            "reason": None,
            "hint": None,
            "received": NOW - timedelta(minutes=5),
            "changed": NOW,
        }
        | changed
    )


def step(**changed: Any) -> StepRow:
    """One attempt at `ocr`."""
    return StepRow(
        **{
            "id": "s1",
            "document": ID,
            "position": 0,
            "stage": "ocr",
            "attempt": 1,
            "version": "1",
            "distribution": "archived-ocr",
            "options_digest": "",
            "started": NOW - timedelta(minutes=3),
        }
        | changed
    )


def arrival(**changed: Any) -> Arrival:
    """The file it came as."""
    return Arrival(
        **{
            "id": 1,
            "hotfolder": "scans",
            "path": b"a.tif",
            "name": "a.tif",
            "state": ArrivalState.ADMITTED,
            "code": None,
            "reason": None,
            "present": False,
            "device": 1,
            "inode": 1,
            "size": 2048,
            "mtime_ns": 0,
            "sha256": "ab" * 32,
            "document": ID,
            "first_seen": NOW - timedelta(minutes=6),
            "ended": NOW - timedelta(minutes=5),
        }
        | changed
    )


def entry(kind: str, agent: str = "lan", **facts: Any) -> LedgerRow:
    """A ledger entry as it is stored."""
    made = Entry(kind, NOW, agent, document=ID, facts=facts)
    return LedgerRow(1, canonical(made, 1, "0" * 64), "", kind, ID, NOW, made.facts or {})


def told(row: DocumentRow, *steps: StepRow, entries: Any = (), arrivals: Any = None) -> Explanation:
    """The story at `NOW`."""
    arrivals = [arrival()] if arrivals is None else arrivals
    return explain(DocumentRows(row, arrivals, steps, entries=entries), NOW, ZONE)


def test_a_due_document_waits_for_a_place_and_needs_nobody():
    story = told(document())
    assert story.now == "ocr is next and starts as soon as a place in its lane is free."
    assert story.next == "Nothing: it goes on by itself."
    assert story.choices == []


def test_a_running_step_is_told_with_how_long_it_has_run():
    story = told(document(running="s1"), step())
    assert story.now == "ocr is running, for 3 minutes now."
    assert story.story[-1].what == "ocr started and is running."


def test_a_waiting_step_is_told_with_the_time_on_the_archives_clock():
    waits = {
        "state": State.WAITING,
        "code": "no-space",
        "reason": "The disk is full.",
        "hint": "make room",
    }
    today = told(document(due=NOW + timedelta(minutes=5), **waits))
    assert today.now == ("ocr is tried again at 11:05 (in 5 minutes): The disk is full [no-space].")
    assert today.next == "Make room. It goes on by itself."
    assert today.choices[0].command == f"archivectl retry {ID}"
    tomorrow = told(document(due=NOW + timedelta(hours=14), **waits))
    assert "on 2026-11-23 at 01:00 (in 14 hours)" in tomorrow.now
    overdue = told(document(due=NOW - timedelta(hours=1), **waits))
    assert "ocr is tried again at once" in overdue.now


@pytest.mark.parametrize(
    ("ending", "whose"),
    [
        ("refused", "The document is at fault"),
        ("failed", "The stage failed; that need not be the document's fault."),
        ("lost", "The daemon or the machine died under this stage"),
    ],
)
def test_a_held_document_is_told_with_whose_fault_it_was_and_both_ways_on(ending: str, whose: str):
    held = document(state=State.HELD, code="encrypted", reason="It is encrypted.", hint="")
    story = told(held, step(ending=ending, ended=NOW, code="encrypted", message="It is encrypted."))
    assert story.now.startswith("It is held for a person, at ocr: It is encrypted [encrypted].")
    assert whose in story.now
    assert [choice.command.split()[1] for choice in story.choices] == ["retry", "release"]
    assert story.paper == "Keep the paper: it is not archived yet."


def test_a_document_held_before_its_first_stage_says_why_it_was():
    held = document(state=State.HELD, code="arrived-incomplete", reason="It never became whole.")
    story = told(held, entries=[entry("document-held", reason="it never became whole")])
    assert "It is held for a person, before ocr: It never became whole" in story.now
    assert story.story[-1].what == "It was held for a person: It never became whole."
    assert [choice.means for choice in story.choices] == ["take it as it is, and begin with ocr"]
    released = told(document(), entries=[entry("document-released", stage="ocr", note="torn")])
    assert released.story[-1].what == 'lan decided that it goes on as it is, and noted: "torn".'


def test_nobody_is_told_to_release_a_document_past_its_seal():
    held = document(state=State.HELD, position=1, code="store", reason="The store is broken.")
    sealing = step(position=1, stage="seal", ending="failed", ended=NOW)
    assert [choice.command.split()[1] for choice in told(held, sealing).choices] == ["retry"]


def test_a_sealed_document_is_not_called_safe_and_the_paper_stays():
    missing = document(
        state=State.SEALED,
        position=3,
        due=None,
        code="copies-missing",
        reason="0 of 1 wanted copies were verified",
        hint="add one",
    )
    story = told(missing)
    assert "not safe yet: 0 of 1 wanted copies were verified [copies-missing]." in story.now
    assert story.paper == "Keep the paper at hand: not all copies are verified yet."
    assert story.choices[0].command == f"archivectl copy {missing.id}"
    copying = document(state=State.SEALED, position=2, running="s1")
    assert "not safe yet. replicate is running" in told(copying, step()).now


def test_a_further_copy_of_a_safe_document_is_told_and_its_paper_may_go():
    further = document(state=State.SAFE, position=2, due=NOW, code="no-space", reason="No room.")
    story = told(further)
    assert "It is archived and safe" in story.now
    assert "A further copy is to be made: replicate is tried again" in story.now
    assert (story.paper, story.choices) == ("The paper may go back to its shelf.", [])


def test_only_a_safe_document_lets_the_paper_go():
    for state in State:
        row = document(state=state, position=3 if state in {State.SEALED, State.SAFE} else 0)
        assert ("may go back" in told(row).paper) == (state is State.SAFE), state


def test_every_ending_of_a_step_is_told_in_words():
    endings = {
        "finished": "ocr (try 2) ended well after 2 minutes.",
        "skipped": "ocr (try 2) was passed over: It is no image.",
        "postponed": "ocr (try 2) had to wait: No room [no-space].",
        "refused": "ocr (try 2) cannot work on this document: No room [no-space].",
        "failed": "ocr (try 2) failed after 2 minutes: No room [no-space].",
        "requeued": "ocr (try 2) was stopped together with the daemon; it starts again.",
        "lost": "The daemon or the machine died while ocr (try 2) ran.",
    }
    for ending, words in endings.items():
        one = step(
            ending=ending,
            ended=NOW,
            attempt=2,
            wall=120.0,
            code="no-space",
            message="No room.",
            notes=["it is no image"],
        )
        assert words in [each.what for each in told(document(), one).story]


def test_who_decided_what_and_why_is_told():
    entries = [
        entry("document-released", stage="ocr", note="a drawing"),
        entry("document-retried", stage="ocr"),
        entry("document-rejected", note="not ours"),
        entry("recovered", "archived 0.1.0"),
    ]
    failed = step(ending="failed", ended=NOW - timedelta(minutes=1))
    words = [each.what for each in told(document(), failed, entries=entries).story[-4:]]
    assert words == [
        'lan decided that it goes on without ocr, and noted: "a drawing".',
        "lan asked for ocr to be tried again.",
        'lan decided that it is not archived, and noted: "not ours".',
        "It was put on record again after a crash; its bytes were in the spool.",
    ]


def test_how_it_arrived_is_told_also_when_the_scanners_file_is_stuck_or_gone():
    stuck = told(document(), arrivals=[arrival(present=True)])
    assert [each.what for each in stuck.story] == [
        'The file "a.tif" was seen in the hot folder scans.',
        'All 2.0 KiB of "a.tif" were taken into custody (its SHA-256 begins abababababab).',
        "The scanner's file could not be removed from the folder yet.",
    ]
    lost = told(document(), arrivals=[])
    assert lost.story[0].what == "It was found in the spool after a crash and admitted."
