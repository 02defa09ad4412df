"""Turns what the fork server saw of a child's end, and what the child said, into an `Outcome`.

Pure.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from archived.engine.boundary import DISOBEYED, NOT_BEGUN, PROCESSES_LIMIT
from archived.engine.progress import STALLED
from archived.engine.worker.protocol import Malformed, Reply, clean
from archived.engine.worker.results import outcome_from_json
from archived.model.outcome import Ending, Outcome, Usage

SHUTDOWN = Outcome(
    Ending.PUT_BACK, "shutdown", "the daemon stopped; the step will be started again"
)


_NEXT = {
    "stage-error": "archivectl explain --verbose says where in its code; if other documents fare "
    "the same, report it to the stage's author",
    "out-of-memory": "raise `memory` for this stage, or look at what is special about the document",
    "bad-output": "report it to the stage's author",
}
"""Code -> what to do next, where the child itself had nothing to say about that."""


_RUNNER_HINT = (
    "it is started again by itself; if this repeats, look at the journal and at free memory"
)


def runner_lost(why: str) -> Outcome:
    """The process that starts stages ended under a step that had it to itself."""
    return Outcome(
        Ending.BROKE,
        "runner-lost",
        clean(f"the process that starts stages ended ({why})"),
        _RUNNER_HINT,
    )


def requeued(why: str) -> Outcome:
    """It ended under several steps, or for the first time: nobody's fault, as far as is known."""
    return replace(runner_lost(why), ending=Ending.PUT_BACK)


def no_runner(why: str) -> Outcome:
    """It cannot be started, or cannot start a process: the world's fault."""
    return Outcome(
        Ending.POSTPONED,
        "runner-lost",
        clean(f"no process could be started for the step: {why}"),
        "look at free memory and at the limits of the unit (TasksMax=, LimitNPROC=)",
        after=timedelta(seconds=10),
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """What the fork server saw of a step's end. `why` is set when it was killed from outside."""

    why: str
    status: int | None
    signal: int | None
    usage: Usage
    strays: int
    refused: Mapping[str, int]
    """Name of a system call -> how often the step's filter refused it."""
    cannot_start: str
    kept: bool = False
    """Whether the worker that did it rests and takes the next one."""

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Ended:
        """The `ended` message. Raises `KeyError`, `TypeError` or `ValueError` for another."""
        return cls(
            why=str(message["why"]), status=message["status"], signal=message["signal"],
            usage=Usage(**message["usage"]), strays=int(message["strays"]),
            refused={str(name): int(count) for name, count in message["refused"].items()},
            cannot_start=str(message["cannot_start"]), kept=message.get("kept") is True,
        )  # fmt: skip


def judge(ended: Ended, reply: Reply) -> Outcome:
    """The outcome of a step. Files it names have not been looked at yet. Never raises."""
    if ended.strays:
        return Outcome(
            Ending.BROKE,
            "stage-error",
            f"{ended.strays} processes it started cannot be killed",
            "look for processes stuck on a disk or network file system",
            notes=_noted(ended),
            usage=ended.usage,
        )
    outcome = _at_page(_judge(ended, reply), reply.page)
    return replace(outcome, notes=(*outcome.notes, *_noted(ended)), usage=ended.usage)


def _at_page(outcome: Outcome, page: int) -> Outcome:
    """The same, with the page at which it was when it ended without a result of its own."""
    if not page or outcome.ending is not Ending.BROKE:
        return outcome
    return replace(outcome, message=f"{outcome.message}; it was at page {page}")


def _noted(ended: Ended) -> tuple[str, ...]:
    """Which system calls the filter of the step refused, as a sentence for its record."""
    if not ended.refused:
        return ()
    calls = ", ".join(
        name if count == 1 else f"{name} ({count})" for name, count in sorted(ended.refused.items())
    )
    return (clean(f"system calls that a step may not make were refused: {calls}"),)


def _judge(ended: Ended, reply: Reply) -> Outcome:
    if ended.cannot_start:
        return no_runner(ended.cannot_start)
    if reply.problem:
        return _bad_output(reply.problem)
    if ended.why == NOT_BEGUN:
        return _killed(ended.why)
    if ended.signal is not None:
        return _killed(ended.why) if ended.why else _crashed(ended.signal)
    if reply.broken_off:
        return _bad_output("the stage's result breaks off in the middle of a line")
    if reply.final is None:
        return Outcome(
            Ending.BROKE,
            "stage-error",
            f"the stage's process ended with status {ended.status} and without a result",
            "the step's log says more",
        )
    try:
        outcome = outcome_from_json(reply.final)
    except Malformed as error:
        return _bad_output(f"the stage's result cannot be read: {error}")
    except Exception as error:  # noqa: BLE001 - whatever a stranger says has an ending
        return _bad_output(f"the stage's result cannot be read: {type(error).__name__}")
    return replace(outcome, hint=outcome.hint or _NEXT.get(outcome.code, ""))


def _killed(why: str) -> Outcome:
    if why == "timed-out":
        return Outcome(
            Ending.BROKE,
            "timed-out",
            "the stage did not end within its timeout",
            "raise `timeout` for this stage, or look at what is special about the document",
        )
    if why == STALLED:
        return Outcome(
            Ending.BROKE,
            STALLED,
            "the stage did not get on for as long as its timeout, and was ended",
            "look at what is special about the document; raise `timeout` for this stage when one "
            "page of it takes that long",
        )
    if why == "too-many-processes":
        return Outcome(
            Ending.BROKE,
            "too-many-processes",
            f"the stage started more than {PROCESSES_LIMIT} processes and threads at a time",
            "look at what is special about the document; if others fare the same, report it to the "
            "stage's author",
        )
    if why == DISOBEYED:
        return Outcome(
            Ending.BROKE,
            "stage-error",
            "the stage's kept worker went on after its step had ended, or said what it may not",
            "report it to the stage's author: between two steps it starts nothing",
        )
    if why == NOT_BEGUN:
        return no_runner("the kept worker did not take it")
    if why == "step-unwatched":
        return no_runner("it could not be watched")
    return SHUTDOWN


def _crashed(number: int) -> Outcome:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGXCPU:
        return Outcome(
            Ending.BROKE,
            "timed-out",
            "the stage used more processor time than it is allowed (SIGXCPU)",
            "raise `timeout` for this stage",
        )
    hint = "the step's log says more"
    if number == signal.SIGKILL:
        hint = "the kernel may have been out of memory; see `journalctl -k`"
    if number == signal.SIGXFSZ:
        hint = "it wrote a file larger than the limit"
    return Outcome(Ending.BROKE, "crashed", f"the stage's process died of {name}", hint)


def _bad_output(message: str) -> Outcome:
    return Outcome(Ending.BROKE, "bad-output", clean(message), "report it to the stage's author")
