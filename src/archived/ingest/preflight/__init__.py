"""Can this folder be a hot folder? Tried on the folder itself, with the daemon's own calls.

Every file it makes has a name that running daemons pass by: nothing of it comes on record. A
verdict is "yes", "no" or "not established"; what could not be tried is never called "yes".
"""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from archived.ingest.file_errors import sentence
from archived.ingest.preflight import checks
from archived.ingest.preflight.agent import Agent, AgentNoAnswer, name_of
from archived.ingest.preflight.report import (
    FACTS,
    PREFIX,
    Answer,
    CheckContext,
    CheckResult,
    Report,
    Verdict,
)
from archived.message import Message

__all__ = ["FACTS", "PREFIX", "CheckResult", "Report", "Verdict", "probe"]


def probe(
    folder: Path, writer: pwd.struct_passwd | None, daemon: pwd.struct_passwd | None
) -> Report:
    """Try everything in `folder`: `writer` writes as a scanner, `daemon` looks as the daemon.

    `None` is whoever runs this; anybody else needs root. Takes some seconds, more on a slow mount.
    Leaves nothing behind, also when it is interrupted or killed. Must be called while the process
    has one thread: it forks.
    """
    us = name_of(os.geteuid())
    report = Report(folder, writer.pw_name if writer else us, daemon.pw_name if daemon else us)
    report.facts.update(dict.fromkeys(FACTS))
    with _hands(folder, writer, daemon) as (w, d):
        _run(CheckContext(report, w, d))
    return report


@contextmanager
def _hands(
    folder: Path, writer: pwd.struct_passwd | None, daemon: pwd.struct_passwd | None
) -> Iterator[tuple[Agent, Agent]]:
    prefix = f"{PREFIX}{secrets.token_hex(4)}-"
    # Root's own comes last: it sweeps up what the others were not allowed to remove.
    users = [writer, daemon, *([None] if os.geteuid() == 0 else [])]
    agents: list[Agent] = []
    try:
        for user in users:
            agents.append(Agent(folder, prefix, user))
        yield agents[0], agents[1]
    finally:
        for agent in agents:
            agent.let_go()


def _run(g: CheckContext) -> None:
    try:
        first = ("there", Message("the daemon can list the folder"), True, checks.there)
        if _try(g, *first) != "yes":
            return
        _try(g, "user", Message("this was tried with the daemon's own rights"), False, checks.user)
        _try(g, "mount", Message("what lies there outlives a power cut"), None, checks.mounted)
        if _try(g, "writable", "the writer can make files", True, checks.writable) != "yes":
            _give_up(g, Message("nothing could be written"), "")
            return
        for trial in _TRIALS:
            _try(g, *trial)
    except AgentNoAnswer:
        # A hand that is gone took its files with it: what the other found would say nothing.
        _give_up(
            g,
            Message("the folder did not answer"),
            Message("look at the mount and its server; dmesg tells"),
        )


def _give_up(g: CheckContext, why: str, todo: str) -> None:
    what = Message("all that was still to be tried")
    g.report.found.append(CheckResult("rest", what, "not established", why, todo, needed=True))


_TRIALS: tuple[tuple[str, str, bool | None, Callable[[CheckContext], Answer]], ...] = (
    ("owner", Message("it is known who owns new files"), False, checks.owner),
    ("bytes", Message("the daemon reads the very bytes that were written"), True, checks.read),
    ("growth", Message("a file being written is seen to grow"), False, checks.growth),
    ("overwrite", Message("bytes changed in place are noticed"), False, checks.overwrite),
    ("open", Message("it is known whether somebody still writes"), False, checks.still_open),
    ("fsync", Message("files and folder can be made durable"), True, checks.fsync),
    ("rename", Message("a renamed file keeps its identity"), True, checks.rename),
    ("no-replace", Message("renameat2(RENAME_NOREPLACE) works"), False, checks.no_replace),
    ("links", Message("hard links work"), False, checks.links),
    ("claim", Message("the daemon can take a name away from the writer"), True, checks.claim),
    ("victim", Message("taking a name never destroys another file"), True, checks.victim),
    ("remove", Message("the daemon can remove what the writer wrote"), True, checks.remove),
    ("below", Message("the daemon can empty a folder of the writer's"), False, checks.below),
    ("withdrawn", Message("a file taken away is seen to be gone"), True, checks.withdrawn),
    ("atomic", Message("a replaced file is always there, and whole"), False, checks.atomic),
    ("nfd", Message("accents stay as they were typed"), False, checks.nfd),
    ("long", Message("names of 255 bytes work"), False, checks.longest),
    ("newline", Message("names with a line feed work"), False, checks.newline),
    ("encoding", Message("names in old encodings work"), False, checks.not_utf8),
    ("case", Message("upper and lower case are two names"), False, checks.case),
    ("mtime", Message("times are finer than a second"), False, checks.mtime),
    ("clock", Message("the folder's clock is ours"), False, checks.clock),
    ("events", Message("the kernel tells of changes"), False, checks.events),
    ("room", Message("there is room for scans"), False, checks.room),
)
"""Code, what is tried, whether it is needed (`None`: only a "no" is in the way), and how."""


def _try(
    g: CheckContext,
    code: str,
    what: str,
    needed: bool | None,
    trial: Callable[[CheckContext], Answer],
) -> Verdict:
    try:
        verdict, why, todo = trial(g)
    except AgentNoAnswer:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a file system does, it is told in words
        verdict, why, todo = (
            "not established",
            Message("the trial broke: {sentence}", sentence=sentence(error)),
            "",
        )
    in_the_way = verdict == "no" if needed is None else needed
    g.report.found.append(CheckResult(code, what, verdict, why, todo, in_the_way))
    return verdict
