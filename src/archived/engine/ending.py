"""Turns what the fork server saw of a child's end into an `Outcome`. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from archived.engine.boundary import PROCESSES_LIMIT, REPLY_LIMIT, outcome_from_json
from archived.model.outcome import Ending, Outcome, Usage

SHUTDOWN = Outcome(
    Ending.PUT_BACK, "shutdown", "the daemon stopped; the step will be started again"
)


_NEXT = {
    "stage-error": "the step's log says more; if other documents fare the same, report it to the "
    "stage's author",
    "out-of-memory": "raise `memory` for this stage, or look at what is special about the document",
    "bad-output": "report it to the stage's author",
}
"""Code -> what to do next, where the child itself had nothing to say about that."""


def runner_lost(why: str) -> Outcome:
    """The fork server ended under its steps, or cannot be started."""
    return Outcome(
        Ending.BROKE,
        "runner-lost",
        f"the process that starts stages ended ({why})",
        "it is started again by itself; if this repeats, look at the journal and at free memory",
    )


def judge(ended: Mapping[str, Any]) -> Outcome:
    """The outcome of one `ended` message. Files it names have not been looked at yet."""
    outcome = _judge(ended)
    usage = Usage(**ended["usage"])
    if ended["strays"]:
        return Outcome(
            Ending.BROKE,
            "stage-error",
            f"{ended['strays']} processes it started cannot be killed",
            "look for processes stuck on a disk or network file system",
            usage=usage,
        )
    return replace(outcome, usage=usage)


def _judge(ended: Mapping[str, Any]) -> Outcome:
    died_of, answer = ended["signal"], ended["answer"]
    if died_of is not None:
        return _killed(ended["why"]) if ended["why"] else _crashed(died_of)
    if "cannot_start" in answer:
        return Outcome(
            Ending.BROKE,
            "runner-lost",
            f"no process could be started for the step: {answer['cannot_start']}",
            "look at free memory and at the limits of the unit (TasksMax=, LimitNPROC=)",
        )
    if answer.get("garbled"):
        return _bad_output("the stage disturbed the line its result travels on")
    if "outcome" not in answer:
        return Outcome(
            Ending.BROKE,
            "stage-error",
            f"the stage's process ended with status {ended['status']} and without a result",
            "the step's log says more",
        )
    try:
        outcome = outcome_from_json(answer["outcome"])
        return replace(outcome, hint=outcome.hint or _NEXT.get(outcome.code, ""))
    except (KeyError, TypeError, ValueError) as error:
        return _bad_output(f"the stage's result cannot be read: {error!r}")


def _killed(why: str) -> Outcome:
    if why == "timed-out":
        return Outcome(
            Ending.BROKE,
            "timed-out",
            "the stage did not end within its timeout",
            "raise `timeout` for this stage, or look at what is special about the document",
        )
    if why == "too-many-processes":
        return Outcome(
            Ending.BROKE,
            "too-many-processes",
            f"the stage started more than {PROCESSES_LIMIT} processes and threads at a time",
            "look at what is special about the document; if others fare the same, report it to the "
            "stage's author",
        )
    if why == "reply-too-large":
        return _bad_output(f"the stage answered with more than {REPLY_LIMIT} bytes")
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
    return Outcome(Ending.BROKE, "bad-output", message, "report it to the stage's author")
